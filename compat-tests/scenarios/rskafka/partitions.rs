//! Producers and consumers of rskafka: a client of each partition.
//!
//! **Invariant:** records are written at the flush, those of one partition with one call, in their order.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rskafka::chrono::{DateTime, Utc};
use rskafka::client::partition::{Compression, OffsetAt, PartitionClient};
use rskafka::record::Record as RsRecord;

use crate::Connection;
use crate::command::{Record, number};
use crate::serve::{Answer, ConsumerOptions, Failure, Producer, ProducerOptions, Reader};

pub const NO_TRANSACTIONS: Failure =
    Failure::Unsupported("rskafka's producers are neither idempotent nor transactional");
const NO_MEMBER: Failure = Failure::Unsupported("rskafka knows no groups");
const MAX_FETCH_BYTES: i32 = 10_000_000;
const MAX_WAIT_MS: i32 = 100;

pub fn offset_at(wanted: &str) -> Answer<OffsetAt> {
    Ok(match wanted {
        "earliest" => OffsetAt::Earliest,
        "latest" => OffsetAt::Latest,
        time => OffsetAt::Timestamp(moment(number(time)?)?),
    })
}

fn moment(ms: i64) -> Answer<DateTime<Utc>> {
    DateTime::from_timestamp_millis(ms).ok_or_else(|| Failure::other("no such time"))
}

pub struct RsProducer {
    connection: Connection,
    compression: Compression,
    clients: BTreeMap<(String, i32), PartitionClient>,
    queued: BTreeMap<(String, i32), Vec<RsRecord>>,
}

impl RsProducer {
    pub fn open(connection: Connection, options: &ProducerOptions) -> Answer<Self> {
        if options.idempotent || options.id.is_some() {
            return Err(NO_TRANSACTIONS);
        }
        if options.acks.as_ref().is_some_and(|acks| acks != "all") {
            return Err(Failure::Unsupported("rskafka always waits for all replicas"));
        }
        let compression = match options.codec.as_str() {
            "gzip" => Compression::Gzip,
            "lz4" => Compression::Lz4,
            "snappy" => Compression::Snappy,
            "zstd" => Compression::Zstd,
            _ => Compression::NoCompression,
        };
        Ok(Self {
            connection,
            compression,
            clients: BTreeMap::new(),
            queued: BTreeMap::new(),
        })
    }

    fn write(&mut self, to: (String, i32), records: Vec<RsRecord>) -> Answer<()> {
        if !self.clients.contains_key(&to) {
            let opened = self.connection.partition(&to.0, to.1)?;
            self.clients.insert(to.clone(), opened);
        }
        let written = self
            .connection
            .run(self.clients[&to].produce(records, self.compression));
        written.map(drop)
    }
}

impl Producer for RsProducer {
    fn send(&mut self, topic: &str, partition: Option<i32>, records: Vec<Record>) -> Answer<()> {
        let partition = partition.ok_or(Failure::Unsupported(
            "rskafka has no partitioner: its user names the partition",
        ))?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
        for record in records {
            let mut headers = BTreeMap::new();
            for (name, value) in record.headers {
                let value = value.ok_or(Failure::Unsupported("rskafka's headers always have a value"))?;
                if headers.insert(name, value).is_some() {
                    return Err(Failure::Unsupported("rskafka's headers cannot repeat a name"));
                }
            }
            let timestamp = moment(record.timestamp_ms.unwrap_or(now))?;
            let made = RsRecord {
                key: record.key,
                value: record.value,
                headers,
                timestamp,
            };
            self.queued.entry((topic.to_owned(), partition)).or_default().push(made);
        }
        Ok(())
    }

    fn flush(&mut self) -> Answer<()> {
        let queued = std::mem::take(&mut self.queued);
        let written: Vec<_> = queued
            .into_iter()
            .map(|(to, records)| self.write(to, records))
            .collect();
        written.into_iter().collect()
    }

    fn begin(&mut self) -> Answer<()> {
        Err(NO_TRANSACTIONS)
    }

    fn commit(&mut self) -> Answer<()> {
        Err(NO_TRANSACTIONS)
    }

    fn abort(&mut self) -> Answer<()> {
        Err(NO_TRANSACTIONS)
    }
}

struct Part {
    client: PartitionClient,
    /// Of the next record that is answered with.
    next: i64,
    fetched: VecDeque<Record>,
}

pub struct RsReader {
    connection: Connection,
    parts: Vec<Part>,
}

impl RsReader {
    pub fn open(connection: Connection, options: &ConsumerOptions) -> Answer<Self> {
        let from = if options.latest {
            OffsetAt::Latest
        } else {
            OffsetAt::Earliest
        };
        let mut parts = Vec::new();
        for partition in 0..options.partitions {
            let client = connection.partition(&options.topic, partition)?;
            let next = connection.run(client.get_offset(from))?;
            parts.push(Part {
                client,
                next,
                fetched: VecDeque::new(),
            });
        }
        Ok(Self { connection, parts })
    }

    fn part(&mut self, partition: i32) -> Answer<&mut Part> {
        let index = usize::try_from(partition).map_err(|_| Failure::other("a negative partition"))?;
        self.parts
            .get_mut(index)
            .ok_or_else(|| Failure::other("no such partition"))
    }
}

impl Reader for RsReader {
    fn take(&mut self, count: usize, patience: Duration) -> Answer<Vec<Record>> {
        let deadline = Instant::now() + patience;
        let mut found = Vec::new();
        loop {
            for part in &mut self.parts {
                let room = part.fetched.len().min(count - found.len());
                found.extend(part.fetched.drain(..room));
                if let Some(last) = found.last().filter(|_| room > 0) {
                    part.next = last.offset + 1;
                }
            }
            if found.len() == count || Instant::now() > deadline {
                return Ok(found);
            }
            for part in &mut self.parts {
                let bytes = 1..MAX_FETCH_BYTES;
                let (records, _) = self
                    .connection
                    .run(part.client.fetch_records(part.next, bytes, MAX_WAIT_MS))?;
                let partition = part.client.partition();
                part.fetched = records
                    .into_iter()
                    .map(|one| record(partition, one.offset, one.record))
                    .collect();
            }
        }
    }

    fn position(&mut self, partition: i32) -> Answer<i64> {
        Ok(self.part(partition)?.next)
    }

    fn seek(&mut self, partition: i32, wanted: &str) -> Answer<()> {
        let connection = self.connection.clone();
        let part = self.part(partition)?;
        part.next = match wanted {
            "earliest" | "latest" => connection.run(part.client.get_offset(offset_at(wanted)?))?,
            offset => number(offset)?,
        };
        part.fetched.clear();
        Ok(())
    }

    fn assignment(&mut self) -> Answer<Vec<i32>> {
        Err(NO_MEMBER)
    }

    fn commit_offsets(&mut self) -> Answer<()> {
        Err(NO_MEMBER)
    }

    fn committed(&mut self, _: i32) -> Answer<Option<i64>> {
        Err(NO_MEMBER)
    }
}

fn record(partition: i32, offset: i64, found: RsRecord) -> Record {
    Record {
        partition,
        offset,
        timestamp_ms: Some(found.timestamp.timestamp_millis()),
        key: found.key,
        value: found.value,
        headers: found
            .headers
            .into_iter()
            .map(|(name, value)| (name, Some(value)))
            .collect(),
    }
}
