//! A request and its session: from the fields of the request to the partitions that have to be looked at, and the wait on
//! them. Source: Kafka 4.3's `FetchManager.newContext`.
//!
//! Invariants: a session is changed only by a request with its epoch, and each such request steps the epoch, so that of
//! two requests that use a session at once the earlier one is refused with INVALID_FETCH_SESSION_EPOCH (71) when it comes
//! to its answer; what partitions told is taken from the session's waiter only by the request that has the epoch.

use std::collections::BTreeMap;
use std::sync::Arc;

use kafka_protocol::protocol::StrBytes;
use protocol::error_code::ErrorCode;
use protocol::types::TopicId;
use protocol::wire::fetch::{FetchPartition, FetchRequest, FetchTopic};

use super::Fetch;
use super::look::{Looked, Which};
use crate::fetch_session::cache::FetchSession;
use crate::fetch_session::session::{PartitionFetch, PartitionKey, Session, TopicKey, WantedPartition};
use crate::fetch_session::source::PartitionSource;
use crate::handlers::context::RequestContext;
use crate::partition::fetch_wait::{FetchWait, FetchWaiter};
use crate::partition::partition::Partition;
use crate::partition::registry::{HostedTopic, PartitionRegistry};
use crate::partition::waiters::FetchRegistration;

/// A fetch that holds more partitions than this does not wait: while it waits it keeps some hundred bytes for each,
/// which is many times what its frame had. Once a session watches its partitions a request of it holds but a few.
const WAIT_MAX_PARTITIONS: usize = 100_000;

/// What a request has to do with sessions.
#[derive(Debug)]
pub(super) enum Context {
    /// Nothing.
    Sessionless,
    /// It asks for a new one, with what it says of how far it sees.
    Full(i8),
    /// It goes on with one, which has this epoch for as long as no further request used it.
    Incremental(Arc<FetchSession>, i32),
}

/// A request that was taken up.
#[derive(Debug)]
pub(super) struct Begun {
    pub(super) context: Context,
    /// The partitions that have to be looked at.
    pub(super) looked: Vec<Looked>,
    /// Whether there are partitions on which something can happen, and not too many to hold.
    pub(super) can_wait: bool,
}

/// Takes up a request.
///
/// # Errors
/// FETCH_SESSION_ID_NOT_FOUND (70), INVALID_FETCH_SESSION_EPOCH (71), FETCH_SESSION_TOPIC_ID_ERROR (106).
pub(super) fn begin(cx: &RequestContext, request: &FetchRequest) -> Result<Begun, ErrorCode> {
    let sessions = &cx.services.fetch_sessions;
    let is_full = matches!(request.session_epoch, -1 | 0);
    if is_full && request.session_id != 0 {
        // whatever session a full request names has ended
        sessions.remove(request.session_id);
    }
    if !is_full {
        let session = sessions.get(request.session_id);
        return incremental(cx, request, session.ok_or(ErrorCode::FetchSessionIdNotFound)?);
    }
    let context = if request.session_epoch == 0 && request.replica_id < 0 {
        Context::Full(request.isolation_level)
    } else {
        Context::Sessionless
    };
    Ok(full(context, asked(cx, request)))
}

fn full(context: Context, looked: Vec<Looked>) -> Begun {
    Begun {
        context,
        can_wait: can_wait(&looked, looked.len()),
        looked,
    }
}

/// Whether a fetch of so many partitions, of which it has to look at these, may wait.
fn can_wait(looked: &[Looked], partitions: usize) -> bool {
    let unknown = looked.iter().filter(|looked| looked.is_unknown).count();
    unknown < partitions && looked.len() <= WAIT_MAX_PARTITIONS
}

