//! What a handler knows about its request and the services it may use.
//!
//! Invariant: a handler holds no state of its own; everything it changes belongs to one of the [`Services`].

use std::any::Any;
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
use crate::coordinator::markers::MarkerWriter;
use crate::coordinator::transaction::TransactionCoordinator;
use crate::env::Env;
use crate::fetch_session::cache::FetchSessionCache;
use crate::handlers::fetch::copies::CopyRoom;
use crate::handlers::reply::{Reply, ResponseFrame};
use crate::handlers::session::Session;
use crate::metadata::publisher::MetadataPublisher;
use crate::partition::cold_reads::ColdReads;
use crate::partition::hosting::Hosting;
use crate::partition::registry::PartitionRegistry;
use crate::quota::clients::{FetchCharge, QuotaKind, Quotas};
use crate::quota::limits::Client;
use crate::quota::mutations::MutationQuota;

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
    /// Room for copies of records in answers.
    pub copies: CopyRoom,
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
    /// Transactional ids and their transactions.
    pub transactions: Arc<TransactionCoordinator>,
    /// Ends of transactions, on their way into this broker's partitions.
    pub markers: Arc<MarkerWriter>,
    /// What clients may do.
    pub quotas: Arc<Quotas>,
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
    /// Bytes of the request, header and body.
    pub size_bytes: usize,
    /// Where the client is.
    pub peer: SocketAddr,
    /// The address that the client dialled.
    pub local: SocketAddr,
    /// The listener that accepted the connection.
    pub listener: Arc<Listener>,
    /// Who the client is, and how long it has to wait.
    pub session: Arc<Session>,
}

impl RequestContext {
    /// Answers now with `response`.
    pub fn reply<R: Encodable + Any>(&self, response: &R) -> Reply {
        Reply::Now(self.frame(response))
    }

    /// Encodes `response` for this request. A response that sets what the version cannot say is a fault of the handler;
    /// it costs the client its connection and nobody else anything.
    pub fn frame<R: Encodable + Any>(&self, response: &R) -> ResponseFrame {
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
    pub fn later<R: Encodable + Any>(self: &Arc<Self>, future: impl Future<Output = R> + Send + 'static) -> Reply {
        let cx = Arc::clone(self);
        Reply::Later(Box::pin(async move {
            let response = future.await;
            cx.frame(&response)
        }))
    }

    /// The same context without a slice of the request's frame, for answers that wait: a frame can be large.
    pub fn without_frame(&self) -> Self {
        Self {
            services: Arc::clone(&self.services),
            client_id: StrBytes::from_string(self.client_id.to_string()),
            listener: Arc::clone(&self.listener),
            session: Arc::clone(&self.session),
            ..*self
        }
    }

    /// The time, read once per use.
    pub fn now(&self) -> Now {
        self.services.env.now()
    }

    /// Whom quotas are for.
    pub fn client(&self) -> Client<'_> {
        Client {
            user: &self.session.principal.name,
            client_id: &self.client_id,
        }
    }

    /// Counts this Produce request for the client's quota; gives the throttle time for the answer.
    pub fn charge_produce(&self) -> i32 {
        let quotas = &self.services.quotas;
        if !quotas.is_active(QuotaKind::Produce) {
            return 0;
        }
        let throttle_time_ms = quotas.charge_produce(self.client(), self.size_bytes, self.now().mono_ms);
        self.session.throttle(throttle_time_ms);
        throttle_time_ms
    }

    /// Most bytes of records that the client's quota lets a Fetch response hold now; never 0.
    pub fn fetch_quota_bytes(&self) -> usize {
        let quotas = &self.services.quotas;
        if quotas.is_active(QuotaKind::Fetch) {
            quotas.fetch_max_bytes(self.client(), self.now().mono_ms)
        } else {
            usize::MAX
        }
    }

    /// Counts a Fetch response with so many bytes of records, unless the client's quota keeps it back. Either way the
    /// answer tells the throttle time; what is kept back is answered without any topic, and its session stays as it is.
    pub fn charge_fetch(&self, records_bytes: usize) -> FetchCharge {
        let quotas = &self.services.quotas;
        if records_bytes == 0 || !quotas.is_active(QuotaKind::Fetch) {
            return FetchCharge::Send(0);
        }
        let charge = quotas.charge_fetch(self.client(), records_bytes, self.now().mono_ms);
        let (FetchCharge::Send(throttle_time_ms) | FetchCharge::Withhold(throttle_time_ms)) = charge;
        self.session.throttle(throttle_time_ms);
        charge
    }

    /// The client's quota on changes of partitions; strict, so that it refuses, from a version of the request on.
    pub fn mutation_quota(&self, strict_from: i16) -> MutationQuota {
        MutationQuota::new(&self.services.quotas, self.client(), self.api_version >= strict_from)
    }

    /// The throttle time for the answer to a request that was held to `quota`.
    pub fn settle_mutations(&self, quota: &MutationQuota) -> i32 {
        let throttle_time_ms = quota.throttle_time_ms(self.now().mono_ms);
        self.session.throttle(throttle_time_ms);
        throttle_time_ms
    }

    /// Host and port that clients of this listener are told: what `advertised.listeners` says now, else what they dialled.
    pub fn advertised_endpoint(&self) -> (StrBytes, i32) {
        let config = self.services.config.load();
        let mut listeners = config.resolved.listeners.iter();
        match listeners
            .find(|listener| listener.name == self.listener.name)
            .and_then(|listener| listener.advertised.as_ref())
        {
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
