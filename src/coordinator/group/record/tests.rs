//! The byte format against Kafka's own: every hexadecimal string here was written by Kafka 4.3.1's classes.

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use uuid::Uuid;

use super::*;

const OFFSET_KEY: &str = "000100036772700005746f70696300000007";
const GROUP_KEY: &str = "00020003677270";

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex
        .chars()
        .map(|digit| digit.to_digit(16).expect("hexadecimal") as u8)
        .collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn decoded(key: &str, value: Option<&str>) -> Record {
    let value = value.map(bytes);
    decode(&mut Names::default(), Some(&bytes(key)), value.as_deref())
        .expect("well formed")
        .expect("of a known type")
}

fn offset_commit(value: Option<OffsetAndMetadata>) -> Record {
    Record::OffsetCommit {
        group_id: Arc::from("grp"),
        topic: Arc::from("topic"),
        partition: 7,
        value,
    }
}

fn offset_value() -> OffsetAndMetadata {
    OffsetAndMetadata {
        committed_offset: 1_234_567_890_123,
        leader_epoch: -1,
        metadata: Box::from("méta"),
        commit_timestamp_ms: 1_700_000_000_000,
        expire_timestamp_ms: None,
        topic_id: Uuid::nil(),
    }
}

fn group_metadata(value: Option<GroupMetadata>) -> Record {
    Record::GroupMetadata {
        group_id: Arc::from("grp"),
        value,
    }
}

fn group_value() -> GroupMetadata {
    let first = MemberMetadata {
        member_id: Arc::from("m-1"),
        group_instance_id: None,
        client_id: Arc::from("c"),
        client_host: Arc::from("/127.0.0.1"),
        rebalance_timeout_ms: 60_000,
        session_timeout_ms: 10_000,
        subscription: Bytes::from_static(&[1, 2, 3]),
        assignment: Bytes::from_static(&[4]),
    };
    let second = MemberMetadata {
        member_id: Arc::from("m-2"),
        group_instance_id: Some(Arc::from("i")),
        rebalance_timeout_ms: 30_000,
        session_timeout_ms: 20_000,
        subscription: Bytes::new(),
        assignment: Bytes::new(),
        ..first.clone()
    };
    GroupMetadata {
        protocol_type: Some(Arc::from("consumer")),
        generation_id: 3,
        protocol_name: Some(Arc::from("range")),
        leader: Some(Arc::from("m-1")),
        current_state_timestamp_ms: 1_700_000_000_000,
        members: vec![first, second],
    }
}

#[test]
fn offset_commits_are_written_as_kafka_writes_them() {
    let topic_id = Uuid::from_u128(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10);
    let newest = OffsetAndMetadata {
        leader_epoch: 5,
        topic_id,
        ..offset_value()
    };
    let expiring = OffsetAndMetadata {
        expire_timestamp_ms: Some(1_700_000_060_000),
        ..offset_value()
    };
    let empty = OffsetAndMetadata {
        committed_offset: 1,
        metadata: Box::from(""),
        commit_timestamp_ms: 2,
        ..offset_value()
    };
    let newest_hex = "00040000011f71fb04cb00000005066dc3a974610000018bcfe568000100100102030405060708090a0b0c0d0e0f10";
    for (value, hex) in [
        (newest, newest_hex),
        (
            expiring,
            "00010000011f71fb04cb00056dc3a974610000018bcfe568000000018bcfe65260",
        ),
        (empty, "00040000000000000001ffffffff01000000000000000200"),
    ] {
        let record = offset_commit(Some(value));
        let encoded = record.encode().expect("short");
        assert_eq!(
            encoded,
            EncodedRecord {
                key: bytes(OFFSET_KEY).into(),
                value: Some(bytes(hex).into())
            }
        );
        assert_eq!(decoded(OFFSET_KEY, Some(hex)), record);
    }
}

#[test]
fn old_offset_commits_are_read() {
    for hex in [
        "00000000011f71fb04cb00056dc3a974610000018bcfe56800",
        "00020000011f71fb04cb00056dc3a974610000018bcfe56800",
    ] {
        assert_eq!(decoded(OFFSET_KEY, Some(hex)), offset_commit(Some(offset_value())));
    }
    let version_3 = "00030000011f71fb04cb0000000500056dc3a974610000018bcfe56800";
    let with_epoch = OffsetAndMetadata {
        leader_epoch: 5,
        ..offset_value()
    };
    assert_eq!(decoded(OFFSET_KEY, Some(version_3)), offset_commit(Some(with_epoch)));

    let legacy = OffsetAndMetadata {
        committed_offset: 11,
        metadata: Box::from("x"),
        commit_timestamp_ms: 12,
        ..offset_value()
    };
    let legacy_key = "000000036772700005746f70696300000007";
    let legacy_value = "0000000000000000000b000178000000000000000c";
    assert_eq!(decoded(legacy_key, Some(legacy_value)), offset_commit(Some(legacy)));
}

