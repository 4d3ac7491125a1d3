//! Where a response says how long its client was throttled: `throttle_time_ms`, written into a finished frame, because
//! the time that a request took is only known when its answer is there.
//!
//! Invariant: a frame changes in these four bytes or not at all. Source: Kafka 4.3's response schemas (the place of
//! `ThrottleTimeMs` among the fields and its first version).

use crate::api;

/// Length prefix and correlation id.
const BEFORE_TAGS: usize = 8;

/// Where the field stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// So many bytes into the body, from a version on.
    At(usize, i16),
    /// Last, but for the tagged fields, of which there are none.
    Last(i16),
    /// Behind the error code and the list of APIs.
    BehindApis(i16),
    /// The response has no such field, or none at a place that can be told without reading it.
    Nowhere,
}

fn place(api_key: i16) -> Place {
    match api_key {
        0 => Place::Last(1),
        18 => Place::BehindApis(1),
        47 => Place::At(2, 0),
        1 | 10 | 12..=16 | 20 => Place::At(0, 1),
        2 | 11 | 19 | 23 => Place::At(0, 2),
        3 | 8 | 9 => Place::At(0, 3),
        39 | 40 => Place::At(10, 0),
        4..=7 | 17 | 27 | 36 | 38 | 41 | 52..=55 | 58 | 62..=63 | 67 | 70 | 73 | 80..=87 => Place::Nowhere,
        21..=93 => Place::At(0, 0),
        _ => Place::Nowhere,
    }
}

/// Raises the field to `throttle_time_ms`, if the version has it and it says less.
pub fn raise_throttle_time(api_key: i16, version: i16, frame: &mut [u8], throttle_time_ms: i32) {
    let field = offset(api_key, version, frame).and_then(|offset| frame.get_mut(offset..)?.first_chunk_mut::<4>());
    if let Some(field) = field
        && i32::from_be_bytes(*field) < throttle_time_ms
    {
        *field = throttle_time_ms.to_be_bytes();
    }
}

fn offset(api_key: i16, version: i16, frame: &[u8]) -> Option<usize> {
    let api = api::find(api_key)?;
    let body = BEFORE_TAGS + usize::from(api.response_header_version(version) >= 1);
    let flexible = version >= api.flexible_from;
    match place(api_key) {
        Place::At(offset, since) if version >= since => Some(body + offset),
        Place::Last(since) if version >= since => frame.len().checked_sub(4 + usize::from(flexible)),
        Place::BehindApis(since) if version >= since => Some(behind_apis(frame, body + 2, flexible)?),
        _ => None,
    }
}

/// Behind a list of three int16 each, with tagged fields from the flexible versions on, of which there are none.
fn behind_apis(frame: &[u8], list: usize, flexible: bool) -> Option<usize> {
    let (count, start) = if flexible {
        let (count_plus_one, bytes) = unsigned_varint(frame.get(list..)?)?;
        (count_plus_one.checked_sub(1)?, list + bytes)
    } else {
        let count = frame.get(list..)?.first_chunk::<4>()?;
        (usize::try_from(i32::from_be_bytes(*count)).ok()?, list + 4)
    };
    Some(start + count * (6 + usize::from(flexible)))
}

