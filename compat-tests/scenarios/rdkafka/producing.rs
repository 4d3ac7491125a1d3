//! A producer of rdkafka: the one with a thread that takes the answers.
//!
//! **Invariant:** a record that was not delivered is told at the next flush, the first one of several.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::{ClientConfig, ClientContext};

use crate::command::Record;
use crate::serve::{Answer, Producer, ProducerOptions};

/// How long what a transaction asks of the broker may take.
pub const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Clone, Default)]
pub struct Deliveries {
    failed: Arc<Mutex<Option<KafkaError>>>,
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
            failed.get_or_insert(error.clone());
        }
    }
}

pub struct RdProducer {
    inner: ThreadedProducer<Deliveries>,
    deliveries: Deliveries,
}

impl RdProducer {
    pub fn open(config: &ClientConfig, options: &ProducerOptions) -> Answer<Self> {
        let mut config = config.clone();
        config.set("linger.ms", "2").set("compression.codec", &options.codec);
        if options.idempotent {
            config.set("enable.idempotence", "true");
        }
        if let Some(acks) = &options.acks {
            config.set("acks", acks);
        }
        match &options.id {
            Some(id) => {
                let timeout_ms = options.transaction_timeout.as_millis().to_string();
                config
                    .set("transactional.id", id)
                    .set("transaction.timeout.ms", timeout_ms)
            }
            None => config.set("message.timeout.ms", options.patience.as_millis().to_string()),
        };
        let deliveries = Deliveries::default();
        let inner: ThreadedProducer<_> = config.create_with_context(deliveries.clone())?;
        if options.id.is_some() {
            inner.init_transactions(PATIENCE)?;
        }
        Ok(Self { inner, deliveries })
    }

    /// Sends one record, and waits where the library's queue is full.
    pub fn send_one(&self, topic: &str, partition: Option<i32>, record: &Record) -> Answer<()> {
        let headers = record
            .headers
            .iter()
            .fold(OwnedHeaders::new(), |headers, (name, value)| {
                headers.insert(Header {
                    key: name,
                    value: value.as_ref(),
                })
            });
        let mut message: BaseRecord<'_, Vec<u8>, Vec<u8>> = BaseRecord::to(topic).headers(headers);
        message.partition = partition;
        message.key = record.key.as_ref();
        message.payload = record.value.as_ref();
        message.timestamp = record.timestamp_ms;
        let deadline = Instant::now() + PATIENCE;
        while let Err((error, refused)) = self.inner.send(message) {
            if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) || Instant::now() > deadline {
                return Err(error.into());
            }
            self.inner.poll(Duration::from_millis(50));
            message = refused;
        }
        Ok(())
    }

    pub fn inner(&self) -> &ThreadedProducer<Deliveries> {
        &self.inner
    }
}

impl Producer for RdProducer {
    fn send(&mut self, topic: &str, partition: Option<i32>, records: Vec<Record>) -> Answer<()> {
        records
            .iter()
            .try_for_each(|record| self.send_one(topic, partition, record))
    }

    fn flush(&mut self) -> Answer<()> {
        self.inner.flush(2 * PATIENCE)?;
        let mut failed = self.deliveries.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.take().map_or(Ok(()), |error| Err(error.into()))
    }

    fn begin(&mut self) -> Answer<()> {
        Ok(self.inner.begin_transaction()?)
    }

    fn commit(&mut self) -> Answer<()> {
        Ok(self.inner.commit_transaction(PATIENCE)?)
    }

    fn abort(&mut self) -> Answer<()> {
        Ok(self.inner.abort_transaction(PATIENCE)?)
    }
}
