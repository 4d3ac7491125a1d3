//! Consume, transform, produce with rdkafka.
//!
//! **Invariant:** returns only with an error after which the producer cannot be used any more.

use std::time::Duration;

use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError;
use rdkafka::producer::Producer as _;
use rdkafka::{ClientConfig, Offset};

use crate::command::Record;
use crate::producing::{PATIENCE, RdProducer};
use crate::reading::RdReader;
use crate::serve::{Answer, HEARTBEAT, MAX_RECORDS, ProducerOptions, Reader, SESSION_TIMEOUT, TransformOptions, say};

pub fn run(config: &ClientConfig, mut options: TransformOptions) -> Answer<()> {
    let producer = RdProducer::open(
        config,
        &ProducerOptions {
            id: Some(options.id.clone()),
            transaction_timeout: Duration::from_secs(60),
            idempotent: false,
            acks: None,
            codec: "none".to_owned(),
            patience: PATIENCE,
        },
    )?;
    let settings = [
        ("group.id", options.group.clone()),
        ("isolation.level", "read_committed".to_owned()),
        ("session.timeout.ms", SESSION_TIMEOUT.as_millis().to_string()),
        ("heartbeat.interval.ms", HEARTBEAT.as_millis().to_string()),
    ];
    let mut reader = RdReader::open(config, &options.source, &settings)?;
    reader.inner().subscribe(&[&options.source])?;
    loop {
        let mut records = reader.take(1, Duration::from_millis(200))?;
        if records.is_empty() {
            continue;
        }
        records.extend(reader.take(MAX_RECORDS - 1, Duration::from_millis(20))?);
        match transact(&producer, &reader, &mut options, &records) {
            Ok(true) => say(&format!("committed {}", records.len())),
            Ok(false) => rewind(&reader)?,
            Err(KafkaError::Transaction(error)) if !error.txn_requires_abort() => {
                return Err(KafkaError::Transaction(error).into());
            }
            Err(_) => {
                again(|| producer.inner().abort_transaction(PATIENCE))?;
                rewind(&reader)?;
            }
        }
    }
}

/// Whether it was committed; if not, it was asked to abort.
fn transact(
    producer: &RdProducer,
    reader: &RdReader,
    options: &mut TransformOptions,
    records: &[Record],
) -> Result<bool, KafkaError> {
    let inner = producer.inner();
    inner.begin_transaction()?;
    for record in records {
        let value = [record.value.as_deref().unwrap_or_default(), b"!"].concat();
        let made = Record {
            value: Some(value),
            ..Record::default()
        };
        // What was refused or not delivered makes the commit fail.
        drop(producer.send_one(&options.target, Some(record.partition), &made));
    }
    let metadata = reader.inner().group_metadata().expect("it has a group");
    let offsets = reader.offsets().map_err(|_| KafkaError::Canceled)?;
    again(|| inner.send_offsets_to_transaction(&offsets, &metadata, PATIENCE))?;
    inner.flush(PATIENCE)?;
    if options
        .stall
        .asked_to_abort(records.iter().filter_map(|record| record.value.as_deref()))
    {
        again(|| inner.abort_transaction(PATIENCE))?;
        return Ok(false);
    }
    again(|| inner.commit_transaction(PATIENCE))?;
    Ok(true)
}

/// Calls until the error is none that trying again may mend.
fn again(call: impl Fn() -> Result<(), KafkaError>) -> Result<(), KafkaError> {
    loop {
        match call() {
            Err(KafkaError::Transaction(error)) if error.is_retriable() => {}
            done => return done,
        }
    }
}

fn rewind(reader: &RdReader) -> Answer<()> {
    let inner = reader.inner();
    let mut stored = inner.committed(PATIENCE)?;
    for mut element in stored.elements() {
        if !matches!(element.offset(), Offset::Offset(_)) {
            element.set_offset(Offset::Beginning)?;
        }
    }
    // Partitions that were taken away meanwhile are begun anew by whoever has them.
    drop(inner.seek_partitions(std::mem::take(&mut stored), PATIENCE));
    Ok(())
}
