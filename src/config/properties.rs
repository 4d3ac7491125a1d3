//! Java's properties format, as `java.util.Properties.load` reads it.
//!
//! Invariant: reading never fails but for a malformed `\u` escape; what Java would read from the same text is what is
//! read here. Differences: a file is UTF-8 when it can be (Java takes ISO 8859-1), so that both kinds work.

use std::iter::Peekable;
use std::str::Chars;

/// One key with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property {
    /// Line on which it begins, counted from 1.
    pub line: usize,
    /// Unescaped.
    pub key: String,
    /// Unescaped; blanks at its end belong to it.
    pub value: String,
}

/// A `\u` without four hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: \\u must be followed by four hexadecimal digits")]
pub struct MalformedEscape {
    /// Line on which the property begins, counted from 1.
    pub line: usize,
}

/// The text of a properties file: UTF-8, with or without a byte order mark, or else ISO 8859-1.
pub fn decode(bytes: Vec<u8>) -> String {
    match String::from_utf8(bytes) {
        Ok(text) => text
            .strip_prefix('\u{feff}')
            .map_or_else(|| text.clone(), str::to_owned),
        Err(error) => error.into_bytes().into_iter().map(char::from).collect(),
    }
}

/// All properties in the order of the file; a key may come more than once.
pub fn parse(text: &str) -> Result<Vec<Property>, MalformedEscape> {
    logical_lines(text)
        .into_iter()
        .map(|(line, content)| property(line, &content))
        .collect()
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\u{c}')
}

/// Joins continued lines, drops comments and blank lines.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let text = text.replace("\r\n", "\n");
    let mut lines = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (index, natural) in text.split(['\n', '\r']).enumerate() {
        let content = natural.trim_start_matches(is_blank);
        if open.is_none() && (content.is_empty() || content.starts_with(['#', '!'])) {
            continue;
        }
        let continued = content.bytes().rev().take_while(|&byte| byte == b'\\').count() % 2 == 1;
        let content = if continued {
            &content[..content.len() - 1]
        } else {
            content
        };
        let (line, mut joined) = open.take().unwrap_or_else(|| (index + 1, String::new()));
        joined.push_str(content);
        if continued {
            open = Some((line, joined));
        } else {
            lines.push((line, joined));
        }
    }
    // A line that ends the file with a backslash; one with nothing before it says nothing.
    lines.extend(open.filter(|(_, joined)| !joined.is_empty()));
    lines
}

fn property(line: usize, content: &str) -> Result<Property, MalformedEscape> {
    let malformed = MalformedEscape { line };
    let mut rest = content.chars().peekable();
    let key = unescape(&mut rest, |c| is_blank(c) || matches!(c, '=' | ':')).ok_or(malformed)?;
    while rest.next_if(|&c| is_blank(c)).is_some() {}
    if rest.next_if(|&c| matches!(c, '=' | ':')).is_some() {
        while rest.next_if(|&c| is_blank(c)).is_some() {}
    }
    let value = unescape(&mut rest, |_| false).ok_or(malformed)?;
    Ok(Property { line, key, value })
}

/// Reads up to an unescaped character at which `ends` says so. Works on UTF-16 because `\u` escapes name such units.
fn unescape(rest: &mut Peekable<Chars<'_>>, ends: impl Fn(char) -> bool) -> Option<String> {
    let mut units: Vec<u16> = Vec::new();
    while let Some(mut c) = rest.next_if(|&c| !ends(c)) {
        if c == '\\' {
            c = match rest.next() {
                None => break,
                Some('u') => {
                    units.push(hex_unit(rest)?);
                    continue;
                }
                Some('t') => '\t',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('f') => '\u{c}',
                Some(other) => other,
            };
        }
        units.extend_from_slice(c.encode_utf16(&mut [0; 2]));
    }
    Some(String::from_utf16_lossy(&units))
}

