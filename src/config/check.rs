//! What a config accepts beyond its type.
//!
//! Invariant: `Display` is Kafka's own notation of accepted values (the "Valid Values" of its documentation), and the
//! sentences of refusals are those of `ConfigDef`, so that tools and people find what they know.

use std::fmt;

use crate::config::value::ConfigValue;

/// A condition on a value that already has the right type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Check {
    /// Everything that the type can hold.
    Any,
    /// An integer not below the bound.
    AtLeast(i64),
    /// An integer within both bounds.
    Between(i64, i64),
    /// An integer within both bounds, or the one that stands outside of them.
    BetweenOr(i64, i64, i64),
    /// A double within both bounds.
    Fraction(f64, f64),
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// One of these words, in any case.
    OneOfIgnoringCase(&'static [&'static str]),
    /// Any of these words.
    ListOf(&'static [&'static str]),
    /// At least one of these words.
    NonEmptyListOf(&'static [&'static str]),
    /// At least one element.
    NonEmptyList,
    /// At least one character.
    NonEmptyText,
    /// 1 to 64 letters, digits, `-` and `_`: what Kafka's 22 characters of base64 are made of.
    ClusterId,
    /// `*`, or pairs of partition and broker.
    ThrottledReplicas,
    /// Elements of the form id@host:port.
    QuorumVoters,
    /// Elements of the form host:port.
    HostPorts,
    /// `earliest`, `latest` or `by_duration:` and an ISO 8601 duration.
    ShareOffsetReset,
}

impl Check {
    /// Refuses a value with a sentence that says what is allowed.
    ///
    /// # Panics
    /// When the table puts a check on a type that it cannot judge: a fault of the table, found by its tests.
    pub fn check(&self, value: &ConfigValue) -> Result<(), String> {
        match value {
            ConfigValue::Boolean(_) => {
                assert!(*self == Self::Any, "a boolean cannot be checked by {self:?}");
                Ok(())
            }
            ConfigValue::Int(_) | ConfigValue::Short(_) | ConfigValue::Long(_) => {
                self.check_integer(value.as_integer().expect("int, short and long hold an integer"))
            }
            ConfigValue::Double(number) => self.check_double(*number),
            ConfigValue::Text(text) => self.check_text(text),
            ConfigValue::List(elements) => self.check_list(elements),
        }
    }

    fn check_integer(&self, number: i64) -> Result<(), String> {
        match *self {
            Self::Any => Ok(()),
            Self::AtLeast(low) | Self::Between(low, _) if number < low => Err(format!("Value must be at least {low}")),
            Self::AtLeast(_) => Ok(()),
            Self::Between(_, high) if number > high => Err(format!("Value must be no more than {high}")),
            Self::Between(..) => Ok(()),
            Self::BetweenOr(low, high, other) if number != other && !(low..=high).contains(&number) => {
                Err(format!("Value must be between {low} and {high} or equal to {other}"))
            }
            Self::BetweenOr(..) => Ok(()),
            _ => unreachable!("an integer cannot be checked by {self:?}"),
        }
    }

    fn check_double(&self, number: f64) -> Result<(), String> {
        match *self {
            Self::Any => Ok(()),
            Self::Fraction(low, _) if number < low => Err(format!("Value must be at least {low}")),
            Self::Fraction(_, high) if number > high => Err(format!("Value must be no more than {high}")),
            Self::Fraction(..) => Ok(()),
            _ => unreachable!("a double cannot be checked by {self:?}"),
        }
    }

    fn check_text(&self, text: &str) -> Result<(), String> {
        match *self {
            Self::Any => Ok(()),
            Self::OneOf(words) => one_of(words, text),
            Self::OneOfIgnoringCase(words) if words.iter().any(|word| word.eq_ignore_ascii_case(text)) => Ok(()),
            Self::OneOfIgnoringCase(words) => Err(format!(
                "String must be one of (case insensitive): {}",
                words.join(", ")
            )),
            Self::ShareOffsetReset => match text {
                "earliest" | "latest" => Ok(()),
                _ if text.strip_prefix("by_duration:").is_some_and(is_duration) => Ok(()),
                _ => Err("Value must be earliest, latest or by_duration:<duration>, as in by_duration:PT1H".to_owned()),
            },
            Self::NonEmptyText if text.is_empty() => Err("String must be non-empty".to_owned()),
            Self::NonEmptyText => Ok(()),
            Self::ClusterId if is_cluster_id(text) => Ok(()),
            Self::ClusterId => Err("String must have 1 to 64 letters, digits, - or _".to_owned()),
            _ => unreachable!("a text cannot be checked by {self:?}"),
        }
    }

