//! Why a configuration is refused.

use std::fmt;

use crate::config::key::ConfigKey;
use crate::config::settings::{Origin, Setting, Settings};
use crate::config::table;

/// One value that cannot be used: key, value, and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The key.
    pub name: String,
    /// The refused text; `None` when the key is sensitive.
    pub value: Option<String>,
    /// What is allowed, or what to do.
    pub why: String,
    /// Who set it; `None` for a default or a request.
    pub origin: Option<Origin>,
}

impl ConfigError {
    /// A refused setting.
    pub(super) fn of(name: &str, setting: &Setting, why: String) -> Self {
        Self {
            origin: Some(setting.origin.clone()),
            ..Self::unplaced(name, &setting.text, why)
        }
    }

    /// A refused value of `name`, set or default.
    pub(super) fn in_settings(settings: &Settings, name: &str, why: String) -> Self {
        let dynamic = settings.dynamic_broker().get(name);
        if let Some(text) = dynamic.or_else(|| settings.dynamic_default().get(name)) {
            return Self::unplaced(name, text, why);
        }
        match settings.of(name) {
            Some(setting) => Self::of(name, setting, why),
            None => {
                let default = table::find(name).and_then(|key| key.default).unwrap_or("null");
                Self::unplaced(name, default, why)
            }
        }
    }

    /// A refused value that was not configured anywhere.
    pub(super) fn unplaced(name: &str, value: &str, why: String) -> Self {
        let sensitive = table::find(name).is_some_and(ConfigKey::is_sensitive);
        let value = (!sensitive).then(|| value.trim().to_owned());
        Self {
            name: name.to_owned(),
            value,
            why,
            origin: None,
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.value.as_deref().unwrap_or("[hidden]");
        write!(f, "Invalid value {value} for configuration {}: {}", self.name, self.why)?;
        match &self.origin {
            Some(origin) => write!(f, " ({origin})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ConfigError {}

/// Everything that is wrong with a configuration, one line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            write!(f, "{}{error}", if index == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}