fn hex_unit(rest: &mut Peekable<Chars<'_>>) -> Option<u16> {
    let mut unit = 0;
    for _ in 0..4 {
        let digit = rest.next()?.to_digit(16)?;
        unit = unit << 4 | digit;
    }
    u16::try_from(unit).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Vec<(usize, String, String)> {
        let properties = parse(text).expect("well-formed");
        properties
            .into_iter()
            .map(|property| (property.line, property.key, property.value))
            .collect()
    }

    fn one(text: &str) -> (String, String) {
        let mut properties = read(text);
        assert_eq!(properties.len(), 1, "{text:?}");
        let (_, key, value) = properties.remove(0);
        (key, value)
    }

    #[test]
    fn separators() {
        for text in [
            "a=b",
            "a = b",
            "a:b",
            "a : b",
            "a b",
            "a\t b",
            "  a=b",
            "\u{c}a\u{c}=\u{c}b",
        ] {
            assert_eq!(one(text), ("a".to_owned(), "b".to_owned()), "{text:?}");
        }
        assert_eq!(one("a==b"), ("a".to_owned(), "=b".to_owned()));
        assert_eq!(one("a = = b "), ("a".to_owned(), "= b ".to_owned()));
        assert_eq!(one("a"), ("a".to_owned(), String::new()));
        assert_eq!(one("=b"), (String::new(), "b".to_owned()));
        assert_eq!(
            one("listeners=PLAINTEXT://:9092"),
            ("listeners".to_owned(), "PLAINTEXT://:9092".to_owned())
        );
    }

    #[test]
    fn comments_and_lines() {
        let text = "# first\n\n ! second\r\na=1\r\nb=2 # no comment\rc=3\n#d=4\\\ne=5";
        assert_eq!(
            read(text),
            [
                (4, "a".to_owned(), "1".to_owned()),
                (5, "b".to_owned(), "2 # no comment".to_owned()),
                (6, "c".to_owned(), "3".to_owned()),
                (8, "e".to_owned(), "5".to_owned()),
            ]
        );
    }

    #[test]
    fn continued_lines() {
        let text = "a=1,\\\n   2,\\\n# 3\nb=c\\\\\nd=\\";
        assert_eq!(
            read(text),
            [
                (1, "a".to_owned(), "1,2,# 3".to_owned()),
                (4, "b".to_owned(), "c\\".to_owned()),
                (5, "d".to_owned(), String::new()),
            ]
        );
        assert_eq!(read("\\"), []);
    }

    #[test]
    fn escapes() {
        assert_eq!(
            one(r"a\ b\=c\:d=x\ty\nz\q\\"),
            ("a b=c:d".to_owned(), "x\ty\nzq\\".to_owned())
        );
        assert_eq!(
            one(r"\u0061=\uD83D\uDE00\u00e4"),
            ("a".to_owned(), "\u{1f600}\u{e4}".to_owned())
        );
        assert_eq!(one(r"a=\uD83D!"), ("a".to_owned(), "\u{fffd}!".to_owned()));
        for text in [r"a=\u12", r"a=\u12G4", r"\u=b", r"a=\u+123"] {
            assert_eq!(parse(&format!("\n{text}")), Err(MalformedEscape { line: 2 }), "{text}");
        }
    }

    #[test]
    fn both_encodings_and_a_byte_order_mark_are_read() {
        assert_eq!(decode("\u{e4}".as_bytes().to_vec()), "\u{e4}");
        assert_eq!(decode(vec![0xe4]), "\u{e4}");
        assert_eq!(decode("\u{feff}a=b".as_bytes().to_vec()), "a=b");
    }

    /// Writes as `java.util.Properties.store` does.
    fn escape(text: &str, key: bool) -> String {
        let mut escaped = String::new();
        for (index, c) in text.chars().enumerate() {
            match c {
                '\n' => escaped.push_str("\\n"),
                '\r' => escaped.push_str("\\r"),
                '\t' => escaped.push_str("\\t"),
                '\u{c}' => escaped.push_str("\\f"),
                '\\' | '=' | ':' | '#' | '!' => escaped.extend(['\\', c]),
                ' ' if key || index == 0 => escaped.push_str("\\ "),
                _ => escaped.push(c),
            }
        }
        escaped
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(pairs in prop::collection::vec((".{0,12}", ".{0,12}"), 0..5)) {
            let text: String =
                pairs.iter().map(|(key, value)| format!("{}={}\n", escape(key, true), escape(value, false))).collect();
            let read: Vec<(String, String)> =
                read(&text).into_iter().map(|(_, key, value)| (key, value)).collect();
            prop_assert_eq!(read, pairs);
        }

        #[test]
        fn no_text_makes_it_panic(text in r"[a =:#!\\\\u0-9\n\r\t]{0,40}") {
            let _ = parse(&text);
        }
    }
}
