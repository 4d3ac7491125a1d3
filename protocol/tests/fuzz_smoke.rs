//! Mutated requests through the guarded decoder, for every API and version that it knows.
//!
//! Deterministic: the same bytes on every run. `MONEDULA_FUZZ_ITERATIONS` = mutations per API and
//! version (default 20).

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::Request;
use protocol::api;
use protocol::decode::{DecodeError, decode_request};
use protocol::encode::encode_response;
use protocol::guard::{self, Layout, Shape};
use protocol::wire::fetch::FetchRequest as FetchRead;
use protocol::wire::older::list_offsets::ListOffsetsRequestV0;
use protocol::wire::produce::ProduceRequest as ProduceRead;
use protocol::wire::write_txn_markers::WriteTxnMarkersRequest as WriteTxnMarkersRead;

/// A small deterministic generator (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn chance(&mut self, one_in: usize) -> bool {
        self.below(one_in) == 0
    }
}

/// A length or count in a generated body.
struct LengthField {
    position: usize,
    encoded: usize,
    flexible: bool,
}

/// Writes random bodies that fit a layout.
struct Generator<'a> {
    random: &'a mut Random,
    body: Vec<u8>,
    lengths: Vec<LengthField>,
}

impl Generator<'_> {
    fn layout(&mut self, layout: &Layout) {
        for shape in &layout.fields {
            self.shape(shape, layout.flexible);
        }
        if layout.flexible {
            self.tagged_fields(layout);
        }
    }

    fn shape(&mut self, shape: &Shape, flexible: bool) {
        match shape {
            Shape::Fixed(length) => self.noise(*length),
            Shape::String { nullable } => {
                let length = self.length(*nullable, flexible, 2, 9);
                let text = (0..length)
                    .map(|_| b'a' + self.random.below(26) as u8)
                    .collect::<Vec<_>>();
                self.body.extend(text);
            }
            Shape::Bytes { nullable } => {
                let length = self.length(*nullable, flexible, 4, 40);
                self.noise(length);
            }
            Shape::Array { nullable, element } => {
                for _ in 0..self.length(*nullable, flexible, 4, 4) {
                    self.shape(element, flexible);
                }
            }
            Shape::Struct(layout) => self.layout(layout),
            Shape::NullableStruct(layout) => {
                let present = !self.random.chance(3);
                self.body.push(if present { 1 } else { 0xff });
                if present {
                    self.layout(layout);
                }
            }
        }
    }

    fn tagged_fields(&mut self, layout: &Layout) {
        let valid: Vec<_> = layout
            .tagged
            .iter()
            .filter_map(|(tag, shape)| Some((*tag, shape.as_ref()?)))
            .collect();
        let unknown = self.random.chance(4);
        varint(&mut self.body, valid.len() as u32 + u32::from(unknown));
        for (tag, shape) in valid {
            let mut value = Generator {
                random: self.random,
                body: Vec::new(),
                lengths: Vec::new(),
            };
            value.shape(shape, true);
            let value = value.body;
            varint(&mut self.body, tag);
            varint(&mut self.body, value.len() as u32);
            self.body.extend(value);
        }
        if unknown {
            varint(&mut self.body, 1000);
            varint(&mut self.body, 3);
            self.noise(3);
        }
    }

    fn noise(&mut self, length: usize) {
        for _ in 0..length {
            // Small numbers are as likely as large ones.
            let byte = if self.random.chance(2) {
                0
            } else {
                self.random.next() as u8
            };
            self.body.push(byte);
        }
    }

    /// Writes a random length (or null) and returns it.
    fn length(&mut self, nullable: bool, flexible: bool, width: usize, bound: usize) -> usize {
        let null = nullable && self.random.chance(4);
        let length = if null { 0 } else { self.random.below(bound) };
        let position = self.body.len();
        if flexible {
            varint(&mut self.body, if null { 0 } else { length as u32 + 1 });
        } else {
            let signed = if null { -1 } else { length as i32 };
            self.body.extend_from_slice(&signed.to_be_bytes()[4 - width..]);
        }
        let encoded = self.body.len() - position;
        self.lengths.push(LengthField {
            position,
            encoded,
            flexible,
        });
        length
    }
}