    fn check_list(&self, elements: &[String]) -> Result<(), String> {
        match *self {
            Self::Any => Ok(()),
            Self::NonEmptyListOf(_) | Self::NonEmptyList if elements.is_empty() => {
                Err("List must not be empty".to_owned())
            }
            Self::NonEmptyList if elements.iter().any(String::is_empty) => {
                Err("List must not contain an empty element".to_owned())
            }
            Self::NonEmptyList => Ok(()),
            Self::ListOf(words) | Self::NonEmptyListOf(words) => {
                elements.iter().try_for_each(|element| one_of(words, element))
            }
            Self::ThrottledReplicas if elements == ["*"] || elements.iter().all(|pair| is_replica(pair)) => Ok(()),
            Self::ThrottledReplicas => Err(format!("Value must be the literal '*' or a list of replicas: {self}")),
            Self::QuorumVoters if elements.iter().all(|voter| is_voter(voter)) => Ok(()),
            Self::QuorumVoters => Err("Elements must have the form id@host:port".to_owned()),
            Self::HostPorts if elements.iter().all(|address| is_host_port(address)) => Ok(()),
            Self::HostPorts => Err("Elements must have the form host:port".to_owned()),
            _ => unreachable!("a list cannot be checked by {self:?}"),
        }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => Ok(()),
            Self::AtLeast(low) => write!(f, "[{low},...]"),
            Self::Between(low, high) => write!(f, "[{low},...,{high}]"),
            Self::BetweenOr(low, high, other) => write!(f, "[{low},...,{high}] or {other}"),
            Self::Fraction(low, high) => write!(f, "[{low},...,{high}]"),
            Self::OneOf(words) | Self::ListOf(words) | Self::NonEmptyListOf(words) => {
                write!(f, "[{}]", words.join(", "))
            }
            Self::OneOfIgnoringCase(words) => write!(f, "(case insensitive) [{}]", words.join(", ")),
            Self::NonEmptyList => f.write_str("non-empty list"),
            Self::NonEmptyText => f.write_str("non-empty string"),
            Self::ThrottledReplicas => f.write_str("[partitionId]:[brokerId],[partitionId]:[brokerId],..."),
            Self::QuorumVoters => f.write_str("id@host:port,..."),
            Self::HostPorts => f.write_str("host:port,..."),
            Self::ClusterId => f.write_str("1 to 64 letters, digits, - and _"),
            Self::ShareOffsetReset => f.write_str("[earliest, latest, by_duration:PnDTnHnMn.nS]"),
        }
    }
}

