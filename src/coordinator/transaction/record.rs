//! Records of `__transaction_state` in Kafka's byte format.
//!
//! A key is the int16 0 followed by the transactional id; a value is an int16 version followed by its fields, a null value
//! forgets the id. Read: values of versions 0 and 1. Written: version 1, as Kafka 4.3 does with transaction.version 2.
//! Tools read this topic, so no byte may differ.
//!
//! Invariants: a key of a version that we do not know is no error ([`decode`] gives `None`), such a value is: it may tell
//! of an outcome that would be lost. Bytes behind the last field are ignored. Sources: `TransactionLog`, the schemas
//! `TransactionLogKey` and `TransactionLogValue`.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::api::{NO_PRODUCER_EPOCH, NO_PRODUCER_ID};
use super::state::{Partitions, Transaction, TransactionState};
use crate::coordinator::runtime::machine::EncodedRecord;
use crate::coordinator::wire::{Reader, RecordDecodeError, RecordEncodeError, Writer};

const KEY_VERSION: i16 = 0;
/// The version that is written; also the first with compact strings and tagged fields.
const NEWEST_VALUE_VERSION: i16 = 1;

const TAG_PREVIOUS_PRODUCER_ID: u32 = 0;
const TAG_NEXT_PRODUCER_ID: u32 = 1;
const TAG_CLIENT_TRANSACTION_VERSION: u32 = 2;

/// Upper bound of what a value takes besides its partitions.
const VALUE_BYTES: usize = 80;
/// What a topic takes besides its name and its partitions, at the most.
const TOPIC_BYTES: usize = 11;

/// What became of a transactional id.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Record {
    /// The id.
    pub transactional_id: Arc<str>,
    /// What is known of it from now on; `None` forgets it.
    pub value: Option<Transaction>,
}

impl Record {
    /// A record that tells how the transaction of an id is now.
    pub fn new(transactional_id: &Arc<str>, value: Transaction) -> Self {
        Self {
            transactional_id: Arc::clone(transactional_id),
            value: Some(value),
        }
    }

    /// A record that forgets an id.
    pub fn tombstone(transactional_id: &Arc<str>) -> Self {
        Self {
            transactional_id: Arc::clone(transactional_id),
            value: None,
        }
    }

    /// The record as it stands in the log.
    ///
    /// # Errors
    /// When a field is longer than the format can hold.
    pub fn encode(&self) -> Result<EncodedRecord, RecordEncodeError> {
        let mut key = Writer::with_version(KEY_VERSION);
        key.string(&self.transactional_id)?;
        Ok(EncodedRecord {
            key: key.finish(),
            value: self.value.as_ref().map(encode_value).transpose()?.map(Writer::finish),
        })
    }
}

/// At most so many bytes are in the record of an id with these partitions, key and value, whatever its state.
pub(super) fn size_bound(transactional_id: &str, partitions: &Partitions) -> usize {
    let of_topic = |(topic, indexes): (&Arc<str>, &[i32])| TOPIC_BYTES + topic.len() + size_of_val(indexes);
    VALUE_BYTES + transactional_id.len() + partitions.topics().map(of_topic).sum::<usize>()
}

fn encode_value(transaction: &Transaction) -> Result<Writer, RecordEncodeError> {
    let mut value = Writer::with_version(NEWEST_VALUE_VERSION);
    value.int64(transaction.producer_id);
    value.int16(transaction.producer_epoch);
    value.int32(transaction.transaction_timeout_ms);
    value.int8(transaction.state.id());
    if transaction.state == TransactionState::Empty {
        value.unsigned_varint(0);
    } else {
        compact_length(&mut value, transaction.partitions.topics().count())?;
        for (topic, partitions) in transaction.partitions.topics() {
            value.compact_string(topic)?;
            compact_length(&mut value, partitions.len())?;
            for partition in partitions {
                value.int32(*partition);
            }
            value.unsigned_varint(0);
        }
    }
    value.int64(transaction.last_update_timestamp_ms);
    value.int64(transaction.start_timestamp_ms);
    encode_tags(&mut value, transaction);
    Ok(value)
}

