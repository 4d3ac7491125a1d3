//! How fast connections are accepted: of the broker, of each listener, of each address.
//!
//! Invariants: broker and listener make the acceptor wait, an address has its connection closed, after the time that
//! it would have had to wait; such a connection counts for nobody. No wait is longer than one sample. Addresses are
//! remembered within a limit. Source: Kafka's `ConnectionQuotas`, KIP-612.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::metadata::image::quotas::{EntityName, QuotaEntity, QuotaKey, QuotasImage};
use crate::quota::limits::Tags;
use crate::quota::rate::{Rate, Windows};
use crate::quota::sensors::Sensors;

/// What connection rates go by.
#[derive(Debug, Clone)]
pub struct ConnectionRateSettings {
    /// `quota.window.num` and `quota.window.size.seconds`
    pub windows: Windows,
    /// `max.connection.creation.rate`
    pub broker_rate: Option<f64>,
    /// `listener.name.<listener>.max.connection.creation.rate`, by listener
    pub listener_rates: BTreeMap<String, f64>,
    /// `monedula.quota.max.sensors`
    pub max_sensors: usize,
}

/// See the module. One per broker.
#[derive(Debug)]
pub struct ConnectionRates {
    /// Whether anything has a limit.
    active: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    settings: ConnectionRateSettings,
    broker: Rate,
    listeners: BTreeMap<String, Rate>,
    of_addresses: BTreeMap<IpAddr, f64>,
    of_default: Option<f64>,
    addresses: Sensors<Rate>,
}

impl State {
    fn is_limited(&self) -> bool {
        let settings = &self.settings;
        settings.broker_rate.is_some()
            || !settings.listener_rates.is_empty()
            || self.of_default.is_some()
            || !self.of_addresses.is_empty()
    }
}

impl ConnectionRates {
    /// Without a bound on addresses.
    pub fn new(settings: ConnectionRateSettings) -> Self {
        let limited = settings.broker_rate.is_some() || !settings.listener_rates.is_empty();
        Self {
            active: AtomicBool::new(limited),
            state: Mutex::new(State {
                broker: Rate::default(),
                listeners: BTreeMap::new(),
                of_addresses: BTreeMap::new(),
                of_default: None,
                addresses: Sensors::new(settings.max_sensors),
                settings,
            }),
        }
    }

    /// Takes other rates of the broker and its listeners; they hold from the next connection on.
    ///
    /// # Panics
    /// Never: nobody panics under this lock.
    pub fn set_rates(&self, broker_rate: Option<f64>, listener_rates: BTreeMap<String, f64>) {
        let mut state = self.state.lock().expect("arithmetic on rates does not panic");
        state.settings.broker_rate = broker_rate;
        state.settings.listener_rates = listener_rates;
        self.active.store(state.is_limited(), Ordering::Relaxed);
    }

