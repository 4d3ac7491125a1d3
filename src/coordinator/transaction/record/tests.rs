//! Records as Kafka writes them, and what is refused.

use proptest::prelude::*;

use super::*;

fn sample() -> Transaction {
    Transaction {
        producer_id: 0x0102_0304_0506_0708,
        previous_producer_id: 5,
        next_producer_id: NO_PRODUCER_ID,
        producer_epoch: 7,
        last_producer_epoch: NO_PRODUCER_EPOCH,
        transaction_timeout_ms: 60_000,
        state: TransactionState::Ongoing,
        partitions: [("ab".into(), 1), ("ab".into(), 3), ("c".into(), 0)]
            .into_iter()
            .collect(),
        start_timestamp_ms: 16,
        last_update_timestamp_ms: 17,
        client_transaction_version: 2,
    }
}

#[test]
fn the_bytes_are_kafkas() {
    let encoded = Record::new(&"id".into(), sample()).encode().expect("short fields");
    assert_eq!(&encoded.key[..], [0, 0, 0, 2, b'i', b'd']);
    #[rustfmt::skip]
    let expected = [
        0, 1, // version
        1, 2, 3, 4, 5, 6, 7, 8, // producer id
        0, 7, // epoch
        0, 0, 0xea, 0x60, // timeout
        1, // Ongoing
        3, // two topics
        3, b'a', b'b', 3, 0, 0, 0, 1, 0, 0, 0, 3, 0,
        2, b'c', 2, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 17, // last update
        0, 0, 0, 0, 0, 0, 0, 16, // start
        2, // tags
        0, 8, 0, 0, 0, 0, 0, 0, 0, 5, // previous producer id
        2, 2, 0, 2, // client's transaction version
    ];
    assert_eq!(encoded.value.as_deref(), Some(&expected[..]));
}

#[test]
fn an_empty_one_has_null_for_partitions_and_defaults_are_left_out() {
    let transaction = Transaction {
        state: TransactionState::Empty,
        partitions: Partitions::default(),
        previous_producer_id: NO_PRODUCER_ID,
        start_timestamp_ms: -1,
        client_transaction_version: 0,
        ..sample()
    };
    let encoded = Record::new(&"id".into(), transaction.clone())
        .encode()
        .expect("short fields");
    let value = encoded.value.expect("no tombstone");
    assert_eq!(
        value[16..],
        [&[0, 0][..], &[0, 0, 0, 0, 0, 0, 0, 17][..], &[0xff; 8], &[0]].concat()[..]
    );
    let complete = Transaction {
        state: TransactionState::CompleteAbort,
        ..transaction
    };
    let encoded = Record::new(&"id".into(), complete).encode().expect("short fields");
    assert_eq!(encoded.value.expect("no tombstone")[16..18], [5, 1], "none is not null");
}

#[test]
fn version_0_is_read() {
    #[rustfmt::skip]
    let value = [
        0, 0, // version
        0, 0, 0, 0, 0, 0, 0, 9, // producer id
        0, 1, // epoch
        0, 0, 0, 5, // timeout
        3, // PrepareAbort
        0, 0, 0, 1, // one topic
        0, 1, b't', 0, 0, 0, 2, 0, 0, 0, 4, 0, 0, 0, 2,
        0, 0, 0, 0, 0, 0, 0, 17, // last update
        0, 0, 0, 0, 0, 0, 0, 16, // start
    ];
    let key = [0, 0, 0, 1, b'x'];
    let record = decode(Some(&key), Some(&value)).expect("right").expect("known");
    assert_eq!(&*record.transactional_id, "x");
    let transaction = record.value.expect("no tombstone");
    assert_eq!(transaction.state, TransactionState::PrepareAbort);
    assert_eq!((transaction.producer_id, transaction.producer_epoch), (9, 1));
    assert_eq!(
        (transaction.previous_producer_id, transaction.next_producer_id),
        (-1, -1)
    );
    assert_eq!(transaction.client_transaction_version, 0);
    let partitions: Vec<_> = transaction.partitions.iter().map(|(_, index)| index).collect();
    assert_eq!(partitions, [2, 4]);
    let mut null = value[..17].to_vec();
    null[16] = 0;
    null.extend_from_slice(&[0xff; 4]);
    null.extend_from_slice(&[0; 16]);
    let record = decode(Some(&key), Some(&null)).expect("right").expect("known");
    assert!(record.value.expect("no tombstone").partitions.is_empty());
}

