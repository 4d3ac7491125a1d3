//! Request bodies of every served API: the first two bytes choose API and version, the rest is the body.
//!
//! Must hold: no panic and no memory beyond the limit of libFuzzer; what the guard accepts is decoded;
//! the hand-written readers agree with the guard.
#![no_main]

use bytes::Bytes;
use kafka_protocol::messages::*;
use libfuzzer_sys::fuzz_target;
use protocol::api::{self, APIS};
use protocol::decode::decode_request;
use protocol::header::peek_request_header;
use protocol::{guard, wire};

macro_rules! decode {
    ($key:expr, $version:expr, $body:expr; $($name:ident: $request:ident,)*) => {
        match $key {
            $(api::$name => decode_request::<$request>($key, $version, $body).is_ok(),)*
            key => unreachable!("API key {key} is served and has no row here"),
        }
    };
}

fuzz_target!(|data: &[u8]| {
    let [choice, version, body @ ..] = data else { return };
    let _ = peek_request_header(&Bytes::copy_from_slice(data));
    let api = &APIS[usize::from(*choice) % APIS.len()];
    let versions = api.max_version - api.min_version + 1;
    let version = api.min_version + i16::from(*version) % versions;
    let body = Bytes::copy_from_slice(body);
    let accepted = guard::check(api.key, version, &body).is_ok();
    let decoded = decode! { api.key, version, body.clone();
        PRODUCE: ProduceRequest,
        FETCH: FetchRequest,
        LIST_OFFSETS: ListOffsetsRequest,
        METADATA: MetadataRequest,
        OFFSET_COMMIT: OffsetCommitRequest,
        OFFSET_FETCH: OffsetFetchRequest,
        FIND_COORDINATOR: FindCoordinatorRequest,
        JOIN_GROUP: JoinGroupRequest,
        HEARTBEAT: HeartbeatRequest,
        LEAVE_GROUP: LeaveGroupRequest,
        SYNC_GROUP: SyncGroupRequest,
        DESCRIBE_GROUPS: DescribeGroupsRequest,
        LIST_GROUPS: ListGroupsRequest,
        API_VERSIONS: ApiVersionsRequest,
        CREATE_TOPICS: CreateTopicsRequest,
        DELETE_TOPICS: DeleteTopicsRequest,
        INIT_PRODUCER_ID: InitProducerIdRequest,
        OFFSET_FOR_LEADER_EPOCH: OffsetForLeaderEpochRequest,
        DESCRIBE_CONFIGS: DescribeConfigsRequest,
        DESCRIBE_CLUSTER: DescribeClusterRequest,
    };
    assert_eq!(accepted, decoded, "{} v{version}", api.name);
    match api.key {
        api::PRODUCE => assert_eq!(wire::produce::ProduceRequest::read(version, &body).is_ok(), accepted),
        api::FETCH => assert_eq!(wire::fetch::FetchRequest::read(version, &body).is_ok(), accepted),
        _ => {}
    }
});
