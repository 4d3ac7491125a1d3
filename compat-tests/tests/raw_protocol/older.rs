//! Versions that Kafka 4 has dropped and that older clients still send, byte by byte: ListOffsets 0, CreateTopics 0 and 1,
//! DeleteTopics 0, DescribeConfigs 0. Expectations are those of Kafka 3.9's source; Apache Kafka 4.3.1 closes the
//! connection instead, so these tests are for a broker of this project alone.

use std::thread;
use std::time::{Duration, SystemTime};

use bytes::{Buf, Bytes};

use compat_tests::broker::external_address;
use compat_tests::requests::{create_topic, list_offsets, new_topic, produce_values, unique};
use compat_tests::wire::Connection;

use crate::Bench;
use crate::samples::{CORRELATION_ID, Sample, Subject};

const LIST_OFFSETS: i16 = 2;
const CREATE_TOPICS: i16 = 19;
const DELETE_TOPICS: i16 = 20;
const DESCRIBE_CONFIGS: i16 = 32;

/// A request body in the making, in the encodings of versions without compact ones.
#[derive(Default)]
struct Body(Vec<u8>);

impl Body {
    fn i8(mut self, value: i8) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    fn i16(mut self, value: i16) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    fn i32(mut self, value: i32) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    fn i64(mut self, value: i64) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    fn text(mut self, value: &str) -> Self {
        self = self.i16(i16::try_from(value.len()).expect("a short text"));
        self.0.extend(value.as_bytes());
        self
    }

    fn frame(self, key: i16, version: i16) -> Bytes {
        let head = Self::default().i16(key).i16(version).i32(CORRELATION_ID).text("older");
        let payload = [head.0, self.0].concat();
        let length = Self::default().i32(i32::try_from(payload.len()).expect("a small frame"));
        Bytes::from([length.0, payload].concat())
    }
}

/// Reads an answer field by field; what is missing or left over fails the test.
struct Answer(Bytes);

impl Answer {
    fn i16(&mut self) -> i16 {
        self.0.get_i16()
    }

    fn i32(&mut self) -> i32 {
        self.0.get_i32()
    }

    fn bool(&mut self) -> bool {
        match self.0.get_u8() {
            0 => false,
            1 => true,
            other => panic!("{other} is no boolean"),
        }
    }

    fn nullable_text(&mut self) -> Option<String> {
        let length = usize::try_from(self.i16()).ok()?;
        let bytes = self.0.split_to(length);
        Some(String::from_utf8(bytes.to_vec()).expect("text"))
    }

    fn text(&mut self) -> String {
        self.nullable_text().expect("not null")
    }

    fn end(self) {
        assert!(self.0.is_empty(), "{} bytes left over", self.0.len());
    }
}

fn call(connection: &mut Connection, key: i16, version: i16, body: Body) -> Answer {
    connection.send_bytes(&body.frame(key, version));
    let frame = connection.try_read_frame().expect("an answer").expect("not closed");
    let mut answer = Answer(frame);
    assert_eq!(answer.i32(), CORRELATION_ID);
    answer
}

/// One partition of one topic; `None` where Apache Kafka is under test.
fn bench() -> Option<Bench> {
    external_address().is_none().then(Bench::new)
}

fn wanted(topic: &str, partitions: &[(i32, i64, i32)]) -> Body {
    let count = i32::try_from(partitions.len()).expect("few");
    let body = Body::default().i32(-1).i32(1).text(topic).i32(count);
    partitions.iter().fold(body, |body, (index, timestamp, max)| {
        body.i32(*index).i64(*timestamp).i32(*max)
    })
}

