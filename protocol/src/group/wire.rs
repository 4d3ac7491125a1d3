//! Reads and writes the few primitive types of the consumer protocol, with the name of the field for errors.
//!
//! Invariant: a count is checked against the bytes left before anything is allocated for it.

use bytes::Bytes;

use super::{ConsumerProtocolError, TopicPartitions};

/// Takes fields from the front of a slice.
pub(super) struct Reader<'a> {
    remaining: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { remaining: bytes }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.remaining.is_empty()
    }

    pub(super) fn version(&mut self) -> Result<i16, ConsumerProtocolError> {
        match self.int16("version")? {
            version if version < 0 => Err(ConsumerProtocolError::UnsupportedVersion { version }),
            version => Ok(version),
        }
    }

    fn int16(&mut self, field: &'static str) -> Result<i16, ConsumerProtocolError> {
        self.chunk(field).map(i16::from_be_bytes)
    }

    pub(super) fn int32(&mut self, field: &'static str) -> Result<i32, ConsumerProtocolError> {
        self.chunk(field).map(i32::from_be_bytes)
    }

    pub(super) fn string(&mut self, field: &'static str) -> Result<String, ConsumerProtocolError> {
        self.nullable_string(field)?
            .ok_or(ConsumerProtocolError::Malformed { field })
    }

    pub(super) fn nullable_string(&mut self, field: &'static str) -> Result<Option<String>, ConsumerProtocolError> {
        let length = i32::from(self.int16(field)?);
        let Some(bytes) = self.nullable(length, field)? else {
            return Ok(None);
        };
        let string = std::str::from_utf8(bytes).map_err(|_| ConsumerProtocolError::Malformed { field })?;
        Ok(Some(string.to_owned()))
    }

    pub(super) fn nullable_bytes(&mut self, field: &'static str) -> Result<Option<Bytes>, ConsumerProtocolError> {
        let length = self.int32(field)?;
        Ok(self.nullable(length, field)?.map(Bytes::copy_from_slice))
    }

    /// A count of elements that take at least `min_element_bytes` each.
    pub(super) fn count(
        &mut self,
        min_element_bytes: usize,
        field: &'static str,
    ) -> Result<usize, ConsumerProtocolError> {
        let count = usize::try_from(self.int32(field)?).map_err(|_| ConsumerProtocolError::Malformed { field })?;
        if count > self.remaining.len() / min_element_bytes {
            return Err(ConsumerProtocolError::Malformed { field });
        }
        Ok(count)
    }

    pub(super) fn topic_partitions(
        &mut self,
        field: &'static str,
    ) -> Result<Vec<TopicPartitions>, ConsumerProtocolError> {
        // An empty name and an empty list take six bytes.
        let count = self.count(6, field)?;
        let mut topics = Vec::new();
        for _ in 0..count {
            let topic = self.string(field)?;
            let partition_count = self.count(4, field)?;
            let partitions = (0..partition_count)
                .map(|_| self.int32(field))
                .collect::<Result<_, _>>()?;
            topics.push(TopicPartitions { topic, partitions });
        }
        Ok(topics)
    }

    fn nullable(&mut self, length: i32, field: &'static str) -> Result<Option<&'a [u8]>, ConsumerProtocolError> {
        if length == -1 {
            return Ok(None);
        }
        let malformed = ConsumerProtocolError::Malformed { field };
        let length = usize::try_from(length).map_err(|_| malformed)?;
        let (bytes, rest) = self.remaining.split_at_checked(length).ok_or(malformed)?;
        self.remaining = rest;
        Ok(Some(bytes))
    }

    fn chunk<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], ConsumerProtocolError> {
        let malformed = ConsumerProtocolError::Malformed { field };
        let (chunk, rest) = self.remaining.split_first_chunk().ok_or(malformed)?;
        self.remaining = rest;
        Ok(*chunk)
    }
}

pub(super) fn write_string(
    output: &mut Vec<u8>,
    string: &str,
    field: &'static str,
) -> Result<(), ConsumerProtocolError> {
    let length = i16::try_from(string.len()).map_err(|_| ConsumerProtocolError::TooLong { field })?;
    output.extend_from_slice(&length.to_be_bytes());
    output.extend_from_slice(string.as_bytes());
    Ok(())
}

pub(super) fn write_nullable_string(
    output: &mut Vec<u8>,
    string: Option<&str>,
    field: &'static str,
) -> Result<(), ConsumerProtocolError> {
    match string {
        Some(string) => write_string(output, string, field),
        None => {
            output.extend_from_slice(&(-1i16).to_be_bytes());
            Ok(())
        }
    }
}

pub(super) fn write_nullable_bytes(
    output: &mut Vec<u8>,
    bytes: Option<&[u8]>,
    field: &'static str,
) -> Result<(), ConsumerProtocolError> {
    match bytes {
        Some(bytes) => {
            write_count(output, bytes.len(), field)?;
            output.extend_from_slice(bytes);
        }
        None => output.extend_from_slice(&(-1i32).to_be_bytes()),
    }
    Ok(())
}

pub(super) fn write_count(
    output: &mut Vec<u8>,
    count: usize,
    field: &'static str,
) -> Result<(), ConsumerProtocolError> {
    let count = i32::try_from(count).map_err(|_| ConsumerProtocolError::TooLong { field })?;
    output.extend_from_slice(&count.to_be_bytes());
    Ok(())
}

pub(super) fn write_topic_partitions(
    output: &mut Vec<u8>,
    topics: &[TopicPartitions],
    field: &'static str,
) -> Result<(), ConsumerProtocolError> {
    write_count(output, topics.len(), field)?;
    for topic in topics {
        write_string(output, &topic.topic, field)?;
        write_count(output, topic.partitions.len(), field)?;
        for partition in &topic.partitions {
            output.extend_from_slice(&partition.to_be_bytes());
        }
    }
    Ok(())
}
