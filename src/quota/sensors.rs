//! What is remembered of clients that are held to a quota.
//!
//! Invariants: never more than the limit, a long name counting as several; what was not used for an hour goes first,
//! then what was used longest ago, so that clients which make up names push out only those that keep still.
//! Source: Kafka's `SensorAccess` (which has no limit).
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::collections::BTreeMap;

use crate::quota::limits::Tags;

/// What nobody used for so long is forgotten, as in Kafka.
const IDLE_MS: i64 = 3_600_000;
/// How often idle ones are looked for.
const SWEEP_MS: i64 = 60_000;
/// A name costs one more for every so many bytes.
const NAME_BYTES: usize = 256;

/// One sensor.
#[derive(Debug)]
pub struct Sensor<S> {
    /// What was recorded.
    pub state: S,
    /// The bound that holds for it.
    pub bound: f64,
    used_ms: i64,
}

/// Sensors by their tags.
#[derive(Debug)]
pub struct Sensors<S> {
    by_user: BTreeMap<Box<str>, BTreeMap<Box<str>, Sensor<S>>>,
    cost: usize,
    limit: usize,
    swept_ms: i64,
}

impl<S: Default> Sensors<S> {
    /// None yet, and never more than `limit`.
    pub fn new(limit: usize) -> Self {
        Self {
            by_user: BTreeMap::new(),
            cost: 0,
            limit: limit.max(1),
            swept_ms: i64::MIN,
        }
    }

    /// The sensor of these tags.
    ///
    /// # Panics
    /// Never: what is missing is made.
    pub fn get(&mut self, tags: Tags<'_>, bound: f64, now_ms: i64) -> &mut Sensor<S> {
        let known = self
            .by_user
            .get(tags.user)
            .is_some_and(|of_user| of_user.contains_key(tags.client_id));
        if !known {
            self.make_room(cost_of(tags.user, tags.client_id), now_ms);
            let sensor = Sensor {
                state: S::default(),
                bound,
                used_ms: now_ms,
            };
            let of_user = self.by_user.entry(tags.user.into()).or_default();
            of_user.insert(tags.client_id.into(), sensor);
        }
        let of_user = self.by_user.get_mut(tags.user).expect("found or made");
        let sensor = of_user.get_mut(tags.client_id).expect("found or made");
        sensor.used_ms = sensor.used_ms.max(now_ms);
        sensor
    }

    /// Gives every sensor the bound that it has now, and forgets those that have none.
    pub fn rebind(&mut self, bound: impl Fn(Tags<'_>) -> Option<f64>) {
        self.retain(|tags, sensor| match bound(tags) {
            Some(bound) => {
                sensor.bound = bound;
                true
            }
            None => false,
        });
    }

    /// How much is held, of the limit.
    pub fn cost(&self) -> usize {
        self.cost
    }

    fn make_room(&mut self, cost: usize, now_ms: i64) {
        let full = self.cost + cost > self.limit;
        if full || now_ms.saturating_sub(self.swept_ms) >= SWEEP_MS {
            self.swept_ms = now_ms;
            self.retain(|_, sensor| now_ms - sensor.used_ms < IDLE_MS);
        }
        if self.cost + cost > self.limit {
            self.drop_the_oldest_quarter();
        }
        if self.cost + cost > self.limit {
            self.by_user.clear();
            self.cost = 0;
        }
        self.cost += cost;
    }

    /// A quarter at once, so that a flood of names does not cost a walk each.
    fn drop_the_oldest_quarter(&mut self) {
        let sensors = self.by_user.values().flat_map(BTreeMap::values);
        let mut used: Vec<_> = sensors.map(|sensor| sensor.used_ms).collect();
        if used.is_empty() {
            return;
        }
        let mut to_drop = used.len().div_ceil(4);
        let (_, newest_ms, _) = used.select_nth_unstable(to_drop - 1);
        let newest_ms = *newest_ms;
        self.retain(|_, sensor| {
            let drops = sensor.used_ms <= newest_ms && to_drop > 0;
            to_drop -= usize::from(drops);
            !drops
        });
    }

    fn retain(&mut self, mut keep: impl FnMut(Tags<'_>, &mut Sensor<S>) -> bool) {
        let mut cost = 0;
        self.by_user.retain(|user, of_user| {
            of_user.retain(|client_id, sensor| {
                let kept = keep(Tags { user, client_id }, sensor);
                cost += if kept { cost_of(user, client_id) } else { 0 };
                kept
            });
            !of_user.is_empty()
        });
        self.cost = cost;
    }
}

fn cost_of(user: &str, client_id: &str) -> usize {
    1 + (user.len() + client_id.len()) / NAME_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(client_id: &str) -> Tags<'_> {
        Tags { user: "", client_id }
    }

    fn holds(sensors: &Sensors<u32>, client_id: &str) -> bool {
        sensors
            .by_user
            .get("")
            .is_some_and(|of_user| of_user.contains_key(client_id))
    }

    #[test]
    fn a_flood_of_names_stays_within_the_limit_and_spares_who_is_active() {
        let mut sensors = Sensors::<u32>::new(100);
        sensors.get(tags("active"), 1.0, 0).state = 7;
        for now_ms in 0..5_000 {
            sensors.get(tags(&format!("made up {now_ms}")), 1.0, now_ms);
            assert!(sensors.cost() <= 100);
            assert_eq!(sensors.get(tags("active"), 1.0, now_ms).state, 7);
        }
        assert!(sensors.cost() >= 75, "a quarter goes at a time");
    }

    #[test]
    fn long_names_count_as_several_and_one_that_fills_all_is_alone() {
        let mut sensors = Sensors::<u32>::new(100);
        for number in 0..1_000 {
            sensors.get(tags(&format!("{number}{}", "x".repeat(1_024))), 1.0, number);
            assert!(sensors.cost() <= 100);
        }
        assert!(sensors.by_user[""].len() <= 20);
        sensors.get(tags(&"y".repeat(30_000)), 1.0, 1_000);
        assert_eq!(sensors.by_user[""].len(), 1);
    }

    #[test]
    fn what_is_idle_for_an_hour_is_forgotten() {
        let mut sensors = Sensors::<u32>::new(100);
        sensors.get(tags("idle"), 1.0, 0);
        sensors.get(tags("active"), 1.0, 5_000_000 - IDLE_MS + 1);
        sensors.get(tags("new"), 1.0, 5_000_000);
        assert!(!holds(&sensors, "idle") && holds(&sensors, "active") && holds(&sensors, "new"));
        assert_eq!(sensors.cost(), 2);
    }

    #[test]
    fn bounds_follow_and_what_has_none_goes() {
        let mut sensors = Sensors::<u32>::new(100);
        sensors.get(tags("a"), 1.0, 0).state = 3;
        sensors.get(tags("b"), 1.0, 0);
        sensors.rebind(|tags| (tags.client_id == "a").then_some(9.0));
        let sensor = sensors.get(tags("a"), 1.0, 0);
        assert_eq!((sensor.state, sensor.bound), (3, 9.0));
        assert!(!holds(&sensors, "b"));
        assert_eq!(sensors.cost(), 1);
    }
}
