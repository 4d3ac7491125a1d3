//! The quotas of clients: what each did lately, and how long it has to wait.
//!
//! Invariants: a kind of quota that nobody set costs one relaxed load; no lock is held over anything but arithmetic;
//! what a client did while no quota held for it is not remembered.
//!
//! Produce and request time are counted first and waited for then, by Kafka's rate. A Fetch response is counted only
//! when it is sent, and is sent when the whole window has room for it. Kafka uses its rate there too, which it pads
//! while the window is young: it says to come back in moments when there will be no room for seconds, and gives
//! consumers of large responses half of their quota.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard};

use crate::metadata::image::quotas::{QuotaKey, QuotasImage};
use crate::quota::limits::{Client, Limits, Tags};
use crate::quota::rate::{Rate, Windows};
use crate::quota::sensors::Sensors;
use crate::quota::token_bucket::TokenBucket;

/// A kind of quota that clients are held to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum QuotaKind {
    /// Bytes of Produce requests per second.
    Produce = 1,
    /// Bytes of Fetch responses per second.
    Fetch = 2,
    /// Time spent on requests, in percent of one thread.
    Request = 4,
    /// Partitions created and deleted per second.
    ControllerMutation = 8,
}

/// What quotas go by.
#[derive(Debug, Clone, Copy)]
pub struct QuotaSettings {
    /// `quota.window.num` and `quota.window.size.seconds`
    pub windows: Windows,
    /// `controller.quota.window.num` and `controller.quota.window.size.seconds`
    pub controller_windows: Windows,
    /// `monedula.quota.max.sensors`
    pub max_sensors: usize,
}

/// One kind of quota: its bounds, and what clients did.
#[derive(Debug)]
struct Held<S> {
    key: QuotaKey,
    limits: Limits,
    sensors: Sensors<S>,
}

impl<S: Default> Held<S> {
    fn new(key: QuotaKey, settings: &QuotaSettings) -> Mutex<Self> {
        Mutex::new(Self {
            key,
            limits: Limits::default(),
            sensors: Sensors::new(settings.max_sensors),
        })
    }

    /// The client's state with its bound, if it has one.
    fn sensor(&mut self, client: Client<'_>, now_ms: i64) -> Option<(&mut S, f64)> {
        let (tags, bound) = self.limits.find(client)?;
        let sensor = self.sensors.get(tags, bound, now_ms);
        Some((&mut sensor.state, sensor.bound))
    }

    /// Takes new bounds; gives whether there are any.
    fn update(&mut self, image: &QuotasImage) -> bool {
        let limits = Limits::of(image, self.key);
        if limits != self.limits {
            self.sensors.rebind(|tags: Tags<'_>| limits.bound(tags));
            self.limits = limits;
        }
        !self.limits.is_empty()
    }
}

/// What a Fetch response of some size means to its client's quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FetchCharge {
    /// It may be sent. A response that the quota could never hold is sent when nothing was before, and paid for with
    /// this wait; 0 mostly.
    Send(i32),
    /// It may not be sent; the client has to wait so long.
    Withhold(i32),
}

/// See the module. One per broker.
#[derive(Debug)]
pub struct Quotas {
    settings: QuotaSettings,
    /// Bits of [`QuotaKind`].
    active: AtomicU8,
    produce: Mutex<Held<Rate>>,
    fetch: Mutex<Held<Rate>>,
    request: Mutex<Held<Rate>>,
    mutation: Mutex<Held<TokenBucket>>,
}

fn lock<T>(held: &Mutex<T>) -> MutexGuard<'_, T> {
    held.lock().expect("arithmetic on quotas does not panic")
}

impl Quotas {
    /// Without any bound.
    pub fn new(settings: QuotaSettings) -> Self {
        Self {
            settings,
            active: AtomicU8::new(0),
            produce: Held::new(QuotaKey::ProducerByteRate, &settings),
            fetch: Held::new(QuotaKey::ConsumerByteRate, &settings),
            request: Held::new(QuotaKey::RequestPercentage, &settings),
            mutation: Held::new(QuotaKey::ControllerMutationRate, &settings),
        }
    }