fn one_of(words: &[&str], text: &str) -> Result<(), String> {
    if words.contains(&text) {
        Ok(())
    } else {
        Err(format!("String must be one of: {}", words.join(", ")))
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_replica(pair: &str) -> bool {
    pair.split_once(':')
        .is_some_and(|(partition, broker)| is_number(partition) && is_number(broker))
}

fn is_cluster_id(text: &str) -> bool {
    let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    (1..=64).contains(&text.len()) && text.chars().all(known)
}

fn is_host_port(address: &str) -> bool {
    address
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

/// `PnDTnHnMn.nS` without signs, with at least one part, each unit once and in order.
fn is_duration(text: &str) -> bool {
    let Some(rest) = text.strip_prefix('P') else {
        return false;
    };
    let (days, times) = match rest.split_once('T') {
        Some((days, times)) => (days, Some(times)),
        None => (rest, None),
    };
    let parts = |text: &str, units: &str| {
        let (mut units, mut number) = (units.chars(), String::new());
        text.chars().all(|letter| {
            if letter.is_ascii_digit() || letter == '.' {
                number.push(letter);
                return true;
            }
            let digits = std::mem::take(&mut number);
            let is_number = match digits.split_once('.') {
                Some((whole, fraction)) => {
                    letter == 'S' && is_number(whole) && fraction.len() <= 9 && is_number(fraction)
                }
                None => is_number(&digits),
            };
            is_number && units.any(|unit| unit == letter)
        }) && number.is_empty()
    };
    let has_times = times.is_none_or(|times| !times.is_empty() && parts(times, "HMS"));
    !rest.is_empty() && parts(days, "D") && has_times
}

fn is_voter(voter: &str) -> bool {
    voter
        .split_once('@')
        .is_some_and(|(id, address)| is_number(id) && is_host_port(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(elements: &[&str]) -> ConfigValue {
        ConfigValue::List(elements.iter().map(|&element| element.to_owned()).collect())
    }

    fn text(value: &str) -> ConfigValue {
        ConfigValue::Text(value.to_owned())
    }

    #[test]
    fn durations_are_those_of_iso_8601() {
        for good in ["PT1H", "P2D", "P1DT2H3M4.5S", "PT0S", "PT1H1S"] {
            assert!(is_duration(good), "{good}");
        }
        for bad in [
            "", "P", "PT", "-PT1H", "PT-1H", "PT1M1H", "P1H", "PT1.5H", "1H", "PT1", "PT1H1H", "P1DT",
        ] {
            assert!(!is_duration(bad), "{bad}");
        }
    }

    #[test]
    fn values_inside_are_taken() {
        for (check, value) in [
            (Check::AtLeast(0), ConfigValue::Int(0)),
            (Check::Between(1, 17), ConfigValue::Int(17)),
            (Check::BetweenOr(1, 9, -1), ConfigValue::Int(-1)),
            (Check::Fraction(0.0, 1.0), ConfigValue::Double(1.0)),
            (Check::OneOf(&["a", "b"]), text("b")),
            (Check::OneOfIgnoringCase(&["ES256"]), text("es256")),
            (Check::ListOf(&["compact", "delete"]), list(&[])),
            (Check::NonEmptyListOf(&["broker", "controller"]), list(&["controller"])),
            (Check::ClusterId, text("5L6g3nShT-eMCtK--X86sw")),
            (Check::ThrottledReplicas, list(&["*"])),
            (Check::ThrottledReplicas, list(&["0:1", "12:3"])),
            (Check::QuorumVoters, list(&["1@localhost:9093", "2@[::1]:9093"])),
            (Check::HostPorts, list(&["localhost:9093"])),
        ] {
            assert_eq!(check.check(&value), Ok(()), "{check:?} {value:?}");
        }
    }

    #[test]
    fn values_outside_are_refused_with_what_is_allowed() {
        for (check, value, expected) in [
            (Check::AtLeast(0), ConfigValue::Long(-1), "Value must be at least 0"),
            (Check::Between(1, 17), ConfigValue::Int(0), "Value must be at least 1"),
            (
                Check::Between(1, 17),
                ConfigValue::Int(18),
                "Value must be no more than 17",
            ),
            (
                Check::BetweenOr(1, 9, -1),
                ConfigValue::Int(0),
                "Value must be between 1 and 9 or equal to -1",
            ),
            (
                Check::Fraction(0.0, 1.0),
                ConfigValue::Double(1.01),
                "Value must be no more than 1",
            ),
            (
                Check::Fraction(0.0, 0.5),
                ConfigValue::Double(-0.1),
                "Value must be at least 0",
            ),
            (Check::OneOf(&["a", "b"]), text("A"), "String must be one of: a, b"),
            (
                Check::ListOf(&["compact", "delete"]),
                list(&["x"]),
                "String must be one of: compact, delete",
            ),
            (Check::NonEmptyListOf(&["broker"]), list(&[]), "List must not be empty"),
            (
                Check::NonEmptyList,
                list(&["a", ""]),
                "List must not contain an empty element",
            ),
            (Check::NonEmptyText, text(""), "String must be non-empty"),
            (
                Check::ClusterId,
                text("a\nnode.id=2"),
                "String must have 1 to 64 letters, digits, - or _",
            ),
            (
                Check::QuorumVoters,
                list(&["localhost:9093"]),
                "Elements must have the form id@host:port",
            ),
            (
                Check::HostPorts,
                list(&["localhost"]),
                "Elements must have the form host:port",
            ),
        ] {
            assert_eq!(check.check(&value), Err(expected.to_owned()), "{check:?} {value:?}");
        }
        for pairs in [["x"], ["0:"], ["0:1:2"], ["-1:0"], [""]] {
            assert!(Check::ThrottledReplicas.check(&list(&pairs)).is_err(), "{pairs:?}");
        }
    }
}
