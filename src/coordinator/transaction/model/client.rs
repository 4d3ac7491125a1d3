//! Clients of the model: instances of one transactional id that run a program and try again what may be tried again.
//!
//! Invariant: a client does what a client library does with each code; a program is a fixed list, the order in which the
//! clients take steps is the model's choice.

use protocol::error_code::ErrorCode;

use crate::coordinator::transaction::api::{Reply, Request};

/// How many requests the network may keep.
const MAX_REMEMBERED: usize = 3;

/// A step of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    /// InitProducerId.
    Init,
    /// AddPartitionsToTxn of one partition; the old protocol only.
    Add(usize),
    /// A batch to a partition.
    Produce(usize),
    /// Commit or abort.
    End(bool),
}

/// What a client is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Phase {
    Ready,
    /// A request is at the coordinator.
    Waiting,
    /// A batch has its guard, the coordinator was not asked yet.
    Guarded,
    /// The coordinator was asked about a batch.
    Verifying,
    /// The coordinator confirmed it, for this transaction of the id.
    Verified(u8),
    /// Nothing can be done any more.
    Dead,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Client {
    pub(super) step: usize,
    pub(super) phase: Phase,
    pub(super) producer_id: i64,
    pub(super) producer_epoch: i16,
    /// Number of its present transaction.
    pub(super) transaction: u8,
    pub(super) fresh_producer_id: Option<i64>,
    /// Counts requests that were given up, so that their answers are not taken for those of later ones.
    pub(super) attempt: u8,
    /// Whether the guard of the batch under way is still good.
    pub(super) guard_is_good: bool,
    /// An error made it abort its transaction.
    pub(super) is_aborting: bool,
    /// A newer instance was let in.
    pub(super) is_fenced: bool,
    /// Requests before the present one, newest last, which the network may deliver again.
    pub(super) previous: Vec<Sent>,
    sent: Option<Sent>,
}

/// A request, without what tells nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Sent {
    Init,
    Add(usize, i64, i16),
    Verify(usize, i64, i16),
    End(bool, i64, i16),
}

/// What an answer means to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Done,
    Again,
    NeedsProducerId,
    /// The transaction is lost, the producer may go on with the next one.
    Abort,
    Fatal,
}

impl Client {
    pub(super) fn new() -> Self {
        Self {
            step: 0,
            phase: Phase::Ready,
            producer_id: -1,
            producer_epoch: -1,
            transaction: 0,
            fresh_producer_id: None,
            attempt: 0,
            guard_is_good: false,
            is_aborting: false,
            is_fenced: false,
            previous: Vec::new(),
            sent: None,
        }
    }

    /// The present step; after an error, the end of the transaction.
    pub(super) fn op(&self, program: &[Op]) -> Option<Op> {
        let op = *program.get(self.step)?;
        Some(match op {
            Op::End(_) if self.is_aborting => Op::End(false),
            op => op,
        })
    }

    /// Goes to the end of the transaction, to abort it.
    pub(super) fn abort(&mut self, program: &[Op]) {
        self.is_aborting = true;
        self.phase = Phase::Ready;
        while !matches!(program.get(self.step), Some(Op::End(_)) | None) {
            self.step += 1;
        }
    }

    /// Remembers a request that goes out, and the last before it.
    pub(super) fn remember(&mut self, sent: Sent) {
        if let Some(before) = self.sent.filter(|before| *before != sent) {
            self.previous.push(before);
            if self.previous.len() > MAX_REMEMBERED {
                self.previous.remove(0);
            }
        }
        self.sent = Some(sent);
    }
}

/// What a client does with a reply; `is_produce`: the request was made for a batch.
pub(super) fn judge(reply: &Reply, transaction_version: i16, is_produce: bool) -> Verdict {
    let code = match reply {
        Reply::NeedsProducerId => return Verdict::NeedsProducerId,
        Reply::Init(Err(code)) | Reply::End(Err(code)) | Reply::AddPartitions(code) => *code,
        Reply::Verify(codes) => codes[0],
        Reply::Init(Ok(_)) | Reply::End(Ok(_)) => ErrorCode::None,
        Reply::Describe(_) | Reply::List(_) => unreachable!("not asked"),
    };
    match code {
        ErrorCode::None => Verdict::Done,
        ErrorCode::ConcurrentTransactions => Verdict::Again,
        _ if is_produce && transaction_version >= 2 => Verdict::Abort,
        _ => Verdict::Fatal,
    }
}

/// The request as the coordinator gets it.
pub(super) fn request(sent: Sent, transaction_version: i16, fresh_producer_id: Option<i64>) -> Request {
    use crate::coordinator::transaction::api::{AddPartitionsRequest, EndRequest, InitRequest};
    let transactional_id = super::ID.into();
    let add = |partition: usize, producer_id, producer_epoch| AddPartitionsRequest {
        transactional_id: super::ID.into(),
        producer_id,
        producer_epoch,
        partitions: vec![(super::TOPIC.into(), i32::try_from(partition).expect("two"))],
        transaction_version,
    };
    match sent {
        Sent::Init => Request::Init(InitRequest {
            transactional_id,
            transaction_timeout_ms: super::TIMEOUT_MS,
            expected: None,
            fresh_producer_id,
        }),
        Sent::Add(partition, id, epoch) => Request::AddPartitions(add(partition, id, epoch)),
        Sent::Verify(partition, id, epoch) if transaction_version >= 2 => {
            Request::AddPartitions(add(partition, id, epoch))
        }
        Sent::Verify(partition, id, epoch) => Request::Verify(add(partition, id, epoch)),
        Sent::End(committed, producer_id, producer_epoch) => Request::End(EndRequest {
            transactional_id,
            producer_id,
            producer_epoch,
            committed,
            transaction_version,
            fresh_producer_id,
        }),
    }
}
