//! Every error code of the Kafka protocol: one table gives the enum, the names, the messages and
//! which errors a client may retry.
//!
//! Invariants: codes and names never change (they are the protocol); the table is complete for
//! Kafka 4.3 (-1..=133). Source of codes, names and retriability: Kafka's `Errors` and the
//! exception classes behind it (retriable = subclass of `RetriableException`).

use std::fmt;

const RETRIABLE: bool = true;
const FATAL: bool = false;

macro_rules! error_codes {
    ($($variant:ident = $code:literal, $name:literal, $retriable:ident, $message:literal;)*) => {
        /// An error code as it stands on the wire.
        #[repr(i16)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum ErrorCode {
            $(#[doc = $message] $variant = $code,)*
        }

        impl ErrorCode {
            /// All codes, in ascending order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The code with this number, if Kafka 4.3 has one.
            pub const fn from_code(code: i16) -> Option<Self> {
                match code {
                    $($code => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// Kafka's name of the code.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// One sentence for humans: what a response's error message says when nothing more precise is known.
            pub const fn message(self) -> &'static str {
                match self {
                    $(Self::$variant => $message,)*
                }
            }

            /// Whether the same request may succeed later without a change.
            pub const fn is_retriable(self) -> bool {
                match self {
                    $(Self::$variant => $retriable,)*
                }
            }
        }
    };
}

impl ErrorCode {
    /// The number on the wire.
    pub const fn code(self) -> i16 {
        self as i16
    }

    /// Whether this is `NONE`.
    pub const fn is_none(self) -> bool {
        matches!(self, Self::None)
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl From<ErrorCode> for i16 {
    fn from(error: ErrorCode) -> Self {
        error.code()
    }
}

error_codes! {
    UnknownServerError = -1, "UNKNOWN_SERVER_ERROR", FATAL, "the server failed in an unexpected way";
    None = 0, "NONE", FATAL, "no error";
    OffsetOutOfRange = 1, "OFFSET_OUT_OF_RANGE", FATAL, "the offset lies outside the range that the log holds";
    CorruptMessage = 2, "CORRUPT_MESSAGE", RETRIABLE, "the message is corrupt: wrong checksum or size, or a null key in a compacted topic";
    UnknownTopicOrPartition = 3, "UNKNOWN_TOPIC_OR_PARTITION", RETRIABLE, "this server does not host the topic partition";
    InvalidFetchSize = 4, "INVALID_FETCH_SIZE", FATAL, "the requested fetch size is not valid";
    LeaderNotAvailable = 5, "LEADER_NOT_AVAILABLE", RETRIABLE, "the partition has no leader at the moment";
    NotLeaderOrFollower = 6, "NOT_LEADER_OR_FOLLOWER", RETRIABLE, "this broker is not the leader or a replica of the partition";
    RequestTimedOut = 7, "REQUEST_TIMED_OUT", RETRIABLE, "the request did not complete in time";
    BrokerNotAvailable = 8, "BROKER_NOT_AVAILABLE", FATAL, "the broker is not available";
    ReplicaNotAvailable = 9, "REPLICA_NOT_AVAILABLE", RETRIABLE, "the replica is not available";
    MessageTooLarge = 10, "MESSAGE_TOO_LARGE", FATAL, "the message is larger than the server accepts";
    StaleControllerEpoch = 11, "STALE_CONTROLLER_EPOCH", FATAL, "the controller has moved to another broker";
    OffsetMetadataTooLarge = 12, "OFFSET_METADATA_TOO_LARGE", FATAL, "the metadata of the committed offset is too large";
    NetworkException = 13, "NETWORK_EXCEPTION", RETRIABLE, "the connection broke before the response arrived";
    CoordinatorLoadInProgress = 14, "COORDINATOR_LOAD_IN_PROGRESS", RETRIABLE, "the coordinator is still loading its state";
    CoordinatorNotAvailable = 15, "COORDINATOR_NOT_AVAILABLE", RETRIABLE, "the coordinator is not available";
    NotCoordinator = 16, "NOT_COORDINATOR", RETRIABLE, "this broker is not the coordinator";
    InvalidTopicException = 17, "INVALID_TOPIC_EXCEPTION", FATAL, "the topic name is not valid";
    RecordListTooLarge = 18, "RECORD_LIST_TOO_LARGE", FATAL, "the batch is larger than a log segment";
    NotEnoughReplicas = 19, "NOT_ENOUGH_REPLICAS", RETRIABLE, "too few replicas are in sync, nothing was written";
    NotEnoughReplicasAfterAppend = 20, "NOT_ENOUGH_REPLICAS_AFTER_APPEND", RETRIABLE, "the messages were written, but to too few in-sync replicas";
    InvalidRequiredAcks = 21, "INVALID_REQUIRED_ACKS", FATAL, "the value of acks is not valid";
    IllegalGeneration = 22, "ILLEGAL_GENERATION", FATAL, "the group generation id is not the current one";
    InconsistentGroupProtocol = 23, "INCONSISTENT_GROUP_PROTOCOL", FATAL, "the member's protocols do not fit those of the group";
    InvalidGroupId = 24, "INVALID_GROUP_ID", FATAL, "the group id is not valid";
    UnknownMemberId = 25, "UNKNOWN_MEMBER_ID", FATAL, "the coordinator does not know this member";
    InvalidSessionTimeout = 26, "INVALID_SESSION_TIMEOUT", FATAL, "the session timeout is outside the range that the broker allows";
    RebalanceInProgress = 27, "REBALANCE_IN_PROGRESS", FATAL, "the group is rebalancing, the member must rejoin";
    InvalidCommitOffsetSize = 28, "INVALID_COMMIT_OFFSET_SIZE", FATAL, "the committed offset data has an invalid size";
    TopicAuthorizationFailed = 29, "TOPIC_AUTHORIZATION_FAILED", FATAL, "not authorized for the topic";
    GroupAuthorizationFailed = 30, "GROUP_AUTHORIZATION_FAILED", FATAL, "not authorized for the group";
    ClusterAuthorizationFailed = 31, "CLUSTER_AUTHORIZATION_FAILED", FATAL, "not authorized for the cluster";
    InvalidTimestamp = 32, "INVALID_TIMESTAMP", FATAL, "the timestamp of a message is out of the accepted range";
    UnsupportedSaslMechanism = 33, "UNSUPPORTED_SASL_MECHANISM", FATAL, "the SASL mechanism is not supported";
    IllegalSaslState = 34, "ILLEGAL_SASL_STATE", FATAL, "the request does not fit the state of SASL authentication";
    UnsupportedVersion = 35, "UNSUPPORTED_VERSION", FATAL, "the version of the API is not supported";
    TopicAlreadyExists = 36, "TOPIC_ALREADY_EXISTS", FATAL, "a topic of this name exists already";
    InvalidPartitions = 37, "INVALID_PARTITIONS", FATAL, "the number of partitions is not valid";
    InvalidReplicationFactor = 38, "INVALID_REPLICATION_FACTOR", FATAL, "the replication factor is below 1 or above the number of available brokers";
    InvalidReplicaAssignment = 39, "INVALID_REPLICA_ASSIGNMENT", FATAL, "the replica assignment is not valid";
    InvalidConfig = 40, "INVALID_CONFIG", FATAL, "the configuration is not valid";
    NotController = 41, "NOT_CONTROLLER", RETRIABLE, "this node is not the controller";
    InvalidRequest = 42, "INVALID_REQUEST", FATAL, "the request is malformed or contradicts itself";
    UnsupportedForMessageFormat = 43, "UNSUPPORTED_FOR_MESSAGE_FORMAT", FATAL, "the message format on the broker does not support the request";
    PolicyViolation = 44, "POLICY_VIOLATION", FATAL, "the request violates the configured policy";
    OutOfOrderSequenceNumber = 45, "OUT_OF_ORDER_SEQUENCE_NUMBER", FATAL, "the sequence number of the batch does not follow the last one";
    DuplicateSequenceNumber = 46, "DUPLICATE_SEQUENCE_NUMBER", FATAL, "the sequence number was seen before";
    InvalidProducerEpoch = 47, "INVALID_PRODUCER_EPOCH", FATAL, "the producer epoch is older than the current one";
    InvalidTxnState = 48, "INVALID_TXN_STATE", FATAL, "the transaction is in a state that does not allow the operation";
    InvalidProducerIdMapping = 49, "INVALID_PRODUCER_ID_MAPPING", FATAL, "the producer id does not belong to the transactional id";
    InvalidTransactionTimeout = 50, "INVALID_TRANSACTION_TIMEOUT", FATAL, "the transaction timeout is larger than the broker allows";
    ConcurrentTransactions = 51, "CONCURRENT_TRANSACTIONS", RETRIABLE, "another operation on the same transaction is under way";
    TransactionCoordinatorFenced = 52, "TRANSACTION_COORDINATOR_FENCED", FATAL, "the transaction coordinator is no longer the current one";
    TransactionalIdAuthorizationFailed = 53, "TRANSACTIONAL_ID_AUTHORIZATION_FAILED", FATAL, "not authorized for the transactional id";
    SecurityDisabled = 54, "SECURITY_DISABLED", FATAL, "security features are disabled";
    OperationNotAttempted = 55, "OPERATION_NOT_ATTEMPTED", FATAL, "the operation was not attempted";
    KafkaStorageError = 56, "KAFKA_STORAGE_ERROR", RETRIABLE, "the log directory failed";
    LogDirNotFound = 57, "LOG_DIR_NOT_FOUND", FATAL, "the log directory is not known to the broker";
    SaslAuthenticationFailed = 58, "SASL_AUTHENTICATION_FAILED", FATAL, "SASL authentication failed";
    UnknownProducerId = 59, "UNKNOWN_PRODUCER_ID", FATAL, "the broker holds no state of the producer id";
    ReassignmentInProgress = 60, "REASSIGNMENT_IN_PROGRESS", FATAL, "a reassignment of the partition is in progress";
    DelegationTokenAuthDisabled = 61, "DELEGATION_TOKEN_AUTH_DISABLED", FATAL, "delegation tokens are not enabled";
    DelegationTokenNotFound = 62, "DELEGATION_TOKEN_NOT_FOUND", FATAL, "the delegation token does not exist";
    DelegationTokenOwnerMismatch = 63, "DELEGATION_TOKEN_OWNER_MISMATCH", FATAL, "the principal is not the owner or a renewer of the token";
    DelegationTokenRequestNotAllowed = 64, "DELEGATION_TOKEN_REQUEST_NOT_ALLOWED", FATAL, "delegation token requests are not allowed on this connection";
    DelegationTokenAuthorizationFailed = 65, "DELEGATION_TOKEN_AUTHORIZATION_FAILED", FATAL, "not authorized for the delegation token";
    DelegationTokenExpired = 66, "DELEGATION_TOKEN_EXPIRED", FATAL, "the delegation token has expired";
    InvalidPrincipalType = 67, "INVALID_PRINCIPAL_TYPE", FATAL, "the principal type is not supported";
    NonEmptyGroup = 68, "NON_EMPTY_GROUP", FATAL, "the group is not empty";
    GroupIdNotFound = 69, "GROUP_ID_NOT_FOUND", FATAL, "the group id does not exist";
    FetchSessionIdNotFound = 70, "FETCH_SESSION_ID_NOT_FOUND", RETRIABLE, "the fetch session does not exist";
    InvalidFetchSessionEpoch = 71, "INVALID_FETCH_SESSION_EPOCH", RETRIABLE, "the fetch session epoch is not the expected one";
    ListenerNotFound = 72, "LISTENER_NOT_FOUND", RETRIABLE, "the leader has no listener that matches the one of the request";
    TopicDeletionDisabled = 73, "TOPIC_DELETION_DISABLED", FATAL, "topic deletion is disabled";
    FencedLeaderEpoch = 74, "FENCED_LEADER_EPOCH", RETRIABLE, "the leader epoch of the request is older than the broker's";
    UnknownLeaderEpoch = 75, "UNKNOWN_LEADER_EPOCH", RETRIABLE, "the leader epoch of the request is newer than the broker's";
    UnsupportedCompressionType = 76, "UNSUPPORTED_COMPRESSION_TYPE", FATAL, "the client does not support the compression type of the partition";
    StaleBrokerEpoch = 77, "STALE_BROKER_EPOCH", FATAL, "the broker epoch has changed";
    OffsetNotAvailable = 78, "OFFSET_NOT_AVAILABLE", RETRIABLE, "the high watermark has not caught up after the leader election";
    MemberIdRequired = 79, "MEMBER_ID_REQUIRED", FATAL, "the member must join again with the member id it was given";
    PreferredLeaderNotAvailable = 80, "PREFERRED_LEADER_NOT_AVAILABLE", RETRIABLE, "the preferred leader is not available";
    GroupMaxSizeReached = 81, "GROUP_MAX_SIZE_REACHED", FATAL, "the group has reached its maximum size";
    FencedInstanceId = 82, "FENCED_INSTANCE_ID", FATAL, "another member has registered with the same group instance id";
    EligibleLeadersNotAvailable = 83, "ELIGIBLE_LEADERS_NOT_AVAILABLE", RETRIABLE, "no eligible leader of the partition is available";
    ElectionNotNeeded = 84, "ELECTION_NOT_NEEDED", RETRIABLE, "no election is needed for the partition";
    NoReassignmentInProgress = 85, "NO_REASSIGNMENT_IN_PROGRESS", FATAL, "no reassignment of the partition is in progress";
    GroupSubscribedToTopic = 86, "GROUP_SUBSCRIBED_TO_TOPIC", FATAL, "the group is subscribed to the topic";
    InvalidRecord = 87, "INVALID_RECORD", FATAL, "the record failed validation";
    UnstableOffsetCommit = 88, "UNSTABLE_OFFSET_COMMIT", RETRIABLE, "a transaction has offsets of the group that are not yet decided";
    ThrottlingQuotaExceeded = 89, "THROTTLING_QUOTA_EXCEEDED", RETRIABLE, "the throttling quota is exceeded";
    ProducerFenced = 90, "PRODUCER_FENCED", FATAL, "a newer producer with the same transactional id has fenced this one";
    ResourceNotFound = 91, "RESOURCE_NOT_FOUND", FATAL, "a resource in the request does not exist";
    DuplicateResource = 92, "DUPLICATE_RESOURCE", FATAL, "a resource is named twice in the request";
    UnacceptableCredential = 93, "UNACCEPTABLE_CREDENTIAL", FATAL, "the credential does not meet the requirements";
    InconsistentVoterSet = 94, "INCONSISTENT_VOTER_SET", FATAL, "the sender or the receiver is not one of the expected voters";
    InvalidUpdateVersion = 95, "INVALID_UPDATE_VERSION", FATAL, "the update version is not valid";
    FeatureUpdateFailed = 96, "FEATURE_UPDATE_FAILED", FATAL, "the features could not be updated";
    PrincipalDeserializationFailure = 97, "PRINCIPAL_DESERIALIZATION_FAILURE", FATAL, "the principal of a forwarded request could not be read";
    SnapshotNotFound = 98, "SNAPSHOT_NOT_FOUND", FATAL, "the snapshot does not exist";
    PositionOutOfRange = 99, "POSITION_OUT_OF_RANGE", FATAL, "the position lies outside the snapshot";
    UnknownTopicId = 100, "UNKNOWN_TOPIC_ID", RETRIABLE, "this server does not host the topic id";
    DuplicateBrokerRegistration = 101, "DUPLICATE_BROKER_REGISTRATION", FATAL, "the broker id is in use by another broker";
    BrokerIdNotRegistered = 102, "BROKER_ID_NOT_REGISTERED", FATAL, "the broker id is not registered";
    InconsistentTopicId = 103, "INCONSISTENT_TOPIC_ID", RETRIABLE, "the topic id of the log differs from that of the request";
    InconsistentClusterId = 104, "INCONSISTENT_CLUSTER_ID", FATAL, "the cluster id of the request differs from that of the server";
    TransactionalIdNotFound = 105, "TRANSACTIONAL_ID_NOT_FOUND", FATAL, "the transactional id does not exist";
    FetchSessionTopicIdError = 106, "FETCH_SESSION_TOPIC_ID_ERROR", RETRIABLE, "the fetch session mixes requests with and without topic ids";
    IneligibleReplica = 107, "INELIGIBLE_REPLICA", FATAL, "the new ISR holds a replica that is not eligible";
    NewLeaderElected = 108, "NEW_LEADER_ELECTED", FATAL, "the update succeeded, but the leader has changed";
    OffsetMovedToTieredStorage = 109, "OFFSET_MOVED_TO_TIERED_STORAGE", FATAL, "the offset has moved to tiered storage";
    FencedMemberEpoch = 110, "FENCED_MEMBER_EPOCH", FATAL, "the member epoch is fenced, the member must give up its partitions and rejoin";
    UnreleasedInstanceId = 111, "UNRELEASED_INSTANCE_ID", FATAL, "the group instance id is still held by another member";
    UnsupportedAssignor = 112, "UNSUPPORTED_ASSIGNOR", FATAL, "the group does not support the assignor";
    StaleMemberEpoch = 113, "STALE_MEMBER_EPOCH", FATAL, "the member epoch is stale, retry after the next heartbeat";
    MismatchedEndpointType = 114, "MISMATCHED_ENDPOINT_TYPE", FATAL, "the request reached an endpoint of the wrong type";
    UnsupportedEndpointType = 115, "UNSUPPORTED_ENDPOINT_TYPE", FATAL, "the endpoint type is not supported";
    UnknownControllerId = 116, "UNKNOWN_CONTROLLER_ID", FATAL, "the controller id is not known";
    UnknownSubscriptionId = 117, "UNKNOWN_SUBSCRIPTION_ID", FATAL, "the telemetry subscription id is not known or outdated";
    TelemetryTooLarge = 118, "TELEMETRY_TOO_LARGE", FATAL, "the telemetry is larger than the broker accepts";
    InvalidRegistration = 119, "INVALID_REGISTRATION", FATAL, "the controller rejected the broker registration";
    TransactionAbortable = 120, "TRANSACTION_ABORTABLE", FATAL, "the transaction failed and must be aborted";
    InvalidRecordState = 121, "INVALID_RECORD_STATE", FATAL, "the acknowledgement does not fit the state of the record";
    ShareSessionNotFound = 122, "SHARE_SESSION_NOT_FOUND", RETRIABLE, "the share session does not exist";
    InvalidShareSessionEpoch = 123, "INVALID_SHARE_SESSION_EPOCH", RETRIABLE, "the share session epoch is not the expected one";
    FencedStateEpoch = 124, "FENCED_STATE_EPOCH", FATAL, "the state epoch of the share group does not match";
    InvalidVoterKey = 125, "INVALID_VOTER_KEY", FATAL, "the voter key differs from that of the receiving replica";
    DuplicateVoter = 126, "DUPLICATE_VOTER", FATAL, "the voter is in the voter set already";
    VoterNotFound = 127, "VOTER_NOT_FOUND", FATAL, "the voter is not in the voter set";
    InvalidRegularExpression = 128, "INVALID_REGULAR_EXPRESSION", FATAL, "the regular expression is not valid";
    RebootstrapRequired = 129, "REBOOTSTRAP_REQUIRED", FATAL, "the client's metadata is stale, it must bootstrap again";
    StreamsInvalidTopology = 130, "STREAMS_INVALID_TOPOLOGY", FATAL, "the topology is not valid";
    StreamsInvalidTopologyEpoch = 131, "STREAMS_INVALID_TOPOLOGY_EPOCH", FATAL, "the topology epoch is not valid";
    StreamsTopologyFenced = 132, "STREAMS_TOPOLOGY_FENCED", FATAL, "the topology epoch is outdated";
    ShareSessionLimitReached = 133, "SHARE_SESSION_LIMIT_REACHED", RETRIABLE, "the limit of share sessions is reached";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_every_code_once_in_order() {
        let codes: Vec<i16> = ErrorCode::ALL.iter().map(|error| error.code()).collect();
        assert_eq!(codes, (-1..=133).collect::<Vec<i16>>());
        assert_eq!(ErrorCode::from_code(-2), None);
        assert_eq!(ErrorCode::from_code(134), None);
    }

    #[test]
    fn names_are_the_variants_in_upper_case() {
        for error in ErrorCode::ALL {
            assert_eq!(ErrorCode::from_code(error.code()), Some(*error));
            assert_eq!(error.name().replace('_', ""), format!("{error:?}").to_uppercase());
            assert!(!error.message().is_empty());
        }
    }

    /// The crate that decodes requests knows the same codes up to Kafka 4.1: an independent witness
    /// for numbers and retriability.
    #[test]
    fn agrees_with_kafka_protocol() {
        use kafka_protocol::ResponseError;
        let mut compared = 0;
        for error in ErrorCode::ALL.iter().filter(|error| !error.is_none()) {
            let Some(theirs) = ResponseError::try_from_code(error.code()) else {
                continue;
            };
            if let ResponseError::Unknown(_) = theirs {
                continue;
            }
            assert_eq!(format!("{theirs:?}"), format!("{error:?}"));
            compared += 1;
        }
        assert!(compared > 100, "compared {compared}");
    }

    #[test]
    fn retriability_of_codes_that_clients_depend_on() {
        for error in [
            ErrorCode::NotLeaderOrFollower,
            ErrorCode::UnknownTopicOrPartition,
            ErrorCode::CoordinatorLoadInProgress,
        ] {
            assert!(error.is_retriable());
        }
        for error in [
            ErrorCode::None,
            ErrorCode::OutOfOrderSequenceNumber,
            ErrorCode::MessageTooLarge,
            ErrorCode::RebalanceInProgress,
        ] {
            assert!(!error.is_retriable());
        }
    }
}