#[test]
fn group_metadata_is_written_as_kafka_writes_it() {
    let hex = "00030008636f6e73756d657200000003000572616e676500036d2d310000018bcfe568000000000200036d2d31ffff00016300\
               0a2f3132372e302e302e310000ea600000271000000003010203000000010400036d2d32000169000163000a2f3132372e302e\
               302e310000753000004e200000000000000000";
    let record = group_metadata(Some(group_value()));
    let encoded = record.encode().expect("short");
    assert_eq!(
        encoded,
        EncodedRecord {
            key: bytes(GROUP_KEY).into(),
            value: Some(bytes(hex).into())
        }
    );
    assert_eq!(decoded(GROUP_KEY, Some(hex)), record);

    let empty = GroupMetadata {
        protocol_type: None,
        generation_id: 0,
        protocol_name: None,
        leader: None,
        current_state_timestamp_ms: 9,
        members: Vec::new(),
    };
    let hex = "0003000000000000ffffffff000000000000000900000000";
    let record = group_metadata(Some(empty));
    assert_eq!(record.encode().expect("short").value, Some(bytes(hex).into()));
    assert_eq!(decoded(GROUP_KEY, Some(hex)), record);
}

#[test]
fn old_and_new_group_metadata_is_read() {
    let version_0 = "00000008636f6e73756d657200000003000572616e676500036d2d310000000200036d2d31000163000a2f3132372e302e30\
                     2e310000271000000003010203000000010400036d2d32000163000a2f3132372e302e302e3100004e200000000000000000";
    let version_1 = "00010008636f6e73756d657200000003000572616e676500036d2d310000000200036d2d31000163000a2f3132372e302e30\
                     2e310000ea600000271000000003010203000000010400036d2d32000163000a2f3132372e302e302e310000753000004e20\
                     0000000000000000";
    let version_2 = "00020008636f6e73756d657200000003000572616e676500036d2d310000018bcfe568000000000200036d2d31000163000a\
                     2f3132372e302e302e310000ea600000271000000003010203000000010400036d2d32000163000a2f3132372e302e302e31\
                     0000753000004e200000000000000000";
    let version_4 = "000409636f6e73756d6572000000030672616e6765046d2d310000018bcfe5680003046d2d310002630b2f3132372e302e30\
                     2e310000ea600000271004010203020400046d2d32026902630b2f3132372e302e302e310000753000004e2001010000";
    let mut expected = group_value();
    assert_eq!(
        decoded(GROUP_KEY, Some(version_4)),
        group_metadata(Some(expected.clone()))
    );
    expected.members[1].group_instance_id = None;
    assert_eq!(
        decoded(GROUP_KEY, Some(version_2)),
        group_metadata(Some(expected.clone()))
    );
    expected.current_state_timestamp_ms = -1;
    assert_eq!(
        decoded(GROUP_KEY, Some(version_1)),
        group_metadata(Some(expected.clone()))
    );
    // One timeout counted for both.
    for member in &mut expected.members {
        member.rebalance_timeout_ms = member.session_timeout_ms;
    }
    assert_eq!(decoded(GROUP_KEY, Some(version_0)), group_metadata(Some(expected)));
}

#[test]
fn tombstones_have_no_value() {
    for (key, record) in [(OFFSET_KEY, offset_commit(None)), (GROUP_KEY, group_metadata(None))] {
        assert_eq!(
            record.encode(),
            Ok(EncodedRecord {
                key: bytes(key).into(),
                value: None
            })
        );
        assert_eq!(decoded(key, None), record);
    }
}

#[test]
fn other_types_are_skipped_and_other_versions_refused() {
    let consumer_group_key = bytes("00030003677270");
    assert_eq!(
        decode(
            &mut Names::default(),
            Some(&consumer_group_key),
            Some(&bytes("000000000001"))
        ),
        Ok(None)
    );
    for (key, value) in [
        (OFFSET_KEY, "0005"),
        (OFFSET_KEY, "ffff"),
        (GROUP_KEY, "0005"),
        ("000000016700017400000000", "0001"),
    ] {
        assert!(
            decode(&mut Names::default(), Some(&bytes(key)), Some(&bytes(value))).is_err(),
            "{key} {value}"
        );
    }
    assert!(decode(&mut Names::default(), None, None).is_err());
}

#[test]
fn what_the_format_cannot_hold_is_refused() {
    let long: Arc<str> = Arc::from("x".repeat(32_768));
    let record = Record::GroupMetadata {
        group_id: long,
        value: None,
    };
    assert_eq!(record.encode(), Err(RecordEncodeError));
}

proptest! {
    #[test]
    fn damaged_records_are_errors_and_never_panics(
        kind in 0..3_i16,
        version in 0..6_i16,
        tail in prop::collection::vec(any::<u8>(), 0..64),
        cut in 0..128_usize,
    ) {
        let key = if kind == 2 { bytes(GROUP_KEY) } else { bytes(OFFSET_KEY) };
        let mut value = version.to_be_bytes().to_vec();
        value.extend(&tail);
        let _ = decode(&mut Names::default(), Some(&key), Some(&value));
        let whole = group_metadata(Some(group_value())).encode().expect("short").value.expect("no tombstone");
        if cut < whole.len() {
            prop_assert!(decode(&mut Names::default(), Some(&bytes(GROUP_KEY)), Some(&whole[..cut])).is_err());
        }
    }
}
