//! Tests of the consumer protocol: what clients send is read, what is written is what kafka-protocol writes.

use bytes::Bytes;
use kafka_protocol::messages::{
    ConsumerProtocolAssignment as PeerAssignment, ConsumerProtocolSubscription as PeerSubscription,
};
use kafka_protocol::protocol::Decodable;
use proptest::prelude::*;

use super::*;

fn subscription() -> ConsumerProtocolSubscription {
    ConsumerProtocolSubscription {
        topics: vec!["a".to_owned(), "bc".to_owned()],
        user_data: Some(Bytes::from_static(b"ud")),
        owned_partitions: vec![TopicPartitions {
            topic: "a".to_owned(),
            partitions: vec![0, 7],
        }],
        generation_id: 5,
        rack_id: Some("r1".to_owned()),
    }
}

#[test]
fn subscription_bytes_by_version() {
    let v0 = [0, 0, 0, 0, 0, 2, 0, 1, b'a', 0, 2, b'b', b'c', 0, 0, 0, 2, b'u', b'd'];
    let owned = [0, 0, 0, 1, 0, 1, b'a', 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 7];
    let generation = [0, 0, 0, 5];
    let rack = [0, 2, b'r', b'1'];
    let parts: [&[u8]; 4] = [&v0, &owned, &generation, &rack];
    for version in 0..=3i16 {
        let mut expected = parts[..=version as usize].concat();
        expected[1] = version as u8;
        assert_eq!(subscription().encode(version).expect("it fits"), expected);
        let decoded = ConsumerProtocolSubscription::decode(&expected).expect("well formed");
        let mut known = subscription();
        if version < 1 {
            known.owned_partitions.clear();
        }
        if version < 2 {
            known.generation_id = -1;
        }
        if version < 3 {
            known.rack_id = None;
        }
        assert_eq!(decoded, known);
        assert_eq!(consumer_protocol_version(&expected), Some(version));
    }
}

#[test]
fn newer_versions_are_read_as_far_as_known() {
    let mut bytes = subscription().encode(9).expect("it fits").to_vec();
    assert_eq!(bytes[..2], [0, 3], "written as the newest known");
    bytes[1] = 4;
    bytes.extend_from_slice(b"fields of version 4");
    assert_eq!(ConsumerProtocolSubscription::decode(&bytes), Ok(subscription()));
    assert_eq!(consumer_protocol_version(&bytes), Some(4));
}

#[test]
fn fields_missing_at_the_end_have_defaults() {
    let mut bytes = subscription().encode(0).expect("it fits").to_vec();
    bytes[1] = 3;
    let decoded = ConsumerProtocolSubscription::decode(&bytes).expect("tolerated");
    assert_eq!(
        (decoded.owned_partitions.len(), decoded.generation_id, decoded.rack_id),
        (0, -1, None)
    );
    bytes.push(0);
    assert!(
        ConsumerProtocolSubscription::decode(&bytes).is_err(),
        "a cut field is no missing field"
    );
}

#[test]
fn absurd_counts_and_versions_are_refused() {
    let topics_2_billion = [0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0];
    let error = ConsumerProtocolSubscription::decode(&topics_2_billion);
    assert_eq!(error, Err(ConsumerProtocolError::Malformed { field: "topics" }));
    assert!(ConsumerProtocolAssignment::decode(&topics_2_billion).is_err());
    let negative = [0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0];
    let unsupported = ConsumerProtocolError::UnsupportedVersion { version: -1 };
    assert_eq!(ConsumerProtocolSubscription::decode(&negative), Err(unsupported));
    assert_eq!(ConsumerProtocolAssignment::decode(&negative), Err(unsupported));
    assert_eq!(consumer_protocol_version(&negative), None);
    assert_eq!(consumer_protocol_version(&[0]), None);
    assert_eq!(subscription().encode(-1), Err(unsupported));
    let long = ConsumerProtocolSubscription {
        topics: vec!["x".repeat(40_000)],
        ..subscription()
    };
    assert_eq!(long.encode(0), Err(ConsumerProtocolError::TooLong { field: "topics" }));
}

