//! The sessions of this broker, within `max.incremental.fetch.session.cache.slots` and
//! `monedula.fetch.session.cache.max.bytes`.
//!
//! Invariants: a session takes another's place only when that one was not used for two minutes, or is smaller and older
//! than two minutes (Kafka's `FetchSessionCacheShard.tryEvict`, of sessions of consumers); without a place there is no
//! session, which is always legal. Nobody goes for a session that gets no place all the same, and no session takes more
//! than its share of the bytes, so that one client alone cannot have all of them. The locks of the cache and of a session
//! are never held together.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::config::broker::BrokerConfig;
use crate::fetch_session::session::Session;
use crate::fetch_session::source::PartitionSource;
use crate::partition::fetch_wait::FetchWaiter;

/// A session unused for so long gives way to any other; one younger than this to none that is not stale.
const EVICTION_MS: i64 = 120_000;

/// One session takes at most this part of the bytes.
const SHARES: usize = 8;

/// A session in the cache.
#[derive(Debug)]
pub struct FetchSession {
    id: i32,
    created_ms: i64,
    last_used_ms: AtomicI64,
    /// Hears of what happens on the session's partitions.
    pub waiter: Arc<FetchWaiter>,
    state: Mutex<Session<PartitionSource>>,
}

impl FetchSession {
    /// Id that clients name it by; never 0.
    pub fn id(&self) -> i32 {
        self.id
    }

    /// The state, for as long as the guard lives. Never held while something waits.
    ///
    /// # Panics
    /// Never: a panic under this lock ends the process.
    pub fn state(&self) -> MutexGuard<'_, Session<PartitionSource>> {
        self.state.lock().expect("a panic under this lock ends the process")
    }

    /// A request has used the session.
    pub fn touch(&self, now_ms: i64) {
        self.last_used_ms.store(now_ms, Ordering::Relaxed);
    }
}

/// What the cache knows of a session.
#[derive(Debug)]
struct Cached {
    session: Arc<FetchSession>,
    /// The epoch that the session had with the size below.
    epoch: i32,
    partitions: usize,
    bytes: usize,
}

#[derive(Debug, Default)]
struct Sessions {
    by_id: BTreeMap<i32, Cached>,
    bytes: usize,
}

/// All sessions.
#[derive(Debug)]
pub struct FetchSessionCache {
    max_sessions: usize,
    max_bytes: usize,
    sessions: RwLock<Sessions>,
}

impl FetchSessionCache {
    /// An empty cache with the configured limits.
    pub fn configured(config: &BrokerConfig) -> Self {
        Self::new(
            usize::try_from(config.max_incremental_fetch_session_cache_slots).unwrap_or(0),
            usize::try_from(config.monedula_fetch_session_cache_max_bytes).unwrap_or(0),
        )
    }

    /// An empty cache with these limits.
    pub fn new(max_sessions: usize, max_bytes: usize) -> Self {
        Self {
            max_sessions,
            max_bytes,
            sessions: RwLock::new(Sessions::default()),
        }
    }

    /// The session with this id.
    pub fn get(&self, id: i32) -> Option<Arc<FetchSession>> {
        self.read().by_id.get(&id).map(|cached| Arc::clone(&cached.session))
    }

    /// Whether a session of this size would be kept now: making one for nothing costs.
    pub fn has_room(&self, partitions: usize, bytes: usize, now_ms: i64) -> bool {
        self.give_way(&self.read(), partitions, bytes, now_ms).is_some()
    }

    /// Who has to go for a new session of this size; `None` when there is no place for it whoever goes.
    fn give_way(&self, sessions: &Sessions, partitions: usize, bytes: usize, now_ms: i64) -> Option<Vec<i32>> {
        if bytes > self.max_bytes / SHARES {
            return None;
        }
        let shortage = Shortage {
            slots: (sessions.by_id.len() + 1).saturating_sub(self.max_sessions),
            bytes: (sessions.bytes + bytes).saturating_sub(self.max_bytes),
        };
        sessions.victims(shortage, partitions, None, now_ms)
    }