fn unsigned_varint(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0_usize;
    for (index, byte) in bytes.iter().take(3).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, index + 1));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::any::Any;
    use std::fmt::Debug;

    use bytes::{Buf, BytesMut};
    use kafka_protocol::messages as m;
    use kafka_protocol::protocol::{Decodable, Encodable, Message};

    use super::*;
    use crate::encode::encode_response;
    use crate::wire::older::list_offsets;

    /// Raises the field of a served API's response in every version, and says in which the response then tells it.
    fn told_from<R: Encodable + Decodable + Message + Debug + Any>(api_key: i16, response: &R) -> Option<i16> {
        let api = api::find(api_key).expect("served");
        let mut since = None;
        for version in api.min_version..=api.max_version {
            let frame = match (api_key, version) {
                (api::LIST_OFFSETS, 0) => list_offsets::write_response(7, &[]),
                _ => encode_response(api_key, version, 7, response),
            };
            let frame = frame.expect("encodes");
            let mut raised = BytesMut::from(&frame[..]);
            raise_throttle_time(api_key, version, &mut raised, 77_777);
            let once = raised.clone();
            raise_throttle_time(api_key, version, &mut raised, 5);
            assert_eq!(raised, once, "it is never lowered");
            raised.advance(BEFORE_TAGS + usize::from(api.response_header_version(version) >= 1));
            let told = if version < R::VERSIONS.min {
                // those of the older versions that have the field begin with it
                raised.starts_with(&77_777_i32.to_be_bytes())
            } else {
                let read = R::decode(&mut raised, api.version_of_fields(version)).expect("still a response");
                assert!(raised.is_empty());
                format!("{read:?}").contains("throttle_time_ms: 77777")
            };
            assert!(told || since.is_none(), "API {api_key} version {version}");
            if told && since.is_none() {
                since = Some(version);
            }
            let changed = once.iter().zip(&frame).filter(|(a, b)| a != b).count();
            assert!(changed <= 4 && (changed > 0) == told, "API {api_key} version {version}");
        }
        since
    }

    /// The first version that tells it, of each API, where the API is served.
    macro_rules! check {
        ($($key:literal $response:ident $since:expr;)+) => {{
            let mut checked = Vec::new();
            $(
                checked.push($key);
                if let Some(api) = api::find($key) {
                    let since: Option<i16> = $since;
                    let expected = since.map(|since| since.max(api.min_version));
                    assert_eq!(told_from($key, &m::$response::default()), expected, stringify!($response));
                }
            )+
            checked
        }};
    }

    #[test]
    fn every_served_api_has_its_place() {
        let checked = check! {
            0 ProduceResponse Some(1); 1 FetchResponse Some(1); 2 ListOffsetsResponse Some(2);
            3 MetadataResponse Some(3); 8 OffsetCommitResponse Some(3); 9 OffsetFetchResponse Some(3);
            10 FindCoordinatorResponse Some(1); 11 JoinGroupResponse Some(2); 12 HeartbeatResponse Some(1);
            13 LeaveGroupResponse Some(1); 14 SyncGroupResponse Some(1); 15 DescribeGroupsResponse Some(1);
            16 ListGroupsResponse Some(1); 17 SaslHandshakeResponse None; 18 ApiVersionsResponse Some(1);
            19 CreateTopicsResponse Some(2); 20 DeleteTopicsResponse Some(1); 21 DeleteRecordsResponse Some(0);
            22 InitProducerIdResponse Some(0); 23 OffsetForLeaderEpochResponse Some(2);
            24 AddPartitionsToTxnResponse Some(0); 25 AddOffsetsToTxnResponse Some(0); 26 EndTxnResponse Some(0);
            27 WriteTxnMarkersResponse None; 28 TxnOffsetCommitResponse Some(0);
            29 DescribeAclsResponse Some(0); 30 CreateAclsResponse Some(0);
            31 DeleteAclsResponse Some(0); 32 DescribeConfigsResponse Some(0); 33 AlterConfigsResponse Some(0);
            34 AlterReplicaLogDirsResponse Some(0); 35 DescribeLogDirsResponse Some(0);
            36 SaslAuthenticateResponse None; 37 CreatePartitionsResponse Some(0); 42 DeleteGroupsResponse Some(0);
            43 ElectLeadersResponse Some(0); 44 IncrementalAlterConfigsResponse Some(0);
            45 AlterPartitionReassignmentsResponse Some(0); 46 ListPartitionReassignmentsResponse Some(0);
            47 OffsetDeleteResponse Some(0); 48 DescribeClientQuotasResponse Some(0);
            49 AlterClientQuotasResponse Some(0); 50 DescribeUserScramCredentialsResponse Some(0);
            51 AlterUserScramCredentialsResponse Some(0); 55 DescribeQuorumResponse None;
            57 UpdateFeaturesResponse Some(0); 60 DescribeClusterResponse Some(0); 61 DescribeProducersResponse Some(0);
            64 UnregisterBrokerResponse Some(0); 65 DescribeTransactionsResponse Some(0);
            66 ListTransactionsResponse Some(0); 68 ConsumerGroupHeartbeatResponse Some(0);
            69 ConsumerGroupDescribeResponse Some(0); 71 GetTelemetrySubscriptionsResponse Some(0);
            72 PushTelemetryResponse Some(0); 74 ListConfigResourcesResponse Some(0);
            75 DescribeTopicPartitionsResponse Some(0);
        };
        for api in api::APIS {
            assert!(checked.contains(&api.key), "{} is not in this test", api.name);
        }
    }

    #[test]
    fn api_versions_tells_it_behind_its_list() {
        let apis = |count| vec![m::api_versions_response::ApiVersion::default().with_max_version(9); count];
        for count in [1, 60, 200] {
            let response = m::ApiVersionsResponse::default().with_api_keys(apis(count));
            assert_eq!(told_from(18, &response), Some(1), "{count} APIs");
        }
    }

    #[test]
    fn frames_that_are_cut_are_left_alone() {
        for length in 0..12 {
            for api in api::APIS {
                for version in api.min_version..=api.max_version {
                    raise_throttle_time(api.key, version, &mut vec![0xff; length], 5);
                }
            }
        }
    }
}