fn varint(body: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        body.push(value as u8 | 0x80);
        value >>= 7;
    }
    body.push(value as u8);
}

fn generate(layout: &Layout, random: &mut Random) -> (Vec<u8>, Vec<LengthField>) {
    let mut generator = Generator {
        random,
        body: Vec::new(),
        lengths: Vec::new(),
    };
    generator.layout(layout);
    (generator.body, generator.lengths)
}

fn mutate(body: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=random.below(3) {
        let at = random.below(body.len() + 1);
        match random.below(6) {
            0 => body.truncate(at),
            1 => body.insert(at, random.next() as u8),
            2 if at < body.len() => body[at] ^= 1 << random.below(8),
            3 if at < body.len() => body[at] = [0x00, 0x01, 0x7f, 0x80, 0xff][random.below(5)],
            4 if at + 4 <= body.len() => body[at..at + 4].copy_from_slice(&i32::MAX.to_be_bytes()),
            _ if at < body.len() => drop(body.remove(at)),
            _ => body.extend([0xff, 0xff, 0xff, 0xff, 0x07]),
        }
    }
}

fn iterations() -> usize {
    std::env::var("MONEDULA_FUZZ_ITERATIONS")
        .ok()
        .and_then(|count| count.parse().ok())
        .unwrap_or(20)
}

/// Decodes and checks what must hold for any input: no panic; what the guard accepts, the decoder
/// does not refuse; what was decoded is no larger than what was sent, and survives a round trip.
fn decode<R: Request + PartialEq + std::fmt::Debug + 'static>(version: i16, body: &Bytes) -> Result<R, DecodeError> {
    let result = decode_request::<R>(R::KEY, version, body.clone());
    assert_eq!(
        result.is_ok(),
        guard::check(R::KEY, version, body).is_ok(),
        "{result:?}"
    );
    if let Ok(request) = &result
        && (R::VERSIONS.min..=R::VERSIONS.max).contains(&version)
    {
        assert!(request.compute_size(version).expect("encodable") <= body.len());
        // Compared as bytes: a quota can be a NaN.
        let again = encode(request, version);
        let reread = R::decode(&mut again.clone(), version).expect("written by the same codec");
        assert_eq!(again, encode(&reread, version), "{request:?} {reread:?}");
    }
    result
}

fn encode<R: Request>(request: &R, version: i16) -> Bytes {
    let mut body = BytesMut::new();
    request.encode(&mut body, version).expect("encodable");
    body.freeze()
}

/// The hand-written readers must agree with the guard too.
fn read_by_hand(api_key: i16, version: i16, body: &Bytes) {
    let verdict = guard::check(api_key, version, body).is_ok();
    match api_key {
        0 => assert_eq!(ProduceRead::read(version, body).is_ok(), verdict),
        2 if version == 0 => assert_eq!(ListOffsetsRequestV0::read(body).is_ok(), verdict),
        1 => assert_eq!(FetchRead::read(version, body).is_ok(), verdict),
        27 => assert_eq!(WriteTxnMarkersRead::read(version, body).is_ok(), verdict),
        _ => {}
    }
}

fn every_version(api_key: i16) -> impl Iterator<Item = (i16, &'static Layout)> {
    (0..i16::MAX)
        .map(move |version| (version, guard::layout(api_key, version)))
        .skip_while(|(_, layout)| layout.is_none())
        .map_while(|(version, layout)| Some((version, layout?)))
}

fn defaults_are_accepted<R: Request + Default + PartialEq + std::fmt::Debug + 'static>()
where
    R::Response: Default,
{
    for (version, _) in every_version(R::KEY) {
        // The response of ListOffsets 0 has its own type.
        if api::find(R::KEY).is_some_and(|api| api.serves(version)) && (R::KEY, version) != (api::LIST_OFFSETS, 0) {
            encode_response(R::KEY, version, 0, &R::Response::default()).expect("an empty response fits every version");
        }
        if !(R::VERSIONS.min..=R::VERSIONS.max).contains(&version) {
            continue;
        }
        let body = encode(&R::default(), version);
        assert_eq!(decode::<R>(version, &body), Ok(R::default()), "v{version}");
        read_by_hand(R::KEY, version, &body);
    }
}

