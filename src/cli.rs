//! The command line: `monedula [server.properties] [--override key=value]...`, Kafka's habit, and questions about itself.
//!
//! Invariant: reading arguments is pure; it neither prints nor ends the process.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::config::docs;

/// What the process was started for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Run the broker.
    Run {
        /// The properties file.
        file: Option<PathBuf>,
        /// `--override` arguments in their order.
        overrides: Vec<(String, String)>,
    },
    /// Print [`help`].
    Help,
    /// Print [`version`].
    Version,
    /// Print the documentation of all configs.
    ConfigDocs,
}

/// Arguments that make no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UsageError {
    /// An option that does not exist.
    #[error("unknown option {0}, see monedula --help")]
    UnknownOption(String),
    /// `--override` without a pair.
    #[error("--override needs key=value, not {0:?}")]
    MalformedOverride(String),
    /// A second file, or an unknown command.
    #[error("unexpected argument {0:?}, see monedula --help")]
    Unexpected(String),
    /// Something other than a path that is no UTF-8.
    #[error("argument {0:?} is not UTF-8")]
    NotUtf8(OsString),
}

/// Reads the arguments after the program's name.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, UsageError> {
    let mut arguments = arguments.into_iter();
    let mut file: Option<PathBuf> = None;
    let mut overrides = Vec::new();
    while let Some(argument) = arguments.next() {
        let Some(text) = argument.to_str() else {
            if file.is_some() {
                return Err(UsageError::NotUtf8(argument));
            }
            file = Some(argument.into());
            continue;
        };
        match text {
            "--help" | "-h" => return Ok(Command::Help),
            "--version" | "-V" => return Ok(Command::Version),
            "--override" => overrides.push(key_and_value(arguments.next().unwrap_or_default())?),
            _ if text.starts_with("--override=") => {
                overrides.push(key_and_value(text["--override=".len()..].into())?);
            }
            _ if text.starts_with('-') => return Err(UsageError::UnknownOption(text.to_owned())),
            "config" if file.is_none() && overrides.is_empty() => return config_command(arguments),
            _ if file.is_some() => return Err(UsageError::Unexpected(text.to_owned())),
            _ => file = Some(argument.into()),
        }
    }
    Ok(Command::Run { file, overrides })
}

fn config_command(mut arguments: impl Iterator<Item = OsString>) -> Result<Command, UsageError> {
    let unexpected = |argument: OsString| UsageError::Unexpected(argument.to_string_lossy().into_owned());
    match arguments.next() {
        Some(argument) if argument == "docs" => match arguments.next() {
            None => Ok(Command::ConfigDocs),
            Some(further) => Err(unexpected(further)),
        },
        other => Err(unexpected(other.unwrap_or_else(|| "config".into()))),
    }
}

fn key_and_value(argument: OsString) -> Result<(String, String), UsageError> {
    let text = argument.into_string().map_err(UsageError::NotUtf8)?;
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.to_owned())),
        _ => Err(UsageError::MalformedOverride(text)),
    }
}

/// One line.
pub fn version() -> String {
    format!("monedula {}\n", env!("CARGO_PKG_VERSION"))
}

/// How to use the program.
pub fn help() -> String {
    format!(
        "\
{}A broker that speaks Kafka's protocol. It needs no configuration.

Usage:
  monedula [server.properties] [--override key=value]...
  monedula config docs    print the documentation of all configs (Markdown)
  monedula --help
  monedula --version

Configs have Kafka's names. They are read from the file, from environment variables such as KAFKA_LOG_DIRS, and from
--override, later ones winning. The most important:

{}",
        version(),
        docs::help()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &[&str]) -> Result<Command, UsageError> {
        parse(arguments.iter().map(OsString::from))
    }

    fn run(file: Option<&str>, overrides: &[(&str, &str)]) -> Result<Command, UsageError> {
        let overrides = overrides
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        Ok(Command::Run {
            file: file.map(PathBuf::from),
            overrides,
        })
    }

    #[test]
    fn file_and_overrides() {
        assert_eq!(read(&[]), run(None, &[]));
        assert_eq!(
            read(&["config/server.properties"]),
            run(Some("config/server.properties"), &[])
        );
        assert_eq!(
            read(&[
                "--override",
                "a=b=c",
                "x.properties",
                "--override=listeners=PLAINTEXT://:1",
                "--override",
                "e="
            ]),
            run(
                Some("x.properties"),
                &[("a", "b=c"), ("listeners", "PLAINTEXT://:1"), ("e", "")]
            )
        );
    }

    #[test]
    fn questions() {
        assert_eq!(read(&["--help"]), Ok(Command::Help));
        assert_eq!(read(&["x", "-h"]), Ok(Command::Help));
        assert_eq!(read(&["--version"]), Ok(Command::Version));
        assert_eq!(read(&["config", "docs"]), Ok(Command::ConfigDocs));
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        for (arguments, expected) in [
            (
                &["--overide", "a=b"][..],
                UsageError::UnknownOption("--overide".to_owned()),
            ),
            (&["--override"], UsageError::MalformedOverride(String::new())),
            (&["--override", "a"], UsageError::MalformedOverride("a".to_owned())),
            (&["--override", "=a"], UsageError::MalformedOverride("=a".to_owned())),
            (&["a", "b"], UsageError::Unexpected("b".to_owned())),
            (&["config"], UsageError::Unexpected("config".to_owned())),
            (&["config", "doc"], UsageError::Unexpected("doc".to_owned())),
            (&["config", "docs", "x"], UsageError::Unexpected("x".to_owned())),
        ] {
            assert_eq!(read(arguments), Err(expected), "{arguments:?}");
        }
    }

    #[test]
    fn help_shows_usage_and_defaults() {
        assert!(help().contains("monedula [server.properties] [--override key=value]..."));
        assert!(help().contains("[default: PLAINTEXT://127.0.0.1:9092]"));
        assert!(version().starts_with("monedula "));
    }
}
