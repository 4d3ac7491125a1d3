//! What a coordinator is to the runtime: a state machine of one partition of an internal topic, replicated by its log.
//!
//! There are two parts to it. [`HardState`] is what the records of the log say, no more and no less: loading folds a log
//! into it. [`Machine`] owns the hard state and whatever else it needs, and answers requests. Events go in; an
//! [`Outcome`] with records to append, replies, and effects for the outside comes out.
//!
//! Protocol: the records of an outcome are appended, all in one batch unless they may be split; then they are replayed
//! with their offsets; then [`Machine::on_append`] is told. Replies and effects go out when the log is committed up to
//! the last written offset of the outcome's key. Nothing of an outcome whose append fails happens: its replies become
//! the error, its effects are dropped.
//!
//! Invariants: no clock, no randomness, no I/O in a machine; its hard state changes only in `replay` and
//! `replay_marker`; every token handed in is answered exactly once, unless the machine is dropped.

use std::fmt::Debug;
use std::sync::Arc;

use bytes::Bytes;
use protocol::error_code::ErrorCode;
use protocol::types::{Now, ProducerEpoch, ProducerId};
use storage::producer::VerificationGuard;
use uuid::Uuid;

use crate::coordinator::wire::{RecordDecodeError, RecordEncodeError};

/// Names one request that is answered later; the machine parks it, the runtime holds the way to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplyToken(pub u64);

/// A record as the log takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedRecord {
    /// The key; never null in an internal topic.
    pub key: Bytes,
    /// The value; `None` = tombstone.
    pub value: Option<Bytes>,
}

/// A record, or why it cannot be read; `None` for one of a kind that is not known and may be passed over. A log with
/// such records is never rewritten.
pub type Decoded<R> = Result<Option<R>, RecordDecodeError>;

/// What the records of a log say. The default is what an empty log says.
pub trait HardState: Debug + Default + Send + 'static {
    /// A record of the internal topic.
    type Record: Debug + Send;

    /// A pass over the state that writes it to the log again, so that the log can begin later.
    type Rewrite: Debug + Send;

    /// A decoder of the records (key, value) of one log; it may remember names that come again.
    #[expect(
        clippy::type_complexity,
        reason = "this is its one place, and a name would tell less"
    )]
    fn decoder() -> impl FnMut(Option<&[u8]>, Option<&[u8]>) -> Decoded<Self::Record>;

    /// The record as it stands in the log.
    ///
    /// # Errors
    /// When the format cannot hold it.
    fn encode(record: &Self::Record) -> Result<EncodedRecord, RecordEncodeError>;

    /// Applies a record that stands at `offset`; `producer_id` is that of a transactional one.
    fn replay(&mut self, offset: i64, producer_id: Option<ProducerId>, record: Self::Record);

    /// Applies the marker at `offset` that ends the transaction of a producer in this log.
    fn replay_marker(&mut self, offset: i64, producer_id: ProducerId, committed: bool);

    /// Offset of the last record that what is told of `key` depends on (`None`: of any key); -1 = none. For a key that
    /// is no more, that of the record which removed it, or a later one.
    fn last_written_offset(&self, key: Option<&str>) -> i64;

    /// How many keys have a record; one that takes much room may count as several.
    fn key_count(&self) -> usize;

    /// About how many bytes the state takes in the log.
    fn size_in_log(&self) -> u64;

    /// Begins a pass when the log ends at `log_end_offset`.
    fn begin_rewrite(log_end_offset: i64) -> Self::Rewrite;

    /// The next records of a pass, at most `max_records`, none after about `max_bytes`; none at all when the pass has
    /// ended. Writing them changes nothing that the state tells.
    fn rewrite_next(&self, rewrite: &mut Self::Rewrite, max_records: usize, max_bytes: usize) -> Vec<Self::Record>;

    /// First offset of the log that is needed when the pass has ended: its fold from there is that of the whole log.
    fn needed_from(rewrite: &Self::Rewrite) -> i64;
}