/// Error code and offsets of each partition.
fn old_offsets(connection: &mut Connection, topic: &str, partitions: &[(i32, i64, i32)]) -> Vec<(i16, Vec<i64>)> {
    let mut answer = call(connection, LIST_OFFSETS, 0, wanted(topic, partitions));
    assert_eq!((answer.i32(), answer.text()), (1, topic.to_owned()));
    let count = usize::try_from(answer.i32()).expect("a count");
    assert_eq!(count, partitions.len());
    let told = partitions.iter().map(|(index, _, _)| {
        assert_eq!(answer.i32(), *index, "partitions are answered in their order");
        let code = answer.i16();
        let offsets = (0..answer.i32()).map(|_| answer.0.get_i64()).collect();
        (code, offsets)
    });
    let told = told.collect();
    answer.end();
    told
}

fn wall_ms() -> i64 {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .expect("after 1970");
    i64::try_from(since.as_millis()).expect("a sensible time")
}

#[test]
fn both_ends_of_a_partition_can_be_asked_for() {
    let Some(mut bench) = bench() else { return };
    let topic = new_topic(&mut bench);
    assert_eq!(
        old_offsets(&mut bench, &topic, &[(0, -1, 1), (0, -2, 1)]),
        [(42, vec![]), (42, vec![])],
        "twice"
    );
    assert_eq!(old_offsets(&mut bench, &topic, &[(0, -1, 9)]), [(0, vec![0])], "empty");
    produce_values(&mut bench, &topic, &["a", "b", "c"]);
    assert_eq!(old_offsets(&mut bench, &topic, &[(0, -1, 1)]), [(0, vec![3])], "latest");
    assert_eq!(
        old_offsets(&mut bench, &topic, &[(0, -2, 5)]),
        [(0, vec![0])],
        "earliest"
    );
    assert_eq!(old_offsets(&mut bench, &topic, &[(0, -1, 5)]), [(0, vec![3, 0])], "all");
    assert_eq!(old_offsets(&mut bench, &topic, &[(0, -1, 0)]), [(0, vec![])], "none");
    let told = old_offsets(&mut bench, &topic, &[(0, -3, 1), (7, -1, 1)]);
    assert_eq!(told, [(35, vec![]), (3, vec![])], "no such time, no such partition");
    assert_eq!(old_offsets(&mut bench, &topic, &[(0, -1, -1)]), [(42, vec![])]);
    assert_eq!(old_offsets(&mut bench, "not-there", &[(0, -1, 1)]), [(3, vec![])]);
}

#[test]
fn a_time_tells_where_segments_begin() {
    let Some(mut bench) = bench() else { return };
    let topic = unique("segments");
    create_topic(&mut bench, &topic, 1, &[("segment.bytes", "1048576")]);
    let large = vec![b'x'; 700_000];
    let before = wall_ms() - 1;
    let mut marks = Vec::new();
    for _ in 0..3 {
        produce_values(&mut bench, &topic, &[&large]);
        // the clock of files may be some milliseconds behind
        thread::sleep(Duration::from_millis(50));
        marks.push(wall_ms());
        thread::sleep(Duration::from_millis(50));
    }
    let at = |bench: &mut Bench, time, max| old_offsets(bench, &topic, &[(0, time, max)]).remove(0);
    assert_eq!(at(&mut bench, -1, 10), (0, vec![3, 2, 1, 0]));
    assert_eq!(at(&mut bench, before, 10), (0, vec![]));
    assert_eq!(at(&mut bench, marks[0], 10), (0, vec![0]));
    assert_eq!(at(&mut bench, marks[1], 10), (0, vec![1, 0]));
    assert_eq!(at(&mut bench, marks[2], 1), (0, vec![2]));
    assert_eq!(at(&mut bench, i64::MAX, 2), (0, vec![3, 2]));
}

fn created(version: i16, topic: &str, partitions: i32, config: Option<(&str, &str)>) -> Body {
    let body = Body::default().i32(1).text(topic).i32(partitions).i16(1).i32(0);
    let body = match config {
        Some((name, value)) => body.i32(1).text(name).text(value),
        None => body.i32(0),
    };
    let body = body.i32(30_000);
    if version == 0 { body } else { body.i8(0) }
}

