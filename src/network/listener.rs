//! A listening socket: accepts, counts, hands each connection to a task of its own.
//!
//! Invariants: running out of descriptors slows accepting down, it never spins nor ends the broker; a connection above
//! `max.connections.per.ip` is accepted and closed at once, at `max.connections` and above `max.connection.creation.rate`
//! the acceptor waits; one above the rate of its address is held for a while and then closed.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::config::value::Listener;
use crate::env::Env;
use crate::network::connection::{Connection, ConnectionShared};
use crate::network::limits::{ConnectionCounts, ConnectionSlot};
use crate::quota::connections::ConnectionRates;

/// Pause after an accept that failed for lack of descriptors or memory.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);
/// Answers that the kernel takes from us before it has sent them. Without a bound a client that does not read is given
/// megabytes, and a thousand of them use up what the kernel has for all sockets: then good clients wait for seconds. The
/// buffer still grows with what is under way, so this costs a fast reader nothing.
#[cfg(target_os = "linux")]
const UNSENT_BYTES: u32 = 128 << 10;

/// Sizes that the system is asked for on each socket.
#[derive(Debug, Clone, Copy)]
pub struct SocketOptions {
    /// `socket.listen.backlog.size`
    pub backlog: i32,
    /// `socket.send.buffer.bytes`; `None` leaves it to the system.
    pub send_buffer_bytes: Option<usize>,
    /// `socket.receive.buffer.bytes`; `None` leaves it to the system.
    pub receive_buffer_bytes: Option<usize>,
}

