//! The answers that a connection owes, in request order.
//!
//! Invariants: answers leave in the order of their requests, whatever order they become ready in; every waiting answer
//! is polled, not only the first, so that a long poll delays the answers behind it but not their work.

use std::collections::VecDeque;
use std::fmt;
use std::task::{Context, Poll};

use crate::handlers::reply::{FrameFuture, ResponseFrame};

enum Slot {
    Ready(ResponseFrame),
    Pending(FrameFuture),
}

/// Ordered ready-or-pending answers.
#[derive(Default)]
pub struct Pipeline {
    slots: VecDeque<Slot>,
    pending: usize,
    /// Bytes of the answers that are there and wait for one before them.
    ready_bytes: usize,
}

impl fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipeline")
            .field("slots", &self.slots.len())
            .field("pending", &self.pending)
            .finish()
    }
}

impl Pipeline {
    /// Adds an answer that is there.
    pub fn push_ready(&mut self, frame: ResponseFrame) {
        self.ready_bytes += frame.len();
        self.slots.push_back(Slot::Ready(frame));
    }

    /// Adds an answer that will come.
    pub fn push_pending(&mut self, future: FrameFuture) {
        self.slots.push_back(Slot::Pending(future));
        self.pending += 1;
    }

    /// Answers owed.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Bytes of answers that are there but may not leave yet.
    pub fn ready_bytes(&self) -> usize {
        self.ready_bytes
    }

    /// Whether no answer is owed.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Whether some answers are not there yet.
    pub fn has_pending(&self) -> bool {
        self.pending > 0
    }

    /// Takes the next answer in order, if it is there.
    pub fn pop_ready(&mut self) -> Option<ResponseFrame> {
        match self.slots.pop_front()? {
            Slot::Ready(frame) => {
                self.ready_bytes -= frame.len();
                Some(frame)
            }
            slot @ Slot::Pending(_) => {
                self.slots.push_front(slot);
                None
            }
        }
    }

    /// Polls every waiting answer; ready when at least one came.
    pub fn poll_pending(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut came = 0;
        for slot in &mut self.slots {
            if let Slot::Pending(future) = slot
                && let Poll::Ready(frame) = future.as_mut().poll(cx)
            {
                self.ready_bytes += frame.len();
                *slot = Slot::Ready(frame);
                came += 1;
            }
        }
        self.pending -= came;
        if came > 0 { Poll::Ready(()) } else { Poll::Pending }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tokio::sync::oneshot;

    use super::*;

    fn frame(text: &'static str) -> ResponseFrame {
        ResponseFrame::Whole(Bytes::from_static(text.as_bytes()))
    }

    fn text(frame: Option<ResponseFrame>) -> Option<Bytes> {
        frame.map(|frame| match frame {
            ResponseFrame::Whole(bytes) => bytes,
            ResponseFrame::Parts(_) | ResponseFrame::Unencodable => panic!("whole frames only"),
        })
    }

    #[tokio::test]
    async fn answers_leave_in_request_order() {
        let mut pipeline = Pipeline::default();
        let (first, first_ready) = oneshot::channel();
        let (third, third_ready) = oneshot::channel();
        let wait = |ready: oneshot::Receiver<ResponseFrame>| Box::pin(async move { ready.await.expect("sent") });
        pipeline.push_pending(wait(first_ready));
        pipeline.push_ready(frame("second"));
        pipeline.push_pending(wait(third_ready));
        third.send(frame("third")).expect("receiver lives");
        std::future::poll_fn(|cx| pipeline.poll_pending(cx)).await;
        assert!(pipeline.pop_ready().is_none(), "the first is not there");
        first.send(frame("first")).expect("receiver lives");
        std::future::poll_fn(|cx| pipeline.poll_pending(cx)).await;
        assert!(!pipeline.has_pending());
        for expected in ["first", "second", "third"] {
            assert_eq!(text(pipeline.pop_ready()).as_deref(), Some(expected.as_bytes()));
        }
        assert!(pipeline.is_empty());
        assert_eq!(pipeline.ready_bytes(), 0);
    }
}