/// Error code, and the message of version 1.
fn creation(connection: &mut Connection, version: i16, topic: &str, body: Body) -> (i16, Option<String>) {
    let mut answer = call(connection, CREATE_TOPICS, version, body);
    assert_eq!((answer.i32(), answer.text()), (1, topic.to_owned()));
    let code = answer.i16();
    let message = if version == 0 { None } else { answer.nullable_text() };
    answer.end();
    (code, message)
}

#[test]
fn topics_are_created_and_deleted() {
    let Some(mut bench) = bench() else { return };
    for version in 0..=1 {
        let topic = unique("created");
        let body = || created(version, &topic, 2, Some(("retention.ms", "77777")));
        assert_eq!(creation(&mut bench, version, &topic, body()), (0, None));
        assert_eq!(list_offsets(&mut bench, &topic, 1, -1).error_code, 0);
        let (code, message) = creation(&mut bench, version, &topic, body());
        assert_eq!(code, 36);
        assert_eq!(message.is_some(), version == 1);
        let mut answer = call(
            &mut bench,
            DESCRIBE_CONFIGS,
            0,
            described(2, &topic, Some("retention.ms")),
        );
        assert_eq!(configs(&mut answer), (0, vec![row("retention.ms", "77777", false)]));
        answer.end();
        assert_eq!(deletion(&mut bench, &topic), 0);
        assert_eq!(deletion(&mut bench, &topic), 3);
        assert_eq!(list_offsets(&mut bench, &topic, 1, -1).error_code, 3);
    }
}

#[test]
fn creation_can_be_validated_alone_from_version_1_on() {
    let Some(mut bench) = bench() else { return };
    let topic = unique("validated");
    let mut body = created(1, &topic, 2, None);
    *body.0.last_mut().expect("the flag") = 1;
    assert_eq!(creation(&mut bench, 1, &topic, body), (0, None));
    assert_eq!(list_offsets(&mut bench, &topic, 0, -1).error_code, 3);
    // What stands behind the last field of version 0 is not its flag.
    let mut body = created(0, &topic, 2, None);
    body = body.i8(1);
    assert_eq!(creation(&mut bench, 0, &topic, body), (0, None));
    assert_eq!(list_offsets(&mut bench, &topic, 0, -1).error_code, 0);
}

fn deletion(connection: &mut Connection, topic: &str) -> i16 {
    let body = Body::default().i32(1).text(topic).i32(30_000);
    let mut answer = call(connection, DELETE_TOPICS, 0, body);
    assert_eq!((answer.i32(), answer.text()), (1, topic.to_owned()));
    let code = answer.i16();
    answer.end();
    code
}

fn described(resource_type: i8, name: &str, key: Option<&str>) -> Body {
    let body = Body::default().i32(1).i8(resource_type).text(name);
    match key {
        Some(key) => body.i32(1).text(key),
        None => body.i32(-1),
    }
}

/// Name, value, read only, default, sensitive.
type Row = (String, Option<String>, [bool; 3]);

fn row(name: &str, value: &str, is_default: bool) -> Row {
    (name.to_owned(), Some(value.to_owned()), [false, is_default, false])
}

/// Error code and rows of the only result.
fn configs(answer: &mut Answer) -> (i16, Vec<Row>) {
    assert_eq!((answer.i32(), answer.i32()), (0, 1), "no throttle time, one result");
    let code = answer.i16();
    // In place of no message there is an empty one, as from Kafka 3.9 on.
    let (message, _type, _name) = (answer.nullable_text(), answer.0.get_i8(), answer.text());
    assert!(code != 0 || message.is_none_or(|message| message.is_empty()));
    let rows = (0..answer.i32()).map(|_| {
        let (name, value) = (answer.text(), answer.nullable_text());
        (name, value, [answer.bool(), answer.bool(), answer.bool()])
    });
    (code, rows.collect())
}

