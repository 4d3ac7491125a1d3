//! The answers that a connection owes, in request order.
//!
//! Invariants: answers leave in the order of their requests, whatever order they become ready in; every waiting answer
//! is polled, not only the first, so that a long poll delays the answers behind it but not their work; of the requests
//! that hold up others there is one at most, and it is the last, so that its answer's place is at the end.

use std::collections::VecDeque;
use std::fmt;
use std::task::{Context, Poll};

use crate::handlers::reply::{FrameFuture, Reply, ReplyFuture, ResponseFrame};

enum Slot {
    Ready(ResponseFrame),
    Pending(FrameFuture),
}

/// Ordered ready-or-pending answers.
#[derive(Default)]
pub struct Pipeline {
    slots: VecDeque<Slot>,
    pending: usize,
    /// The request that holds up those behind it.
    held: Option<ReplyFuture>,
    /// What became of it.
    released: Option<Reply>,
    /// Bytes of the answers that are there and wait for one before them.
    ready_bytes: usize,
}

impl fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipeline")
            .field("slots", &self.slots.len())
            .field("pending", &self.pending)
            .field("held", &self.held.is_some())
            .finish_non_exhaustive()
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

    /// Adds a request that holds up those behind it. What becomes of it is there for [`Self::take_released`] when it is
    /// done, and is to be queued before anything else.
    ///
    /// # Panics
    /// When there is one already: nothing is handled behind it.
    pub fn hold(&mut self, future: ReplyFuture) {
        assert!(
            !self.is_held(),
            "nothing is handled behind a request that holds up others"
        );
        self.held = Some(future);
    }

    /// Whether no further request may be handled.
    pub fn is_held(&self) -> bool {
        self.held.is_some() || self.released.is_some()
    }

    /// What became of the request that held up others, once.
    pub fn take_released(&mut self) -> Option<Reply> {
        self.released.take()
    }

    /// Answers owed. A request that holds up others counts, though it may end without one.
    pub fn len(&self) -> usize {
        self.slots.len() + usize::from(self.is_held())
    }

    /// Bytes of answers that are there but may not leave yet.
    pub fn ready_bytes(&self) -> usize {
        self.ready_bytes
    }

    /// Whether no answer is owed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether some answers are not there yet.
    pub fn has_pending(&self) -> bool {
        self.pending > 0 || self.held.is_some()
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

    /// Polls every waiting answer, and the request that holds up others; ready when at least one came.
    pub fn poll_pending(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut came = 0;
        if let Some(held) = &mut self.held
            && let Poll::Ready(reply) = held.as_mut().poll(cx)
        {
            (self.held, self.released) = (None, Some(reply));
        }
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
        if came > 0 || self.released.is_some() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
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

    #[tokio::test]
    async fn a_request_that_holds_up_others_is_owed_until_it_is_done() {
        let mut pipeline = Pipeline::default();
        let (done, when_done) = oneshot::channel();
        pipeline.push_ready(frame("first"));
        pipeline.hold(Box::pin(async move { when_done.await.expect("sent") }));
        assert_eq!(
            (pipeline.len(), pipeline.is_held(), pipeline.has_pending()),
            (2, true, true)
        );
        assert!(pipeline.pop_ready().is_some(), "what is before it leaves");
        assert!(!pipeline.is_empty());
        done.send(Reply::Silent).expect("receiver lives");
        std::future::poll_fn(|cx| pipeline.poll_pending(cx)).await;
        assert!(
            pipeline.is_held() && !pipeline.is_empty(),
            "until somebody takes what became of it"
        );
        assert!(matches!(pipeline.take_released(), Some(Reply::Silent)));
        assert!(pipeline.is_empty() && !pipeline.is_held() && !pipeline.has_pending());
        assert!(pipeline.take_released().is_none());
    }
}