/// Binds a listener's address.
///
/// # Errors
/// With the address in the text: port in use, no permission, unknown host.
pub fn bind(listener: &Listener, options: SocketOptions) -> io::Result<std::net::TcpListener> {
    let address = resolve(listener)?;
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    if let Some(bytes) = options.receive_buffer_bytes {
        socket.set_recv_buffer_size(bytes)?;
    }
    if let Some(bytes) = options.send_buffer_bytes {
        socket.set_send_buffer_size(bytes)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(options.backlog)?;
    Ok(socket.into())
}

/// The address to listen on; an empty host means every interface.
fn resolve(listener: &Listener) -> io::Result<SocketAddr> {
    if listener.host.is_empty() {
        let any_v6 = SocketAddr::from(([0_u16; 8], listener.port));
        let has_v6 = Socket::new(Domain::IPV6, Type::STREAM, Some(Protocol::TCP)).is_ok();
        return Ok(if has_v6 {
            any_v6
        } else {
            SocketAddr::from(([0, 0, 0, 0], listener.port))
        });
    }
    let mut found = (listener.host.as_str(), listener.port).to_socket_addrs()?;
    found
        .next()
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the host name has no address"))
}

/// What a listener takes connections by.
#[derive(Debug)]
pub struct Acceptor {
    /// What its connections share.
    pub shared: ConnectionShared,
    /// How many there may be.
    pub counts: Arc<ConnectionCounts>,
    /// How fast they may come.
    pub rates: Arc<ConnectionRates>,
    /// How many of those that came too fast are held before they are closed.
    pub throttled: Arc<Semaphore>,
    /// The clock.
    pub env: Env,
}

/// Accepts until the broker stops, then waits for the connections to finish what they owe.
///
/// # Errors
/// When the socket cannot be registered with the runtime.
pub async fn serve(
    socket: std::net::TcpListener,
    acceptor: Acceptor,
    mut stopping: watch::Receiver<bool>,
) -> io::Result<()> {
    let listener = TcpListener::from_std(socket)?;
    let mut connections = JoinSet::new();
    let stop = async {
        // the value that comes with it holds a lock and must not live on; a sender that is gone means the same
        drop(stopping.wait_for(|stopping| *stopping).await);
    };
    let mut stop = std::pin::pin!(stop);
    // accepted, but above max.connection.creation.rate or max.connections: waits here, and nobody else is accepted meanwhile
    let mut waiting: Option<(TcpStream, SocketAddr)> = None;
    let mut not_before = Instant::now();
    loop {
        tokio::select! {
            biased;
            () = &mut stop => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            slot = slot(&acceptor.counts, not_before), if waiting.is_some() => {
                let (stream, peer) = waiting.take().expect("checked");
                acceptor.admit(&mut connections, stream, peer, slot);
            }
            accepted = listener.accept(), if waiting.is_none() => match accepted {
                Ok(accepted) => {
                    waiting = Some(accepted);
                    not_before = acceptor.earliest();
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_BACKOFF).await;
                }
            },
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
    Ok(())
}

async fn slot(counts: &Arc<ConnectionCounts>, not_before: Instant) -> ConnectionSlot {
    if not_before > Instant::now() {
        tokio::time::sleep_until(not_before).await;
    }
    counts.slot().await
}

impl Acceptor {
    /// When the connection that was just accepted may be served.
    fn earliest(&self) -> Instant {
        let wait_ms = self.rates.accept(&self.shared.listener.name, self.env.now().mono_ms);
        Instant::now() + Duration::from_millis(u64::try_from(wait_ms).unwrap_or(0))
    }

    fn admit(&self, connections: &mut JoinSet<()>, stream: TcpStream, peer: SocketAddr, slot: ConnectionSlot) {
        let listener = &self.shared.listener.name;
        if let Some(wait_ms) = self.rates.admit(listener, peer.ip(), self.env.now().mono_ms) {
            tracing::debug!(%peer, wait_ms, "to be closed: connection_creation_rate of the address is reached");
            self.hold(
                connections,
                stream,
                Duration::from_millis(u64::try_from(wait_ms).unwrap_or(0)),
            );
            return;
        }
        match self.counts.count(peer.ip(), slot) {
            Some(count) => start(connections, stream, peer, &self.shared, count),
            None => tracing::debug!(%peer, "closed: max.connections.per.ip is reached"),
        }
    }

    /// Closes a connection that came too fast, but not at once: its client would only come again.
    fn hold(&self, connections: &mut JoinSet<()>, stream: TcpStream, wait: Duration) {
        let Ok(permit) = Arc::clone(&self.throttled).try_acquire_owned() else {
            return;
        };
        let mut stopping = self.shared.stopping.clone();
        connections.spawn(async move {
            // ends early when the broker stops; either way the connection is closed now
            let _stopped = tokio::time::timeout(wait, stopping.wait_for(|stopping| *stopping))
                .await
                .is_ok();
            drop((stream, permit));
        });
    }
}

fn start(
    connections: &mut JoinSet<()>,
    stream: TcpStream,
    peer: SocketAddr,
    shared: &ConnectionShared,
    count: crate::network::limits::ConnectionCount,
) {
    let connection = set_options(&stream).and_then(|()| Connection::new(stream, peer, shared.clone(), count));
    match connection {
        Ok(connection) => {
            connections.spawn(connection.serve());
        }
        Err(error) => tracing::debug!(%peer, %error, "the connection was gone before it was served"),
    }
}

/// Small answers must not wait for the acknowledgement of earlier ones; a peer that vanished is noticed some day; and
/// clients that do not read must not fill the memory that the kernel has for the sockets of all.
fn set_options(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = socket2::SockRef::from(stream);
    socket.set_keepalive(true)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_notsent_lowat(UNSENT_BYTES)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn the_kernel_holds_little_that_a_client_does_not_read() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let (accepted, connected) = tokio::join!(listener.accept(), TcpStream::connect(address));
        let ((stream, _), _client) = (accepted.expect("accepted"), connected.expect("connected"));
        set_options(&stream).expect("set");
        assert!(stream.nodelay().expect("read"));
        let mut taken = 0;
        // nobody reads: what the client's window does not take stays here
        while let Ok(bytes) = stream.try_write(&[7; 64 << 10]) {
            taken += bytes;
            tokio::task::yield_now().await;
        }
        assert!(taken < 1 << 20, "{taken} bytes were taken");
    }
}