#[test]
fn what_is_not_understood_is_refused_and_other_keys_are_passed_over() {
    let encoded = Record::new(&"id".into(), sample()).encode().expect("short fields");
    let (key, value) = (encoded.key.to_vec(), encoded.value.expect("no tombstone").to_vec());
    assert_eq!(decode(Some(&key), None), Ok(Some(Record::tombstone(&"id".into()))));
    assert!(decode(None, Some(&value)).is_err(), "no key");
    assert_eq!(
        decode(Some(&[0, 1, 0, 2, b'i', b'd']), Some(&value)),
        Ok(None),
        "another kind of key"
    );
    for version in [2, -1_i16] {
        let newer = [&version.to_be_bytes()[..], &value[2..]].concat();
        assert!(decode(Some(&key), Some(&newer)).is_err(), "value version {version}");
    }
    for state in [6, 7, 8, 0xff] {
        let mut odd = value.clone();
        odd[16] = state;
        assert!(decode(Some(&key), Some(&odd)).is_err(), "state {state}");
    }
    let longer = [&value[..], &[9, 9]].concat();
    assert!(decode(Some(&key), Some(&longer)).is_ok(), "bytes behind the last field");
    for length in 0..value.len() {
        assert!(decode(Some(&key), Some(&value[..length])).is_err(), "cut to {length}");
    }
}

fn any_transaction() -> impl Strategy<Value = Transaction> {
    let ids = (any::<i64>(), any::<i64>(), any::<i64>(), any::<i16>());
    let rest = (any::<i32>(), 0..6_i8, any::<i64>(), any::<i64>(), any::<i16>());
    let partitions = proptest::collection::vec(("[a-z]{1,40}", any::<i32>()), 0..20);
    (ids, rest, partitions).prop_map(|(ids, rest, partitions)| {
        let state = TransactionState::from_id(rest.1).expect("one of six");
        let partitions = partitions
            .into_iter()
            .map(|(topic, partition)| (topic.into(), partition));
        Transaction {
            producer_id: ids.0,
            previous_producer_id: ids.1,
            next_producer_id: ids.2,
            producer_epoch: ids.3,
            last_producer_epoch: NO_PRODUCER_EPOCH,
            transaction_timeout_ms: rest.0,
            state,
            partitions: if state == TransactionState::Empty {
                Partitions::default()
            } else {
                partitions.collect()
            },
            start_timestamp_ms: rest.2,
            last_update_timestamp_ms: rest.3,
            client_transaction_version: rest.4,
        }
    })
}

proptest! {
    #[test]
    fn records_round_trip_within_their_bound(transaction in any_transaction(), id in "\\PC{1,50}") {
        let record = Record::new(&id.as_str().into(), transaction.clone());
        let encoded = record.encode().expect("short fields");
        let size = encoded.key.len() + encoded.value.as_ref().expect("no tombstone").len();
        prop_assert!(size <= size_bound(&id, &transaction.partitions));
        prop_assert_eq!(decode(Some(&encoded.key), encoded.value.as_deref()), Ok(Some(record)));
    }

    #[test]
    fn no_bytes_panic(key in proptest::collection::vec(any::<u8>(), 0..20), value in proptest::collection::vec(any::<u8>(), 0..100)) {
        let _ = decode(Some(&key), Some(&value));
        let known = [&[0, 0][..], &key].concat();
        let flexible = [&[0, 1][..], &value].concat();
        let _ = decode(Some(&known), Some(&flexible));
    }
}
