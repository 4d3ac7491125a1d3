//! Every API at every version that ApiVersions lists is answered, and the answer can be read to its last byte.

use std::collections::BTreeMap;

use kafka_protocol::messages::ApiVersionsRequest;

use compat_tests::broker::external_address;
use compat_tests::requests::{find_coordinator, new_topic, unique};

use crate::Bench;
use crate::offsets::topic_id;
use crate::samples::{self, Subject};

#[test]
fn every_listed_version_is_answered() {
    let mut bench = Bench::new();
    let topic = new_topic(&mut bench);
    let group = unique("group");
    find_coordinator(&mut bench, &group);
    let subject = Subject {
        topic: &topic,
        topic_id: topic_id(&mut bench, &topic),
        group: &group,
    };
    let mut listed: BTreeMap<i16, (i16, i16)> = bench
        .call(0, &ApiVersionsRequest::default())
        .api_keys
        .iter()
        .map(|api| (api.api_key, (api.min_version, api.max_version)))
        .collect();
    listed.entry(0).and_modify(|range| range.0 = 3); // Produce 0-2 are listed for old librdkafka only
    let mut faults = Vec::new();
    let mut walked: BTreeMap<i16, Vec<i16>> = BTreeMap::new();
    for sample in samples::all(&subject) {
        let Some(&(min, max)) = listed.get(&sample.key) else {
            faults.push(format!("key {} is not listed", sample.key));
            continue;
        };
        if !(min..=max).contains(&sample.version) {
            faults.push(format!("key {} version {} is not listed", sample.key, sample.version));
            continue;
        }
        let mut connection = bench.connect();
        connection.send_bytes(&sample.frame);
        let answer = match connection.try_read_frame() {
            Ok(Some(frame)) => sample.check(frame),
            Ok(None) => Err("the connection was closed".to_owned()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(why) = answer {
            faults.push(format!("key {} version {}: {why}", sample.key, sample.version));
        }
        walked.entry(sample.key).or_default().push(sample.version);
    }
    // Apache Kafka lists more than a broker of this project; here, what is listed must have been asked.
    if external_address().is_none() {
        for (key, (min, max)) in listed {
            let asked = walked.remove(&key).unwrap_or_default();
            if asked != (min..=max).collect::<Vec<_>>() {
                faults.push(format!(
                    "key {key} is listed {min}-{max}, but samples exist for {asked:?}"
                ));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn exact_versions_that_old_clients_look_for_are_listed() {
    let mut bench = Bench::new();
    let keys = bench.call(0, &ApiVersionsRequest::default()).api_keys;
    // librdkafka before 2.11.1 turns a feature on when one single version lies in the range.
    let wanted = [
        (0, 0),
        (0, 3),
        (0, 7),
        (1, 4),
        (1, 10),
        (2, 1),
        (3, 0),
        (8, 2),
        (9, 1),
        (10, 0),
        (11, 0),
        (12, 0),
    ];
    // Apache Kafka 4 has dropped these.
    let older: &[_] = match external_address() {
        None => &[(2, 0), (19, 0), (19, 1), (20, 0), (32, 0)],
        Some(_) => &[],
    };
    let later = [(13, 0), (14, 0), (18, 0), (22, 0)];
    for (key, version) in wanted.into_iter().chain(later).chain(older.iter().copied()) {
        let listed = keys
            .iter()
            .any(|api| api.api_key == key && (api.min_version..=api.max_version).contains(&version));
        assert!(listed, "key {key} version {version}");
    }
}
