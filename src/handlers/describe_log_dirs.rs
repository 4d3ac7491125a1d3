//! DescribeLogDirs (35), versions 1-5.
//!
//! Every log directory with its disk and the partitions in it, or those of them that were asked for; a copy that is on
//! its way (AlterReplicaLogDirs) is marked as future. A directory that failed has KAFKA_STORAGE_ERROR (56). Versions: 2
//! flexible, 3 top-level error, 4 size of the disk, 5 cordoned directories (KIP-1066; kafka-protocol stops at 4, so the
//! response is written here). Source: `ReplicaManager.describeLogDirs`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::messages::DescribeLogDirsRequest;
use protocol::api;
use protocol::encode::EncodeError;
use protocol::error_code::ErrorCode;
use protocol::types::PartitionIndex;
use protocol::wire::writer::FrameWriter;

use crate::handlers::context::RequestContext;
use crate::handlers::reply::{Reply, ResponseFrame};
use crate::partition::hosting::moves::{LogDirReport, ReplicaReport};

/// The partitions that were asked for.
type Asked = BTreeMap<String, BTreeSet<PartitionIndex>>;

/// Asks the disks on a thread that may wait.
pub(super) fn handle(cx: &Arc<RequestContext>, request: DescribeLogDirsRequest) -> Reply {
    let asked = asked(&request);
    let context = Arc::new(cx.without_frame());
    Reply::Later(Box::pin(async move {
        let reports = context
            .services
            .hosting
            .log_dirs(move |topic, partition| is_asked(asked.as_ref(), topic, partition))
            .await;
        match write(context.api_version, context.correlation_id, &reports) {
            Ok(frame) => ResponseFrame::Whole(frame),
            Err(error) => context.unencodable(&error),
        }
    }))
}

/// `None` = all.
fn asked(request: &DescribeLogDirsRequest) -> Option<Asked> {
    let mut asked = Asked::new();
    for topic in request.topics.as_ref()? {
        let partitions = asked.entry(topic.topic.to_string()).or_default();
        partitions.extend(topic.partitions.iter().copied());
    }
    Some(asked)
}

fn is_asked(asked: Option<&Asked>, topic: &str, partition: PartitionIndex) -> bool {
    asked.is_none_or(|asked| {
        asked
            .get(topic)
            .is_some_and(|partitions| partitions.contains(&partition))
    })
}

fn write(version: i16, correlation_id: i32, dirs: &[LogDirReport]) -> Result<Bytes, EncodeError> {
    let mut writer = FrameWriter::new(api::DESCRIBE_LOG_DIRS, version, correlation_id, 256 * dirs.len())?;
    writer.i32(0);
    if version >= 3 {
        writer.i16(ErrorCode::None.code());
    }
    writer.array_length(Some(dirs.len()));
    for dir in dirs {
        write_dir(&mut writer, version, dir);
    }
    writer.no_tagged_fields();
    writer.finish()
}

fn write_dir(writer: &mut FrameWriter, version: i16, dir: &LogDirReport) {
    let (code, replicas, total_bytes, usable_bytes) = match &dir.content {
        Ok((space, replicas)) => (
            ErrorCode::None,
            replicas.as_slice(),
            signed(space.total_bytes),
            signed(space.usable_bytes),
        ),
        Err(_) => (ErrorCode::KafkaStorageError, &[][..], -1, -1),
    };
    writer.i16(code.code());
    writer.string(&dir.path);
    let topics: Vec<&[ReplicaReport]> = replicas.chunk_by(|a, b| a.topic == b.topic).collect();
    writer.array_length(Some(topics.len()));
    for replicas in topics {
        writer.string(&replicas[0].topic);
        writer.array_length(Some(replicas.len()));
        for replica in replicas {
            writer.i32(replica.partition);
            writer.i64(signed(replica.size_bytes));
            writer.i64(replica.offset_lag);
            writer.bool(replica.is_future);
            writer.no_tagged_fields();
        }
        writer.no_tagged_fields();
    }
    if version >= 4 {
        writer.i64(total_bytes);
        writer.i64(usable_bytes);
    }
    if version >= 5 {
        writer.bool(dir.is_cordoned);
    }
    writer.no_tagged_fields();
}

/// A count of bytes as int64, cut for file systems that claim more (`adjustForLargeFileSystems`).
fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::describe_log_dirs_request::DescribableLogDirTopic;
    use kafka_protocol::messages::{DescribeLogDirsResponse, ResponseHeader, TopicName};
    use kafka_protocol::protocol::{Decodable, HeaderVersion, StrBytes};
    use storage::error::StorageError;
    use storage::io::file_system::DiskSpace;

    use super::*;

    fn dirs() -> Vec<LogDirReport> {
        let replica = |topic: &str, partition, is_future| ReplicaReport {
            topic: topic.into(),
            partition,
            size_bytes: 100,
            offset_lag: i64::from(is_future) * 7,
            is_future,
        };
        let space = DiskSpace {
            total_bytes: u64::MAX,
            usable_bytes: 5,
        };
        let replicas = vec![replica("a", 0, false), replica("a", 1, true), replica("b", 0, false)];
        vec![
            LogDirReport {
                path: "/one".to_owned(),
                is_cordoned: true,
                content: Ok((space, replicas)),
            },
            LogDirReport {
                path: "/two".to_owned(),
                is_cordoned: false,
                content: Err(StorageError::Offline { dir: "/two".into() }),
            },
        ]
    }

    fn read(version: i16) -> DescribeLogDirsResponse {
        let mut frame = write(version, 9, &dirs()).expect("encodes").slice(4..);
        ResponseHeader::decode(&mut frame, DescribeLogDirsResponse::header_version(version)).expect("header");
        DescribeLogDirsResponse::decode(&mut frame, version).expect("what kafka-protocol reads")
    }

    #[test]
    fn all_versions_say_what_lies_where() {
        for version in 1..=4 {
            let response = read(version);
            assert_eq!(response.results.len(), 2);
            let one = &response.results[0];
            let partitions: Vec<_> = one.topics.iter().map(|topic| topic.partitions.len()).collect();
            assert_eq!((one.error_code, partitions), (0, vec![2, 1]));
            let future = &one.topics[0].partitions[1];
            assert_eq!((future.offset_lag, future.is_future_key), (7, true));
            assert_eq!(response.results[1].error_code, 56);
            if version >= 4 {
                assert_eq!((one.total_bytes, one.usable_bytes), (i64::MAX, 5));
                assert_eq!(response.results[1].total_bytes, -1);
            }
        }
    }

    #[test]
    fn version_5_adds_one_byte_per_directory() {
        let four = write(4, 9, &dirs()).expect("encodes");
        let five = write(5, 9, &dirs()).expect("encodes");
        assert_eq!(five.len(), four.len() + 2);
    }

    #[test]
    fn only_what_was_asked_for_is_shown() {
        let topic = |name, partitions: &[i32]| {
            DescribableLogDirTopic::default()
                .with_topic(TopicName(StrBytes::from_static_str(name)))
                .with_partitions(partitions.to_vec())
        };
        let request = |topics| DescribeLogDirsRequest::default().with_topics(topics);
        let repeated = asked(&request(Some(vec![topic("a", &[1, 1, 9]), topic("a", &[2])])));
        let shown = |topic, partition| is_asked(repeated.as_ref(), topic, partition);
        assert!(shown("a", 1) && shown("a", 2));
        assert!(!shown("a", 0) && !shown("b", 1));
        assert!(!is_asked(asked(&request(Some(Vec::new()))).as_ref(), "a", 1));
        assert!(is_asked(asked(&request(None)).as_ref(), "a", 1));
    }
}
