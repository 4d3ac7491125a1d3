//! All short histories of two producers in two epochs, retries included, against a model that keeps the whole log and
//! decides by looking through it.

use super::*;

/// Sequence numbers that a batch may begin with.
const SEQUENCES: [i32; 3] = [0, 1, 2];
const DEPTH: usize = 7;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Written {
    producer_id: i64,
    epoch: i16,
    sequence: i32,
    offset: i64,
}

/// What the model says to one batch with one record.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    New,
    Duplicate(i64),
    OutOfOrder,
    OldEpoch,
}

fn answer(log: &[Written], producer_id: i64, epoch: i16, sequence: i32) -> Answer {
    let of_producer: Vec<&Written> = log
        .iter()
        .filter(|written| written.producer_id == producer_id)
        .collect();
    let Some(last) = of_producer.last() else {
        return Answer::New;
    };
    if epoch < last.epoch {
        return Answer::OldEpoch;
    }
    if epoch > last.epoch {
        return if sequence == 0 { Answer::New } else { Answer::OutOfOrder };
    }
    let same = of_producer
        .iter()
        .rev()
        .take(5)
        .find(|written| written.epoch == epoch && written.sequence == sequence);
    match same {
        Some(original) => Answer::Duplicate(original.offset),
        None if sequence == last.sequence + 1 => Answer::New,
        None => Answer::OutOfOrder,
    }
}

fn observed(result: Result<Checked, ProducerError>) -> Answer {
    match result {
        Ok(Checked::New) => Answer::New,
        Ok(Checked::Duplicate {
            base_offset,
            last_offset,
            ..
        }) => {
            assert_eq!(base_offset, last_offset);
            Answer::Duplicate(base_offset)
        }
        Err(ProducerError::OutOfOrderSequence { .. }) => Answer::OutOfOrder,
        Err(ProducerError::InvalidProducerEpoch { .. }) => Answer::OldEpoch,
        Err(other) => panic!("{other}"),
    }
}

/// Tries every batch behind this history, in one call (`pending`) or in a call of its own.
fn explore(states: &ProducerStates, log: &mut Vec<Written>, depth: usize, visited: &mut u64) {
    *visited += 1;
    if depth == 0 {
        return;
    }
    for producer_id in [1, 2] {
        for epoch in [0, 1] {
            for sequence in SEQUENCES {
                let offset = log.len() as i64;
                let one = ProducerBatch {
                    producer_id,
                    producer_epoch: epoch,
                    ..batch(sequence, offset, 1)
                };
                let mut after = states.clone();
                let result = observed(append(&mut after, &one));
                assert_eq!(
                    result,
                    answer(log, producer_id, epoch, sequence),
                    "{log:?} then {one:?}"
                );
                if result == Answer::New {
                    log.push(Written {
                        producer_id,
                        epoch,
                        sequence,
                        offset,
                    });
                    explore(&after, log, depth - 1, visited);
                    log.pop();
                } else {
                    assert_eq!(after, *states, "a refused or repeated batch changes nothing");
                }
            }
        }
    }
}

#[test]
fn all_short_histories_agree_with_the_model() {
    let mut visited = 0;
    explore(&ProducerStates::default(), &mut Vec::new(), DEPTH, &mut visited);
    assert!(visited > 8_000, "{visited} histories");
}

/// Like [`explore`], with all batches of a history in one call.
fn explore_pending(history: &mut Vec<ProducerBatch>, log: &mut Vec<Written>, depth: usize) {
    let states = ProducerStates::default();
    for producer_id in [1, 2] {
        for sequence in SEQUENCES {
            let offset = log.len() as i64;
            let one = ProducerBatch {
                producer_id,
                ..batch(sequence, offset, 1)
            };
            let mut pending = PendingAppend::new();
            for earlier in &*history {
                pending
                    .check(&states, earlier, AppendOrigin::Client, Verification::Off)
                    .expect("accepted before");
            }
            let result = observed(pending.check(&states, &one, AppendOrigin::Client, Verification::Off));
            assert_eq!(result, answer(log, producer_id, 0, sequence), "{log:?} then {one:?}");
            if result == Answer::New && depth > 1 {
                log.push(Written {
                    producer_id,
                    epoch: 0,
                    sequence,
                    offset,
                });
                history.push(one);
                explore_pending(history, log, depth - 1);
                history.pop();
                log.pop();
            }
        }
    }
}

#[test]
fn one_call_decides_as_many_calls_do() {
    explore_pending(&mut Vec::new(), &mut Vec::new(), DEPTH);
}
