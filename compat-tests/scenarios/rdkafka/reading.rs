//! Consumers of rdkafka: of whole partitions, and members of groups.
//!
//! **Invariant:** no record is fetched that is not answered with, so that the offset after an answer is the next one's.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance};
use rdkafka::message::{Headers, Message};
use rdkafka::{ClientConfig, ClientContext, Offset, TopicPartitionList};

use crate::command::{Record, number};
use crate::serve::{Answer, ConsumerOptions, Failure, HEARTBEAT, MemberOptions, Reader};

const PATIENCE: Duration = Duration::from_secs(10);

type Positions = Arc<Mutex<BTreeMap<i32, i64>>>;

/// Forgets what was answered with of partitions that are taken away.
pub struct Members {
    answered: Positions,
}

impl ClientContext for Members {}

impl ConsumerContext for Members {
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Revoke(partitions) = rebalance {
            let mut answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
            for taken in partitions.elements() {
                answered.remove(&taken.partition());
            }
        }
    }
}

pub struct RdReader {
    inner: BaseConsumer<Members>,
    topic: String,
    /// The offset after the last answer, or where a seek went.
    answered: Positions,
}

impl RdReader {
    pub fn open(config: &ClientConfig, topic: &str, settings: &[(&str, String)]) -> Answer<Self> {
        let mut config = config.clone();
        config
            .set("auto.offset.reset", "earliest")
            .set("enable.auto.commit", "false");
        config
            .set("enable.auto.offset.store", "false")
            .set("fetch.wait.max.ms", "100");
        for (key, value) in settings {
            config.set(*key, value);
        }
        let answered = Positions::default();
        let inner = config.create_with_context(Members {
            answered: Arc::clone(&answered),
        })?;
        Ok(Self {
            inner,
            topic: topic.to_owned(),
            answered,
        })
    }

    pub fn of_partitions(config: &ClientConfig, options: &ConsumerOptions) -> Answer<Self> {
        let isolation = if options.committed {
            "read_committed"
        } else {
            "read_uncommitted"
        };
        // The library wants the name of a group, though nobody joins it.
        let settings = [
            ("group.id", "nobody".to_owned()),
            ("isolation.level", isolation.to_owned()),
        ];
        let reader = Self::open(config, &options.topic, &settings)?;
        let mut assigned = TopicPartitionList::new();
        for partition in 0..options.partitions {
            let (first, end) = reader.inner.fetch_watermarks(&options.topic, partition, PATIENCE)?;
            let offset = if options.latest { end } else { first };
            assigned.add_partition_offset(&options.topic, partition, Offset::Offset(offset))?;
            reader.lock().insert(partition, offset);
        }
        reader.inner.assign(&assigned)?;
        Ok(reader)
    }

    pub fn of_group(config: &ClientConfig, options: &MemberOptions) -> Answer<Self> {
        let mut settings = vec![
            ("group.id", options.group.clone()),
            ("session.timeout.ms", options.session.as_millis().to_string()),
            ("heartbeat.interval.ms", HEARTBEAT.as_millis().to_string()),
        ];
        settings.extend(options.instance.clone().map(|instance| ("group.instance.id", instance)));
        let reader = Self::open(config, &options.topic, &settings)?;
        reader.inner.subscribe(&[&options.topic])?;
        Ok(reader)
    }

    pub fn inner(&self) -> &BaseConsumer<Members> {
        &self.inner
    }

    /// The offsets after all that was answered with.
    pub fn offsets(&self) -> Answer<TopicPartitionList> {
        let mut offsets = TopicPartitionList::new();
        for (partition, offset) in &*self.lock() {
            offsets.add_partition_offset(&self.topic, *partition, Offset::Offset(*offset))?;
        }
        Ok(offsets)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<i32, i64>> {
        self.answered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reader for RdReader {
    fn take(&mut self, count: usize, patience: Duration) -> Answer<Vec<Record>> {
        let deadline = Instant::now() + patience;
        let mut found = Vec::new();
        while found.len() < count {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.inner.poll(left) {
                Some(Ok(message)) => {
                    self.lock().insert(message.partition(), message.offset() + 1);
                    found.push(record(&message));
                }
                // Errors of connections are the library's to try again.
                Some(Err(_)) | None if left.is_zero() => break,
                Some(Err(_)) | None => {}
            }
        }
        Ok(found)
    }

    fn assignment(&mut self) -> Answer<Vec<i32>> {
        let assigned = self.inner.assignment()?;
        Ok(assigned.elements().iter().map(|element| element.partition()).collect())
    }

    fn position(&mut self, partition: i32) -> Answer<i64> {
        let position = self.lock().get(&partition).copied();
        position.ok_or_else(|| Failure::other("no record of that partition was answered with"))
    }

    fn seek(&mut self, partition: i32, wanted: &str) -> Answer<()> {
        let (first, end) = self.inner.fetch_watermarks(&self.topic, partition, PATIENCE)?;
        let offset = match wanted {
            "earliest" => first,
            "latest" => end,
            offset => number(offset)?,
        };
        self.inner
            .seek(&self.topic, partition, Offset::Offset(offset), PATIENCE)?;
        self.lock().insert(partition, offset);
        Ok(())
    }

    fn commit_offsets(&mut self) -> Answer<()> {
        Ok(self.inner.commit(&self.offsets()?, CommitMode::Sync)?)
    }

    fn committed(&mut self, partition: i32) -> Answer<Option<i64>> {
        let mut asked = TopicPartitionList::new();
        asked.add_partition(&self.topic, partition);
        let found = self.inner.committed_offsets(asked, PATIENCE)?;
        let offset = found
            .find_partition(&self.topic, partition)
            .map(|element| element.offset());
        Ok(match offset {
            Some(Offset::Offset(offset)) => Some(offset),
            _ => None,
        })
    }
}

fn record(message: &impl Message) -> Record {
    let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
    Record {
        partition: message.partition(),
        offset: message.offset(),
        timestamp_ms: message.timestamp().to_millis(),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers: headers
            .map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec)))
            .collect(),
    }
}