#[test]
fn configs_tell_whether_they_are_defaults() {
    let Some(mut bench) = bench() else { return };
    let topic = unique("described");
    create_topic(&mut bench, &topic, 1, &[("retention.ms", "77777")]);
    let mut answer = call(&mut bench, DESCRIBE_CONFIGS, 0, described(2, &topic, None));
    let (code, rows) = configs(&mut answer);
    answer.end();
    assert_eq!(code, 0);
    assert!(rows.len() > 20, "all of them");
    assert!(rows.contains(&row("retention.ms", "77777", false)));
    assert!(rows.contains(&row("cleanup.policy", "delete", true)));
    let mut answer = call(&mut bench, DESCRIBE_CONFIGS, 0, described(4, "1", Some("listeners")));
    let (code, rows) = configs(&mut answer);
    answer.end();
    assert_eq!((code, rows.len()), (0, 1));
    assert!(!rows[0].2[1], "set when the broker was started: {rows:?}");
    let mut answer = call(&mut bench, DESCRIBE_CONFIGS, 0, described(2, "not-there", None));
    assert_eq!(configs(&mut answer), (3, vec![]));
    answer.end();
}

#[test]
fn versions_below_the_oldest_close_the_connection() {
    let Some(bench) = bench() else { return };
    for key in [LIST_OFFSETS, CREATE_TOPICS, DELETE_TOPICS, DESCRIBE_CONFIGS] {
        let mut connection = bench.connect();
        connection.send_bytes(&Body::default().i32(0).i32(0).frame(key, -1));
        connection.expect_close(&format!("key {key} version -1"));
    }
}

/// A request of each of these versions for the tests that walk over all of them.
pub(crate) fn samples(subject: &Subject<'_>) -> Vec<Sample> {
    let sample = |key, version, body: Body, check| Sample {
        key,
        version,
        frame: body.frame(key, version),
        check,
    };
    let create = |version| created(version, &unique("sample"), 1, Some(("retention.ms", "1000")));
    let delete = Body::default().i32(1).text("not-there").i32(30_000);
    vec![
        sample(LIST_OFFSETS, 0, wanted(subject.topic, &[(0, -1, 1)]), |answer, _| {
            let name = text_at(&answer, 8)?;
            expect_length(&answer, 8 + 2 + name + 4 + 4 + 2 + 4 + 8)
        }),
        sample(CREATE_TOPICS, 0, create(0), |answer, _| {
            let name = text_at(&answer, 8)?;
            expect_length(&answer, 8 + 2 + name + 2)
        }),
        sample(CREATE_TOPICS, 1, create(1), |answer, _| {
            let name = text_at(&answer, 8)?;
            expect_length(&answer, 8 + 2 + name + 2 + 2)
        }),
        sample(DELETE_TOPICS, 0, delete, |answer, _| {
            let name = text_at(&answer, 8)?;
            expect_length(&answer, 8 + 2 + name + 2)
        }),
        sample(
            DESCRIBE_CONFIGS,
            0,
            described(2, subject.topic, Some("segment.ms")),
            |answer, _| {
                // no message; a type of one byte, a name, and one row
                let name = text_at(&answer, 17)?;
                let row = 17 + 2 + name + 4;
                let key = text_at(&answer, row)?;
                let value = text_at(&answer, row + 2 + key)?;
                expect_length(&answer, row + 2 + key + 2 + value + 3)
            },
        ),
    ]
}

/// The length of the text at a place of an answer.
fn text_at(answer: &[u8], at: usize) -> Result<usize, String> {
    let length = answer.get(at..at + 2).ok_or("too short")?;
    usize::try_from(i16::from_be_bytes([length[0], length[1]])).map_err(|_| format!("null at {at}"))
}

fn expect_length(answer: &[u8], length: usize) -> Result<(), String> {
    if answer.len() == length {
        Ok(())
    } else {
        Err(format!("{} bytes, not {length}", answer.len()))
    }
}
