//! Idempotent producers: duplicates, gaps, epochs (storage's `ProducerAppendInfo` and `ProducerStateEntry`).

use compat_tests::batch::Batch;
use compat_tests::requests::{fetch, init_producer, new_topic, produce, values};
use compat_tests::wire::Connection;

use crate::Bench;

/// Sends two records with sequences `first`, `first + 1`; returns error code and base offset.
fn send(connection: &mut Connection, topic: &str, (id, epoch): (i64, i16), first: i32) -> (i16, i64) {
    let bytes = Batch::of(&[format!("{epoch}/{first}"), "second".to_owned()])
        .from_producer(id, epoch, first)
        .encode();
    let answer = produce(connection, topic, 0, bytes);
    (answer.error_code, answer.base_offset)
}

#[test]
fn producer_ids_are_never_given_twice() {
    let mut bench = Bench::new();
    let mut other = bench.connect();
    let ids: Vec<_> = (0..20)
        .flat_map(|_| [init_producer(&mut bench), init_producer(&mut other)])
        .collect();
    let distinct: std::collections::BTreeSet<_> = ids.iter().map(|(id, _)| *id).collect();
    assert_eq!(distinct.len(), ids.len());
    assert!(ids.iter().all(|(id, epoch)| *id >= 0 && *epoch == 0));
}

#[test]
fn five_duplicates_are_remembered_with_their_offsets() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    let producer = init_producer(&mut bench);
    for batch in 0..7 {
        assert_eq!(send(&mut bench, &topic, producer, batch * 2), (0, i64::from(batch) * 2));
    }
    for batch in 2..7 {
        assert_eq!(
            send(&mut bench, &topic, producer, batch * 2),
            (0, i64::from(batch) * 2),
            "batch {batch} again"
        );
    }
    for batch in 0..2 {
        assert_eq!(
            send(&mut bench, &topic, producer, batch * 2).0,
            45,
            "batch {batch} is forgotten"
        );
    }
    assert_eq!(send(&mut bench, &topic, producer, 14), (0, 14));
    assert_eq!(
        values(&fetch(&mut bench, &topic, 0, 0)).len(),
        16,
        "nothing was written twice"
    );
}

#[test]
fn gaps_and_old_epochs_are_refused() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    let (id, epoch) = init_producer(&mut bench);
    assert_eq!(send(&mut bench, &topic, (id, epoch), 0), (0, 0));
    assert_eq!(send(&mut bench, &topic, (id, epoch), 4).0, 45, "a gap");
    assert_eq!(send(&mut bench, &topic, (id, epoch), 1).0, 45, "an overlap");
    assert_eq!(send(&mut bench, &topic, (id, epoch), 2), (0, 2));
    assert_eq!(
        send(&mut bench, &topic, (id, epoch + 1), 4).0,
        45,
        "a new epoch starts at 0"
    );
    assert_eq!(send(&mut bench, &topic, (id, epoch + 1), 0), (0, 4));
    assert_eq!(send(&mut bench, &topic, (id, epoch), 4).0, 47, "an old epoch");
    assert_eq!(send(&mut bench, &topic, (id, epoch + 1), 2), (0, 6));
}

#[test]
fn a_stranger_may_start_anywhere_and_sequences_wrap() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    let producer = init_producer(&mut bench);
    assert_eq!(send(&mut bench, &topic, producer, i32::MAX - 1), (0, 0));
    assert_eq!(
        send(&mut bench, &topic, producer, 0),
        (0, 2),
        "2147483647 is followed by 0"
    );
    assert_eq!(
        send(&mut bench, &topic, producer, i32::MAX - 1),
        (0, 0),
        "a duplicate across the wrap"
    );
}

#[test]
fn a_batch_that_wraps_within_is_one_batch() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    let producer = init_producer(&mut bench);
    assert_eq!(send(&mut bench, &topic, producer, i32::MAX), (0, 0));
    assert_eq!(send(&mut bench, &topic, producer, 1), (0, 2));
}

#[test]
fn an_idempotent_batch_needs_a_sequence() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    let (id, epoch) = init_producer(&mut bench);
    assert_eq!(send(&mut bench, &topic, (id, epoch), -1).0, 87);
}
