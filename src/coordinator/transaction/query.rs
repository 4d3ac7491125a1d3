//! From what a client of ListTransactions asks for to what a shard looks for.
//!
//! Invariant: a pattern that is compiled takes bounded memory and linear time, whoever wrote it.

use std::sync::Arc;

use protocol::error_code::ErrorCode;
use regex::{Regex, RegexBuilder};

use super::api::{ListFilter, ListQuery};
use super::state::TransactionState;

/// What a compiled pattern may take.
const MAX_PATTERN_BYTES: usize = 1024 * 1024;

/// The filter with names resolved and the pattern compiled, and the names that are none.
pub(super) fn resolve(filter: &ListFilter) -> Result<(ListQuery, Vec<Arc<str>>), ErrorCode> {
    let mut states = Vec::new();
    let mut unknown = Vec::new();
    for name in &filter.states {
        match TransactionState::from_name(name) {
            Some(state) if !states.contains(&state) => states.push(state),
            Some(_) => {}
            None => unknown.push(Arc::clone(name)),
        }
    }
    let mut producer_ids = filter.producer_ids.clone();
    producer_ids.sort_unstable();
    let pattern = filter.id_pattern.as_deref().filter(|pattern| !pattern.is_empty());
    let query = ListQuery {
        states: (!filter.states.is_empty()).then_some(states),
        producer_ids,
        duration_ms: filter.duration_ms,
        id_pattern: pattern.map(compile).transpose()?,
    };
    Ok((query, unknown))
}

/// A pattern for whole ids, as in Kafka.
fn compile(pattern: &str) -> Result<Regex, ErrorCode> {
    let compile = |pattern: &str| RegexBuilder::new(pattern).size_limit(MAX_PATTERN_BYTES).build();
    // By itself first: parentheses must be closed in the pattern.
    let whole = compile(pattern).and_then(|_| compile(&format!("^(?:{pattern})$")));
    whole.map_err(|_| ErrorCode::InvalidRegularExpression)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter() -> ListFilter {
        ListFilter {
            states: Vec::new(),
            producer_ids: Vec::new(),
            duration_ms: -1,
            id_pattern: None,
        }
    }

    #[test]
    fn names_that_are_no_states_are_told_and_match_nothing() {
        let (query, unknown) = resolve(&filter()).expect("no pattern");
        assert_eq!((query.states, unknown.len()), (None, 0));
        let states = ["Ongoing", "ongoing", "Ongoing", "", "Dead"].map(Arc::from).to_vec();
        let (query, unknown) = resolve(&ListFilter { states, ..filter() }).expect("no pattern");
        assert_eq!(
            query.states,
            Some(vec![TransactionState::Ongoing, TransactionState::Dead])
        );
        assert_eq!(unknown, ["ongoing", ""].map(Arc::from));
        let states = vec!["x".into()];
        let (query, _) = resolve(&ListFilter { states, ..filter() }).expect("no pattern");
        assert_eq!(query.states, Some(Vec::new()), "all names unknown: none fits");
    }

    #[test]
    fn a_pattern_is_for_the_whole_id() {
        let fits = |pattern: &str, id: &str| {
            let id_pattern = Some(pattern.into());
            let (query, _) = resolve(&ListFilter { id_pattern, ..filter() }).expect("valid");
            query.id_pattern.is_none_or(|pattern| pattern.is_match(id))
        };
        assert!(fits("a.c", "abc") && !fits("a.c", "abcd") && !fits("b", "abc"));
        assert!(fits("a|bc", "bc") && !fits("a|bc", "ac") && !fits("abc", "abc\n"));
        assert!(fits("", "anything"));
    }

    #[test]
    fn a_pattern_that_is_none_or_too_large_is_refused() {
        for pattern in ["(", "a)(b", "*", "[", r"(?P<x", r"\C", r"(?=a)", "((a{999}){999}){999}"] {
            let id_pattern = Some(pattern.into());
            let refused = resolve(&ListFilter { id_pattern, ..filter() }).map(drop);
            assert_eq!(refused, Err(ErrorCode::InvalidRegularExpression), "{pattern}");
        }
    }
}