fn generated_bodies_are_accepted_and_damaged_ones_refused<R: Request + PartialEq + std::fmt::Debug + 'static>() {
    for (version, layout) in every_version(R::KEY) {
        let mut random = Random(R::KEY as u64 * 1000 + version as u64);
        for _ in 0..4 {
            let (body, lengths) = generate(layout, &mut random);
            let whole = Bytes::from(body.clone());
            decode::<R>(version, &whole).unwrap_or_else(|error| panic!("{error} in v{version} {body:x?}"));
            read_by_hand(R::KEY, version, &whole);
            for cut in 0..whole.len() {
                let cut_off = whole.slice(..cut);
                assert!(decode::<R>(version, &cut_off).is_err(), "v{version} cut at {cut}");
                read_by_hand(R::KEY, version, &cut_off);
            }
            for field in lengths {
                let mut huge = body.clone();
                let largest: &[u8] = match (field.flexible, field.encoded) {
                    (true, _) => &[0xff, 0xff, 0xff, 0xff, 0x07],
                    (false, 2) => &[0x7f, 0xff],
                    (false, _) => &[0x7f, 0xff, 0xff, 0xff],
                };
                huge.splice(field.position..field.position + field.encoded, largest.iter().copied());
                let huge = Bytes::from(huge);
                let result = decode::<R>(version, &huge);
                let refused = match result {
                    Err(DecodeError::Truncated { .. }) => true,
                    Err(DecodeError::StringTooLong { .. }) => field.flexible,
                    _ => false,
                };
                assert!(refused, "v{version} {result:?}");
                read_by_hand(R::KEY, version, &huge);
            }
        }
    }
}

fn mutated_and_random_bodies_are_survived<R: Request + PartialEq + std::fmt::Debug + 'static>() {
    for (version, layout) in every_version(R::KEY) {
        let mut random = Random(R::KEY as u64 * 1000 + version as u64 + 500);
        for round in 0..iterations() {
            let body = if round % 4 == 0 {
                (0..random.below(60))
                    .map(|_| random.next() as u8 & [0xff, 0x03][random.below(2)])
                    .collect()
            } else {
                let (mut body, _) = generate(layout, &mut random);
                mutate(&mut body, &mut random);
                body
            };
            let body = Bytes::from(body);
            if decode::<R>(version, &body) == Err(DecodeError::Refused) {
                panic!("v{version}: the guard let through {body:x?}");
            }
            read_by_hand(R::KEY, version, &body);
        }
    }
}

/// One module of tests per request, and a test that no request is missing.
macro_rules! requests {
    ($($module:ident: $request:ident,)*) => {
        $(mod $module {
            use super::*;

            #[test]
            fn defaults() {
                defaults_are_accepted::<$request>();
            }

            #[test]
            fn generated() {
                generated_bodies_are_accepted_and_damaged_ones_refused::<$request>();
            }

            #[test]
            fn mutated() {
                mutated_and_random_bodies_are_survived::<$request>();
            }
        })*

        #[test]
        fn every_request_is_tested() {
            let tested = [$($request::KEY),*];
            for key in (0..200).filter(|key| ApiKey::try_from(*key).is_ok()) {
                assert!(tested.contains(&key), "API key {key}");
            }
        }
    };
}

