//! Several log directories: partitions are spread, move from one to another while they are written, and stay where they
//! are over kills and restarts.
//!
//! **Invariant:** what was acknowledged is read back by offset and content, never by the broker's word.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use kafka_protocol::messages::alter_replica_log_dirs_request::{AlterReplicaLogDir, AlterReplicaLogDirTopic};
use kafka_protocol::messages::{AlterReplicaLogDirsRequest, DescribeLogDirsRequest, DescribeLogDirsResponse};

use compat_tests::batch::{Batch, parse_all};
use compat_tests::broker::{Broker, QUICK, external_address};
use compat_tests::requests::{commit, committed, create_topic, fetch, produce, topic_name, until};
use compat_tests::transactions::{marker, write_markers};
use compat_tests::wire::{Connection, text};

const TOPIC: &str = "spread";

/// A broker on two directories; none where one is given from outside.
fn two_dirs() -> Option<(Broker, tempfile::TempDir, [PathBuf; 2])> {
    if external_address().is_some() {
        return None;
    }
    let home = tempfile::tempdir().expect("a temporary directory");
    let dirs = [home.path().join("one"), home.path().join("two")];
    let setting = format!("log.dirs={},{}", dirs[0].display(), dirs[1].display());
    let broker = Broker::start(&[QUICK, &[setting.as_str()]].concat());
    Some((broker, home, dirs))
}

fn describe(connection: &mut Connection) -> DescribeLogDirsResponse {
    connection.call(4, &DescribeLogDirsRequest::default().with_topics(None))
}

/// Directory, partition of [`TOPIC`] and whether it is a copy on its way, of all.
fn places(connection: &mut Connection) -> Vec<(String, i32, bool)> {
    let response = describe(connection);
    let mut places = Vec::new();
    for dir in &response.results {
        assert_eq!(dir.error_code, 0);
        assert!(dir.total_bytes > 0 && dir.usable_bytes >= 0);
        for topic in dir.topics.iter().filter(|topic| **topic.name == *TOPIC) {
            for partition in &topic.partitions {
                places.push((
                    dir.log_dir.to_string(),
                    partition.partition_index,
                    partition.is_future_key,
                ));
            }
        }
    }
    places
}

fn alter(connection: &mut Connection, topic: &str, partitions: &[i32], path: &Path) -> Vec<i16> {
    let topic = AlterReplicaLogDirTopic::default()
        .with_name(topic_name(topic))
        .with_partitions(partitions.to_vec());
    let dir = AlterReplicaLogDir::default()
        .with_path(text(&path.display().to_string()))
        .with_topics(vec![topic]);
    let response = connection.call(2, &AlterReplicaLogDirsRequest::default().with_dirs(vec![dir]));
    let partitions = response.results.iter().flat_map(|topic| &topic.partitions);
    partitions.map(|partition| partition.error_code).collect()
}

fn await_move(connection: &mut Connection, partition: i32, to: &Path) {
    let wanted = (to.display().to_string(), partition, false);
    until("the partition is where it was sent", || {
        let places = places(connection);
        let here: Vec<_> = places.iter().filter(|place| place.1 == partition).collect();
        (here == [&wanted]).then_some(())
    });
}

/// Produces numbered records until told to stop; the acknowledged ones by offset.
fn load(broker: &Broker, partition: i32, stop: &Arc<AtomicBool>) -> thread::JoinHandle<BTreeMap<i64, String>> {
    let (mut connection, stop) = (broker.connect(), Arc::clone(stop));
    thread::spawn(move || {
        let mut acknowledged = BTreeMap::new();
        for number in 0.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let value = format!("{number}/{}", "y".repeat(40_000));
            let answer = produce(&mut connection, TOPIC, partition, Batch::of(&[&value]).encode());
            match answer.error_code {
                0 => _ = acknowledged.insert(answer.base_offset, value),
                // refused while the directory changes
                6 => {}
                other => panic!("error {other}"),
            }
        }
        acknowledged
    })
}

fn holds(connection: &mut Connection, partition: i32, acknowledged: &BTreeMap<i64, String>) {
    let mut offset = 0;
    let mut found = BTreeMap::new();
    while found.len() < acknowledged.len() {
        let data = fetch(connection, TOPIC, partition, offset);
        if data.error_code == 6 {
            // a move goes on and changes the directory now
            continue;
        }
        assert_eq!(data.error_code, 0);
        let records = parse_all(&data.records.expect("never null")).expect("sound batches");
        assert!(!records.is_empty(), "nothing at {offset} of {}", data.high_watermark);
        for record in records {
            offset = record.offset + 1;
            found.insert(record.offset, String::from_utf8(record.value.to_vec()).expect("text"));
        }
    }
    assert!(found == *acknowledged, "partition {partition} lost or changed records");
}