    /// Takes the bounds of an image; they hold from the next request on.
    pub fn update(&self, image: &QuotasImage) {
        let mut active = 0;
        let mut note = |kind: QuotaKind, any: bool| active |= if any { kind as u8 } else { 0 };
        note(QuotaKind::Produce, lock(&self.produce).update(image));
        note(QuotaKind::Fetch, lock(&self.fetch).update(image));
        note(QuotaKind::Request, lock(&self.request).update(image));
        note(QuotaKind::ControllerMutation, lock(&self.mutation).update(image));
        self.active.store(active, Ordering::Relaxed);
    }

    /// Whether anybody is held to a quota of this kind.
    pub fn is_active(&self, kind: QuotaKind) -> bool {
        self.active.load(Ordering::Relaxed) & kind as u8 != 0
    }

    /// Whether requests of one connection have to be handled one by one, because each may end in a wait.
    pub fn holds_requests(&self) -> bool {
        self.active.load(Ordering::Relaxed) & (QuotaKind::Produce as u8 | QuotaKind::Request as u8) != 0
    }

    /// Counts a Produce request; gives the wait that follows it.
    pub fn charge_produce(&self, client: Client<'_>, bytes: usize, now_ms: i64) -> i32 {
        if !self.is_active(QuotaKind::Produce) {
            return 0;
        }
        let windows = self.settings.windows;
        let mut held = lock(&self.produce);
        let Some((rate, bound)) = held.sensor(client, now_ms) else {
            return 0;
        };
        rate.record(windows, bytes as f64, now_ms);
        int32(rate.throttle_time_ms(windows, bound, now_ms))
    }

    /// Counts time spent on a request; gives the wait that follows it, a sample's length at most.
    pub fn charge_request(&self, client: Client<'_>, nanos: u64, now_ms: i64) -> i32 {
        if !self.is_active(QuotaKind::Request) {
            return 0;
        }
        let windows = self.settings.windows;
        let mut held = lock(&self.request);
        let Some((rate, bound)) = held.sensor(client, now_ms) else {
            return 0;
        };
        let percent = nanos as f64 * 100.0 / 1e9;
        rate.record(windows, percent, now_ms);
        int32(rate.throttle_time_ms(windows, bound, now_ms).min(windows.sample_ms))
    }

    /// Most bytes that a Fetch of this client should be given now; more would be withheld. Never 0, so that a Fetch that
    /// waits for bytes still waits.
    pub fn fetch_max_bytes(&self, client: Client<'_>, now_ms: i64) -> usize {
        if !self.is_active(QuotaKind::Fetch) {
            return usize::MAX;
        }
        let windows = self.settings.windows;
        let mut held = lock(&self.fetch);
        match held.sensor(client, now_ms) {
            // a cast of a float saturates
            Some((rate, bound)) => (rate.room(windows, bound, now_ms) as usize).max(1),
            None => usize::MAX,
        }
    }

    /// Counts a Fetch response, unless it may not be sent now.
    pub fn charge_fetch(&self, client: Client<'_>, bytes: usize, now_ms: i64) -> FetchCharge {
        if !self.is_active(QuotaKind::Fetch) {
            return FetchCharge::Send(0);
        }
        let windows = self.settings.windows;
        let mut held = lock(&self.fetch);
        let Some((rate, bound)) = held.sensor(client, now_ms) else {
            return FetchCharge::Send(0);
        };
        let bytes = bytes as f64;
        let wait_ms = int32(rate.time_to_room_ms(windows, bound, bytes, now_ms));
        if wait_ms > 0 {
            return FetchCharge::Withhold(wait_ms);
        }
        rate.record(windows, bytes, now_ms);
        let too_large = bytes > windows.capacity(bound);
        FetchCharge::Send(if too_large {
            int32((bytes / bound * 1_000.0) as i64)
        } else {
            0
        })
    }

