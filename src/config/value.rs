//! Values of configs: Kafka's nine types, how their text is read and written, and the addresses of listeners.
//!
//! Invariant: reading and writing follow `ConfigDef.parseType` and `ConfigDef.convertToString` of Apache Kafka, so that
//! a value that Kafka takes is taken here and DescribeConfigs shows the same text.

use std::fmt;

/// Kafka's types of config values. The numbers are those of DescribeConfigs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub enum ConfigType {
    /// `true` or `false`, in any case.
    Boolean = 1,
    /// Text without surrounding spaces.
    String = 2,
    /// 32 bits, signed.
    Int = 3,
    /// 16 bits, signed.
    Short = 4,
    /// 64 bits, signed.
    Long = 5,
    /// A finite number.
    Double = 6,
    /// Text parts separated by commas.
    List = 7,
    /// The name of a Java class.
    Class = 8,
    /// Text that is never shown.
    Password = 9,
}

impl ConfigType {
    /// The type as documentation names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Boolean => "boolean",
            Self::String => "string",
            Self::Int => "int",
            Self::Short => "short",
            Self::Long => "long",
            Self::Double => "double",
            Self::List => "list",
            Self::Class => "class",
            Self::Password => "password",
        }
    }
}

/// A value read from text. Null, which some configs have as default, is the absence of a `ConfigValue`.
#[derive(Clone, Debug, PartialEq)]
pub enum ConfigValue {
    /// Of type boolean.
    Boolean(bool),
    /// Of type string, class or password.
    Text(String),
    /// Of type int.
    Int(i32),
    /// Of type short.
    Short(i16),
    /// Of type long.
    Long(i64),
    /// Of type double.
    Double(f64),
    /// Of type list. An element that is named twice is kept once, at its first place, as in Kafka.
    List(Vec<String>),
}

impl ConfigValue {
    /// Reads `text`; the error says what is expected, in Kafka's words.
    pub fn parse(kind: ConfigType, text: &str) -> Result<Self, String> {
        let trimmed = text.trim();
        let not_a_number = || format!("Not a number of type {}", kind.name().to_uppercase());
        match kind {
            ConfigType::Boolean if trimmed.eq_ignore_ascii_case("true") => Ok(Self::Boolean(true)),
            ConfigType::Boolean if trimmed.eq_ignore_ascii_case("false") => Ok(Self::Boolean(false)),
            ConfigType::Boolean => Err("Expected value to be either true or false".to_owned()),
            ConfigType::String | ConfigType::Class | ConfigType::Password => Ok(Self::Text(trimmed.to_owned())),
            ConfigType::Int => trimmed.parse().map(Self::Int).map_err(|_| not_a_number()),
            ConfigType::Short => trimmed.parse().map(Self::Short).map_err(|_| not_a_number()),
            ConfigType::Long => trimmed.parse().map(Self::Long).map_err(|_| not_a_number()),
            ConfigType::Double => {
                let number = trimmed.parse::<f64>().ok().filter(|number| number.is_finite());
                number.map(Self::Double).ok_or_else(not_a_number)
            }
            ConfigType::List => Ok(Self::List(parse_list(trimmed))),
        }
    }

    /// The number in a value of type int, short or long.
    pub fn as_integer(&self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(i64::from(*number)),
            Self::Short(number) => Some(i64::from(*number)),
            Self::Long(number) => Some(*number),
            _ => None,
        }
    }
}

/// The text that Kafka shows for the value.
impl fmt::Display for ConfigValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean(value) => value.fmt(f),
            Self::Text(value) => f.write_str(value),
            Self::Int(value) => value.fmt(f),
            Self::Short(value) => value.fmt(f),
            Self::Long(value) => value.fmt(f),
            Self::Double(value) => f.write_str(&java_double(*value)),
            Self::List(value) => f.write_str(&value.join(",")),
        }
    }
}

