//! The sessions of this broker, within `max.incremental.fetch.session.cache.slots` and
//! `monedula.fetch.session.cache.max.bytes`.
//!
//! Invariants: a session takes another's place only when that one was not used for two minutes, or is smaller and older
//! than two minutes (Kafka's `FetchSessionCacheShard.tryEvict`, of sessions of consumers); without a place there is no
//! session, which is always legal. The locks of the cache and of a session are never held together.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::config::broker::BrokerConfig;
use crate::fetch_session::session::Session;
use crate::fetch_session::source::PartitionSource;
use crate::partition::fetch_wait::FetchWaiter;

/// A session unused for so long gives way to any other; one younger than this to none that is not stale.
const EVICTION_MS: i64 = 120_000;

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
        let sessions = self.read();
        let fits = sessions.by_id.len() < self.max_sessions && sessions.bytes.saturating_add(bytes) <= self.max_bytes;
        let can_fit = self.max_sessions > 0 && bytes <= self.max_bytes;
        fits || (can_fit && victim(sessions.candidates(None), partitions, now_ms).is_some())
    }

    /// Keeps a session if there is, or can be made, a place for it; the id that the client is told, 0 for none.
    pub fn insert(&self, session: Session<PartitionSource>, now_ms: i64, mut random: impl FnMut() -> i32) -> i32 {
        let (partitions, bytes) = (session.len(), session.size_bytes());
        let mut evicted = Vec::new();
        let mut sessions = self.write();
        while sessions.by_id.len() >= self.max_sessions || sessions.bytes.saturating_add(bytes) > self.max_bytes {
            if self.max_sessions == 0
                || bytes > self.max_bytes
                || !sessions.evict_for(partitions, None, now_ms, &mut evicted)
            {
                return 0;
            }
        }
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

    /// A session has so many partitions and bytes now. False, and the session is gone, when there is no room for that.
    pub fn resize(&self, id: i32, partitions: usize, bytes: usize, now_ms: i64) -> bool {
        let mut evicted = Vec::new();
        let mut sessions = self.write();
        let Some(cached) = sessions.by_id.get_mut(&id) else {
            return true;
        };
        let before = std::mem::replace(&mut cached.bytes, bytes);
        cached.partitions = partitions;
        sessions.bytes = sessions.bytes - before + bytes;
        while bytes > before && sessions.bytes > self.max_bytes {
            if !sessions.evict_for(partitions, Some(id), now_ms, &mut evicted) {
                evicted.extend(sessions.remove(id));
                drop(sessions);
                return false;
            }
        }
        drop(sessions);
        true
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

    /// Takes a session out that has to give way to one with so many partitions, but not the one called `but`.
    fn evict_for(
        &mut self,
        partitions: usize,
        but: Option<i32>,
        now_ms: i64,
        evicted: &mut Vec<Arc<FetchSession>>,
    ) -> bool {
        let victim = victim(self.candidates(but), partitions, now_ms);
        evicted.extend(victim.and_then(|id| self.remove(id)));
        victim.is_some()
    }

    fn candidates(&self, but: Option<i32>) -> impl Iterator<Item = Candidate> {
        let others = self.by_id.iter().filter(move |(id, _)| Some(**id) != but);
        others.map(|(id, cached)| Candidate {
            id: *id,
            partitions: cached.partitions,
            created_ms: cached.session.created_ms,
            last_used_ms: cached.session.last_used_ms.load(Ordering::Relaxed),
        })
    }
}

/// A session that may have to go.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    id: i32,
    partitions: usize,
    created_ms: i64,
    last_used_ms: i64,
}

/// Which session gives way to a new one with so many partitions: the one unused for longest if that is stale, else the
/// smallest of those that were used when they were old enough, if it is smaller than the new one.
fn victim(candidates: impl Iterator<Item = Candidate>, partitions: usize, now_ms: i64) -> Option<i32> {
    let mut stalest: Option<Candidate> = None;
    let mut smallest: Option<Candidate> = None;
    for candidate in candidates {
        if stalest.is_none_or(|stalest| candidate.last_used_ms < stalest.last_used_ms) {
            stalest = Some(candidate);
        }
        let is_old = candidate.last_used_ms - candidate.created_ms > EVICTION_MS;
        if is_old && smallest.is_none_or(|smallest| candidate.partitions < smallest.partitions) {
            smallest = Some(candidate);
        }
    }
    let stale = stalest.filter(|stalest| now_ms - stalest.last_used_ms > EVICTION_MS);
    let smaller = smallest.filter(|smallest| smallest.partitions < partitions);
    stale.or(smaller).map(|candidate| candidate.id)
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
        let cache = FetchSessionCache::new(100, 3 * one);
        let first = insert(&cache, 10, 0, 0);
        let second = insert(&cache, 10, 0, 150_000);
        assert_eq!(cache.usage(), (2, 2 * one));
        assert_eq!(insert(&cache, 40, 150_000, 150_000), 0, "larger than the whole budget");
        assert!(cache.get(first).is_some(), "and nobody went for it");
        assert!(cache.resize(first, 20, 2 * one, 150_000));
        assert_eq!(cache.usage(), (2, 3 * one));
        assert!(cache.resize(second, 20, 2 * one, 150_000), "the first is stale");
        assert!(cache.get(first).is_none());
        assert!(!cache.resize(second, 40, 4 * one, 150_000), "no room whoever goes");
        assert_eq!(cache.usage(), (0, 0));
        assert!(
            cache.resize(second, 1, 1, 150_000),
            "an evicted session goes on without its place"
        );
        assert_eq!(cache.usage(), (0, 0));
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
