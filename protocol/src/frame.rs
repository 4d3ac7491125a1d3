//! Splits a byte stream into length-prefixed frames, without I/O and without a copy.
//!
//! Invariants: the announced length is checked before anything is done with it; nothing is reserved
//! by it (whoever reads from the socket decides how its buffer grows). A bad length ends the
//! connection: there is no answer to it (Kafka's `NetworkReceive`).

use bytes::{Buf, Bytes, BytesMut};

/// Bytes of the length in front of a frame.
pub const LENGTH_BYTES: usize = 4;

/// Why a stream cannot be split further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A length below 0.
    #[error("frame with the negative length {announced}")]
    Negative {
        /// The length read.
        announced: i32,
    },
    /// A length above the limit.
    #[error("frame of {announced} bytes, the limit is {max_bytes}")]
    TooLarge {
        /// The length read.
        announced: usize,
        /// The limit (`socket.request.max.bytes`).
        max_bytes: usize,
    },
}

/// Takes the first frame off `buffer`: its payload without the length. `None` = not complete yet.
pub fn split_frame(buffer: &mut BytesMut, max_bytes: usize) -> Result<Option<Bytes>, FrameError> {
    let Some(announced) = announced_len(buffer) else {
        return Ok(None);
    };
    let length = usize::try_from(announced).map_err(|_| FrameError::Negative { announced })?;
    if length > max_bytes {
        return Err(FrameError::TooLarge {
            announced: length,
            max_bytes,
        });
    }
    if buffer.len() - LENGTH_BYTES < length {
        return Ok(None);
    }
    buffer.advance(LENGTH_BYTES);
    Ok(Some(buffer.split_to(length).freeze()))
}

/// The length that the frame at the start of `buffer` announces, unchecked. `None` = fewer than four bytes.
pub fn announced_len(buffer: &[u8]) -> Option<i32> {
    buffer.first_chunk().map(|length| i32::from_be_bytes(*length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bad_lengths_are_refused_as_soon_as_they_are_read() {
        let mut negative = BytesMut::from(&[0xff, 0xff, 0xff, 0xff][..]);
        assert_eq!(
            split_frame(&mut negative, 10),
            Err(FrameError::Negative { announced: -1 })
        );
        let mut large = BytesMut::from(&[0, 0, 0, 11][..]);
        assert_eq!(
            split_frame(&mut large, 10),
            Err(FrameError::TooLarge {
                announced: 11,
                max_bytes: 10
            })
        );
        let mut exact = BytesMut::from(&[0, 0, 0, 1, 7][..]);
        assert_eq!(split_frame(&mut exact, 1), Ok(Some(Bytes::from_static(&[7]))));
    }

    proptest! {
        /// However the stream is cut, the same frames come out.
        #[test]
        fn frames_do_not_depend_on_how_the_stream_arrives(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8),
            cuts in prop::collection::vec(1_usize..30, 1..20),
        ) {
            let mut stream = Vec::new();
            for payload in &payloads {
                stream.extend_from_slice(&(payload.len() as i32).to_be_bytes());
                stream.extend_from_slice(payload);
            }
            let mut buffer = BytesMut::new();
            let mut frames = Vec::new();
            let mut rest = stream.as_slice();
            let mut cuts = cuts.iter().cycle();
            while !rest.is_empty() {
                let (arrived, later) = rest.split_at(rest.len().min(*cuts.next().expect("a cycle has no end")));
                rest = later;
                buffer.extend_from_slice(arrived);
                while let Some(frame) = split_frame(&mut buffer, 64).expect("the lengths are good") {
                    frames.push(frame.to_vec());
                }
            }
            prop_assert_eq!(frames, payloads);
            prop_assert!(buffer.is_empty());
        }
    }
}