fn topic_partitions() -> impl Strategy<Value = Vec<TopicPartitions>> {
    let one = ("[a-z.]{0,8}", prop::collection::vec(any::<i32>(), 0..4))
        .prop_map(|(topic, partitions)| TopicPartitions { topic, partitions });
    prop::collection::vec(one, 0..4)
}

fn user_data() -> impl Strategy<Value = Option<Bytes>> {
    prop::option::of(prop::collection::vec(any::<u8>(), 0..8).prop_map(Bytes::from))
}

prop_compose! {
    fn any_subscription()(
        topics in prop::collection::vec("[a-z.]{0,8}", 0..4),
        user_data in user_data(),
        owned_partitions in topic_partitions(),
        generation_id in any::<i32>(),
        rack_id in prop::option::of("[a-z]{0,4}"),
    ) -> ConsumerProtocolSubscription {
        ConsumerProtocolSubscription { topics, user_data, owned_partitions, generation_id, rack_id }
    }
}

proptest! {
    #[test]
    fn subscriptions_round_trip_and_peers_agree(subscription in any_subscription()) {
        let mut bytes = subscription.encode(3).expect("it fits");
        prop_assert_eq!(ConsumerProtocolSubscription::decode(&bytes), Ok(subscription.clone()));
        let peer = PeerSubscription::decode(&mut bytes.split_off(2), 3).expect("well formed");
        prop_assert_eq!(peer.topics.iter().map(ToString::to_string).collect::<Vec<_>>(), subscription.topics);
        prop_assert_eq!(peer.user_data, subscription.user_data);
        prop_assert_eq!(peer.owned_partitions.len(), subscription.owned_partitions.len());
        for (peer, ours) in peer.owned_partitions.iter().zip(&subscription.owned_partitions) {
            prop_assert_eq!(peer.topic.to_string(), ours.topic.as_str());
            prop_assert_eq!(&peer.partitions, &ours.partitions);
        }
        prop_assert_eq!(peer.generation_id, subscription.generation_id);
        prop_assert_eq!(peer.rack_id.map(|rack| rack.to_string()), subscription.rack_id);
    }

    #[test]
    fn assignments_round_trip_and_peers_agree(
        assigned_partitions in topic_partitions(),
        user_data in user_data(),
        version in 0..=3i16,
    ) {
        let assignment = ConsumerProtocolAssignment { assigned_partitions, user_data };
        let mut bytes = assignment.encode(version).expect("it fits");
        prop_assert_eq!(ConsumerProtocolAssignment::decode(&bytes), Ok(assignment.clone()));
        let peer = PeerAssignment::decode(&mut bytes.split_off(2), version).expect("well formed");
        prop_assert_eq!(peer.user_data, assignment.user_data);
        prop_assert_eq!(peer.assigned_partitions.len(), assignment.assigned_partitions.len());
        for (peer, ours) in peer.assigned_partitions.iter().zip(&assignment.assigned_partitions) {
            prop_assert_eq!(peer.topic.to_string(), ours.topic.as_str());
            prop_assert_eq!(&peer.partitions, &ours.partitions);
        }
    }

    #[test]
    fn damaged_bytes_never_panic(subscription in any_subscription(), cut in 0usize..80, at in 0usize..80, byte in any::<u8>()) {
        let mut bytes = subscription.encode(3).expect("it fits").to_vec();
        if let Some(place) = bytes.get_mut(at) {
            *place = byte;
        }
        let bytes = &bytes[..cut.min(bytes.len())];
        let _ = ConsumerProtocolSubscription::decode(bytes);
        let _ = ConsumerProtocolAssignment::decode(bytes);
    }

    #[test]
    fn a_cut_assignment_is_refused(assigned_partitions in topic_partitions(), cut in any::<prop::sample::Index>()) {
        let assignment = ConsumerProtocolAssignment { assigned_partitions, user_data: None };
        let bytes = assignment.encode(1).expect("it fits");
        prop_assert!(ConsumerProtocolAssignment::decode(&bytes[..cut.index(bytes.len())]).is_err());
    }
}
