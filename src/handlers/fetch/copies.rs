//! How many bytes of records all answers together may hold as copies until they are sent.
//!
//! Invariants: a copy counts from its making until the last of it has left or its connection is gone; where no room is
//! left the answer refers to the files instead, so readers that do not read cost handles, not memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

/// The room for copies (`monedula.fetch.copies.max.bytes`).
#[derive(Debug, Clone)]
pub struct CopyRoom {
    left_bytes: Arc<AtomicUsize>,
}

/// A copy; gives its room back when it is dropped.
struct Copy {
    bytes: Bytes,
    left_bytes: Arc<AtomicUsize>,
}

impl CopyRoom {
    /// Room for so many bytes.
    pub fn new(max_bytes: usize) -> Self {
        Self {
            left_bytes: Arc::new(AtomicUsize::new(max_bytes)),
        }
    }

    /// Whether a copy of this size would find room now.
    pub(super) fn has(&self, bytes: usize) -> bool {
        self.left_bytes.load(Ordering::Relaxed) >= bytes
    }

    /// Counts a copy; `None` when there is no room for it any more.
    pub(super) fn hold(&self, bytes: Bytes) -> Option<Bytes> {
        let taken = self
            .left_bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(bytes.len())
            });
        taken.ok()?;
        let left_bytes = Arc::clone(&self.left_bytes);
        Some(Bytes::from_owner(Copy { bytes, left_bytes }))
    }
}

impl AsRef<[u8]> for Copy {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        self.left_bytes.fetch_add(self.bytes.len(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Buf;

    use super::*;

    #[test]
    fn room_comes_back_when_the_last_of_a_copy_is_gone() {
        let room = CopyRoom::new(10);
        let mut held = room.hold(Bytes::from_static(b"123456")).expect("room");
        assert!(!room.has(5) && room.has(4));
        assert_eq!(
            room.hold(Bytes::from_static(b"12345")),
            None,
            "refused, and nothing taken"
        );
        assert!(room.has(4));
        let rest = held.split_off(3);
        held.advance(3);
        drop(held);
        assert!(!room.has(5), "a part of it is still to be sent");
        assert_eq!(&rest[..], b"456");
        drop(rest);
        assert!(room.has(10));
    }
}
