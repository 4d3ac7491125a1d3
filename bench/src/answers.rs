//! Reads the answers that the generator checks, in place: Produce versions 9 to 12, Fetch version 12, and those of a
//! transaction.
//!
//! Nothing is copied, and nothing is believed: a length that leads outside of the frame is an error of the broker.

use crate::Failure;

/// A position in a frame.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Failure> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or("an answer ends too early")?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Failure> {
        Ok(self.take(N)?.try_into()?)
    }

    fn i16(&mut self) -> Result<i16, Failure> {
        Ok(i16::from_be_bytes(self.array()?))
    }

    fn i32(&mut self) -> Result<i32, Failure> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    fn i64(&mut self) -> Result<i64, Failure> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    fn varint(&mut self) -> Result<usize, Failure> {
        let mut value = 0_usize;
        for shift in (0..35).step_by(7) {
            let [byte] = self.array()?;
            value |= usize::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err("a number is too long".into())
    }

    /// Bytes, text or the count of an array: one less than what is written; `None` for null.
    fn compact(&mut self) -> Result<Option<usize>, Failure> {
        Ok(self.varint()?.checked_sub(1))
    }

    fn skip_compact(&mut self) -> Result<(), Failure> {
        let length = self.compact()?.unwrap_or(0);
        self.take(length)?;
        Ok(())
    }

    fn skip_tags(&mut self) -> Result<(), Failure> {
        for _ in 0..self.varint()? {
            self.varint()?;
            let length = self.varint()?;
            self.take(length)?;
        }
        Ok(())
    }

    /// The head of an answer in a flexible version: its correlation id and tags.
    fn head(&mut self) -> Result<(), Failure> {
        if self.i32()? != crate::frames::CORRELATION_ID {
            return Err("an answer to another request".into());
        }
        self.skip_tags()
    }
}

/// Calls `found` with partition and base offset of each partition of a Produce answer; an error code is an error.
pub(crate) fn produced(frame: &[u8], mut found: impl FnMut(i32, i64) -> Result<(), Failure>) -> Result<(), Failure> {
    produced_or_refused(frame, |partition, code, base_offset| match code {
        0 => found(partition, base_offset),
        _ => Err(format!("Produce to partition {partition}: error {code}").into()),
    })
}

/// The same with the error codes.
pub(crate) fn produced_or_refused(
    frame: &[u8],
    mut found: impl FnMut(i32, i16, i64) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut at = Cursor(frame);
    at.head()?;
    for _ in 0..at.compact()?.unwrap_or(0) {
        at.skip_compact()?;
        for _ in 0..at.compact()?.unwrap_or(0) {
            let (partition, code, base_offset) = (at.i32()?, at.i16()?, at.i64()?);
            found(partition, code, base_offset)?;
            at.take(16)?;
            for _ in 0..at.compact()?.unwrap_or(0) {
                at.i32()?;
                at.skip_compact()?;
                at.skip_tags()?;
            }
            at.skip_compact()?;
            at.skip_tags()?;
        }
        at.skip_tags()?;
    }
    Ok(())
}

/// Error code, producer id and epoch of an InitProducerId answer.
pub(crate) fn initialized(frame: &[u8]) -> Result<(i16, i64, i16), Failure> {
    let mut at = Cursor(frame);
    at.head()?;
    at.i32()?;
    Ok((at.i16()?, at.i64()?, at.i16()?))
}

/// The first error code of an AddPartitionsToTxn answer, version 3, or none.
pub(crate) fn added(frame: &[u8]) -> Result<i16, Failure> {
    let mut at = Cursor(frame);
    at.head()?;
    at.i32()?;
    let mut first = 0;
    for _ in 0..at.compact()?.unwrap_or(0) {
        at.skip_compact()?;
        for _ in 0..at.compact()?.unwrap_or(0) {
            at.i32()?;
            let code = at.i16()?;
            first = if first == 0 { code } else { first };
            at.skip_tags()?;
        }
        at.skip_tags()?;
    }
    Ok(first)
}

/// Error code of an EndTxn answer, and who the producer is from now on, which version 5 tells.
pub(crate) fn ended(frame: &[u8]) -> Result<(i16, Option<(i64, i16)>), Failure> {
    let mut at = Cursor(frame);
    at.head()?;
    at.i32()?;
    let code = at.i16()?;
    // a version without it has nothing behind but its tags
    let next = if at.0.len() > 8 {
        Some((at.i64()?, at.i16()?))
    } else {
        None
    };
    Ok((code, next))
}

/// Records of one partition in a Fetch answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fetched<'a> {
    pub(crate) partition: i32,
    /// How many aborted transactions were told.
    pub(crate) aborted: usize,
    pub(crate) records: &'a [u8],
}

