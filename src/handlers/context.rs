//! What a handler knows about its request and the services it may use.
//!
//! Invariant: a handler holds no state of its own; everything it changes belongs to one of the [`Services`].

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use kafka_protocol::protocol::{Encodable, StrBytes};
use protocol::encode::{EncodeError, encode_response};
use protocol::types::Now;
use tokio::sync::watch;

use crate::config::live::LiveConfig;
use crate::config::value::Listener;
use crate::controller::producer_ids::ProducerIds;
use crate::controller::queue::Controller;
use crate::coordinator::GroupCoordinator;
use crate::env::Env;
use crate::fetch_session::cache::FetchSessionCache;
use crate::handlers::reply::{Reply, ResponseFrame};
use crate::metadata::publisher::MetadataPublisher;
use crate::partition::cold_reads::ColdReads;
use crate::partition::hosting::Hosting;
use crate::partition::registry::PartitionRegistry;

/// The parts of the broker that handlers call. One per process, shared by all requests.
#[derive(Debug)]
pub struct Services {
    /// This broker's id.
    pub node_id: i32,
    /// Clock, entropy, file system.
    pub env: Env,
    /// The configuration in force; what was loaded holds for one request at most.
    pub config: Arc<LiveConfig>,
    /// The published metadata image.
    pub publisher: Arc<MetadataPublisher>,
    /// Reads that wait for the disk.
    pub cold_reads: Arc<ColdReads>,
    /// Incremental fetch sessions.
    pub fetch_sessions: FetchSessionCache,
    /// Log directories and what of partitions must be in them.
    pub hosting: Hosting,
    /// Partitions hosted here.
    pub partitions: Arc<PartitionRegistry>,
    /// Changes of metadata.
    pub controller: Arc<Controller>,
    /// Ids for idempotent producers.
    pub producer_ids: Arc<ProducerIds>,
    /// Consumer groups and their offsets.
    pub groups: Arc<GroupCoordinator>,
    /// Becomes true when the broker stops: waits end at once.
    pub stopping: watch::Receiver<bool>,
}

impl Services {
    /// Ready when the broker stops.
    pub async fn stopped(&self) {
        let mut stopping = self.stopping.clone();
        // a dropped sender means that the broker is gone
        let _stopped = stopping.wait_for(|stopping| *stopping).await;
    }
}

/// One request: where it came from and how to answer it.
#[derive(Debug)]
pub struct RequestContext {
    /// What handlers call.
    pub services: Arc<Services>,
    /// Kafka's API key.
    pub api_key: i16,
    /// Version of request and response.
    pub api_version: i16,
    /// Echoed in the response header.
    pub correlation_id: i32,
    /// The client's name for itself; "" when it sent null.
    pub client_id: StrBytes,
    /// Where the client is.
    pub peer: SocketAddr,
    /// The address that the client dialled.
    pub local: SocketAddr,
    /// The listener that accepted the connection.
    pub listener: Arc<Listener>,
}

impl RequestContext {
    /// Answers now with `response`.
    pub fn reply(&self, response: &impl Encodable) -> Reply {
        Reply::Now(self.frame(response))
    }

    /// Encodes `response` for this request. A response that sets what the version cannot say is a fault of the handler;
    /// it costs the client its connection and nobody else anything.
    pub fn frame(&self, response: &impl Encodable) -> ResponseFrame {
        match encode_response(self.api_key, self.api_version, self.correlation_id, response) {
            Ok(frame) => ResponseFrame::Whole(frame),
            Err(error) => self.unencodable(&error),
        }
    }

    /// What is sent in place of a response that cannot be written.
    pub(super) fn unencodable(&self, error: &EncodeError) -> ResponseFrame {
        let (api_key, api_version) = (self.api_key, self.api_version);
        tracing::error!(peer = %self.peer, api_key, api_version, %error, "response cannot be written");
        ResponseFrame::Unencodable
    }

    /// Answers with what `future` gives, while the connection goes on with the next request.
    pub fn later<R: Encodable>(self: &Arc<Self>, future: impl Future<Output = R> + Send + 'static) -> Reply {
        let cx = Arc::clone(self);
        Reply::Later(Box::pin(async move {
            let response = future.await;
            cx.frame(&response)
        }))
    }

    /// The same context without a slice of the request's frame, for answers that wait: a frame can be large.
    pub(super) fn without_frame(&self) -> Self {
        Self {
            services: Arc::clone(&self.services),
            client_id: StrBytes::from_string(self.client_id.to_string()),
            listener: Arc::clone(&self.listener),
            ..*self
        }
    }

    /// The time, read once per use.
    pub fn now(&self) -> Now {
        self.services.env.now()
    }

    /// Host and port that clients of this listener are told: what `advertised.listeners` says, else what they dialled.
    pub fn advertised_endpoint(&self) -> (StrBytes, i32) {
        match &self.listener.advertised {
            Some((host, port)) => (StrBytes::from_string(host.clone()), i32::from(*port)),
            None => (
                StrBytes::from_string(dialled_host(self.local)),
                i32::from(self.local.port()),
            ),
        }
    }
}

/// The host part of the dialled address, with IPv4 clients of a dual-stack socket told an IPv4 address.
fn dialled_host(local: SocketAddr) -> String {
    local.ip().to_canonical().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapped_ipv4_address_is_told_as_ipv4() {
        assert_eq!(
            dialled_host("[::ffff:10.1.2.3]:9092".parse().expect("address")),
            "10.1.2.3"
        );
        assert_eq!(dialled_host("[::1]:9092".parse().expect("address")), "::1");
    }
}