fn incremental(cx: &RequestContext, request: &FetchRequest, session: Arc<FetchSession>) -> Result<Begun, ErrorCode> {
    let asked = asked(cx, request);
    let wanted = asked.iter().map(|asked| WantedPartition {
        key: asked.key.clone(),
        fetch: asked.fetch,
    });
    let by_id = cx.api_version >= 13;
    let registry = &cx.services.partitions;
    let forgotten = request.forgotten_topics.iter().flat_map(|topic| {
        let key = topic_key(registry, by_id, &topic.name, topic.topic_id).0;
        topic.partitions.iter().map(move |partition| PartitionKey {
            topic: key.clone(),
            partition: *partition,
        })
    });

    let mut state = session.state();
    if state.epoch() != request.session_epoch {
        return Err(ErrorCode::InvalidFetchSessionEpoch);
    }
    if state.uses_topic_ids() != by_id {
        return Err(ErrorCode::FetchSessionTopicIdError);
    }
    let size_before = (state.len(), state.size_bytes());
    state.update(request.isolation_level, wanted.collect(), forgotten);
    // a request that still waits on this session is answered now
    session.waiter.interrupt();
    let size = (state.len(), state.size_bytes());
    if state.is_empty() {
        drop(state);
        cx.services.fetch_sessions.remove(session.id());
        return Ok(full(Context::Sessionless, asked));
    }
    let epoch = state.epoch();
    state.on_told(&session.waiter.take_told());
    let looked = pending(registry, &session, &mut state, false);
    drop(state);
    let now_ms = cx.now().mono_ms;
    session.touch(now_ms);
    let sessions = &cx.services.fetch_sessions;
    if size != size_before && !sessions.resize(session.id(), epoch, size.0, size.1, now_ms) {
        return Err(ErrorCode::FetchSessionIdNotFound);
    }
    Ok(Begun {
        context: Context::Incremental(session, epoch),
        can_wait: can_wait(&looked, size.0),
        looked,
    })
}

/// What a session has to look at. `watch_all`: the request is about to wait; else only partitions that had nothing the
/// last time are watched, since the others will be looked at anyway.
fn pending(
    registry: &PartitionRegistry,
    session: &FetchSession,
    state: &mut Session<PartitionSource>,
    watch_all: bool,
) -> Vec<Looked> {
    let slots = state.pending();
    let look = |slot| {
        let known = state.partition_mut(slot)?;
        let partition = known.resolve(registry);
        if let Ok(partition) = &partition
            && (watch_all || known.quiet)
        {
            known.watch(partition, &session.waiter, slot);
        }
        let mut looked = Looked::new(slot, known.key.clone(), known.fetch, partition);
        looked.watched = known.watched;
        Some(looked)
    };
    slots.into_iter().filter_map(look).collect()
}

/// The partitions that a request names, each once.
fn asked(cx: &RequestContext, request: &FetchRequest) -> Vec<Looked> {
    let by_id = cx.api_version >= 13;
    let count = request.topics.iter().map(|topic| topic.partitions.len()).sum();
    let mut asked: Vec<Looked> = Vec::with_capacity(count);
    for topic in &request.topics {
        let (key, hosted) = topic_key(&cx.services.partitions, by_id, &topic.name, topic.topic_id);
        for wanted in &topic.partitions {
            let slot = u32::try_from(asked.len()).expect("far fewer partitions fit a request");
            let key = PartitionKey {
                topic: key.clone(),
                partition: wanted.partition,
            };
            let partition = hosted_partition(hosted.as_deref(), wanted, by_id);
            asked.push(Looked::new(slot, key, fetch_of(wanted), partition));
        }
    }
    if names_twice(&request.topics) {
        asked = without_duplicates(asked);
    }
    asked
}

fn hosted_partition(
    topic: Option<&HostedTopic>,
    wanted: &FetchPartition,
    by_id: bool,
) -> Result<Arc<Partition>, ErrorCode> {
    let unknown = if by_id {
        ErrorCode::UnknownTopicId
    } else {
        ErrorCode::UnknownTopicOrPartition
    };
    topic.ok_or(unknown)?.hosted(wanted.partition).map(Arc::clone)
}

fn fetch_of(wanted: &FetchPartition) -> PartitionFetch {
    PartitionFetch {
        current_leader_epoch: wanted.current_leader_epoch,
        fetch_offset: wanted.fetch_offset,
        last_fetched_epoch: wanted.last_fetched_epoch,
        partition_max_bytes: wanted.partition_max_bytes,
    }
}

