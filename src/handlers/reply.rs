//! What a handler gives back: an answer now, an answer later, or none.
//!
//! Invariant: when a handler returns, everything of its request that must happen in request order has happened;
//! the connection goes on to the next request at once and sends answers in request order. A handler that cannot keep this
//! says so with [`Reply::Hold`], and the connection's later requests wait.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use bytes::{Bytes, BytesMut};
use kafka_protocol::protocol::StrBytes;
use protocol::throttle::raise_throttle_time;
use storage::log::read_plan::FileSlice;

/// Longest message that an answer carries. Messages repeat what the client sent, which may be as long as any string
/// can be; one that is longer than an int16 can say could not be sent at all.
pub const MAX_MESSAGE_BYTES: usize = 1_000;

/// A message for the client's user, cut to [`MAX_MESSAGE_BYTES`]. Every error message of an answer is made here.
pub fn message(text: impl Into<String>) -> StrBytes {
    let mut text = text.into();
    if text.len() > MAX_MESSAGE_BYTES {
        text.truncate(text.floor_char_boundary(MAX_MESSAGE_BYTES - CUT.len()));
        text.push_str(CUT);
        text.shrink_to_fit();
    }
    StrBytes::from_string(text)
}

/// Messages of an answer with a result for each of many small parts of the request: the first have one, the rest only
/// their codes, so that an answer is not many times as large as what was asked.
#[derive(Debug)]
pub struct Messages {
    left: usize,
}

impl Messages {
    /// For the results of one answer.
    pub fn for_one_answer() -> Self {
        Self { left: 1_000 }
    }

    /// The next result's message, if it still has one; else its text is not even made.
    pub fn next<Text: Into<String>>(&mut self, text: impl FnOnce() -> Text) -> Option<StrBytes> {
        self.left = self.left.checked_sub(1)?;
        Some(message(text()))
    }
}

/// Stands at the end of a message that was cut.
const CUT: &str = "...";

/// A future of one response frame.
pub type FrameFuture = Pin<Box<dyn Future<Output = ResponseFrame> + Send>>;

/// A future of what becomes of a request that holds up those behind it.
pub type ReplyFuture = Pin<Box<dyn Future<Output = Reply> + Send>>;

/// What the connection does with a request that was handled.
pub enum Reply {
    /// The answer is ready.
    Now(ResponseFrame),
    /// The answer will be ready; later requests of the connection are handled meanwhile.
    Later(FrameFuture),
    /// The request has effects to come that later requests of the connection must not overtake: none is handled before
    /// the future is done. Then its reply stands for the request.
    Hold(ReplyFuture),
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
            Self::Hold(_) => f.write_str("Hold"),
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
    /// The response cannot be written: a fault of this broker, which is in the log. The client waits for an answer
    /// that will never come, so the connection is closed when it is this one's turn.
    Unencodable,
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
            Self::Unencodable => 0,
        }
    }

    /// The same response, telling a throttle time of at least so much.
    pub fn throttled(mut self, api_key: i16, api_version: i16, throttle_time_ms: i32) -> Self {
        let head = match &mut self {
            Self::Whole(bytes) => bytes,
            Self::Parts(parts) => match parts.first_mut() {
                Some(FramePart::Memory(bytes)) => bytes,
                _ => return self,
            },
            Self::Unencodable => return self,
        };
        let whole = std::mem::take(head);
        let mut raised = whole
            .try_into_mut()
            .unwrap_or_else(|shared| BytesMut::from(&shared[..]));
        raise_throttle_time(api_key, api_version, &mut raised, throttle_time_ms);
        *head = raised.freeze();
        self
    }

    /// Whether nothing would be sent; of all responses only the unencodable one is empty.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_throttle_time_is_told_in_whole_frames_and_in_parts() {
        let heartbeat = kafka_protocol::messages::HeartbeatResponse::default();
        let bytes = protocol::encode::encode_response(12, 4, 1, &heartbeat).expect("encodes");
        let told = |bytes: &Bytes| i32::from_be_bytes(*bytes[9..].first_chunk().expect("there"));
        let shared = bytes.clone();
        let ResponseFrame::Whole(whole) = ResponseFrame::Whole(bytes.clone()).throttled(12, 4, 70) else {
            panic!("still whole");
        };
        assert_eq!((told(&whole), told(&shared)), (70, 0));
        let parts = vec![FramePart::Memory(bytes), FramePart::Memory(Bytes::from_static(b"rest"))];
        let ResponseFrame::Parts(parts) = ResponseFrame::Parts(parts).throttled(12, 4, 71) else {
            panic!("still in parts");
        };
        let [FramePart::Memory(head), FramePart::Memory(rest)] = &parts[..] else {
            panic!("still two");
        };
        assert_eq!((told(head), &rest[..]), (71, &b"rest"[..]));
        assert!(ResponseFrame::Unencodable.throttled(12, 4, 1).is_empty());
    }

    #[test]
    fn an_answer_has_so_many_messages_and_no_more() {
        let mut messages = Messages::for_one_answer();
        let mut made = 0;
        let mut text = || {
            made += 1;
            "no"
        };
        let given = (0..5_000).filter_map(|_| messages.next(&mut text)).count();
        assert_eq!((given, made), (1_000, 1_000));
    }

    #[test]
    fn messages_are_cut_between_characters() {
        assert_eq!(&*message("short"), "short");
        let longest = "x".repeat(MAX_MESSAGE_BYTES);
        assert_eq!(&*message(longest.as_str()), longest);
        for character in ["x", "é", "€", "🐦"] {
            for shift in 0..4 {
                let text = format!("{}{}", "y".repeat(shift), character.repeat(40_000));
                let cut = message(text.as_str());
                assert!(
                    (MAX_MESSAGE_BYTES - 4..=MAX_MESSAGE_BYTES).contains(&cut.len()),
                    "{}",
                    cut.len()
                );
                let kept = cut.strip_suffix("...").expect("one sees that it was cut");
                assert!(text.starts_with(kept));
            }
        }
    }
}