requests! {
    produce: ProduceRequest,
    fetch: FetchRequest,
    list_offsets: ListOffsetsRequest,
    metadata: MetadataRequest,
    offset_commit: OffsetCommitRequest,
    offset_fetch: OffsetFetchRequest,
    find_coordinator: FindCoordinatorRequest,
    join_group: JoinGroupRequest,
    heartbeat: HeartbeatRequest,
    leave_group: LeaveGroupRequest,
    sync_group: SyncGroupRequest,
    describe_groups: DescribeGroupsRequest,
    list_groups: ListGroupsRequest,
    sasl_handshake: SaslHandshakeRequest,
    api_versions: ApiVersionsRequest,
    create_topics: CreateTopicsRequest,
    delete_topics: DeleteTopicsRequest,
    delete_records: DeleteRecordsRequest,
    init_producer_id: InitProducerIdRequest,
    offset_for_leader_epoch: OffsetForLeaderEpochRequest,
    add_partitions_to_txn: AddPartitionsToTxnRequest,
    add_offsets_to_txn: AddOffsetsToTxnRequest,
    end_txn: EndTxnRequest,
    write_txn_markers: WriteTxnMarkersRequest,
    txn_offset_commit: TxnOffsetCommitRequest,
    describe_acls: DescribeAclsRequest,
    create_acls: CreateAclsRequest,
    delete_acls: DeleteAclsRequest,
    describe_configs: DescribeConfigsRequest,
    alter_configs: AlterConfigsRequest,
    alter_replica_log_dirs: AlterReplicaLogDirsRequest,
    describe_log_dirs: DescribeLogDirsRequest,
    sasl_authenticate: SaslAuthenticateRequest,
    create_partitions: CreatePartitionsRequest,
    create_delegation_token: CreateDelegationTokenRequest,
    renew_delegation_token: RenewDelegationTokenRequest,
    expire_delegation_token: ExpireDelegationTokenRequest,
    describe_delegation_token: DescribeDelegationTokenRequest,
    delete_groups: DeleteGroupsRequest,
    elect_leaders: ElectLeadersRequest,
    incremental_alter_configs: IncrementalAlterConfigsRequest,
    alter_partition_reassignments: AlterPartitionReassignmentsRequest,
    list_partition_reassignments: ListPartitionReassignmentsRequest,
    offset_delete: OffsetDeleteRequest,
    describe_client_quotas: DescribeClientQuotasRequest,
    alter_client_quotas: AlterClientQuotasRequest,
    describe_user_scram_credentials: DescribeUserScramCredentialsRequest,
    alter_user_scram_credentials: AlterUserScramCredentialsRequest,
    vote: VoteRequest,
    begin_quorum_epoch: BeginQuorumEpochRequest,
    end_quorum_epoch: EndQuorumEpochRequest,
    describe_quorum: DescribeQuorumRequest,
    alter_partition: AlterPartitionRequest,
    update_features: UpdateFeaturesRequest,
    envelope: EnvelopeRequest,
    fetch_snapshot: FetchSnapshotRequest,
    describe_cluster: DescribeClusterRequest,
    describe_producers: DescribeProducersRequest,
    broker_registration: BrokerRegistrationRequest,
    broker_heartbeat: BrokerHeartbeatRequest,
    unregister_broker: UnregisterBrokerRequest,
    describe_transactions: DescribeTransactionsRequest,
    list_transactions: ListTransactionsRequest,
    allocate_producer_ids: AllocateProducerIdsRequest,
    consumer_group_heartbeat: ConsumerGroupHeartbeatRequest,
    consumer_group_describe: ConsumerGroupDescribeRequest,
    controller_registration: ControllerRegistrationRequest,
    get_telemetry_subscriptions: GetTelemetrySubscriptionsRequest,
    push_telemetry: PushTelemetryRequest,
    assign_replicas_to_dirs: AssignReplicasToDirsRequest,
    list_config_resources: ListConfigResourcesRequest,
    describe_topic_partitions: DescribeTopicPartitionsRequest,
    share_group_heartbeat: ShareGroupHeartbeatRequest,
    share_group_describe: ShareGroupDescribeRequest,
    share_fetch: ShareFetchRequest,
    share_acknowledge: ShareAcknowledgeRequest,
    add_raft_voter: AddRaftVoterRequest,
    remove_raft_voter: RemoveRaftVoterRequest,
    update_raft_voter: UpdateRaftVoterRequest,
    initialize_share_group_state: InitializeShareGroupStateRequest,
    read_share_group_state: ReadShareGroupStateRequest,
    write_share_group_state: WriteShareGroupStateRequest,
    delete_share_group_state: DeleteShareGroupStateRequest,
    read_share_group_state_summary: ReadShareGroupStateSummaryRequest,
    describe_share_group_offsets: DescribeShareGroupOffsetsRequest,
    alter_share_group_offsets: AlterShareGroupOffsetsRequest,
    delete_share_group_offsets: DeleteShareGroupOffsetsRequest,
}
