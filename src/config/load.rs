//! Puts the sources of the configuration together and turns them into a `BrokerConfig`.
//!
//! Invariants: a value that cannot be used is an error that names key, value, what is allowed and where it was set, and
//! all such errors are told at once; nothing that was configured is ignored without a word.

use std::io;
use std::path::{Path, PathBuf};

use crate::config::broker::BrokerConfig;
use crate::config::environment;
use crate::config::error::{ConfigError, ConfigErrors};
use crate::config::properties::{self, MalformedEscape};
use crate::config::remarks::{self, Remark};
use crate::config::resolve::resolve;
use crate::config::settings::{Origin, Setting, Settings};
use crate::config::table;

/// Everything that a configuration is made of, in rising priority.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Path and text of the properties file.
    pub file: Option<(PathBuf, String)>,
    /// Environment variables, see [`environment::variables`].
    pub environment: Vec<(String, String)>,
    /// `--override` arguments, the last one of a key wins.
    pub overrides: Vec<(String, String)>,
}

impl Sources {
    /// Reads the file, if there is one.
    pub fn with_file(path: Option<&Path>) -> Result<Self, LoadError> {
        let file = match path {
            Some(path) => {
                let bytes = std::fs::read(path).map_err(|source| LoadError::Unreadable {
                    path: path.to_owned(),
                    source,
                })?;
                Some((path.to_owned(), properties::decode(bytes)))
            }
            None => None,
        };
        Ok(Self {
            file,
            ..Self::default()
        })
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file could not be read.
    #[error("cannot read the configuration {}: {source}", path.display())]
    Unreadable {
        /// As given on the command line.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The file is no properties file.
    #[error("{}, {source}", path.display())]
    Malformed {
        /// As given on the command line.
        path: PathBuf,
        /// Where and what.
        source: MalformedEscape,
    },
    /// Values that cannot be used.
    #[error(transparent)]
    Invalid(#[from] ConfigErrors),
}

/// A usable configuration, and what its user should hear about it.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: BrokerConfig,
    /// In the order in which to log them.
    pub remarks: Vec<Remark>,
}

/// Reads, checks and resolves.
pub fn load(sources: &Sources) -> Result<Loaded, LoadError> {
    let mut settings = merge(sources)?;
    let errors = invalid_settings(&settings);
    if !errors.is_empty() {
        return Err(ConfigErrors(errors).into());
    }
    let mut remarks = remarks::on(&settings);
    let resolution = resolve(&settings).map_err(ConfigErrors)?;
    remarks.extend(resolution.remarks.into_iter().map(Remark::Info));
    share_node_id(&mut settings);
    Ok(Loaded {
        config: BrokerConfig::read(settings, resolution.resolved),
        remarks,
    })
}

fn merge(sources: &Sources) -> Result<Settings, LoadError> {
    let mut settings = Settings::default();
    if let Some((path, text)) = &sources.file {
        let parsed = properties::parse(text);
        let found = parsed.map_err(|source| LoadError::Malformed {
            path: path.clone(),
            source,
        })?;
        for property in found {
            let origin = Origin::File {
                path: path.display().to_string(),
                line: property.line,
            };
            settings.set(
                &property.key,
                Setting {
                    text: property.value,
                    origin,
                },
            );
        }
    }
    for (variable, text) in &sources.environment {
        if let Some(name) = environment::config_name(variable) {
            settings.set(
                &name,
                Setting {
                    text: text.clone(),
                    origin: Origin::Environment(variable.clone()),
                },
            );
        }
    }
    for (name, text) in &sources.overrides {
        settings.set(
            name,
            Setting {
                text: text.clone(),
                origin: Origin::CommandLine,
            },
        );
    }
    Ok(settings)
}

fn invalid_settings(settings: &Settings) -> Vec<ConfigError> {
    let refused = |(name, setting): (&str, &Setting)| {
        let key = table::find(remarks::base_name(name))?;
        let why = key.parse(&setting.text).err()?;
        let mut error = ConfigError::of(name, setting, why);
        if key.is_sensitive() {
            error.value = None;
        }
        Some(error)
    };
    settings.iter().filter_map(refused).collect()
}

/// `node.id` and `broker.id` are one number with two names: where one is set, the other is shown so (as in
/// `KafkaConfig.populateSynonyms`).
fn share_node_id(settings: &mut Settings) {
    match (settings.of("node.id").cloned(), settings.of("broker.id").cloned()) {
        (Some(node), None) => settings.set("broker.id", node),
        (None, Some(broker)) => settings.set("node.id", broker),
        _ => {}
    }
}

#[cfg(test)]
mod tests;