#[test]
fn new_partitions_are_spread_over_the_directories() {
    let Some((broker, _home, _)) = two_dirs() else { return };
    let mut connection = broker.connect();
    create_topic(&mut connection, TOPIC, 6, &[]);
    let mut by_dir: BTreeMap<String, usize> = BTreeMap::new();
    for (dir, _, future) in places(&mut connection) {
        assert!(!future);
        *by_dir.entry(dir).or_default() += 1;
    }
    assert_eq!(by_dir.into_values().collect::<Vec<_>>(), [3, 3]);
}

#[test]
fn a_partition_moves_to_and_fro_while_it_is_written_and_nothing_is_lost() {
    let Some((mut broker, _home, dirs)) = two_dirs() else {
        return;
    };
    let mut connection = broker.connect();
    create_topic(&mut connection, TOPIC, 2, &[("segment.bytes", "1048576")]);
    let stop = Arc::new(AtomicBool::new(false));
    let loads = [load(&broker, 0, &stop), load(&broker, 1, &stop)];
    for dir in [&dirs[1], &dirs[0], &dirs[1]] {
        assert_eq!(alter(&mut connection, TOPIC, &[0, 1], dir), [0, 0]);
        await_move(&mut connection, 0, dir);
        await_move(&mut connection, 1, dir);
    }
    stop.store(true, Ordering::Relaxed);
    let acknowledged = loads.map(|load| load.join().expect("the load runs"));
    for restart in 0..3 {
        for partition in 0..2_i32 {
            assert!(!acknowledged[partition as usize].is_empty());
            holds(&mut connection, partition, &acknowledged[partition as usize]);
            await_move(&mut connection, partition, &dirs[1]);
        }
        match restart {
            0 => broker.kill(),
            1 => _ = broker.stop(),
            _ => return,
        }
        broker.restart();
        connection = broker.connect();
    }
}

#[test]
fn a_kill_during_a_move_loses_nothing_and_the_move_goes_on() {
    let Some((mut broker, _home, dirs)) = two_dirs() else {
        return;
    };
    let mut connection = broker.connect();
    create_topic(&mut connection, TOPIC, 1, &[("segment.bytes", "1048576")]);
    let values: BTreeMap<i64, String> = (0..400).map(|n| (n, format!("{n}/{}", "z".repeat(60_000)))).collect();
    for (offset, value) in &values {
        let answer = produce(&mut connection, TOPIC, 0, Batch::of(&[value]).encode());
        assert_eq!((answer.error_code, answer.base_offset), (0, *offset));
    }
    for round in 0..6 {
        let from = places(&mut connection)[0].0.clone();
        let to = dirs
            .iter()
            .find(|dir| dir.display().to_string() != from)
            .expect("two directories");
        assert_eq!(alter(&mut connection, TOPIC, &[0], to), [0]);
        thread::sleep(std::time::Duration::from_millis(round * 8));
        broker.kill();
        broker.restart();
        connection = broker.connect();
        holds(&mut connection, 0, &values);
        let places = places(&mut connection);
        assert_eq!(places.iter().filter(|place| !place.2).count(), 1, "{places:?}");
    }
    let strays = dirs.iter().flat_map(|dir| std::fs::read_dir(dir).expect("a directory"));
    let strays = strays.filter(|entry| {
        let name = entry.as_ref().expect("an entry").file_name();
        name.to_string_lossy().ends_with("-stray")
    });
    // a kill between the two renames leaves one of two equals behind, which is kept
    assert!(strays.count() <= 6);
}

