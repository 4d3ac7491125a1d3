//! Compares lines that were printed with lines that are expected.
//!
//! Runs of blanks count as one; empty lines, stack traces and an advertisement are left out. In an expected line stand `<n>` for a number, `<id>` for an id as Kafka
//! writes 16 bytes, `<uuid>` for one in hexadecimal digits, `<*>` for anything; a line `<...>` stands for any lines.
//! `<name=n>` and its like keep what was met under a name. **Invariant:** everything else is met by itself alone.

use std::collections::BTreeMap;

/// What was kept, by name.
pub type Kept = BTreeMap<String, String>;

/// What the console consumer says at each start of a classic member.
const ADVERTISEMENT: &str = "The consumer rebalance protocol (KIP-848) is production-ready!";

/// What is left out of what was printed: empty lines, that advertisement, and where in Java an error came from.
pub fn told(printed: &[String]) -> Vec<String> {
    let lines = printed.iter().map(|line| squeeze(line));
    let trace = |line: &str| {
        (line.starts_with("at ") && line.ends_with(')')) || line.starts_with("... ") && line.ends_with(" more")
    };
    lines
        .filter(|line| !line.is_empty() && !line.starts_with(ADVERTISEMENT) && !trace(line))
        .collect()
}

/// Whether the lines fit; what is kept then.
pub fn matches(expected: &[String], printed: &[String]) -> Option<Kept> {
    let expected: Vec<String> = expected.iter().map(|line| squeeze(line)).collect();
    let printed = told(printed);
    let mut kept = Kept::new();
    lines_match(&expected, &printed, &mut kept).then_some(kept)
}

/// The line with one blank wherever there are some.
pub fn squeeze(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn lines_match(expected: &[String], printed: &[String], kept: &mut Kept) -> bool {
    match expected.split_first() {
        None => printed.is_empty(),
        Some((any, rest)) if any == "<...>" => {
            (0..=printed.len()).any(|skipped| lines_match(rest, &printed[skipped..], kept))
        }
        Some((line, rest)) => printed
            .split_first()
            .is_some_and(|(first, others)| line_matches(line, first, kept) && lines_match(rest, others, kept)),
    }
}

fn line_matches(expected: &str, printed: &str, kept: &mut Kept) -> bool {
    let Some((literal, kind, name, rest)) = next_hole(expected) else {
        return expected == printed;
    };
    let Some(printed) = printed.strip_prefix(literal) else {
        return false;
    };
    let lengths = printed.char_indices().map(|(at, _)| at).chain([printed.len()]);
    // The longest first, so that a number is taken whole.
    for length in lengths.collect::<Vec<_>>().into_iter().rev() {
        if fills(kind, &printed[..length]) && line_matches(rest, &printed[length..], kept) {
            if let Some(name) = name {
                kept.insert(name.to_owned(), printed[..length].to_owned());
            }
            return true;
        }
    }
    false
}

/// What stands before the first hole, its kind, its name, and what stands behind it.
fn next_hole(expected: &str) -> Option<(&str, &str, Option<&str>, &str)> {
    let mut from = 0;
    while let Some(open) = expected[from..].find('<').map(|at| from + at) {
        let close = open + expected[open..].find('>')?;
        let inside = &expected[open + 1..close];
        let (name, kind) = inside
            .split_once('=')
            .map_or((None, inside), |(name, kind)| (Some(name), kind));
        if ["n", "id", "uuid", "*"].contains(&kind) {
            return Some((&expected[..open], kind, name, &expected[close + 1..]));
        }
        from = open + 1;
    }
    None
}

fn fills(kind: &str, text: &str) -> bool {
    let letters = |text: &str| {
        text.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    match kind {
        "n" => text.parse::<f64>().is_ok() && text.ends_with(|last: char| last.is_ascii_digit()),
        "id" => text.len() == 22 && letters(text),
        "uuid" => text.len() == 36 && letters(text),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fit(expected: &str, printed: &str) -> Option<Kept> {
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        matches(&lines(expected), &lines(printed))
    }

    #[test]
    fn blanks_and_empty_lines_do_not_count() {
        assert!(fit("a b\nc", " a \t b \n\nc\n").is_some());
        assert!(fit("a\nb", "a\n\tat java.lang.X(X.java:1)\n\t... 5 more\nb").is_some());
        assert!(fit("a b", "ab").is_none());
        assert!(fit("a\nb", "a").is_none());
        assert!(fit("a", "a\nb").is_none());
    }

    #[test]
    fn holes_take_what_they_are_for() {
        assert!(fit("at <n>, <n>", "at -1, 2.5").is_some());
        assert!(fit("at <n>", "at x").is_none());
        assert!(fit("at <n>", "at ").is_none());
        assert!(fit("id <id>.", "id AAAAAAAAAAAAAAAAAAAAAQ.").is_some());
        assert!(fit("id <id>", "id AAAAAAAAAAAAAAAAAAAAA").is_none());
        assert!(fit("x <*> y", "x  y").is_none());
        assert!(fit("x <*>y", "x z y").is_some());
        assert!(fit("<none> <n>", "<none> 1").is_some());
    }

    #[test]
    fn any_lines_may_stand_between() {
        assert!(fit("a\n<...>\nb", "a\nb").is_some());
        assert!(fit("a\n<...>\nb", "a\nx\ny\nb").is_some());
        assert!(fit("a\n<...>\nb", "a\nx").is_none());
    }

    #[test]
    fn a_name_keeps_what_was_met() {
        let kept = fit("id <pid=n> of <n>", "id 4000 of 3").expect("it fits");
        assert_eq!(
            kept.into_iter().collect::<Vec<_>>(),
            [("pid".to_owned(), "4000".to_owned())]
        );
    }
}
