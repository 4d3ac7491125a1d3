//! Record batches (magic 2) written and read by hand, uncompressed, so that tests can break them at will.
//!
//! **Invariant:** [`parse_all`] believes nothing: lengths, CRC, counts and offset deltas are checked, and it is independent
//! of the broker's own reader. Source: Kafka's `DefaultRecordBatch` and `DefaultRecord`.

use bytes::Bytes;

/// Bytes before the first record.
pub const HEADER_BYTES: usize = 61;
/// Where `partitionLeaderEpoch` lies.
pub const LEADER_EPOCH_AT: usize = 12;
/// Where `magic` lies.
pub const MAGIC_AT: usize = 16;
/// Where the CRC lies; it covers everything from [`ATTRIBUTES_AT`] on.
pub const CRC_AT: usize = 17;
/// Where `attributes` lies.
pub const ATTRIBUTES_AT: usize = 21;
/// The bit of `attributes` that marks batches of transactions.
pub const TRANSACTIONAL: i16 = 0x10;
/// The bit of `attributes` that marks batches which only brokers write.
pub const CONTROL: i16 = 0x20;
/// Where `lastOffsetDelta` lies.
pub const LAST_OFFSET_DELTA_AT: usize = 23;
/// Where the number of records lies.
pub const COUNT_AT: usize = 57;

/// What a batch to be sent holds.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Keys (or null) and values.
    pub records: Vec<(Option<Vec<u8>>, Vec<u8>)>,
    /// Timestamp of the first record; each later one is a millisecond younger.
    pub base_timestamp: i64,
    /// Idempotent producer: id, epoch, first sequence; all -1 without one.
    pub producer: (i64, i16, i32),
    /// Whether it belongs to a transaction.
    pub transactional: bool,
}

impl Batch {
    /// A batch of values without keys, stamped with the present.
    pub fn of<V: AsRef<[u8]>>(values: &[V]) -> Self {
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .expect("a clock after 1970");
        Self {
            records: values.iter().map(|value| (None, value.as_ref().to_vec())).collect(),
            base_timestamp: i64::try_from(now.as_millis()).expect("a clock before the year 292277026"),
            producer: (-1, -1, -1),
            transactional: false,
        }
    }

    /// The same batch from an idempotent producer.
    pub fn from_producer(mut self, id: i64, epoch: i16, first_sequence: i32) -> Self {
        self.producer = (id, epoch, first_sequence);
        self
    }

    /// The same batch as part of its producer's transaction.
    pub fn in_transaction(mut self) -> Self {
        self.transactional = true;
        self
    }

    /// The same batch with its records at `base_timestamp`, `base_timestamp + 1` and so on.
    pub fn at(mut self, base_timestamp: i64) -> Self {
        self.base_timestamp = base_timestamp;
        self
    }

    /// The batch as a producer sends it: base offset 0, a CRC that fits.
    pub fn encode(&self) -> Vec<u8> {
        let count = i32::try_from(self.records.len()).expect("few records");
        let mut bytes = Vec::new();
        bytes.extend(0_i64.to_be_bytes());
        bytes.extend(0_i32.to_be_bytes()); // the length, filled in by `reseal`
        bytes.extend((-1_i32).to_be_bytes());
        bytes.push(2);
        bytes.extend(0_u32.to_be_bytes()); // the CRC, likewise
        bytes.extend(if self.transactional { TRANSACTIONAL } else { 0 }.to_be_bytes());
        bytes.extend((count - 1).to_be_bytes());
        bytes.extend(self.base_timestamp.to_be_bytes());
        bytes.extend((self.base_timestamp + i64::from(count) - 1).to_be_bytes());
        bytes.extend(self.producer.0.to_be_bytes());
        bytes.extend(self.producer.1.to_be_bytes());
        bytes.extend(self.producer.2.to_be_bytes());
        bytes.extend(count.to_be_bytes());
        for (delta, (key, value)) in (0_i64..).zip(&self.records) {
            put_record(&mut bytes, delta, key.as_deref(), value);
        }
        reseal(&mut bytes);
        bytes
    }
}