    /// Keeps a session if there is, or can be made, a place for it; the id that the client is told, 0 for none.
    pub fn insert(&self, session: Session<PartitionSource>, now_ms: i64, mut random: impl FnMut() -> i32) -> i32 {
        let (epoch, partitions, bytes) = (session.epoch(), session.len(), session.size_bytes());
        let mut sessions = self.write();
        let Some(victims) = self.give_way(&sessions, partitions, bytes, now_ms) else {
            return 0;
        };
        let evicted = sessions.remove_all(victims);
        let id = loop {
            let id = random() & i32::MAX;
            if id != 0 && !sessions.by_id.contains_key(&id) {
                break id;
            }
        };
        let session = Arc::new(FetchSession {
            id,
            created_ms: now_ms,
            last_used_ms: AtomicI64::new(now_ms),
            waiter: Arc::new(FetchWaiter::default()),
            state: Mutex::new(session),
        });
        let cached = Cached {
            session,
            epoch,
            partitions,
            bytes,
        };
        sessions.bytes += bytes;
        sessions.by_id.insert(id, cached);
        drop(sessions);
        // ending their watches takes a while
        drop(evicted);
        id
    }

    /// In this epoch a session has so many partitions and bytes; what was known of a later epoch stays. False, and the
    /// session is gone, when there is no room for that.
    pub fn resize(&self, id: i32, epoch: i32, partitions: usize, bytes: usize, now_ms: i64) -> bool {
        let mut sessions = self.write();
        let Some(cached) = sessions.by_id.get(&id).filter(|cached| !is_before(epoch, cached.epoch)) else {
            return true;
        };
        let bytes_without = sessions.bytes - cached.bytes;
        let victims = if bytes <= cached.bytes {
            Some(Vec::new())
        } else if bytes > self.max_bytes / SHARES {
            None
        } else {
            let shortage = Shortage {
                slots: 0,
                bytes: (bytes_without + bytes).saturating_sub(self.max_bytes),
            };
            sessions.victims(shortage, partitions, Some(id), now_ms)
        };
        let has_room = victims.is_some();
        let evicted = sessions.remove_all(victims.unwrap_or_else(|| vec![id]));
        if let Some(cached) = sessions.by_id.get_mut(&id) {
            let bytes_before = std::mem::replace(&mut cached.bytes, bytes);
            (cached.epoch, cached.partitions) = (epoch, partitions);
            sessions.bytes = sessions.bytes - bytes_before + bytes;
        }
        drop(sessions);
        // ending their watches takes a while
        drop(evicted);
        has_room
    }

    /// Ends a session.
    pub fn remove(&self, id: i32) {
        let removed = self.write().remove(id);
        drop(removed);
    }

    /// How many sessions there are, and their bytes.
    pub fn usage(&self) -> (usize, usize) {
        let sessions = self.read();
        (sessions.by_id.len(), sessions.bytes)
    }

    fn read(&self) -> RwLockReadGuard<'_, Sessions> {
        self.sessions.read().expect("a panic under this lock ends the process")
    }

    fn write(&self) -> RwLockWriteGuard<'_, Sessions> {
        self.sessions.write().expect("a panic under this lock ends the process")
    }
}

impl Sessions {
    fn remove(&mut self, id: i32) -> Option<Arc<FetchSession>> {
        let gone = self.by_id.remove(&id)?;
        self.bytes -= gone.bytes;
        Some(gone.session)
    }

    fn remove_all(&mut self, ids: Vec<i32>) -> Vec<Arc<FetchSession>> {
        ids.into_iter().filter_map(|id| self.remove(id)).collect()
    }

    /// The sessions that give way to one with so many partitions, but not the one called `but`: those unused for longest
    /// if they are stale, then the smallest of those that were used when they were old enough, if they are smaller.
    /// `None` when that is not enough.
    fn victims(&self, shortage: Shortage, partitions: usize, but: Option<i32>, now_ms: i64) -> Option<Vec<i32>> {
        let Shortage { mut slots, mut bytes } = shortage;
        if slots == 0 && bytes == 0 {
            return Some(Vec::new());
        }
        let others = self.by_id.iter().filter(|(id, _)| Some(**id) != but);
        let rank = |(id, cached): (&i32, &Cached)| Some((cached.rank(partitions, now_ms)?, *id, cached.bytes));
        let mut candidates: Vec<_> = others.filter_map(rank).collect();
        candidates.sort_unstable();
        let mut victims = Vec::new();
        for (_, id, its_bytes) in candidates {
            slots = slots.saturating_sub(1);
            bytes = bytes.saturating_sub(its_bytes);
            victims.push(id);
            if slots == 0 && bytes == 0 {
                return Some(victims);
            }
        }
        None
    }
}

