//! Binds the listeners and starts the tasks that accept.
//!
//! Invariant: every connection is served within the limits that are set here, by their config names.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::JoinSet;

use super::error::StartError;
use crate::config::broker::BrokerConfig;
use crate::config::value::Listener;
use crate::dispatch::Dispatcher;
use crate::handlers::context::Services;
use crate::network::connection::ConnectionShared;
use crate::network::limits::{ConnectionCounts, ConnectionLimits, CountLimits};
use crate::network::listener::{self, SocketOptions};
use crate::network::memory::RequestMemory;

/// Answers that a connection may be owed before it is read on.
const MAX_IN_FLIGHT: usize = 64;

/// Bytes of answers that may wait for a socket before the connection is read on.
const MAX_OUTBOX_BYTES: usize = 8 << 20;

/// A large frame that stalls so long is given up while others wait for memory.
const STALLED_FRAME: Duration = Duration::from_secs(10);

/// The tasks that accept, and what they are bound to.
pub(super) type Serving = (JoinSet<()>, Vec<(Arc<Listener>, SocketAddr)>);

pub(super) fn bind(config: &BrokerConfig) -> Result<Vec<(Arc<Listener>, std::net::TcpListener)>, StartError> {
    let size = |bytes: i32| usize::try_from(bytes).ok();
    let options = SocketOptions {
        backlog: config.socket_listen_backlog_size,
        send_buffer_bytes: size(config.socket_send_buffer_bytes),
        receive_buffer_bytes: size(config.socket_receive_buffer_bytes),
    };
    let bind = |configured: &Listener| match listener::bind(configured, options) {
        Ok(socket) => Ok((Arc::new(configured.clone()), socket)),
        Err(source) => Err(StartError::Bind {
            listener: configured.to_string(),
            source,
        }),
    };
    config.resolved.listeners.iter().map(bind).collect()
}

/// The limits of all connections together that a configuration sets.
pub(super) fn connection_counts(config: &BrokerConfig) -> CountLimits {
    let limit = |value: i32| usize::try_from(value).unwrap_or(usize::MAX);
    let overrides = &config.resolved.max_connections_per_ip_overrides;
    CountLimits {
        max_connections: limit(config.max_connections),
        max_per_ip: limit(config.max_connections_per_ip),
        max_per_ip_overrides: overrides.iter().map(|(ip, most)| (*ip, limit(*most))).collect(),
    }
}

pub(super) fn serve(
    services: &Arc<Services>,
    counts: &Arc<ConnectionCounts>,
    sockets: Vec<(Arc<Listener>, std::net::TcpListener)>,
    data: &Handle,
) -> Result<Serving, StartError> {
    let config = services.config.at_start();
    let unlimited_when_negative = |value: i64| usize::try_from(value).unwrap_or(usize::MAX);
    let limits = Arc::new(ConnectionLimits {
        request_max_bytes: unlimited_when_negative(config.socket_request_max_bytes.into()),
        max_idle: match u64::try_from(config.connections_max_idle_ms) {
            Ok(ms) => Duration::from_millis(ms),
            // a negative value never closes one: a year is as good
            Err(_) => Duration::from_secs(365 * 24 * 3600),
        },
        max_in_flight: MAX_IN_FLIGHT,
        max_outbox_bytes: MAX_OUTBOX_BYTES,
        stalled_frame: STALLED_FRAME,
    });
    let dispatcher = Arc::new(Dispatcher::new(Arc::clone(services)));
    let memory = RequestMemory::new(unlimited_when_negative(config.queued_max_request_bytes));
    let mut serving = JoinSet::new();
    let mut bound = Vec::new();
    for (listener, socket) in sockets {
        let failed = |source| StartError::Bind {
            listener: listener.to_string(),
            source,
        };
        bound.push((Arc::clone(&listener), socket.local_addr().map_err(failed)?));
        let shared = ConnectionShared {
            dispatcher: Arc::clone(&dispatcher),
            memory: Arc::clone(&memory),
            cold_reads: Arc::clone(&services.cold_reads),
            limits: Arc::clone(&limits),
            listener,
            stopping: services.stopping.clone(),
        };
        let (counts, stopping) = (Arc::clone(counts), services.stopping.clone());
        serving.spawn_on(
            async move {
                if let Err(error) = listener::serve(socket, shared, counts, stopping).await {
                    tracing::error!(%error, "a listener ended");
                }
            },
            data,
        );
    }
    Ok((serving, bound))
}
