//! What a handler gives back: an answer now, an answer later, or none.
//!
//! Invariant: when a handler returns, everything of its request that must happen in request order has happened;
//! the connection goes on to the next request at once and sends answers in request order.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use storage::log::read_plan::FileSlice;

/// A future of one response frame.
pub type FrameFuture = Pin<Box<dyn Future<Output = ResponseFrame> + Send>>;

/// What the connection does with a request that was handled.
pub enum Reply {
    /// The answer is ready.
    Now(ResponseFrame),
    /// The answer will be ready; later requests of the connection are handled meanwhile.
    Later(FrameFuture),
    /// No answer is sent (Produce with acks=0).
    Silent,
    /// The connection is closed without an answer; the text goes to the log.
    Close(&'static str),
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Now(frame) => f.debug_tuple("Now").field(frame).finish(),
            Self::Later(_) => f.write_str("Later"),
            Self::Silent => f.write_str("Silent"),
            Self::Close(why) => f.debug_tuple("Close").field(why).finish(),
        }
    }
}

/// One response on its way to the socket: length prefix, header and body, with record bytes still in their files.
#[derive(Debug)]
pub enum ResponseFrame {
    /// Everything in one piece of memory.
    Whole(Bytes),
    /// Pieces in order, memory and file slices mixed.
    Parts(Vec<FramePart>),
}

/// One piece of a response.
#[derive(Debug, Clone)]
pub enum FramePart {
    /// Bytes in memory.
    Memory(Bytes),
    /// Bytes of a log segment, sent without passing through this process.
    File(FileSlice),
}

impl ResponseFrame {
    /// Bytes on the wire.
    pub fn len(&self) -> usize {
        match self {
            Self::Whole(bytes) => bytes.len(),
            Self::Parts(parts) => parts.iter().map(FramePart::len).sum(),
        }
    }

    /// Whether nothing would be sent; a response never is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl FramePart {
    /// Bytes on the wire.
    pub fn len(&self) -> usize {
        match self {
            Self::Memory(bytes) => bytes.len(),
            Self::File(slice) => slice.length,
        }
    }

    /// Whether nothing would be sent.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