/// How a session names the topic, and where it is.
fn topic_key(
    registry: &PartitionRegistry,
    by_id: bool,
    name: &StrBytes,
    topic_id: TopicId,
) -> (TopicKey, Option<Arc<HostedTopic>>) {
    if by_id {
        return (TopicKey::Id(topic_id), registry.topic_by_id(&topic_id));
    }
    let hosted = registry.topic(name);
    let name = hosted
        .as_ref()
        .map_or_else(|| Arc::from(&**name), |topic| Arc::clone(&topic.name));
    (TopicKey::Name(name), hosted)
}

/// Whether a topic, or a partition of a topic, is named more than once.
fn names_twice(topics: &[FetchTopic]) -> bool {
    let mut named: Vec<_> = topics.iter().map(|topic| (&topic.topic_id, &topic.name)).collect();
    named.sort_unstable();
    if !named.is_sorted_by(|one, next| one < next) {
        return true;
    }
    topics.iter().any(|topic| {
        let partitions = topic.partitions.iter().map(|wanted| wanted.partition);
        if partitions.clone().is_sorted_by(|one, next| one < next) {
            return false;
        }
        let mut partitions: Vec<_> = partitions.collect();
        partitions.sort_unstable();
        !partitions.is_sorted_by(|one, next| one < next)
    })
}

/// Each partition at the place where it is named first, with what is said of it last.
fn without_duplicates(asked: Vec<Looked>) -> Vec<Looked> {
    let mut places = BTreeMap::new();
    let mut unique: Vec<Looked> = Vec::with_capacity(asked.len());
    for mut looked in asked {
        match places.get(&looked.key) {
            Some(place) => {
                let known: &mut Looked = &mut unique[*place];
                known.fetch = looked.fetch;
            }
            None => {
                places.insert(looked.key.clone(), unique.len());
                looked.slot = u32::try_from(unique.len()).expect("far fewer partitions fit a request");
                unique.push(looked);
            }
        }
    }
    unique
}

/// Begins the wait of a request of a session that has this epoch; what it has to look at afterwards.
fn begin_wait(registry: &PartitionRegistry, session: &FetchSession, epoch: i32) -> (FetchWait, Vec<Looked>) {
    let mut state = session.state();
    if state.epoch() != epoch {
        return (FetchWait::over(), Vec::new());
    }
    let wait = session.waiter.begin();
    // what told since the request was taken up has forgotten the watch, and its bytes are counted no more
    state.on_told(&session.waiter.take_told());
    (wait, pending(registry, session, &mut state, true))
}

/// A request that waits.
#[derive(Debug)]
pub(super) struct Parked {
    pub(super) wait: FetchWait,
    waiter: Arc<FetchWaiter>,
    /// Of a request without session.
    _registrations: Vec<FetchRegistration>,
    /// Where the partitions of a session are in the request.
    places: BTreeMap<u32, usize>,
}

impl Parked {
    /// Watches all partitions of the request. They have to be looked at afterwards.
    pub(super) fn new(fetch: &mut Fetch) -> Self {
        if let Context::Incremental(session, epoch) = &fetch.context {
            let waiter = Arc::clone(&session.waiter);
            let (wait, looked) = begin_wait(&fetch.cx.services.partitions, session, *epoch);
            let places = looked.iter().map(|looked| looked.slot).zip(0..).collect();
            fetch.looks.replace(looked);
            return Self {
                wait,
                waiter,
                _registrations: Vec::new(),
                places,
            };
        }
        let waiter = Arc::new(FetchWaiter::default());
        let watch = |looked: &Looked| Some(looked.partition.as_ref().ok()?.watch(&waiter, looked.slot));
        Self {
            wait: waiter.begin(),
            _registrations: fetch.looks.looked.iter().filter_map(watch).collect(),
            waiter,
            places: BTreeMap::new(),
        }
    }

