//! Counts the time that requests take, while a quota on it is set.
//!
//! What counts is the time of a worker: that of the handler, of every step of an answer that waits, and of reading and
//! writing the socket since the request before. 100 is one thread all the time, as in Kafka, where reading, handling and
//! writing have threads of their own. A request without an answer (acks=0) is not held, as in Kafka; its time is charged
//! to nobody. Unlike in Kafka, a Fetch response that is throttled for its time is sent with its records: they are read
//! already, and the wait is the same.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;

use crate::handlers;
use crate::handlers::context::RequestContext;
use crate::handlers::reply::{FrameFuture, Reply, ReplyFuture, ResponseFrame};

/// Handles a request and charges its client with the time.
pub(super) fn handle(cx: &Arc<RequestContext>, body: Bytes) -> Reply {
    let began = Instant::now();
    let reply = handlers::handle(cx, body);
    let spent = nanos_since(began).saturating_add(cx.session.take_network_nanos());
    settle_reply(cx, spent, reply)
}

/// Charges for an answer that is there, and sees to it that one that waits is charged for.
fn settle_reply(cx: &RequestContext, spent: u64, reply: Reply) -> Reply {
    match reply {
        Reply::Now(frame) => Reply::Now(settle(cx, spent, frame)),
        Reply::Later(answer) => Reply::Later(Box::pin(Timed {
            cx: cx.without_frame(),
            spent,
            answer,
        })),
        Reply::Hold(held) => Reply::Hold(Box::pin(TimedHold {
            cx: cx.without_frame(),
            spent,
            held,
        })),
        Reply::Silent | Reply::Close(_) => reply,
    }
}

/// An answer that waits; only the time of its steps counts.
struct Timed {
    cx: RequestContext,
    spent: u64,
    answer: FrameFuture,
}

impl Future for Timed {
    type Output = ResponseFrame;

    fn poll(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<ResponseFrame> {
        let began = Instant::now();
        let polled = self.answer.as_mut().poll(task);
        self.spent = self.spent.saturating_add(nanos_since(began));
        polled.map(|frame| settle(&self.cx, self.spent, frame))
    }
}

/// The same for a request that holds up others.
struct TimedHold {
    cx: RequestContext,
    spent: u64,
    held: ReplyFuture,
}

impl Future for TimedHold {
    type Output = Reply;

    fn poll(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Reply> {
        let began = Instant::now();
        let polled = self.held.as_mut().poll(task);
        self.spent = self.spent.saturating_add(nanos_since(began));
        polled.map(|reply| settle_reply(&self.cx, self.spent, reply))
    }
}

fn nanos_since(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

fn settle(cx: &RequestContext, spent: u64, frame: ResponseFrame) -> ResponseFrame {
    let throttle_time_ms = cx.services.quotas.charge_request(cx.client(), spent, cx.now().mono_ms);
    if throttle_time_ms == 0 {
        return frame;
    }
    cx.session.throttle(throttle_time_ms);
    frame.throttled(cx.api_key, cx.api_version, throttle_time_ms)
}
