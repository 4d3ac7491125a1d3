//! What reaches a shard: requests of clients, markers of transactions, and news from inside the broker.
//!
//! Invariants: a request or a marker is refused when the mailbox is full, news waits until there is room; nobody who may still send
//! news keeps a shard alive.

use protocol::error_code::ErrorCode;
use tokio::sync::mpsc;

use super::machine::Machine;
use super::release::{Client, answer};
use crate::partition::marker::Marker;

/// Something for a shard to do.
#[derive(Debug)]
pub(super) enum Message<M: Machine> {
    /// A client's request and the way to answer it.
    Request(Box<M::Request>, Client<M::Reply>),
    /// News that nobody waits for.
    Event(M::Event),
    /// The marker that ends a producer's transaction in the shard's log, and whoever waits until it is committed.
    Marker(Marker, Client<()>),
}

impl<M: Machine> Message<M> {
    /// For a shard that has ended.
    pub(super) fn refuse(self, error: ErrorCode) {
        match self {
            Self::Request(_, client) => answer(client, Err(error)),
            Self::Marker(_, client) => answer(client, Err(error)),
            Self::Event(_) => {}
        }
    }
}

/// The way by which an effect tells its shard how it went.
#[derive(Debug)]
pub struct EventSender<M: Machine> {
    mailbox: mpsc::WeakSender<Message<M>>,
}

impl<M: Machine> Clone for EventSender<M> {
    fn clone(&self) -> Self {
        Self {
            mailbox: self.mailbox.clone(),
        }
    }
}

impl<M: Machine> EventSender<M> {
    pub(super) fn new(mailbox: mpsc::WeakSender<Message<M>>) -> Self {
        Self { mailbox }
    }

    /// Tells the shard; waits while its mailbox is full. False when the shard has ended: whoever leads the partition
    /// next begins again from what the log says.
    pub async fn send(&self, event: M::Event) -> bool {
        match self.mailbox.upgrade() {
            Some(mailbox) => mailbox.send(Message::Event(event)).await.is_ok(),
            None => false,
        }
    }

    /// Whether the shard has ended, so that nothing needs to be tried for it any longer.
    pub fn is_closed(&self) -> bool {
        self.mailbox.upgrade().is_none_or(|mailbox| mailbox.is_closed())
    }
}