    /// The partitions that told of something since the last look.
    pub(super) fn told(&mut self, fetch: &mut Fetch) -> Which {
        let Context::Incremental(session, epoch) = &fetch.context else {
            let told = self.waiter.take_told();
            return Which::At(told.into_iter().map(|slot| slot as usize).collect());
        };
        let mut state = session.state();
        if state.epoch() != *epoch {
            return Which::At(Vec::new());
        }
        let told = self.waiter.take_told();
        state.on_told(&told);
        let mut at = Vec::with_capacity(told.len());
        for slot in told {
            let Some(known) = state.partition_mut(slot) else {
                continue;
            };
            let partition = known.resolve(&fetch.cx.services.partitions);
            if let Ok(partition) = &partition {
                known.watch(partition, &self.waiter, slot);
            }
            let mut looked = Looked::new(slot, known.key.clone(), known.fetch, partition);
            looked.watched = known.watched;
            // what has just become unknown ends the wait
            looked.is_unknown = false;
            let place = *self.places.entry(slot).or_insert(fetch.looks.looked.len());
            if place == fetch.looks.looked.len() {
                fetch.looks.looked.push(looked);
            } else {
                fetch.looks.replace_at(place, looked);
            }
            at.push(place);
        }
        Which::At(at)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::pin::pin;
    use std::task::{Poll, Waker};

    use protocol::wire::fetch_response::FetchedPartition;

    use super::*;
    use crate::fetch_session::cache::FetchSessionCache;
    use crate::fetch_session::session::Seen;
    use crate::partition::waiters::Waiters;

    fn key(partition: i32) -> PartitionKey {
        PartitionKey {
            topic: TopicKey::Name("t".into()),
            partition,
        }
    }

    fn fetch_from(fetch_offset: i64) -> PartitionFetch {
        PartitionFetch {
            current_leader_epoch: -1,
            fetch_offset,
            last_fetched_epoch: -1,
            partition_max_bytes: 1,
        }
    }

    /// A session in which each partition is watched and was quiet when it was looked at last.
    fn quiet_session(partitions: i32) -> Arc<FetchSession> {
        let answer = FetchedPartition::error(0, ErrorCode::None);
        let wanted = |partition| WantedPartition {
            key: key(partition),
            fetch: fetch_from(0),
        };
        let answered = (0..partitions).map(|partition| (wanted(partition), PartitionSource::default(), &answer));
        let mut state = Session::new(false, 0, answered);
        for slot in state.pending() {
            state.partition_mut(slot).expect("pending").watched = true;
            let seen = Seen {
                partition: &answer,
                has_records: false,
                readable: false,
                watched: true,
            };
            state.settle(slot, seen);
        }
        assert_eq!(state.pending(), []);
        let cache = FetchSessionCache::new(1, usize::MAX);
        assert_eq!(cache.insert(state, 0, || 7), 7);
        cache.get(7).expect("just made")
    }

    #[test]
    fn what_is_told_before_the_wait_begins_is_looked_at() {
        let session = quiet_session(3);
        let waiters = Arc::new(Waiters::default());
        let _registration = waiters.register_fetch(&session.waiter, 1);
        // after the request took what was told, and before it waits
        waiters.on_advance(1, 10);
        assert_eq!(waiters.registered(), 0, "the partition has told, and tells no more");
        let (_wait, looked) = begin_wait(&PartitionRegistry::default(), &session, 1);
        let slots: Vec<u32> = looked.iter().map(|looked| looked.slot).collect();
        assert_eq!(slots, [1]);
        assert_eq!(session.waiter.take_told(), BTreeSet::new());
    }

    #[test]
    fn what_is_told_after_the_wait_began_ends_it() {
        let session = quiet_session(3);
        let waiters = Arc::new(Waiters::default());
        let _registration = waiters.register_fetch(&session.waiter, 2);
        let (wait, looked) = begin_wait(&PartitionRegistry::default(), &session, 1);
        assert!(looked.is_empty());
        // before the first poll
        waiters.on_advance(1, 10);
        let polled = |bytes| {
            let mut cx = std::task::Context::from_waker(Waker::noop());
            pin!(wait.wait_for(bytes)).poll(&mut cx)
        };
        assert_eq!(polled(11), Poll::Pending);
        assert_eq!(polled(10), Poll::Ready(true));
        assert_eq!(session.waiter.take_told(), BTreeSet::from([2]));
    }

    #[test]
    fn a_request_whose_session_went_on_does_not_wait() {
        let session = quiet_session(1);
        let waiters = Arc::new(Waiters::default());
        let _registration = waiters.register_fetch(&session.waiter, 0);
        waiters.on_advance(1, 10);
        let (wait, looked) = begin_wait(&PartitionRegistry::default(), &session, 5);
        assert!(looked.is_empty());
        let mut cx = std::task::Context::from_waker(Waker::noop());
        assert_eq!(pin!(wait.wait_for(1)).poll(&mut cx), Poll::Ready(false));
        let told = session.waiter.take_told();
        assert_eq!(told, BTreeSet::from([0]), "left to the request that has the epoch");
    }

    #[test]
    fn who_holds_too_many_partitions_does_not_wait() {
        let looked = |count: usize, code: ErrorCode| -> Vec<Looked> {
            let looked = |slot| Looked::new(slot, key(0), fetch_from(0), Err(code));
            (0..).take(count).map(looked).collect()
        };
        let begun = |count, code| full(Context::Sessionless, looked(count, code)).can_wait;
        assert!(begun(WAIT_MAX_PARTITIONS, ErrorCode::KafkaStorageError));
        assert!(!begun(WAIT_MAX_PARTITIONS + 1, ErrorCode::KafkaStorageError));
        assert!(!begun(0, ErrorCode::None));
        assert!(!begun(2, ErrorCode::UnknownTopicId), "nothing can happen on these");
        let unknown = looked(2, ErrorCode::UnknownTopicId);
        assert!(!can_wait(&unknown, 2));
        assert!(can_wait(&unknown, 3), "the third may tell of something");
        assert!(
            can_wait(&[], 1_000_000),
            "watched partitions of a session cost the request nothing"
        );
    }

    fn topic(name: &'static str, partitions: &[i32]) -> FetchTopic {
        let wanted = |partition: &i32| FetchPartition {
            partition: *partition,
            current_leader_epoch: -1,
            fetch_offset: 0,
            last_fetched_epoch: -1,
            log_start_offset: -1,
            partition_max_bytes: 1,
            replica_directory_id: TopicId::nil(),
            high_watermark: i64::MAX,
        };
        FetchTopic {
            name: StrBytes::from_static_str(name),
            topic_id: TopicId::nil(),
            partitions: partitions.iter().map(wanted).collect(),
        }
    }

    #[test]
    fn duplicates_are_found_in_any_order() {
        assert!(!names_twice(&[]));
        assert!(!names_twice(&[topic("b", &[0, 1]), topic("a", &[5, 1, 3])]));
        assert!(names_twice(&[topic("a", &[0]), topic("b", &[0]), topic("a", &[1])]));
        assert!(names_twice(&[topic("a", &[1, 2, 1])]));
        assert!(names_twice(&[topic("a", &[1, 1])]));
    }

    #[test]
    fn of_duplicates_the_first_place_and_the_last_word_count() {
        let asked = [(3, 10), (1, 20), (3, 30), (2, 40), (1, 50)].map(|(partition, fetch_offset)| {
            let key = PartitionKey {
                topic: TopicKey::Name("t".into()),
                partition,
            };
            let fetch = PartitionFetch {
                current_leader_epoch: -1,
                fetch_offset,
                last_fetched_epoch: -1,
                partition_max_bytes: 1,
            };
            Looked::new(77, key, fetch, Err(ErrorCode::UnknownTopicOrPartition))
        });
        let unique = without_duplicates(asked.into());
        let unique = unique
            .iter()
            .map(|one| (one.slot, one.key.partition, one.fetch.fetch_offset));
        assert_eq!(unique.collect::<Vec<_>>(), [(0, 3, 30), (1, 1, 50), (2, 2, 40)]);
    }
}
