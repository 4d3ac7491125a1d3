//! Requests to the transaction machine and its replies, as plain data.
//!
//! Invariants: nothing here knows a wire version; strings are owned by the values, so no request frame is kept alive by
//! the state of a transaction. A [`ProducerIdAndEpoch`] in an answer is what the client is to use from then on.

use std::collections::BTreeMap;
use std::sync::Arc;

use protocol::error_code::ErrorCode;
use protocol::types::{PartitionIndex, ProducerEpoch, ProducerId};

use super::state::TransactionState;

/// A producer id and one of its epochs.
pub type ProducerIdAndEpoch = (ProducerId, ProducerEpoch);

/// The producer id that stands for none.
pub const NO_PRODUCER_ID: ProducerId = -1;
/// The producer epoch that stands for none.
pub const NO_PRODUCER_EPOCH: ProducerEpoch = -1;

/// From this transaction version on every end of a transaction bumps the epoch (KIP-890).
pub const EPOCH_BUMP_VERSION: i16 = 2;

/// A request to the shard that owns a transactional id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// A producer begins or comes back.
    Init(InitRequest),
    /// Partitions are about to be written to.
    AddPartitions(AddPartitionsRequest),
    /// Are these partitions in the open transaction?
    Verify(AddPartitionsRequest),
    /// Commit or abort.
    End(EndRequest),
    /// Describe these ids.
    Describe(Vec<Arc<str>>),
    /// List the ids of this shard.
    List(Arc<ListQuery>),
}

/// The answer to a [`Request`] of the same name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// To [`Request::Init`].
    Init(Result<ProducerIdAndEpoch, ErrorCode>),
    /// To [`Request::AddPartitions`].
    AddPartitions(ErrorCode),
    /// To [`Request::Verify`], one code per partition in the order asked.
    Verify(Vec<ErrorCode>),
    /// To [`Request::End`].
    End(Result<ProducerIdAndEpoch, ErrorCode>),
    /// To [`Request::Describe`], in the order asked.
    Describe(Vec<Result<TransactionDescription, ErrorCode>>),
    /// To [`Request::List`].
    List(Vec<ListedTransaction>),
    /// To [`Request::Init`] and [`Request::End`]: nothing was done, come back with a fresh producer id.
    NeedsProducerId,
}

/// InitProducerId with a transactional id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitRequest {
    /// Whose producer.
    pub transactional_id: Arc<str>,
    /// After how long the broker aborts a transaction.
    pub transaction_timeout_ms: i32,
    /// What the client says it has (version 3 and above), when it says anything.
    pub expected: Option<ProducerIdAndEpoch>,
    /// An id that nobody has, once the machine asked for one. `None` in what handlers send.
    pub fresh_producer_id: Option<ProducerId>,
}

/// AddPartitionsToTxn, for one transactional id; AddOffsetsToTxn adds a partition of the offsets topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddPartitionsRequest {
    /// Whose transaction.
    pub transactional_id: Arc<str>,
    /// What the client has.
    pub producer_id: ProducerId,
    /// What the client has.
    pub producer_epoch: ProducerEpoch,
    /// Topics and partitions that exist.
    pub partitions: Vec<(Arc<str>, PartitionIndex)>,
    /// 2 for Produce v12 and above, TxnOffsetCommit v5 and above, AddPartitionsToTxn v4 and above; else 0.
    pub transaction_version: i16,
}

/// EndTxn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndRequest {
    /// Whose transaction.
    pub transactional_id: Arc<str>,
    /// What the client has.
    pub producer_id: ProducerId,
    /// What the client has.
    pub producer_epoch: ProducerEpoch,
    /// Commit or abort.
    pub committed: bool,
    /// 2 for EndTxn v5 and above, else 0.
    pub transaction_version: i16,
    /// An id that nobody has, once the machine asked for one. `None` in what handlers send.
    pub fresh_producer_id: Option<ProducerId>,
}

/// What DescribeTransactions tells of a transactional id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionDescription {
    /// How far it is; the wire wants [`TransactionState::name`].
    pub state: TransactionState,
    /// After how long the broker aborts a transaction.
    pub transaction_timeout_ms: i32,
    /// When the transaction began, in wall-clock milliseconds; -1 when there is none.
    pub transaction_start_timestamp_ms: i64,
    /// The producer.
    pub producer_id: ProducerId,
    /// Its epoch.
    pub producer_epoch: ProducerEpoch,
    /// Partitions by topic that the transaction has, or whose markers are outstanding.
    pub topics: BTreeMap<Arc<str>, Vec<PartitionIndex>>,
}

/// Which transactional ids ListTransactions asks for, as the client says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListFilter {
    /// Names of states; empty = all.
    pub states: Vec<Arc<str>>,
    /// Producer ids; empty = all.
    pub producer_ids: Vec<ProducerId>,
    /// Only those that began longer ago; negative = all.
    pub duration_ms: i64,
    /// A regular expression for the whole id; `None` and "" = all.
    pub id_pattern: Option<Arc<str>>,
}

/// What [`ListFilter`] comes to for a shard: names resolved. Patterns are not for shards, see `query`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListQuery {
    /// States; `None` = all.
    pub states: Option<Vec<TransactionState>>,
    /// Producer ids, in order; empty = all.
    pub producer_ids: Vec<ProducerId>,
    /// Only those that began longer ago; negative = all.
    pub duration_ms: i64,
}

/// A line of the list of transactional ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedTransaction {
    /// The id.
    pub transactional_id: Arc<str>,
    /// Its producer.
    pub producer_id: ProducerId,
    /// How far its transaction is; the wire wants [`TransactionState::name`].
    pub state: TransactionState,
}

/// The answer to ListTransactions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListedTransactions {
    /// Names of states in the filter that are no states.
    pub unknown_states: Vec<Arc<str>>,
    /// What fits the filter.
    pub transactions: Vec<ListedTransaction>,
}