/// A coordinator's state machine for one partition.
pub trait Machine: Debug + Send + Sized + 'static {
    /// What the coordinator is called in the log of the broker.
    const NAME: &'static str;

    /// What the log says.
    type Hard: HardState;
    /// Values of the configuration.
    type Config: Debug + Send + Sync;
    /// A client's request. `Clone` for those that go to every partition.
    type Request: Clone + Debug + Send;
    /// The answer to a request.
    type Reply: Debug + Send;
    /// News from inside the broker: topics deleted, the result of an effect. Nobody waits for an answer.
    type Event: Clone + Debug + Send;
    /// Something to be done outside once the records of its outcome are committed.
    type Effect: Debug + Send;
    /// What the machine wants to have back after an append.
    type OnAppend: Debug + Send;

    /// The machine of a log that says `hard`, and what follows from it at once, such as the effects that the records
    /// ask for and that nobody may have done.
    fn after_load(hard: Self::Hard, cx: &mut Cx<'_, Self::Config>) -> (Self, Vec<Outcome<Self>>);

    /// What the log says.
    fn hard(&self) -> &Self::Hard;

    /// For the runtime, to replay.
    fn hard_mut(&mut self) -> &mut Self::Hard;

    /// How many keys there are, those counted in that have no record yet: see [`Cx::count_new_key`].
    fn key_count(&self) -> usize;

    /// Which of the records on their way must be in the log before the request is handled.
    fn sees(request: &Self::Request) -> Sees<'_>;

    /// The same for an event.
    fn event_sees(event: &Self::Event) -> Sees<'_>;

    /// Handles one request, whose answer goes to `token`, now or later.
    fn handle(&mut self, cx: &mut Cx<'_, Self::Config>, token: ReplyToken, request: &Self::Request) -> Outcome<Self>;

    /// Handles news. The result of an effect may come after the machine was loaded anew, and twice.
    fn on_event(&mut self, cx: &mut Cx<'_, Self::Config>, event: Self::Event) -> Vec<Outcome<Self>>;

    /// The records of an outcome of `key` that asked for this are in the log and replayed, or could not be written.
    fn on_append(
        &mut self,
        cx: &mut Cx<'_, Self::Config>,
        key: &Arc<str>,
        on_append: Self::OnAppend,
        result: Result<(), ErrorCode>,
    ) -> Outcome<Self>;

    /// When [`Self::on_deadline`] is due, in monotonic milliseconds.
    fn next_deadline(&self) -> Option<i64>;

    /// Handles all deadlines that have come. No record is on its way then.
    fn on_deadline(&mut self, cx: &mut Cx<'_, Self::Config>) -> Vec<Outcome<Self>>;
}

/// Records on their way that must be in the log, and replayed, before something is handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sees<'a> {
    /// None.
    Nothing,
    /// Those of this key.
    Key(&'a str),
    /// All.
    All,
}

/// What an event may use: time, randomness and limits.
pub struct Cx<'a, C> {
    /// The time of the event.
    pub now: Now,
    /// The leader epoch under which the partition is led here.
    pub coordinator_epoch: i32,
    /// The configuration.
    pub config: &'a C,
    /// Source of random ids.
    pub uuid: &'a mut dyn FnMut() -> Uuid,
    /// How many keys may still be made.
    pub keys_left: usize,
}

impl<C> Debug for Cx<'_, C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cx")
            .field("now", &self.now)
            .field("coordinator_epoch", &self.coordinator_epoch)
            .field("keys_left", &self.keys_left)
            .finish_non_exhaustive()
    }
}

impl<C> Cx<'_, C> {
    /// Takes one of the keys that may still be made; an error when there is none.
    #[expect(clippy::result_unit_err, reason = "there is one reason: the limit")]
    pub fn count_new_key(&mut self) -> Result<(), ()> {
        self.count_new_keys(1)
    }

    /// The same for a key that counts as several.
    #[expect(clippy::result_unit_err, reason = "there is one reason: the limit")]
    pub fn count_new_keys(&mut self, count: usize) -> Result<(), ()> {
        self.keys_left = self.keys_left.checked_sub(count).ok_or(())?;
        Ok(())
    }
}

/// The effects of one event.
#[derive(Debug)]
pub struct Outcome<M: Machine> {
    /// The key (group, transactional id) that it was about; `None`: several.
    pub key: Option<Arc<str>>,
    /// To append, in this order.
    pub records: Vec<<M::Hard as HardState>::Record>,
    /// Whether the records may go into several batches. Else all of them are appended or none.
    pub splittable: bool,
    /// Set: the records are a batch of their own, part of the transaction of this producer.
    pub producer: Option<TransactionProducer>,
    /// To append and to answer before this, each by itself.
    pub before: Vec<Self>,
    /// To send when the state they tell is committed.
    pub replies: Vec<(ReplyToken, M::Reply)>,
    /// To be done when the records are committed. They have no deadline; only a shard that ends or loads its log anew
    /// forgets them.
    pub effects: Vec<M::Effect>,
    /// To hand back when the records are in the log, or could not be written.
    pub on_append: Option<M::OnAppend>,
}

/// The producer in whose transaction a batch is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransactionProducer {
    /// Its id.
    pub producer_id: ProducerId,
    /// Its epoch.
    pub producer_epoch: ProducerEpoch,
    /// Lets the transaction begin in this log; `None` where it is open already.
    pub guard: Option<VerificationGuard>,
}

impl<M: Machine> Default for Outcome<M> {
    fn default() -> Self {
        Self {
            key: None,
            records: Vec::new(),
            splittable: false,
            producer: None,
            before: Vec::new(),
            replies: Vec::new(),
            effects: Vec::new(),
            on_append: None,
        }
    }
}

impl<M: Machine> Outcome<M> {
    /// Nothing yet, about `key`.
    pub fn of(key: &Arc<str>) -> Self {
        Self {
            key: Some(Arc::clone(key)),
            ..Self::default()
        }
    }
}