    /// Takes the bounds of an image; they hold from the next connection on.
    ///
    /// # Panics
    /// Never: nobody panics under this lock.
    pub fn update(&self, image: &QuotasImage) {
        let mut state = self.state.lock().expect("arithmetic on rates does not panic");
        state.of_addresses.clear();
        state.of_default = None;
        for (entity, quotas) in image.iter() {
            let (QuotaEntity::Ip(name), Some(bound)) = (entity, quotas.values.get(&QuotaKey::ConnectionCreationRate))
            else {
                continue;
            };
            match (name, quotas.address) {
                (EntityName::Default, _) => state.of_default = Some(bound.0),
                (EntityName::Named(_), Some(address)) => {
                    state.of_addresses.insert(address.to_canonical(), bound.0);
                }
                (EntityName::Named(name), None) => tracing::warn!(name, "a quota of an address that is not known"),
            }
        }
        let State {
            addresses,
            of_addresses,
            of_default,
            ..
        } = &mut *state;
        let bound = |tags: Tags<'_>| {
            let address: Option<IpAddr> = tags.client_id.parse().ok();
            address
                .and_then(|address| of_addresses.get(&address).copied())
                .or(*of_default)
        };
        addresses.rebind(bound);
        self.active.store(state.is_limited(), Ordering::Relaxed);
    }

    /// Counts a connection for broker and listener; gives how long the acceptor has to wait.
    ///
    /// # Panics
    /// Never: nobody panics under this lock.
    pub fn accept(&self, listener: &str, now_ms: i64) -> i64 {
        if !self.active.load(Ordering::Relaxed) {
            return 0;
        }
        let mut state = self.state.lock().expect("arithmetic on rates does not panic");
        let windows = state.settings.windows;
        let mut wait_ms = 0;
        let mut count = |rate: &mut Rate, bound: f64| {
            rate.record(windows, 1.0, now_ms);
            wait_ms = rate
                .throttle_time_ms(windows, bound, now_ms)
                .min(windows.sample_ms)
                .max(wait_ms);
        };
        if let Some(bound) = state.settings.broker_rate {
            count(&mut state.broker, bound);
        }
        if let Some(bound) = state.settings.listener_rates.get(listener).copied() {
            count(state.listeners.entry(listener.to_owned()).or_default(), bound);
        }
        wait_ms
    }

    /// Counts a connection for its address; `Some` when it has to be closed, after so many milliseconds.
    ///
    /// # Panics
    /// Never: nobody panics under this lock.
    pub fn admit(&self, listener: &str, address: IpAddr, now_ms: i64) -> Option<i64> {
        if !self.active.load(Ordering::Relaxed) {
            return None;
        }
        let mut state = self.state.lock().expect("arithmetic on rates does not panic");
        let address = address.to_canonical();
        let bound = state.of_addresses.get(&address).copied().or(state.of_default)?;
        let windows = state.settings.windows;
        let tags = Tags {
            user: "",
            client_id: &address.to_string(),
        };
        let rate = &mut state.addresses.get(tags, bound, now_ms).state;
        rate.record(windows, 1.0, now_ms);
        let wait_ms = rate.throttle_time_ms(windows, bound, now_ms).min(windows.sample_ms);
        if wait_ms == 0 {
            return None;
        }
        rate.take_back(1.0);
        if state.settings.broker_rate.is_some() {
            state.broker.take_back(1.0);
        }
        if let Some(rate) = state.listeners.get_mut(listener) {
            rate.take_back(1.0);
        }
        Some(wait_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::apply::apply;
    use crate::metadata::command::{AlterClientQuotas, Command, QuotaChange};
    use crate::metadata::image::MetadataImage;
    use crate::metadata::image::quotas::QuotaBound;

    fn rates(broker_rate: Option<f64>, listener_rate: Option<f64>) -> ConnectionRates {
        ConnectionRates::new(ConnectionRateSettings {
            windows: Windows::new(11, 1),
            broker_rate,
            listener_rates: listener_rate
                .into_iter()
                .map(|rate| ("EXTERNAL".to_owned(), rate))
                .collect(),
            max_sensors: 100,
        })
    }

    fn set(rates: &ConnectionRates, addresses: &[(Option<&str>, f64)]) {
        let changes = addresses.iter().map(|(address, bound)| QuotaChange {
            entity: QuotaEntity::Ip(EntityName::from(address.map(str::to_owned))),
            address: address.map(|address| address.parse().expect("an address")),
            values: [(QuotaKey::ConnectionCreationRate, Some(QuotaBound(*bound)))].into(),
        });
        let alter = AlterClientQuotas {
            changes: changes.collect(),
            max_entities: 100,
        };
        let mut image = MetadataImage::default();
        apply(&mut image, 1, &Command::AlterClientQuotas(alter));
        rates.update(&image.quotas);
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn broker_and_listener_make_the_acceptor_wait() {
        let both = rates(Some(2.0), Some(1.0));
        for _ in 0..10 {
            assert_eq!(both.accept("EXTERNAL", 0), 0);
        }
        assert_eq!(both.accept("EXTERNAL", 0), 1_000, "the listener's rate, 11 in 10 s");
        for _ in 0..9 {
            assert_eq!(both.accept("INTERNAL", 0), 0);
        }
        assert_eq!(both.accept("INTERNAL", 0), 500, "the broker's rate, 21 in 10 s");
        both.set_rates(None, BTreeMap::new());
        assert_eq!(both.accept("EXTERNAL", 0), 0, "free at once");
        both.set_rates(Some(1.0), BTreeMap::new());
        assert!(both.accept("EXTERNAL", 0) > 0);
        assert_eq!(rates(None, None).accept("EXTERNAL", 0), 0);
    }

    #[test]
    fn an_address_has_its_bound_or_the_default() {
        let rates = rates(Some(1.0), None);
        assert_eq!(rates.admit("EXTERNAL", ip("10.0.0.1"), 0), None);
        set(&rates, &[(Some("10.0.0.1"), 1.0), (None, 2.0)]);
        for _ in 0..10 {
            rates.accept("EXTERNAL", 0);
            assert_eq!(rates.admit("EXTERNAL", ip("::ffff:10.0.0.1"), 0), None);
        }
        assert_eq!(rates.accept("EXTERNAL", 0), 1_000);
        assert_eq!(rates.admit("EXTERNAL", ip("10.0.0.1"), 0), Some(1_000));
        assert_eq!(
            rates.admit("EXTERNAL", ip("10.0.0.1"), 0),
            Some(1_000),
            "one that is closed does not count"
        );
        assert_eq!(
            rates.state.lock().expect("lock").broker.sum(Windows::new(11, 1), 0),
            9.0
        );
        for _ in 0..20 {
            assert_eq!(rates.admit("EXTERNAL", ip("10.0.0.2"), 0), None);
        }
        assert_eq!(rates.admit("EXTERNAL", ip("10.0.0.2"), 0), Some(500));
        set(&rates, &[(Some("10.0.0.1"), 5.0)]);
        assert_eq!(
            rates.admit("EXTERNAL", ip("10.0.0.1"), 0),
            None,
            "a higher bound holds at once"
        );
        assert_eq!(
            rates.admit("EXTERNAL", ip("10.0.0.2"), 0),
            None,
            "one without a bound is free"
        );
    }
}