fn parse_list(trimmed: &str) -> Vec<String> {
    let mut elements: Vec<String> = Vec::new();
    if trimmed.is_empty() {
        return elements;
    }
    for element in trimmed.split(',').map(str::trim) {
        if !elements.iter().any(|known| known == element) {
            elements.push(element.to_owned());
        }
    }
    elements
}

/// Java's `Double.toString`: always a fraction, an exponent outside of 10^-3 to 10^7.
fn java_double(value: f64) -> String {
    let magnitude = value.abs();
    if magnitude == 0.0 || (1e-3..1e7).contains(&magnitude) {
        return format!("{value:?}");
    }
    let scientific = format!("{value:e}");
    match scientific.split_once('e') {
        Some((mantissa, exponent)) if mantissa.contains('.') => format!("{mantissa}E{exponent}"),
        Some((mantissa, exponent)) => format!("{mantissa}.0E{exponent}"),
        None => scientific,
    }
}

/// How clients of a listener talk to it. The others that Kafka knows are refused when the configuration is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecurityProtocol {
    /// Neither encrypted nor authenticated.
    Plaintext,
}

/// One address at which the broker takes connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// In upper case, as Kafka keeps it.
    pub name: String,
    /// From `listener.security.protocol.map`.
    pub protocol: SecurityProtocol,
    /// Host name or address to bind; empty means all interfaces.
    pub host: String,
    /// Port to bind; 0 lets the system choose.
    pub port: u16,
    /// Host and port that clients are told. `None`: the address that the client dialled itself.
    pub advertised: Option<(String, u16)>,
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "{}://[{}]:{}", self.name, self.host, self.port)
        } else {
            write!(f, "{}://{}:{}", self.name, self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(kind: ConfigType, text: &str) -> Result<String, String> {
        ConfigValue::parse(kind, text).map(|value| value.to_string())
    }

    #[test]
    fn values_are_shown_as_java_shows_them() {
        for (kind, text, expected) in [
            (ConfigType::Boolean, " TRUE ", "true"),
            (ConfigType::Int, "+7", "7"),
            (ConfigType::Long, " -9223372036854775808", "-9223372036854775808"),
            (ConfigType::Short, "32767", "32767"),
            (ConfigType::Double, "0.10", "0.1"),
            (ConfigType::Double, "2", "2.0"),
            (ConfigType::Double, "0", "0.0"),
            (ConfigType::Double, "1e7", "1.0E7"),
            (ConfigType::Double, "0.00025", "2.5E-4"),
            (ConfigType::Double, "1.7976931348623157E308", "1.7976931348623157E308"),
            (ConfigType::String, "  a b ", "a b"),
            (ConfigType::List, "compact , delete", "compact,delete"),
            (ConfigType::List, "a,b,a", "a,b"),
            (ConfigType::List, "  ", ""),
        ] {
            assert_eq!(shown(kind, text), Ok(expected.to_owned()), "{kind:?} {text:?}");
        }
    }

    #[test]
    fn what_is_no_value_of_the_type_is_named() {
        for (kind, text, expected) in [
            (ConfigType::Boolean, "yes", "Expected value to be either true or false"),
            (ConfigType::Int, "2147483648", "Not a number of type INT"),
            (ConfigType::Int, "", "Not a number of type INT"),
            (ConfigType::Short, "32768", "Not a number of type SHORT"),
            (ConfigType::Long, "1.5", "Not a number of type LONG"),
            (ConfigType::Double, "NaN", "Not a number of type DOUBLE"),
        ] {
            assert_eq!(shown(kind, text), Err(expected.to_owned()), "{kind:?} {text:?}");
        }
    }

    #[test]
    fn a_listener_is_shown_as_it_is_configured() {
        let mut listener = Listener {
            name: "PLAINTEXT".to_owned(),
            protocol: SecurityProtocol::Plaintext,
            host: "::1".to_owned(),
            port: 9092,
            advertised: None,
        };
        assert_eq!(listener.to_string(), "PLAINTEXT://[::1]:9092");
        listener.host.clear();
        assert_eq!(listener.to_string(), "PLAINTEXT://:9092");
    }
}
