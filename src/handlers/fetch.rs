//! Fetch (1), versions 4-18.
//!
//! Answers when `min_bytes` are there, on any error but an unknown partition among others, or after `max_wait_ms`, woken by the append itself. The first
//! partition with data gives at least one whole batch whatever the limits say; order in the request, or in the session, is
//! priority. A partition that is named twice counts once, with what is said last (`FetchRequest.fetchData`). Versions: 5
//! log start offset, 7 sessions (KIP-227), 9 leader epochs (KIP-320), 12 last fetched epoch and flexible, 13 topic ids, 16
//! current leader (KIP-951). Records of an empty or failed partition are empty, never null. A request in the name of a
//! replica gets NOT_LEADER_OR_FOLLOWER (6) and no session: this broker has no followers. With a quota of its client a
//! response holds no more records than the quota has room for; one that the quota keeps back has no topics, and its
//! session stays as it is (`FetchContext.getThrottledResponse`). One that looks at very many partitions is answered at once.

mod answer;
pub mod copies;
mod look;
mod session;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use protocol::error_code::ErrorCode;
use protocol::wire::fetch::FetchRequest;

use self::look::{Cold, Limits, Looks, Which};
use self::session::{Begun, Context, Parked};
use crate::handlers::context::RequestContext;
use crate::handlers::reply::{Reply, ResponseFrame};
use crate::partition::read::Isolation;

/// What a frame can hold, less what may stand around the records (every partition of the longest request).
const RECORDS_MAX_BYTES: usize = (1 << 31) - (256 << 20);

/// Reads, and waits if that is not enough.
pub fn handle(cx: &Arc<RequestContext>, body: Bytes) -> Reply {
    let request = match FetchRequest::read(cx.api_version, &body) {
        Ok(request) => request,
        Err(error) => {
            tracing::debug!(peer = %cx.peer, %error, "malformed Fetch request");
            return Reply::Close("malformed Fetch request");
        }
    };
    let mut fetch = match Fetch::begin(cx, &request) {
        Ok(fetch) => fetch,
        Err(code) => return Reply::Now(answer::refuse(cx, code, 0)),
    };
    let looked = fetch.looks.look(&Which::All, false);
    if looked.is_ok() && fetch.is_complete() {
        return Reply::Now(fetch.answer());
    }
    // who waits does not hold the request's frame
    fetch.cx = Arc::new(cx.without_frame());
    Reply::Later(Box::pin(fetch.finish(looked)))
}

/// A request on its way to its answer.
#[derive(Debug)]
struct Fetch {
    cx: Arc<RequestContext>,
    max_wait: Duration,
    can_wait: bool,
    looks: Looks,
    context: Context,
}

impl Fetch {
    fn begin(cx: &Arc<RequestContext>, request: &FetchRequest) -> Result<Self, ErrorCode> {
        let isolation = match (request.replica_id, request.isolation_level) {
            (-2, _) => Isolation::LogEnd,
            (_, 1) => Isolation::ReadCommitted,
            _ => Isolation::ReadUncommitted,
        };
        let limit = usize::try_from(cx.services.config.load().fetch_max_bytes).unwrap_or(0);
        let max_bytes = usize::try_from(request.max_bytes)
            .unwrap_or(0)
            .min(limit)
            .min(RECORDS_MAX_BYTES)
            .min(cx.fetch_quota_bytes());
        let min_bytes = usize::try_from(request.min_bytes).unwrap_or(0).min(max_bytes);
        let limits = Limits {
            isolation,
            max_bytes,
            min_bytes,
            from_replica: request.replica_id >= 0,
        };
        let Begun {
            context,
            looked,
            can_wait,
        } = session::begin(cx, request)?;
        Ok(Self {
            cx: Arc::clone(cx),
            max_wait: Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0)),
            can_wait,
            looks: Looks::new(limits, looked),
            context,
        })
    }

    /// Whether the answer need not wait for anything.
    fn is_complete(&self) -> bool {
        self.max_wait.is_zero() || !self.can_wait || self.looks.missing_bytes().is_none()
    }

    async fn finish(mut self, looked: Result<(), Cold>) -> ResponseFrame {
        if looked.is_err() {
            self = self.look_on_disk(Which::All).await;
            if self.is_complete() {
                return self.answer();
            }
        }
        self.wait().await
    }

    async fn wait(mut self) -> ResponseFrame {
        let services = Arc::clone(&self.cx.services);
        let mut timeout = std::pin::pin!(tokio::time::sleep(self.max_wait));
        let mut stopped = std::pin::pin!(services.stopped());
        let mut parked = Parked::new(&mut self);
        // of what came before the watch began nobody tells again
        self = self.look(Which::All).await;
        let mut over = false;
        while let Some(missing) = self.looks.missing_bytes().filter(|_| !over) {
            tokio::select! {
                more = parked.wait.wait_for(missing) => over = !more,
                () = timeout.as_mut() => over = true,
                () = stopped.as_mut() => over = true,
            }
            let told = parked.told(&mut self);
            self = self.look(told).await;
        }
        drop(parked);
        self.answer()
    }

    async fn look(mut self, which: Which) -> Self {
        match self.looks.look(&which, false) {
            Ok(()) => self,
            Err(Cold) => self.look_on_disk(which).await,
        }
    }

    async fn look_on_disk(mut self, which: Which) -> Self {
        let cold_reads = Arc::clone(&self.cx.services.cold_reads);
        let look = move || {
            let looked = self.looks.look(&which, true);
            looked.expect("a look that may wait is made");
            self.looks.warm();
            self
        };
        cold_reads.run(look).await
    }
}