#[test]
fn committed_offsets_move_with_their_partition() {
    let Some((broker, _home, dirs)) = two_dirs() else {
        return;
    };
    let mut connection = broker.connect();
    create_topic(&mut connection, TOPIC, 1, &[]);
    assert_eq!(commit(&mut connection, "movers", ("", -1), TOPIC, 41), 0);
    let all: Vec<i32> = (0..50).collect();
    for (dir, offset) in [(&dirs[0], 42), (&dirs[1], 43)] {
        let codes = alter(&mut connection, "__consumer_offsets", &all, dir);
        assert!(codes.iter().all(|code| *code == 0), "{codes:?}");
        until("the moves are done", || {
            let response = describe(&mut connection);
            let elsewhere = response
                .results
                .iter()
                .filter(|result| *result.log_dir != *dir.display().to_string());
            let offsets = |topics: &[kafka_protocol::messages::describe_log_dirs_response::DescribeLogDirsTopic]| {
                topics.iter().any(|topic| &**topic.name == "__consumer_offsets")
            };
            (!elsewhere.into_iter().any(|result| offsets(&result.topics))).then_some(())
        });
        until("the group is served", || {
            (commit(&mut connection, "movers", ("", -1), TOPIC, offset) == 0).then_some(())
        });
        assert_eq!(committed(&mut connection, "movers", TOPIC).committed_offset, offset);
    }
}

#[test]
fn wrong_directories_and_partitions_are_refused_one_by_one() {
    let Some((broker, _home, dirs)) = two_dirs() else {
        return;
    };
    let mut connection = broker.connect();
    create_topic(&mut connection, TOPIC, 1, &[]);
    assert_eq!(alter(&mut connection, TOPIC, &[0], Path::new("/no/such/dir")), [57]);
    assert_eq!(alter(&mut connection, TOPIC, &[0, 7, -1], &dirs[0]), [3, 0, 3]);
    assert_eq!(alter(&mut connection, "absent", &[0], &dirs[1]), [3]);
    assert_eq!(alter(&mut connection, &"t".repeat(249), &[0], &dirs[1]), [17]);
    // remembered: the topic is made where it was sent
    create_topic(&mut connection, "absent", 1, &[]);
    let response = describe(&mut connection);
    let holder = response
        .results
        .iter()
        .find(|dir| dir.topics.iter().any(|topic| &**topic.name == "absent"));
    assert_eq!(
        *holder.expect("it is somewhere").log_dir,
        *dirs[1].display().to_string()
    );
}

#[test]
fn a_directory_that_fails_takes_only_its_partitions_offline() {
    let Some((broker, _home, dirs)) = two_dirs() else {
        return;
    };
    let mut connection = broker.connect();
    create_topic(&mut connection, TOPIC, 2, &[("segment.bytes", "1048576")]);
    let failing = places(&mut connection)
        .into_iter()
        .find(|place| place.0 == dirs[1].display().to_string())
        .expect("one partition lies there")
        .1;
    let sound = 1 - failing;
    std::fs::remove_dir_all(&dirs[1]).expect("removed under the broker");
    let value = "w".repeat(200_000);
    until("the next segment cannot be made", || {
        let answer = produce(&mut connection, TOPIC, failing, Batch::of(&[&value]).encode());
        assert!([0, 56].contains(&answer.error_code), "error {}", answer.error_code);
        (answer.error_code == 56).then_some(())
    });
    assert_eq!(fetch(&mut connection, TOPIC, failing, 0).error_code, 56);
    // Who writes markers looks for another leader; 56 would end `kafka-transactions abort`.
    let both = marker((77_777, 0), 0, true, TOPIC, &[failing, sound]);
    let codes = write_markers(&mut connection, vec![both]);
    let code_of = |partition| {
        codes
            .iter()
            .find(|written| written.2 == partition)
            .map(|written| written.3)
    };
    assert_eq!((code_of(failing), code_of(sound)), (Some(3), Some(0)));
    for _ in 0..10 {
        let answer = produce(&mut connection, TOPIC, sound, Batch::of(&[&value]).encode());
        assert_eq!(answer.error_code, 0, "the other directory");
    }
    let described = describe(&mut connection).results.into_iter();
    let codes: BTreeMap<_, _> = described.map(|dir| (dir.log_dir.to_string(), dir.error_code)).collect();
    let path = |dir: &Path| dir.display().to_string();
    assert_eq!(codes, BTreeMap::from([(path(&dirs[0]), 0), (path(&dirs[1]), 56)]));
    assert_eq!(alter(&mut connection, TOPIC, &[sound], &dirs[1]), [56]);
    // new partitions are made where they can be used
    create_topic(&mut connection, "after", 4, &[]);
    for partition in 0..4 {
        let answer = produce(&mut connection, "after", partition, Batch::of(&["x"]).encode());
        assert_eq!(answer.error_code, 0, "after-{partition}");
    }
}
