//! What a worker is told in one line, and how texts are written in one word; `_serve.py` says it all.
//!
//! **Invariant:** no library of clients is known here.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use crate::serve::{Answer, Failure};

/// A record that was read, or one to be written; a time of `None` is the library's own choice.
#[derive(Clone, Debug, Default)]
pub struct Record {
    pub partition: i32,
    pub offset: i64,
    pub timestamp_ms: Option<i64>,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

/// A name, plain words, and options.
pub struct Command {
    pub name: String,
    pub words: Vec<String>,
    pub options: BTreeMap<String, String>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Command {
    pub fn parse(line: &str) -> Self {
        let mut words = line.split_whitespace();
        let mut command = Self {
            name: words.next().unwrap_or_default().to_owned(),
            words: Vec::new(),
            options: BTreeMap::new(),
            headers: Vec::new(),
        };
        for word in words {
            match word.split_once('=') {
                Some(("header", pair)) => {
                    let (name, value) = pair.split_once(':').unwrap_or((pair, "-"));
                    let name = String::from_utf8_lossy(&decoded(name).unwrap_or_default()).into_owned();
                    command.headers.push((name, decoded(value)));
                }
                Some((key, value)) => drop(command.options.insert(key.to_owned(), value.to_owned())),
                None => command.words.push(word.to_owned()),
            }
        }
        command
    }

    pub fn word(&self, index: usize) -> Answer<&str> {
        let word = self.words.get(index).map(String::as_str);
        word.ok_or_else(|| Failure::other("words are missing"))
    }

    pub fn number<N: std::str::FromStr>(&self, index: usize) -> Answer<N> {
        number(self.word(index)?)
    }

    /// The value of an option, which is not left over any more.
    pub fn option(&mut self, key: &str) -> Option<String> {
        self.options.remove(key)
    }

    pub fn milliseconds(&mut self, key: &str, absent: u64) -> Answer<Duration> {
        let given = self.option(key).map_or(Ok(absent), |word| number(&word));
        given.map(Duration::from_millis)
    }

    /// An error when an option is left over that nobody knows.
    pub fn refuse_rest(&self) -> Answer<()> {
        if self.options.is_empty() {
            return Ok(());
        }
        Err(Failure::other(format!("options nobody knows: {:?}", self.options)))
    }
}

pub fn number<N: std::str::FromStr>(word: &str) -> Answer<N> {
    word.parse().map_err(|_| Failure::other(format!("{word} is no number")))
}

pub fn decoded(word: &str) -> Option<Vec<u8>> {
    if word == "-" || word == "." {
        return (word == ".").then(Vec::new);
    }
    let mut text = Vec::with_capacity(word.len());
    let mut rest = word.as_bytes();
    while let [first, after @ ..] = rest {
        let escaped = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match escaped
            .filter(|_| *first == b'%')
            .and_then(|digits| u8::from_str_radix(digits, 16).ok())
        {
            Some(byte) => {
                text.push(byte);
                rest = &after[2..];
            }
            None => {
                text.push(*first);
                rest = after;
            }
        }
    }
    Some(text)
}

pub fn encoded(value: Option<&[u8]>) -> String {
    let Some(value) = value else {
        return "-".to_owned();
    };
    if value.is_empty() {
        return ".".to_owned();
    }
    let mut text = String::with_capacity(value.len());
    for byte in value {
        if byte.is_ascii_alphanumeric() || b"-_.!~*'()".contains(byte) {
            text.push(char::from(*byte));
        } else {
            write!(text, "%{byte:02X}").expect("writing to a string does not fail");
        }
    }
    text
}

impl Record {
    /// As `poll` answers with it.
    pub fn short(&self) -> String {
        format!("{}:{}", self.partition, encoded(self.value.as_deref()))
    }

    /// As `records` does.
    pub fn full(&self) -> String {
        let timestamp = self.timestamp_ms.unwrap_or(-1);
        let [key, value] = [&self.key, &self.value].map(|text| encoded(text.as_deref()));
        let mut text = format!("{}:{}:{timestamp}:{key}:{value}", self.partition, self.offset);
        for (name, value) in &self.headers {
            let [name, value] = [Some(name.as_bytes()), value.as_deref()].map(encoded);
            write!(text, ":{name}:{value}").expect("writing to a string does not fail");
        }
        text
    }
}