/// What a session lacks to get a place.
#[derive(Debug, Clone, Copy)]
struct Shortage {
    slots: usize,
    bytes: usize,
}

/// In what order sessions go; the least goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Stale { last_used_ms: i64 },
    Smaller { partitions: usize },
}

impl Cached {
    /// Where the session stands among those that give way to one with so many partitions; `None` when it does not.
    fn rank(&self, partitions: usize, now_ms: i64) -> Option<Rank> {
        let last_used_ms = self.session.last_used_ms.load(Ordering::Relaxed);
        if now_ms - last_used_ms > EVICTION_MS {
            return Some(Rank::Stale { last_used_ms });
        }
        let is_old = last_used_ms - self.session.created_ms > EVICTION_MS;
        (is_old && self.partitions < partitions).then_some(Rank::Smaller {
            partitions: self.partitions,
        })
    }
}

/// Whether one epoch of a session comes before another: of two that are used at about the same time, and they wrap.
fn is_before(epoch: i32, other: i32) -> bool {
    let distance = i64::from(other) - i64::from(epoch);
    let half = i64::from(i32::MAX / 2);
    (distance > 0 && distance < half) || distance < -half
}

#[cfg(test)]
mod tests {
    use protocol::types::TopicId;

    use super::*;
    use crate::fetch_session::session::{PartitionFetch, PartitionKey, TopicKey, WantedPartition};

    fn wanted(partitions: i32) -> Vec<WantedPartition> {
        let wanted = |partition| WantedPartition {
            key: PartitionKey {
                topic: TopicKey::Id(TopicId::from_u128(1)),
                partition,
            },
            fetch: PartitionFetch {
                current_leader_epoch: -1,
                fetch_offset: 0,
                last_fetched_epoch: -1,
                partition_max_bytes: 1,
            },
        };
        (0..partitions).map(wanted).collect()
    }

    fn session(partitions: i32) -> Session<PartitionSource> {
        let mut session = Session::new(true, 0, []);
        session.update(0, wanted(partitions), []);
        session
    }

    /// Inserts a session of so many partitions and uses it a last time at `last_used_ms`.
    fn insert(cache: &FetchSessionCache, partitions: i32, created_ms: i64, last_used_ms: i64) -> i32 {
        let mut next = created_ms as i32;
        let size_bytes = session(partitions).size_bytes();
        let has_room = cache.has_room(partitions as usize, size_bytes, created_ms);
        let id = cache.insert(session(partitions), created_ms, || {
            next += 1;
            next
        });
        assert_eq!(has_room, id != 0);
        if let Some(session) = cache.get(id) {
            session.touch(last_used_ms);
        }
        id
    }

    #[test]
    fn young_sessions_in_use_do_not_give_way() {
        let cache = FetchSessionCache::new(2, usize::MAX);
        let (a, b) = (insert(&cache, 1, 0, 0), insert(&cache, 2, 0, 100));
        assert_eq!(insert(&cache, 50, 120_000, 120_000), 0, "nobody is stale yet");
        let c = insert(&cache, 1, 120_001, 120_001);
        assert!(
            c > 0 && cache.get(a).is_none() && cache.get(b).is_some(),
            "the stalest went"
        );
        assert_eq!(cache.usage().0, 2);
    }

    #[test]
    fn larger_sessions_take_the_place_of_smaller_old_ones() {
        let cache = FetchSessionCache::new(2, usize::MAX);
        let small = insert(&cache, 3, 0, 200_000);
        let large = insert(&cache, 5, 0, 200_000);
        assert_eq!(insert(&cache, 3, 200_001, 200_001), 0, "not larger than the smallest");
        let larger = insert(&cache, 4, 200_001, 200_001);
        assert!(larger > 0 && cache.get(small).is_none() && cache.get(large).is_some());
        assert_eq!(
            insert(&cache, 5, 200_002, 200_002),
            0,
            "the small one is young, the large one is as large"
        );
    }