    /// Asks for a change of so many partitions: the wait that follows it. `strict` refuses it while one is owed.
    ///
    /// # Errors
    /// How long the client has to wait before it may ask again.
    pub(super) fn charge_mutation(
        &self,
        client: Client<'_>,
        partitions: f64,
        strict: bool,
        now_ms: i64,
    ) -> Result<i32, i32> {
        if !self.is_active(QuotaKind::ControllerMutation) {
            return Ok(0);
        }
        let windows = self.settings.controller_windows;
        let mut held = lock(&self.mutation);
        let Some((bucket, bound)) = held.sensor(client, now_ms) else {
            return Ok(0);
        };
        let owed_ms = int32(bucket.throttle_time_ms(windows, bound, now_ms));
        if strict && owed_ms > 0 {
            return Err(owed_ms);
        }
        bucket.take(windows, bound, partitions, now_ms);
        if strict {
            return Ok(0);
        }
        Ok(int32(bucket.throttle_time_ms(windows, bound, now_ms)))
    }
}

fn int32(wait_ms: i64) -> i32 {
    i32::try_from(wait_ms).unwrap_or(i32::MAX)
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::metadata::image::quotas::{EntityName, QuotaEntity};
    use crate::quota::limits::tests::image_of;

    pub(crate) fn quotas(set: &[(QuotaEntity, QuotaKey, f64)]) -> Quotas {
        let windows = Windows::new(11, 1);
        let quotas = Quotas::new(QuotaSettings {
            windows,
            controller_windows: windows,
            max_sensors: 100,
        });
        quotas.update(&image_of(set));
        quotas
    }

    fn client(client_id: &str) -> Client<'_> {
        Client {
            user: "ANONYMOUS",
            client_id,
        }
    }

    fn of_client_id(name: &str) -> QuotaEntity {
        QuotaEntity::ClientId(EntityName::Named(name.to_owned()))
    }

    #[test]
    fn nothing_is_held_or_remembered_without_a_quota() {
        let quotas = quotas(&[(of_client_id("a"), QuotaKey::ConsumerByteRate, 10.0)]);
        assert!(quotas.is_active(QuotaKind::Fetch) && !quotas.holds_requests());
        assert_eq!(quotas.charge_produce(client("a"), 1_000_000, 0), 0);
        assert_eq!(quotas.charge_request(client("a"), u64::MAX, 0), 0);
        assert_eq!(quotas.charge_mutation(client("a"), 1e9, true, 0), Ok(0));
        assert_eq!(quotas.charge_fetch(client("b"), 1_000_000, 0), FetchCharge::Send(0));
        assert_eq!(quotas.fetch_max_bytes(client("b"), 0), usize::MAX);
        assert_eq!(lock(&quotas.fetch).sensors.cost(), 0);
    }

    #[test]
    fn producers_wait_for_what_they_sent() {
        let quotas = quotas(&[(of_client_id("a"), QuotaKey::ProducerByteRate, 1_000.0)]);
        assert!(quotas.holds_requests());
        assert_eq!(quotas.charge_produce(client("a"), 10_000, 5), 0, "the window is 10 s");
        assert_eq!(quotas.charge_produce(client("a"), 1_000, 5), 1_000);
        assert_eq!(quotas.charge_produce(client("b"), 1_000, 5), 0, "others are free");
        quotas.update(&QuotasImage::default());
        assert_eq!(quotas.charge_produce(client("a"), 1_000, 5), 0, "free at once");
        quotas.update(&image_of(&[(of_client_id("a"), QuotaKey::ProducerByteRate, 1_000.0)]));
        assert_eq!(quotas.charge_produce(client("a"), 10_000, 6), 0, "and begins anew");
    }

    #[test]
    fn a_changed_bound_holds_for_what_was_done_before() {
        let quotas = quotas(&[(of_client_id("a"), QuotaKey::ProducerByteRate, 1_000.0)]);
        assert_eq!(quotas.charge_produce(client("a"), 10_000, 5), 0);
        quotas.update(&image_of(&[(of_client_id("a"), QuotaKey::ProducerByteRate, 500.0)]));
        assert_eq!(quotas.charge_produce(client("a"), 0, 5), 10_000);
    }

    #[test]
    fn responses_are_withheld_until_they_fit() {
        let quotas = quotas(&[(of_client_id("a"), QuotaKey::ConsumerByteRate, 1_000.0)]);
        let charge = |bytes, now_ms| quotas.charge_fetch(client("a"), bytes, now_ms);
        assert_eq!(quotas.fetch_max_bytes(client("a"), 0), 11_000);
        assert_eq!(charge(8_000, 0), FetchCharge::Send(0));
        assert_eq!(quotas.fetch_max_bytes(client("a"), 0), 3_000);
        assert_eq!(charge(4_000, 600), FetchCharge::Withhold(10_400));
        assert_eq!(charge(3_000, 600), FetchCharge::Send(0), "that was not counted");
        assert_eq!(quotas.fetch_max_bytes(client("a"), 600), 1);
        assert_eq!(charge(4_000, 11_600), FetchCharge::Send(0));
    }

    #[test]
    fn a_batch_that_no_window_holds_is_sent_and_paid_for() {
        let quotas = quotas(&[(of_client_id("a"), QuotaKey::ConsumerByteRate, 1_000.0)]);
        let charge = |bytes, now_ms| quotas.charge_fetch(client("a"), bytes, now_ms);
        assert_eq!(charge(30_000, 0), FetchCharge::Send(30_000));
        assert_eq!(charge(1, 0), FetchCharge::Withhold(11_000));
        assert_eq!(charge(30_000, 30_000), FetchCharge::Send(30_000));
    }

    #[test]
    fn time_is_in_percent_of_a_thread_and_waits_are_short() {
        let quotas = quotas(&[(of_client_id("a"), QuotaKey::RequestPercentage, 1.0)]);
        assert_eq!(
            quotas.charge_request(client("a"), 100_000_000, 0),
            0,
            "10 % of a second in 10 s"
        );
        assert_eq!(quotas.charge_request(client("a"), 1_000_000, 0), 100);
        assert_eq!(quotas.charge_request(client("a"), u64::MAX, 0), 1_000);
    }

    proptest! {
        /// A consumer that asks again as soon as it may gets its quota, however its batches and requests are cut.
        #[test]
        fn consumers_get_their_quota(
            bound in 10_000_usize..1_000_000,
            batch_share in 0.001..0.2_f64,
            wanted in prop::collection::vec(0.01..20.0_f64, 1..10),
        ) {
            let quotas = quotas(&[(of_client_id("a"), QuotaKey::ConsumerByteRate, bound as f64)]);
            let batch = ((bound as f64 * batch_share) as usize).max(1);
            let (mut now_ms, mut sent) = (0, 0);
            for wanted in wanted.iter().cycle() {
                let most = quotas.fetch_max_bytes(client("a"), now_ms).min((bound as f64 * wanted) as usize);
                let bytes = (most / batch).max(1) * batch;
                now_ms += 1;
                match quotas.charge_fetch(client("a"), bytes, now_ms) {
                    FetchCharge::Send(wait_ms) => {
                        sent += bytes;
                        now_ms += i64::from(wait_ms);
                    }
                    FetchCharge::Withhold(wait_ms) => now_ms += i64::from(wait_ms),
                }
                if now_ms > 200_000 {
                    break;
                }
            }
            let quota = bound as f64 * now_ms as f64 / 1_000.0;
            prop_assert!(sent as f64 > 0.85 * quota, "{} of {}", sent, quota);
            prop_assert!((sent as f64) < 1.1 * quota, "{} of {}", sent, quota);
        }

        #[test]
        fn producers_get_their_quota(
            bound in 1_000_usize..1_000_000,
            sizes in prop::collection::vec(0.01..1.0_f64, 1..10),
        ) {
            let quotas = quotas(&[(of_client_id("a"), QuotaKey::ProducerByteRate, bound as f64)]);
            let (mut now_ms, mut sent) = (0, 0);
            for size in sizes.iter().cycle() {
                let bytes = (bound as f64 * size) as usize + 1;
                sent += bytes;
                now_ms += 1 + i64::from(quotas.charge_produce(client("a"), bytes, now_ms));
                if now_ms > 200_000 {
                    break;
                }
            }
            let quota = bound as f64 * now_ms as f64 / 1_000.0;
            prop_assert!(sent as f64 > 0.85 * quota, "{} of {}", sent, quota);
            prop_assert!((sent as f64) < 1.1 * quota, "{} of {}", sent, quota);
        }
    }
}