/// Makes length and CRC fit again after a batch was changed.
pub fn reseal(batch: &mut [u8]) {
    let length = i32::try_from(batch.len() - 12).expect("a small batch");
    batch[8..12].copy_from_slice(&length.to_be_bytes());
    let crc = crc32c::crc32c(&batch[ATTRIBUTES_AT..]);
    batch[CRC_AT..ATTRIBUTES_AT].copy_from_slice(&crc.to_be_bytes());
}

fn put_record(bytes: &mut Vec<u8>, delta: i64, key: Option<&[u8]>, value: &[u8]) {
    let mut record = vec![0]; // attributes
    put_varint(&mut record, delta); // timestamp
    put_varint(&mut record, delta); // offset
    match key {
        None => put_varint(&mut record, -1),
        Some(key) => {
            put_varint(&mut record, i64::try_from(key.len()).expect("a small key"));
            record.extend(key);
        }
    }
    put_varint(&mut record, i64::try_from(value.len()).expect("a small value"));
    record.extend(value);
    put_varint(&mut record, 0); // headers
    put_varint(bytes, i64::try_from(record.len()).expect("a small record"));
    bytes.extend(record);
}

fn put_varint(bytes: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while rest >= 0x80 {
        bytes.push(u8::try_from(rest & 0x7f).expect("seven bits") | 0x80);
        rest >>= 7;
    }
    bytes.push(u8::try_from(rest).expect("seven bits"));
}

/// One record as a fetch returned it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    pub offset: i64,
    pub leader_epoch: i32,
    pub value: Bytes,
}

/// A whole batch as a fetch returned it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub base_offset: i64,
    pub last_offset: i64,
    /// Id, epoch and first sequence; all -1 without a producer.
    pub producer: (i64, i16, i32),
    pub transactional: bool,
    pub content: Content,
}

/// What lies in a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Values of records.
    Values(Vec<String>),
    /// The end of a transaction, and the epoch of the coordinator that wrote it.
    Marker { committed: bool, coordinator_epoch: i32 },
}

/// The whole batches in `bytes`, each checked as in [`parse_all`].
pub fn batches(bytes: &Bytes) -> Result<Vec<Seen>, String> {
    let mut seen = Vec::new();
    for batch in split(bytes)? {
        let mut records = Vec::new();
        parse_batch(&batch, &mut records)?;
        let base_offset = i64_at(&batch, 0);
        let attributes = i16_at(&batch, ATTRIBUTES_AT);
        let text = |record: &Fetched| String::from_utf8_lossy(&record.value).into_owned();
        let content = if attributes & CONTROL == 0 {
            Content::Values(records.iter().map(text).collect())
        } else {
            marker(&batch, &records)?
        };
        seen.push(Seen {
            base_offset,
            last_offset: base_offset + i64::from(i32_at(&batch, LAST_OFFSET_DELTA_AT)),
            producer: (i64_at(&batch, 43), i16_at(&batch, 51), i32_at(&batch, 53)),
            transactional: attributes & TRANSACTIONAL != 0,
            content,
        });
    }
    Ok(seen)
}

/// A control batch: one record whose key is version and type, whose value is version and coordinator epoch, two and four
/// bytes long (Kafka's `EndTransactionMarker`).
fn marker(batch: &Bytes, records: &[Fetched]) -> Result<Content, String> {
    let mut rest = &batch[HEADER_BYTES..];
    take_varint(&mut rest)?; // length
    rest = rest.get(1..).ok_or("cut record")?; // attributes
    take_varint(&mut rest)?; // timestamp
    take_varint(&mut rest)?; // offset
    let key = take_bytes(&mut rest)?.unwrap_or_default();
    let (key, value) = match (key, records) {
        (&[0, 0, high, low], [record]) if record.value.len() == 6 => (i16::from_be_bytes([high, low]), &record.value),
        other => return Err(format!("no end of a transaction: {other:?}")),
    };
    if !(0..=1).contains(&key) || i16_at(value, 0) != 0 {
        return Err(format!("control record of type {key}, value {value:?}"));
    }
    Ok(Content::Marker {
        committed: key == 1,
        coordinator_epoch: i32_at(value, 2),
    })
}

/// All records of the whole batches in `bytes`. A batch that is cut at the end is left out, as clients do; anything else
/// that is wrong is an error.
pub fn parse_all(bytes: &Bytes) -> Result<Vec<Fetched>, String> {
    let mut records = Vec::new();
    for batch in split(bytes)? {
        let base_offset = i64_at(&batch, 0);
        parse_batch(&batch, &mut records).map_err(|why| format!("batch at offset {base_offset}: {why}"))?;
    }
    Ok(records)
}