    #[test]
    fn bytes_are_a_limit_of_their_own() {
        let one = session(10).size_bytes();
        let cache = FetchSessionCache::new(100, SHARES * one);
        let ids: Vec<i32> = (0..8).map(|at| insert(&cache, 10, at * 100, at * 100)).collect();
        assert_eq!(cache.usage(), (8, 8 * one), "each has its share");
        assert_eq!(insert(&cache, 1, 1_000, 1_000), 0, "full");
        assert!(cache.resize(ids[7], 2, 1, one / 10, 1_000));
        assert_eq!(cache.usage(), (8, 7 * one + one / 10));
        let small = insert(&cache, 9, 1_000, 1_000);
        assert_eq!(cache.usage(), (9, 8 * one));
        assert!(cache.resize(small, 2, 10, one, 120_001), "the first is stale");
        assert!(cache.get(ids[0]).is_none() && cache.get(ids[1]).is_some());
        assert!(cache.resize(ids[7], 3, 10, one, 120_001), "room enough for it");
        assert_eq!(cache.usage(), (8, 8 * one));
        assert!(
            cache.resize(ids[0], 2, 1, 1, 120_001),
            "an evicted session goes on without its place"
        );
        assert_eq!(cache.usage(), (8, 8 * one));
    }

    #[test]
    fn no_session_takes_more_than_its_share() {
        let one = session(10).size_bytes();
        let cache = FetchSessionCache::new(100, SHARES * one);
        assert_eq!(insert(&cache, 11, 0, 0), 0);
        let id = insert(&cache, 10, 0, 0);
        assert!(id > 0);
        assert!(!cache.resize(id, 2, 11, one + 1, 0));
        assert!(cache.get(id).is_none(), "who outgrows its share begins anew");
        assert_eq!(cache.usage(), (0, 0));
    }

    #[test]
    fn nobody_goes_when_that_is_not_enough() {
        let one = session(10).size_bytes();
        let cache = FetchSessionCache::new(100, SHARES * one);
        let stale = insert(&cache, 5, 0, 0);
        let young: Vec<i32> = (1..8)
            .map(|at| insert(&cache, 10, 100_000 + at * 100, 100_000))
            .collect();
        let last = insert(&cache, 5, 110_000, 110_000);
        assert_eq!(cache.usage(), (9, 8 * one));
        assert_eq!(
            insert(&cache, 10, 150_000, 150_000),
            0,
            "the stale one has half of that"
        );
        assert!(cache.get(stale).is_some(), "and stays");
        assert!(
            !cache.resize(last, 2, 11, one + 1, 150_000),
            "nor for one beyond its share"
        );
        assert!(cache.get(stale).is_some() && cache.get(last).is_none());
        assert!(
            insert(&cache, 10, 150_000, 150_000) > 0,
            "now it is enough, with what is free"
        );
        assert!(cache.get(stale).is_none() && young.iter().all(|id| cache.get(*id).is_some()));
        assert_eq!(cache.usage(), (8, 8 * one));
    }

    #[test]
    fn a_size_of_an_older_epoch_is_ignored() {
        let one = session(10).size_bytes();
        let cache = FetchSessionCache::new(100, SHARES * one);
        let id = insert(&cache, 2, 0, 0);
        assert!(cache.resize(id, 3, 4, 400, 0));
        assert!(cache.resize(id, 2, 900, 2 * one, 0), "that was before");
        assert_eq!(cache.usage(), (1, 400));
        assert!(cache.resize(id, i32::MAX, 4, 300, 0), "far behind is before as well");
        assert_eq!(cache.usage(), (1, 400));
        for (one, other) in [(1, 2), (i32::MAX, 1), (i32::MAX - 1, 3)] {
            assert!(is_before(one, other) && !is_before(other, one), "{one} {other}");
        }
        assert!(!is_before(7, 7));
    }

    #[test]
    fn ids_are_positive_and_not_taken() {
        let cache = FetchSessionCache::new(10, usize::MAX);
        let mut random = [0, i32::MIN, 7, -3].into_iter();
        assert_eq!(cache.insert(session(1), 0, || random.next().expect("enough")), 7);
        let mut random = [7, i32::MIN | 7, i32::MIN | 9].into_iter();
        assert_eq!(cache.insert(session(1), 0, || random.next().expect("enough")), 9);
        cache.remove(7);
        assert!(cache.get(7).is_none() && cache.get(9).is_some());
        assert_eq!(FetchSessionCache::new(0, usize::MAX).insert(session(1), 0, || 1), 0);
    }
}
