//! From what a client of ListTransactions asks for to what a shard looks for.
//!
//! Invariants: a pattern that is compiled takes bounded memory and linear time, whoever wrote it. With long ids that is
//! minutes all the same, so no shard and no thread that serves others ever tries one: see [`Searches`].

use std::sync::Arc;

use protocol::error_code::ErrorCode;
use regex::{Regex, RegexBuilder};
use tokio::sync::{Semaphore, oneshot};

use super::api::{ListFilter, ListQuery, ListedTransaction};
use super::state::TransactionState;

/// What a compiled pattern may take: names with a few wildcards take a tenth of it. The time for each byte of an id grows
/// with it.
const MAX_PATTERN_BYTES: usize = 128 * 1024;

/// What a filter comes to.
#[derive(Debug)]
pub(super) struct Resolved {
    /// For the shards.
    pub(super) query: ListQuery,
    /// For what the shards find.
    pub(super) pattern: Option<Regex>,
    /// Names of states that are none.
    pub(super) unknown_states: Vec<Arc<str>>,
}

/// The filter with names resolved and the pattern compiled.
pub(super) fn resolve(filter: &ListFilter) -> Result<Resolved, ErrorCode> {
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
    };
    Ok(Resolved {
        query,
        pattern: pattern.map(compile).transpose()?,
        unknown_states: unknown,
    })
}

/// The searches for ids that fit a pattern: one at a time, on a thread that may take long.
#[derive(Clone, Debug)]
pub(super) struct Searches(Arc<Semaphore>);

impl Default for Searches {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

impl Searches {
    /// Keeps what fits the pattern. A search whose client has gone ends with the id that it is at.
    pub(super) async fn keep(
        self,
        pattern: Option<Regex>,
        listed: Vec<ListedTransaction>,
    ) -> Result<Vec<ListedTransaction>, ErrorCode> {
        let Some(pattern) = pattern else {
            return Ok(listed);
        };
        let permit = self.0.acquire_owned().await.expect("never closed");
        let (client, answer) = oneshot::channel();
        tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let mut fitting = Vec::new();
            for listed in listed {
                if client.is_closed() {
                    return;
                }
                if pattern.is_match(&listed.transactional_id) {
                    fitting.push(listed);
                }
            }
            // A client that has gone needs no answer.
            drop(client.send(fitting));
        });
        // Without an answer the broker stops.
        answer.await.map_err(|_| ErrorCode::CoordinatorNotAvailable)
    }
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

    fn listed(id: &str) -> ListedTransaction {
        ListedTransaction {
            transactional_id: id.into(),
            producer_id: 1,
            state: TransactionState::Empty,
        }
    }

    #[test]
    fn names_that_are_no_states_are_told_and_match_nothing() {
        let resolved = resolve(&filter()).expect("no pattern");
        assert_eq!((resolved.query.states, resolved.unknown_states.len()), (None, 0));
        let states = ["Ongoing", "ongoing", "Ongoing", "", "Dead"].map(Arc::from).to_vec();
        let resolved = resolve(&ListFilter { states, ..filter() }).expect("no pattern");
        assert_eq!(
            resolved.query.states,
            Some(vec![TransactionState::Ongoing, TransactionState::Dead])
        );
        assert_eq!(resolved.unknown_states, ["ongoing", ""].map(Arc::from));
        let states = vec!["x".into()];
        let resolved = resolve(&ListFilter { states, ..filter() }).expect("no pattern");
        assert_eq!(resolved.query.states, Some(Vec::new()), "all names unknown: none fits");
    }

    #[test]
    fn a_pattern_is_for_the_whole_id() {
        let fits = |pattern: &str, id: &str| {
            let id_pattern = Some(pattern.into());
            let resolved = resolve(&ListFilter { id_pattern, ..filter() }).expect("valid");
            resolved.pattern.is_none_or(|pattern| pattern.is_match(id))
        };
        assert!(fits("a.c", "abc") && !fits("a.c", "abcd") && !fits("b", "abc"));
        assert!(fits("a|bc", "bc") && !fits("a|bc", "ac") && !fits("abc", "abc\n"));
        assert!(fits("", "anything") && fits(r"\w+-\w+-\w+-\d{1,3}", "orders-eu-west-17"));
    }

    #[test]
    fn a_pattern_that_is_none_or_too_large_is_refused() {
        let slow = "(?:a{0,200}b?){60}.*z";
        for pattern in [
            "(",
            "a)(b",
            "*",
            "[",
            r"(?P<x",
            r"\C",
            r"(?=a)",
            "((a{999}){999}){999}",
            slow,
        ] {
            let id_pattern = Some(pattern.into());
            let refused = resolve(&ListFilter { id_pattern, ..filter() }).map(drop);
            assert_eq!(refused, Err(ErrorCode::InvalidRegularExpression), "{pattern}");
        }
    }

    #[test]
    fn a_search_keeps_no_other_task_waiting() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime");
        let pattern = compile(&"(?:a?b?){40}".repeat(8)).expect("of an allowed size");
        let all: Vec<_> = (0..200).map(|_| listed(&"a".repeat(30_000))).collect();
        let searches = Searches::default();
        let search = runtime.spawn(searches.clone().keep(Some(pattern), all));
        runtime.block_on(async {
            while searches.0.available_permits() > 0 {
                tokio::task::yield_now().await;
            }
            assert!(!search.is_finished(), "the only thread of the runtime goes on");
            search.abort();
            // The next one has its turn, because the first has lost its client.
            let found = searches.keep(compile("b+").ok(), vec![listed("a"), listed("bb")]).await;
            assert_eq!(found, Ok(vec![listed("bb")]));
        });
    }
}
