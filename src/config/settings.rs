//! What was configured, key by key: the text, and who said it.
//!
//! Invariant: every setting of a known key, dynamic ones included, has passed its parser and check before it lies here,
//! so that reading a value cannot fail.

use std::collections::BTreeMap;
use std::fmt;

use crate::config::key::ConfigKey;
use crate::config::precedence::{ConfigSource, candidates};
use crate::config::table;
use crate::config::value::ConfigValue;

/// Who set a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A line of the properties file.
    File {
        /// As given on the command line.
        path: String,
        /// Counted from 1.
        line: usize,
    },
    /// An environment variable of this name.
    Environment(String),
    /// `--override` on the command line.
    CommandLine,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line } => write!(f, "{path}, line {line}"),
            Self::Environment(variable) => write!(f, "environment variable {variable}"),
            Self::CommandLine => f.write_str("--override"),
        }
    }
}

/// One configured value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// As written.
    pub text: String,
    /// Where.
    pub origin: Origin,
}

/// All configured values by key, known or not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    by_name: BTreeMap<String, Setting>,
    /// Set for all brokers while they ran.
    dynamic_default: BTreeMap<String, String>,
    /// Set for this broker while it ran.
    dynamic_broker: BTreeMap<String, String>,
}

impl Settings {
    /// Sets a value; a later source replaces an earlier one.
    pub(super) fn set(&mut self, name: &str, setting: Setting) {
        self.by_name.insert(name.to_owned(), setting);
    }

    /// The same configuration of the start with other dynamic values.
    pub(super) fn with_dynamic(
        &self,
        dynamic_default: BTreeMap<String, String>,
        dynamic_broker: BTreeMap<String, String>,
    ) -> Self {
        Self {
            by_name: self.by_name.clone(),
            dynamic_default,
            dynamic_broker,
        }
    }

    /// What was set for all brokers while they ran.
    pub fn dynamic_default(&self) -> &BTreeMap<String, String> {
        &self.dynamic_default
    }

    /// What was set for this broker while it ran.
    pub fn dynamic_broker(&self) -> &BTreeMap<String, String> {
        &self.dynamic_broker
    }

    /// Whether anybody set `name`, at the start or later.
    pub fn is_set(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
            || self.dynamic_default.contains_key(name)
            || self.dynamic_broker.contains_key(name)
    }

    /// What was configured for `name` at the start.
    pub fn of(&self, name: &str) -> Option<&Setting> {
        self.by_name.get(name)
    }

    /// All that was configured at the start, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Setting)> {
        self.by_name.iter().map(|(name, setting)| (name.as_str(), setting))
    }

    /// The value in force: dynamic, configured or the default; `None` is null.
    ///
    /// # Panics
    /// When the setting was not checked before, see the invariant of the file.
    pub fn value(&self, key: &ConfigKey) -> Option<ConfigValue> {
        let names = [key.name];
        let deciding = candidates(None, &names, self).next()?;
        if deciding.source == ConfigSource::Default {
            return key.default_value();
        }
        let value = key.parse(&deciding.text);
        Some(value.expect("settings are checked before they are read"))
    }

    /// The milliseconds that the first of several configs gives which count in milliseconds, minutes or hours.
    ///
    /// # Panics
    /// As [`Self::value`], or when none of them has a value; both are faults of the table.
    pub(super) fn milliseconds(&self, names: &[&str]) -> i64 {
        let deciding = candidates(None, names, self)
            .next()
            .expect("the last one has a default");
        let key = table::find(deciding.name).expect("names of the table");
        let value = key.parse(&deciding.text).ok().and_then(|value| value.as_integer());
        let count = value.expect("settings are checked before they are read");
        match deciding.name.rsplit('.').next() {
            Some("minutes") => count.saturating_mul(60_000),
            Some("hours") => count.saturating_mul(3_600_000),
            _ => count,
        }
    }

    /// The value of a key as a Rust type.
    ///
    /// # Panics
    /// When the table has no such key or another type; both are faults of the table, found by its tests.
    pub(super) fn typed<T: FromConfig>(&self, name: &str) -> T {
        let key = table::find(name).unwrap_or_else(|| panic!("{name} is not in the config table"));
        T::from_config(self.value(key)).unwrap_or_else(|| panic!("{name} is not of the type its reader asks for"))
    }
}

/// Rust types that can hold a config's value.
pub(super) trait FromConfig: Sized {
    /// `None` when value and type do not fit.
    fn from_config(value: Option<ConfigValue>) -> Option<Self>;
}

macro_rules! from_config {
    ($($ty:ty: $variant:ident;)+) => {$(
        impl FromConfig for $ty {
            fn from_config(value: Option<ConfigValue>) -> Option<Self> {
                match value {
                    Some(ConfigValue::$variant(inner)) => Some(inner),
                    _ => None,
                }
            }
        }
    )+};
}

from_config! {
    bool: Boolean;
    i16: Short;
    i32: Int;
    i64: Long;
    f64: Double;
    String: Text;
    Vec<String>: List;
}

impl<T: FromConfig> FromConfig for Option<T> {
    fn from_config(value: Option<ConfigValue>) -> Option<Self> {
        match value {
            None => Some(None),
            Some(value) => T::from_config(Some(value)).map(Some),
        }
    }
}