/// The whole batches, unread.
fn split(bytes: &Bytes) -> Result<Vec<Bytes>, String> {
    let (mut whole, mut at) = (Vec::new(), 0);
    while bytes.len() - at >= HEADER_BYTES {
        let length = usize::try_from(i32_at(bytes, at + 8)).map_err(|_| format!("negative length at byte {at}"))? + 12;
        if bytes.len() - at < length {
            break;
        }
        whole.push(bytes.slice(at..at + length));
        at += length;
    }
    Ok(whole)
}

fn parse_batch(batch: &Bytes, records: &mut Vec<Fetched>) -> Result<(), String> {
    let check = |holds: bool, why: &str| if holds { Ok(()) } else { Err(why.to_owned()) };
    check(batch.len() > HEADER_BYTES, "no room for records")?;
    check(batch[MAGIC_AT] == 2, "magic")?;
    check(
        crc32c::crc32c(&batch[ATTRIBUTES_AT..]) == i32_at(batch, CRC_AT).cast_unsigned(),
        "CRC",
    )?;
    check(
        batch[ATTRIBUTES_AT + 1] & 0x07 == 0,
        "compressed, which no test asked for",
    )?;
    let base_offset = i64_at(batch, 0);
    let count = i32_at(batch, COUNT_AT);
    check(
        count == i32_at(batch, LAST_OFFSET_DELTA_AT) + 1,
        "count and last offset delta",
    )?;
    let mut rest = &batch[HEADER_BYTES..];
    for index in 0..i64::from(count) {
        let length = usize::try_from(take_varint(&mut rest)?).map_err(|_| "negative record length")?;
        let (mut record, behind) = rest.split_at_checked(length).ok_or("cut record")?;
        rest = behind;
        record = record.get(1..).ok_or("cut record")?; // attributes
        take_varint(&mut record)?; // timestamp
        check(take_varint(&mut record)? == index, "offset delta")?;
        take_bytes(&mut record)?; // key
        let value = take_bytes(&mut record)?.unwrap_or_default();
        records.push(Fetched {
            offset: base_offset + index,
            leader_epoch: i32_at(batch, LEADER_EPOCH_AT),
            value: Bytes::copy_from_slice(value),
        });
    }
    check(rest.is_empty(), "bytes behind the last record")
}

fn take_bytes<'a>(rest: &mut &'a [u8]) -> Result<Option<&'a [u8]>, String> {
    let Ok(length) = usize::try_from(take_varint(rest)?) else {
        return Ok(None);
    };
    let (taken, behind) = rest.split_at_checked(length).ok_or("cut field")?;
    *rest = behind;
    Ok(Some(taken))
}

fn take_varint(rest: &mut &[u8]) -> Result<i64, String> {
    let mut raw = 0_u64;
    for shift in (0..70).step_by(7) {
        let (&byte, behind) = rest.split_first().ok_or("cut varint")?;
        *rest = behind;
        raw |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or_default();
        if byte < 0x80 {
            return Ok((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed());
        }
    }
    Err("endless varint".to_owned())
}

fn i16_at(bytes: &[u8], at: usize) -> i16 {
    i16::from_be_bytes(bytes[at..at + 2].try_into().expect("two bytes"))
}

fn i32_at(bytes: &[u8], at: usize) -> i32 {
    i32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn i64_at(bytes: &[u8], at: usize) -> i64 {
    i64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let bytes = Bytes::from(Batch::of(&["first", "", "third"]).encode());
        let records = parse_all(&bytes).expect("a sound batch");
        let values: Vec<&[u8]> = records.iter().map(|record| &record.value[..]).collect();
        assert_eq!(values, [&b"first"[..], b"", b"third"]);
        assert_eq!(records[2].offset, 2);
    }

    #[test]
    fn every_changed_byte_behind_the_crc_is_seen() {
        let sound = Batch::of(&["value"]).encode();
        for at in CRC_AT..sound.len() {
            let mut broken = sound.clone();
            broken[at] ^= 1;
            assert!(parse_all(&Bytes::from(broken)).is_err(), "byte {at}");
        }
    }
}