/// Calls `found` for each partition of a Fetch answer and returns its session id; an error code is an error.
pub(crate) fn fetched<'a>(
    frame: &'a [u8],
    mut found: impl FnMut(Fetched<'a>) -> Result<(), Failure>,
) -> Result<i32, Failure> {
    let mut at = Cursor(frame);
    at.head()?;
    at.i32()?;
    let (code, session_id) = (at.i16()?, at.i32()?);
    if code != 0 {
        return Err(format!("Fetch: error {code}").into());
    }
    for _ in 0..at.compact()?.unwrap_or(0) {
        at.skip_compact()?;
        for _ in 0..at.compact()?.unwrap_or(0) {
            let (partition, code) = (at.i32()?, at.i16()?);
            if code != 0 {
                return Err(format!("Fetch from partition {partition}: error {code}").into());
            }
            at.take(24)?;
            let aborted = at.compact()?.unwrap_or(0);
            for _ in 0..aborted {
                at.take(16)?;
                at.skip_tags()?;
            }
            at.i32()?;
            let length = at.compact()?.unwrap_or(0);
            found(Fetched {
                partition,
                aborted,
                records: at.take(length)?,
            })?;
            at.skip_tags()?;
        }
        at.skip_tags()?;
    }
    Ok(session_id)
}

/// Walks the batches of a partition's records: the first holds `offset`, each other follows its predecessor without a
/// gap. A batch that is cut at the end is left out, as clients do. Returns the offset behind the last whole batch and
/// how many bytes were whole.
pub(crate) fn check_continuity(records: &[u8], offset: i64, check_crc: bool) -> Result<(i64, usize), Failure> {
    const PREFIX: usize = 12;
    let (mut rest, mut next, mut whole) = (records, offset, 0);
    while let Some((head, body)) = rest.split_at_checked(PREFIX) {
        let base_offset = i64::from_be_bytes(head[..8].try_into()?);
        let length = usize::try_from(i32::from_be_bytes(head[8..].try_into()?))?;
        let Some((batch, behind)) = body.split_at_checked(length) else {
            break;
        };
        // leader epoch, magic, CRC, attributes, then the delta of the last offset
        let delta = batch.get(11..15).ok_or("a batch without a head")?;
        let last_offset = base_offset + i64::from(i32::from_be_bytes(delta.try_into()?));
        let continues = base_offset == next || (whole == 0 && base_offset <= next && next <= last_offset);
        if !continues {
            return Err(format!("a batch at offset {base_offset} where {next} was expected").into());
        }
        if check_crc && crc32c::crc32c(&batch[9..]) != u32::from_be_bytes(batch[5..9].try_into()?) {
            return Err(format!("the batch at offset {base_offset} is damaged").into());
        }
        (rest, next) = (behind, last_offset + 1);
        whole += PREFIX + length;
    }
    Ok((next, whole))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::frames;

    fn stored(base_offset: i64) -> Vec<u8> {
        let mut batch = frames::batch(3, 10, 1_000).to_vec();
        batch[..8].copy_from_slice(&base_offset.to_be_bytes());
        batch
    }

    #[test]
    fn batches_follow_each_other_or_are_refused() {
        let mut records = [stored(6), stored(9)].concat();
        let whole = records.len();
        assert_eq!(check_continuity(&records, 6, true).expect("gapless"), (12, whole));
        assert_eq!(
            check_continuity(&records, 7, true).expect("in the first batch"),
            (12, whole)
        );
        assert_eq!(check_continuity(&records[..whole - 1], 6, true).expect("cut").0, 9);
        assert!(check_continuity(&records, 5, false).is_err(), "an offset is missing");
        assert!(check_continuity(&records, 9, false).is_err(), "too old");
        assert!(
            check_continuity(&[stored(6), stored(10)].concat(), 6, false).is_err(),
            "a gap"
        );
        records[whole - 1] ^= 1;
        assert!(check_continuity(&records, 6, false).is_ok(), "only the CRC knows");
        assert!(check_continuity(&records, 6, true).is_err());
    }

    #[test]
    fn answers_of_the_wire_format_are_read() {
        use kafka_protocol::messages::fetch_response::{FetchResponse, FetchableTopicResponse, PartitionData};
        use kafka_protocol::messages::produce_response::{
            PartitionProduceResponse, ProduceResponse, TopicProduceResponse,
        };
        let code = |code| {
            let partition = PartitionProduceResponse::default()
                .with_index(4)
                .with_error_code(code)
                .with_base_offset(77);
            let topic = TopicProduceResponse::default().with_partition_responses(vec![partition]);
            let answer = ProduceResponse::default().with_responses(vec![topic]);
            protocol::encode::encode_response(0, frames::PRODUCE_VERSION, frames::CORRELATION_ID, &answer)
                .expect("answer")
        };
        let mut seen = Vec::new();
        let mut see = |partition, offset| {
            seen.push((partition, offset));
            Ok(())
        };
        produced(&code(0)[4..], &mut see).expect("no error");
        assert!(produced(&code(6)[4..], &mut see).is_err());
        assert_eq!(seen, [(4, 77)]);

        let partition = PartitionData::default()
            .with_partition_index(2)
            .with_records(Some(Bytes::from(stored(5))));
        let topic = FetchableTopicResponse::default().with_partitions(vec![partition]);
        let answer = FetchResponse::default().with_session_id(9).with_responses(vec![topic]);
        let frame = protocol::encode::encode_response(1, frames::FETCH_VERSION, frames::CORRELATION_ID, &answer)
            .expect("answer");
        let mut found = Vec::new();
        let session_id = fetched(&frame[4..], |fetched| {
            found.push((fetched.partition, check_continuity(fetched.records, 5, true)?.0));
            Ok(())
        });
        assert_eq!(session_id.expect("no error"), 9);
        assert_eq!(found, [(2, 8)]);
        assert!(fetched(&frame[4..frame.len() - 8], |_| Ok(())).is_err(), "cut");
    }
}