/// Fields with their default are left out.
fn encode_tags(value: &mut Writer, transaction: &Transaction) {
    let ids = [
        (TAG_PREVIOUS_PRODUCER_ID, transaction.previous_producer_id),
        (TAG_NEXT_PRODUCER_ID, transaction.next_producer_id),
    ];
    let ids = ids.into_iter().filter(|(_, id)| *id != NO_PRODUCER_ID);
    let version = transaction.client_transaction_version;
    let count = ids.clone().count() + usize::from(version != 0);
    value.unsigned_varint(u32::try_from(count).expect("at most three"));
    for (tag, id) in ids {
        value.unsigned_varint(tag);
        value.unsigned_varint(8);
        value.int64(id);
    }
    if version != 0 {
        value.unsigned_varint(TAG_CLIENT_TRANSACTION_VERSION);
        value.unsigned_varint(2);
        value.int16(version);
    }
}

fn compact_length(value: &mut Writer, length: usize) -> Result<(), RecordEncodeError> {
    let length = u32::try_from(length).ok().and_then(|length| length.checked_add(1));
    value.unsigned_varint(length.ok_or(RecordEncodeError)?);
    Ok(())
}

/// The record with this key and value; `None` when the key is of a kind that is not known.
///
/// # Errors
/// When it cannot be understood for certain.
pub(super) fn decode(key: Option<&[u8]>, value: Option<&[u8]>) -> Result<Option<Record>, RecordDecodeError> {
    let mut key = Reader::new(key.ok_or_else(|| RecordDecodeError("a record without a key".to_owned()))?);
    if key.int16()? != KEY_VERSION {
        return Ok(None);
    }
    let transactional_id = key.string(false)?;
    let value = value.map(decode_value).transpose()?;
    Ok(Some(Record {
        transactional_id,
        value,
    }))
}

fn decode_value(value: &[u8]) -> Result<Transaction, RecordDecodeError> {
    let mut value = Reader::new(value);
    let version = value.int16()?;
    let is_flexible = match version {
        0 => false,
        NEWEST_VALUE_VERSION => true,
        _ => return Err(RecordDecodeError(format!("transaction value of version {version}"))),
    };
    let producer_id = value.int64()?;
    let producer_epoch = value.int16()?;
    let transaction_timeout_ms = value.int32()?;
    let status = value.int8()?;
    let state = TransactionState::from_id(status)
        .filter(|state| state.is_idle() || state.is_prepared() || *state == TransactionState::Ongoing)
        .ok_or_else(|| RecordDecodeError(format!("transaction in state {status}")))?;
    let partitions = decode_partitions(&mut value, is_flexible)?;
    let mut transaction = Transaction {
        producer_id,
        previous_producer_id: NO_PRODUCER_ID,
        next_producer_id: NO_PRODUCER_ID,
        producer_epoch,
        last_producer_epoch: NO_PRODUCER_EPOCH,
        transaction_timeout_ms,
        state,
        partitions: match state {
            TransactionState::Empty => Partitions::default(),
            _ => partitions,
        },
        last_update_timestamp_ms: value.int64()?,
        start_timestamp_ms: value.int64()?,
        client_transaction_version: 0,
    };
    if is_flexible {
        value.tagged_fields(|tag, field| {
            match tag {
                TAG_PREVIOUS_PRODUCER_ID => transaction.previous_producer_id = field.int64()?,
                TAG_NEXT_PRODUCER_ID => transaction.next_producer_id = field.int64()?,
                TAG_CLIENT_TRANSACTION_VERSION => transaction.client_transaction_version = field.int16()?,
                _ => {}
            }
            Ok(())
        })?;
    }
    Ok(transaction)
}

fn decode_partitions(value: &mut Reader<'_>, is_flexible: bool) -> Result<Partitions, RecordDecodeError> {
    let mut partitions = Partitions::default();
    for _ in 0..value.array_length(is_flexible)? {
        let topic = value.string(is_flexible)?;
        let mut indexes = Vec::new();
        for _ in 0..value.array_length(is_flexible)? {
            indexes.push(value.int32()?);
        }
        partitions.add(topic, indexes);
        if is_flexible {
            value.tagged_fields(|_, _| Ok(()))?;
        }
    }
    Ok(partitions)
}
