//! Values as scripts write them: JSON with bare names for keys, `$variables`, `${variables}` in texts, and functions.
//!
//! **Invariant:** a mistake in a script is ours and panics with the place. Functions: `id(TOPIC)` the id of a topic that the
//! script made, `batch(...)` records (see `records`), `repeat(TEXT, COUNT)`, `concat(BYTES, ...)`.

use std::collections::BTreeMap;

use serde_json::{Map, Number, Value};

use super::codec::{bytes_of_json, hex};
use super::records;

/// What variables stand for, and the ids of topics.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    pub variables: BTreeMap<String, Value>,
    pub topic_ids: BTreeMap<String, String>,
}

/// A value that still has variables and functions in it.
#[derive(Clone, Debug)]
pub enum Expression {
    Plain(Value),
    Text(String),
    Variable(String),
    List(Vec<Self>),
    Object(Vec<(String, Self)>),
    /// Function, arguments by place (with an empty name) and by name.
    Call(String, Vec<(String, Self)>),
}

impl Expression {
    /// Reads a whole expression.
    pub fn parse(text: &str) -> Self {
        let (expression, rest) = Self::parse_first(text);
        assert!(rest.trim().is_empty(), "{rest:?} behind an expression");
        expression
    }

    /// Reads the expression at the beginning, and returns what follows it.
    pub fn parse_first(text: &str) -> (Self, &str) {
        let mut parser = Parser { rest: text };
        let expression = parser.expression();
        (expression, parser.rest)
    }

    /// What it stands for.
    pub fn evaluate(&self, scope: &Scope) -> Value {
        match self {
            Self::Plain(value) => value.clone(),
            Self::Text(text) => Value::from(interpolate(text, scope)),
            Self::Variable(name) => scope.value(name),
            Self::List(items) => items.iter().map(|item| item.evaluate(scope)).collect(),
            Self::Object(fields) => {
                let fields = fields.iter().map(|(name, value)| (name.clone(), value.evaluate(scope)));
                Value::Object(fields.collect::<Map<_, _>>())
            }
            Self::Call(function, arguments) => {
                let arguments: Vec<(String, Value)> = arguments
                    .iter()
                    .map(|(name, value)| (name.clone(), value.evaluate(scope)))
                    .collect();
                call(function, &arguments, scope)
            }
        }
    }
}

impl Scope {
    fn value(&self, name: &str) -> Value {
        let value = self.variables.get(name);
        value.unwrap_or_else(|| panic!("${name} is not set")).clone()
    }
}

fn interpolate(text: &str, scope: &Scope) -> String {
    let mut pieces = text.split("${");
    let mut whole = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (name, rest) = piece.split_once('}').expect("a } behind ${");
        match scope.value(name) {
            Value::String(value) => whole.push_str(&value),
            other => whole.push_str(&other.to_string()),
        }
        whole.push_str(rest);
    }
    whole
}

fn call(function: &str, arguments: &[(String, Value)], scope: &Scope) -> Value {
    let text = |index: usize| arguments[index].1.as_str().expect("text");
    match function {
        "batch" => records::from_script(arguments),
        "id" => {
            let id = scope.topic_ids.get(text(0));
            Value::from(id.unwrap_or_else(|| panic!("no id of {}", text(0))).clone())
        }
        "repeat" => {
            let count = arguments[1].1.as_u64().expect("a count");
            Value::from(text(0).repeat(usize::try_from(count).expect("a small count")))
        }
        "concat" => {
            let parts = (0..arguments.len()).map(|index| hex(&bytes_of_json(text(index))));
            Value::from(format!("hex:{}", parts.collect::<String>()))
        }
        _ => panic!("no function is called {function}"),
    }
}

struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn expression(&mut self) -> Expression {
        self.skip_spaces();
        match self.rest.chars().next().expect("an expression") {
            '{' => {
                self.rest = &self.rest[1..];
                Expression::Object(self.pairs('}', ':'))
            }
            '[' => self.list(),
            '"' => self.text(),
            '$' => {
                self.rest = &self.rest[1..];
                Expression::Variable(self.word().to_owned())
            }
            '-' | '0'..='9' => self.number(),
            _ => self.named(),
        }
    }

    fn list(&mut self) -> Expression {
        self.rest = &self.rest[1..];
        let mut items = Vec::new();
        while !self.closes(']') {
            items.push(self.expression());
            self.skip_comma();
        }
        Expression::List(items)
    }

    /// `name SIGN value` until the closing sign; names may be left out where functions are called.
    fn pairs(&mut self, close: char, sign: char) -> Vec<(String, Expression)> {
        let mut pairs = Vec::new();
        while !self.closes(close) {
            let before = self.rest;
            let quoted = close == '}' && before.starts_with('"');
            let name = if quoted { self.quoted() } else { self.word().to_owned() };
            self.skip_spaces();
            if !name.is_empty() && self.rest.starts_with(sign) {
                self.rest = &self.rest[1..];
                pairs.push((name, self.expression()));
            } else {
                assert!(close == ')', "a name is due: {before:.60}");
                self.rest = before;
                pairs.push((String::new(), self.expression()));
            }
            self.skip_comma();
        }
        pairs
    }

    fn text(&mut self) -> Expression {
        let text = self.quoted();
        if text.contains("${") {
            Expression::Text(text)
        } else {
            Expression::Plain(Value::from(text))
        }
    }

    fn quoted(&mut self) -> String {
        let mut escaped = false;
        let end = self.rest[1..].find(|sign| {
            let ends = sign == '"' && !escaped;
            escaped = sign == '\\' && !escaped;
            ends
        });
        let end = end.unwrap_or_else(|| panic!("an open text: {:.60}", self.rest));
        let (literal, rest) = self.rest.split_at(end + 2);
        self.rest = rest;
        serde_json::from_str(literal).unwrap_or_else(|error| panic!("{literal}: {error}"))
    }

    fn number(&mut self) -> Expression {
        let ends = |sign: char| !(sign.is_ascii_alphanumeric() || "+-.".contains(sign));
        let end = self.rest.find(ends).unwrap_or(self.rest.len());
        let (literal, rest) = self.rest.split_at(end);
        self.rest = rest;
        let number: Number = serde_json::from_str(literal).unwrap_or_else(|error| panic!("{literal}: {error}"));
        Expression::Plain(Value::Number(number))
    }

    fn named(&mut self) -> Expression {
        let before = self.rest;
        let name = self.word();
        if self.rest.starts_with('(') {
            self.rest = &self.rest[1..];
            return Expression::Call(name.to_owned(), self.pairs(')', '='));
        }
        Expression::Plain(match name {
            "null" => Value::Null,
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            _ => panic!("no value: {before:.60}"),
        })
    }

    fn word(&mut self) -> &'a str {
        self.skip_spaces();
        let end = self
            .rest
            .find(|sign: char| !(sign.is_ascii_alphanumeric() || sign == '_'));
        let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        word
    }

    fn closes(&mut self, sign: char) -> bool {
        self.skip_spaces();
        assert!(!self.rest.is_empty(), "{sign} is missing");
        let closes = self.rest.starts_with(sign);
        if closes {
            self.rest = &self.rest[1..];
        }
        closes
    }

    fn skip_comma(&mut self) {
        self.skip_spaces();
        self.rest = self.rest.strip_prefix(',').unwrap_or(self.rest);
    }

    fn skip_spaces(&mut self) {
        self.rest = self.rest.trim_start();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn variables_texts_and_functions_are_evaluated() {
        let mut scope = Scope::default();
        scope.variables.insert("t".to_owned(), Value::from("topic"));
        scope.variables.insert("n".to_owned(), Value::from(7));
        scope.topic_ids.insert("topic".to_owned(), "an id".to_owned());
        let text = r#"{"A": $n, B: ["${t}-${n}", null, -1, 2.5], C: id($t), D: repeat("ab", 2), E: "q\"q", F: {}}"#;
        assert_eq!(
            Expression::parse(text).evaluate(&scope),
            json!({"A": 7, "B": ["topic-7", null, -1, 2.5], "C": "an id", "D": "abab", "E": "q\"q", "F": {}})
        );
    }
}
