//! From a frame to its handler: header, API table, context.
//!
//! Invariants: an API or version that is not served closes the connection without an answer (Kafka's `SocketServer`),
//! but ApiVersions in an unknown version is answered in version 0; a handler is only called for what the table serves.

mod timed;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::messages::ApiKey;
use protocol::api;
use protocol::header::peek_request_header;

use crate::config::value::Listener;
use crate::handlers::context::{RequestContext, Services};
use crate::handlers::reply::Reply;
use crate::handlers::session::Session;
use crate::handlers::{self, api_versions};
use crate::quota::clients::QuotaKind;

/// Where a request came in.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The client's address.
    pub peer: SocketAddr,
    /// The address that it dialled.
    pub local: SocketAddr,
    /// The listener that accepted it.
    pub listener: Arc<Listener>,
    /// Who the client is, and how long it has to wait.
    pub session: Arc<Session>,
}

/// Whether a request's bytes go on from the frame to their place without a copy: only Produce carries such.
pub fn is_used_in_place(frame: &[u8]) -> bool {
    frame.starts_with(&api::PRODUCE.to_be_bytes())
}

/// Finds handlers for frames.
#[derive(Debug)]
pub struct Dispatcher {
    services: Arc<Services>,
}

impl Dispatcher {
    /// Dispatches to handlers that use these services.
    pub fn new(services: Arc<Services>) -> Self {
        Self { services }
    }

    /// Takes the next frames (without their length prefixes) that are handled together off the front, at least one, and
    /// handles them; one reply each, in order. Behind a reply that closes the connection, or holds it up, nothing is
    /// handled.
    ///
    /// # Panics
    /// When there is no frame.
    pub fn dispatch(&self, origin: &Origin, frames: &mut VecDeque<Bytes>) -> Vec<Reply> {
        let first = frames.front().expect("called with a frame");
        let (cx, body) = match self.request(origin, first) {
            Ok(request) => request,
            Err(reply) => {
                frames.pop_front();
                return vec![reply];
            }
        };
        if !handlers::goes_together(cx.api_key) || self.services.quotas.holds_requests() {
            frames.pop_front();
            return vec![self.handle(&cx, body)];
        }
        let mut together = vec![(cx, body)];
        for frame in frames.iter().skip(1) {
            match self.request(origin, frame) {
                Ok((cx, body)) if handlers::goes_together(cx.api_key) => together.push((cx, body)),
                // handled, or refused, at the next call
                _ => break,
            }
        }
        let replies = handlers::handle_together(together);
        frames.drain(..replies.len());
        replies
    }

    /// Whether the time that requests take is counted now.
    pub fn counts_time(&self) -> bool {
        self.services.quotas.is_active(QuotaKind::Request)
    }

    fn handle(&self, cx: &Arc<RequestContext>, body: Bytes) -> Reply {
        if self.counts_time() {
            timed::handle(cx, body)
        } else {
            handlers::handle(cx, body)
        }
    }

    /// The request in a frame, or what to do with a frame that holds none for a handler.
    fn request(&self, origin: &Origin, frame: &Bytes) -> Result<(Arc<RequestContext>, Bytes), Reply> {
        let (header, body) = peek_request_header(frame).map_err(|error| {
            tracing::debug!(peer = %origin.peer, %error, "malformed request header");
            Reply::Close("malformed request header")
        })?;
        if !api::find(header.api_key).is_some_and(|api| api.serves(header.api_version)) {
            if header.api_key == ApiKey::ApiVersions as i16 {
                return Err(Reply::Now(api_versions::unsupported_version(header.correlation_id)));
            }
            let (api_key, api_version) = (header.api_key, header.api_version);
            tracing::debug!(peer = %origin.peer, api_key, api_version, "not served");
            return Err(Reply::Close("API or version not served"));
        }
        let cx = Arc::new(RequestContext {
            services: Arc::clone(&self.services),
            api_key: header.api_key,
            api_version: header.api_version,
            correlation_id: header.correlation_id,
            client_id: header.client_id.unwrap_or_default(),
            size_bytes: frame.len(),
            peer: origin.peer,
            local: origin.local,
            listener: Arc::clone(&origin.listener),
            session: Arc::clone(&origin.session),
        });
        Ok((cx, body))
    }
}
