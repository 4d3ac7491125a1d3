//! What was configured, key by key: the text, and who said it.
//!
//! Invariant: every setting of a known key has passed its parser and check before it lies here, so that reading a
//! value cannot fail.

use std::collections::BTreeMap;
use std::fmt;

use crate::config::key::ConfigKey;
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
}

impl Settings {
    /// Sets a value; a later source replaces an earlier one.
    pub(super) fn set(&mut self, name: &str, setting: Setting) {
        self.by_name.insert(name.to_owned(), setting);
    }

    /// What was configured for `name`.
    pub fn of(&self, name: &str) -> Option<&Setting> {
        self.by_name.get(name)
    }

    /// All that was configured, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Setting)> {
        self.by_name.iter().map(|(name, setting)| (name.as_str(), setting))
    }

    /// The configured value or the default; `None` is null.
    ///
    /// # Panics
    /// When the setting was not checked before, see the invariant of the file.
    pub fn value(&self, key: &ConfigKey) -> Option<ConfigValue> {
        match self.of(key.name) {
            Some(setting) => Some(
                key.parse(&setting.text)
                    .expect("settings are checked before they are read"),
            ),
            None => key.default_value(),
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
