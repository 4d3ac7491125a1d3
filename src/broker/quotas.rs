//! What quotas go by, out of the configuration.
//!
//! Invariant: a rate that is set to the largest int32 is none.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::broker::BrokerConfig;
use crate::quota::clients::{QuotaSettings, Quotas};
use crate::quota::connections::{ConnectionRateSettings, ConnectionRates};
use crate::quota::rate::Windows;

pub(super) fn make_quotas(config: &BrokerConfig) -> (Arc<Quotas>, Arc<ConnectionRates>) {
    let windows = Windows::new(config.quota_window_num, config.quota_window_size_seconds);
    let (samples, seconds) = (
        config.controller_quota_window_num,
        config.controller_quota_window_size_seconds,
    );
    let max_sensors = usize::try_from(config.monedula_quota_max_sensors).expect("checked to be positive");
    let quotas = Quotas::new(QuotaSettings {
        windows,
        controller_windows: Windows::new(samples, seconds),
        max_sensors,
    });
    let (broker_rate, listener_rates) = connection_rates(config);
    let rates = ConnectionRates::new(ConnectionRateSettings {
        windows,
        broker_rate,
        listener_rates,
        max_sensors,
    });
    (Arc::new(quotas), Arc::new(rates))
}

/// The rates of the broker and of its listeners.
pub(super) fn connection_rates(config: &BrokerConfig) -> (Option<f64>, BTreeMap<String, f64>) {
    let limited = |rate: i32| (rate < i32::MAX).then(|| f64::from(rate));
    let of_listeners = config.resolved.listener_connection_creation_rates.iter();
    let listener_rates = of_listeners
        .filter_map(|(listener, rate)| Some((listener.clone(), limited(*rate)?)))
        .collect();
    (limited(config.max_connection_creation_rate), listener_rates)
}
