//! The fields of requests and responses, read from `schemas.txt`.
//!
//! **Invariant:** a mistake in the table is ours and panics at the first use; nothing here knows values.

use std::sync::LazyLock;

static MESSAGES: LazyLock<Vec<Message>> = LazyLock::new(|| parse(include_str!("schemas.txt")));

/// Versions from the first to the last, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions(pub i16, pub i16);

impl Versions {
    /// Whether a version is among them.
    pub fn has(self, version: i16) -> bool {
        self.0 <= version && version <= self.1
    }

    fn parse(text: &str) -> Self {
        let number = |text: &str| text.parse().unwrap_or_else(|_| panic!("version {text}"));
        match text.split_once('-') {
            None => Self(number(text), number(text)),
            Some((first, "")) => Self(number(first), i16::MAX),
            Some((first, last)) => Self(number(first), number(last)),
        }
    }
}

/// One request or response.
#[derive(Debug)]
pub struct Message {
    pub api: String,
    pub is_request: bool,
    pub key: i16,
    pub versions: Versions,
    /// The first version with compact lengths and tagged fields.
    pub flexible_from: i16,
    pub fields: Vec<Field>,
}

/// One field of a message or of a struct in it.
#[derive(Debug)]
pub struct Field {
    pub name: String,
    pub kind: Kind,
    /// The versions that have it.
    pub versions: Versions,
    /// The versions in which it may be null.
    nullable: Option<Versions>,
    tag: Option<(u32, Versions)>,
    pub default: Option<String>,
}

impl Field {
    /// Whether it may be null in a version.
    pub fn may_be_null(&self, version: i16) -> bool {
        self.nullable.is_some_and(|versions| versions.has(version))
    }

    /// Its tag in a version, if it is a tagged field there.
    pub fn tag(&self, version: i16) -> Option<u32> {
        self.tag
            .filter(|(_, versions)| versions.has(version))
            .map(|(tag, _)| tag)
    }
}

/// What a field holds.
#[derive(Debug)]
pub enum Kind {
    Bool,
    Int8,
    Int16,
    Uint16,
    Int32,
    Int64,
    Float64,
    Uuid,
    String,
    Bytes,
    Records,
    Array(Box<Self>),
    Struct(Vec<Field>),
}

impl Kind {
    fn parse(text: &str) -> Self {
        match text {
            "bool" => Self::Bool,
            "int8" => Self::Int8,
            "int16" => Self::Int16,
            "uint16" => Self::Uint16,
            "int32" => Self::Int32,
            "int64" => Self::Int64,
            "float64" => Self::Float64,
            "uuid" => Self::Uuid,
            "string" => Self::String,
            "bytes" => Self::Bytes,
            "records" => Self::Records,
            "struct" => Self::Struct(Vec::new()),
            "[]" => Self::Array(Box::new(Self::Struct(Vec::new()))),
            _ => {
                let element = text.strip_prefix("[]").unwrap_or_else(|| panic!("type {text}"));
                Self::Array(Box::new(Self::parse(element)))
            }
        }
    }

    /// The fields of the struct that this is, or of the structs in the array that this is.
    pub fn fields(&self) -> Option<&[Field]> {
        match self {
            Self::Struct(fields) => Some(fields),
            Self::Array(element) => element.fields(),
            _ => None,
        }
    }

    fn fields_mut(&mut self) -> &mut Vec<Field> {
        match self {
            Self::Struct(fields) => fields,
            Self::Array(element) => element.fields_mut(),
            other => panic!("fields below {other:?}"),
        }
    }
}

/// All messages.
pub fn messages() -> &'static [Message] {
    &MESSAGES
}

/// The request of an API, by its name.
pub fn request(api: &str) -> &'static Message {
    message(|message| message.is_request && message.api == api, api)
}

/// The response of an API, by its name.
pub fn response(api: &str) -> &'static Message {
    message(|message| !message.is_request && message.api == api, api)
}

fn message(wanted: impl Fn(&Message) -> bool, api: &str) -> &'static Message {
    let found = messages().iter().find(|message| wanted(message));
    found.unwrap_or_else(|| panic!("no API is called {api}"))
}

fn parse(table: &str) -> Vec<Message> {
    let mut messages: Vec<Message> = Vec::new();
    for line in table.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let depth = line.len() - line.trim_start().len();
        let words: Vec<&str> = line.split_whitespace().collect();
        if depth == 0 {
            messages.push(head(&words));
            continue;
        }
        let mut fields = &mut messages.last_mut().expect("a field stands below a message").fields;
        for _ in 1..depth {
            fields = fields.last_mut().expect("a field to stand below").kind.fields_mut();
        }
        fields.push(field(&words));
    }
    messages
}

fn head(words: &[&str]) -> Message {
    let value = |index: usize| words[index].split_once('=').expect("key=value").1;
    Message {
        api: words[0].to_owned(),
        is_request: words[1] == "request",
        key: value(2).parse().expect("an API key"),
        versions: Versions::parse(value(3)),
        flexible_from: value(4).parse().unwrap_or(i16::MAX),
        fields: Vec::new(),
    }
}

fn field(words: &[&str]) -> Field {
    let mut field = Field {
        name: words[0].to_owned(),
        kind: Kind::parse(words[1]),
        versions: Versions(0, i16::MAX),
        nullable: None,
        tag: None,
        default: None,
    };
    for word in &words[2..] {
        if let Some(default) = word.strip_prefix('=') {
            field.default = Some(default.to_owned());
        } else if let Some(versions) = word.strip_prefix("null:") {
            field.nullable = Some(Versions::parse(versions));
        } else if let Some((tag, versions)) = word.strip_prefix("tag").and_then(|rest| rest.split_once(':')) {
            field.tag = Some((tag.parse().expect("a tag"), Versions::parse(versions)));
        } else {
            let versions = word.strip_prefix('v').unwrap_or_else(|| panic!("{word}"));
            field.versions = Versions::parse(versions);
        }
    }
    field
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sound() {
        assert_eq!(messages().len() % 2, 0);
        for pair in messages().chunks(2) {
            assert!(pair[0].is_request && !pair[1].is_request, "{}", pair[0].api);
            assert_eq!(
                (&pair[0].api, pair[0].key, pair[0].versions),
                (&pair[1].api, pair[1].key, pair[1].versions)
            );
        }
    }
}
