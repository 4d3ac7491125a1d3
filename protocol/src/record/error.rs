//! What can be wrong with a record batch, and the error code each fault gets.
//!
//! Invariant: the mapping to codes is total and stands only here. Codes follow what Apache Kafka answers to a produce
//! (`LogValidator`, `UnifiedLog.analyzeAndValidateRecords`, `ProduceRequest.validateRecords`).

use crate::compress::CompressError;
use crate::error_code::ErrorCode;

/// Why a batch is not accepted or cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// The bytes end before the batch does.
    #[error("the record batch is cut: {available} of {needed} bytes")]
    Incomplete {
        /// Bytes that the batch, or at first its header, must have.
        needed: usize,
        /// Bytes that are there.
        available: usize,
    },
    /// A format other than v2.
    #[error("record batches of magic {magic} are not supported, only magic 2")]
    UnsupportedMagic {
        /// The magic found.
        magic: i8,
    },
    /// A header that contradicts itself.
    #[error("the record batch is corrupt: {reason}")]
    Corrupt {
        /// What is wrong.
        reason: &'static str,
    },
    /// The bytes are not the ones the CRC was made of.
    #[error("the record batch is corrupt: stored CRC {stored:#010x}, computed {computed:#010x}")]
    CrcMismatch {
        /// The header's CRC.
        stored: u32,
        /// The CRC of the bytes.
        computed: u32,
    },
    /// The batch is larger than the topic allows.
    #[error("the record batch has {size_bytes} bytes, more than the allowed {max_bytes}")]
    TooLarge {
        /// Size as sent, with its header.
        size_bytes: usize,
        /// `max.message.bytes`.
        max_bytes: usize,
    },
    /// The records grow beyond the limit when decompressed.
    #[error("the record batch has more than the allowed {max_bytes} bytes when decompressed")]
    DecompressedTooLarge {
        /// The limit.
        max_bytes: usize,
    },
    /// A codec that does not exist, or that the request's version does not allow.
    #[error("compression type {id} is not supported here")]
    UnsupportedCompression {
        /// The codec bits.
        id: u8,
    },
    /// The batch as a whole or some of its records break a rule.
    #[error("{message}")]
    InvalidRecord {
        /// For the client's user.
        message: String,
        /// Index in the batch and fault, for the first offending records; empty if the batch as a whole is at fault.
        record_errors: Vec<(i32, String)>,
    },
    /// Timestamps outside of what the topic allows, or of the wrong type.
    #[error("{message}")]
    InvalidTimestamp {
        /// For the client's user.
        message: String,
        /// Index in the batch and fault, for the first offending records.
        record_errors: Vec<(i32, String)>,
    },
}

impl BatchError {
    /// A fault of the batch as a whole.
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::InvalidRecord {
            message: message.into(),
            record_errors: Vec::new(),
        }
    }

    /// The code that goes to the client.
    pub fn error_code(&self) -> ErrorCode {
        match self {
            // Kafka's iterator sees no batch at all in a cut one, and answers that there must be one.
            Self::Incomplete { .. } | Self::InvalidRecord { .. } => ErrorCode::InvalidRecord,
            // 0 and 1 were formats once; anything else never was one.
            Self::UnsupportedMagic { magic: 0 | 1 } => ErrorCode::InvalidRecord,
            Self::UnsupportedMagic { .. } | Self::Corrupt { .. } | Self::CrcMismatch { .. } => {
                ErrorCode::CorruptMessage
            }
            Self::TooLarge { .. } | Self::DecompressedTooLarge { .. } => ErrorCode::MessageTooLarge,
            Self::UnsupportedCompression { .. } => ErrorCode::UnsupportedCompressionType,
            Self::InvalidTimestamp { .. } => ErrorCode::InvalidTimestamp,
        }
    }

    /// The offending records, bounded in number; empty if the batch as a whole is at fault.
    pub fn record_errors(&self) -> &[(i32, String)] {
        match self {
            Self::InvalidRecord { record_errors, .. } | Self::InvalidTimestamp { record_errors, .. } => record_errors,
            _ => &[],
        }
    }
}

impl From<CompressError> for BatchError {
    fn from(error: CompressError) -> Self {
        match error {
            CompressError::TooLarge { max_bytes } => Self::DecompressedTooLarge { max_bytes },
            CompressError::Malformed { codec, reason } => {
                Self::invalid(format!("the records cannot be decompressed with {codec}: {reason}"))
            }
        }
    }
}

impl From<BatchError> for ErrorCode {
    fn from(error: BatchError) -> Self {
        error.error_code()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_has_kafkas_code() {
        let record_errors = vec![(3, "why".to_owned())];
        let cases = [
            (
                BatchError::Incomplete {
                    needed: 61,
                    available: 3,
                },
                ErrorCode::InvalidRecord,
            ),
            (BatchError::UnsupportedMagic { magic: 0 }, ErrorCode::InvalidRecord),
            (BatchError::UnsupportedMagic { magic: 1 }, ErrorCode::InvalidRecord),
            (BatchError::UnsupportedMagic { magic: 3 }, ErrorCode::CorruptMessage),
            (BatchError::Corrupt { reason: "" }, ErrorCode::CorruptMessage),
            (
                BatchError::CrcMismatch { stored: 1, computed: 2 },
                ErrorCode::CorruptMessage,
            ),
            (
                BatchError::TooLarge {
                    size_bytes: 2,
                    max_bytes: 1,
                },
                ErrorCode::MessageTooLarge,
            ),
            (
                BatchError::DecompressedTooLarge { max_bytes: 1 },
                ErrorCode::MessageTooLarge,
            ),
            (
                BatchError::UnsupportedCompression { id: 7 },
                ErrorCode::UnsupportedCompressionType,
            ),
            (BatchError::invalid("x"), ErrorCode::InvalidRecord),
            (
                BatchError::InvalidRecord {
                    message: String::new(),
                    record_errors: record_errors.clone(),
                },
                ErrorCode::InvalidRecord,
            ),
            (
                BatchError::InvalidTimestamp {
                    message: String::new(),
                    record_errors: record_errors.clone(),
                },
                ErrorCode::InvalidTimestamp,
            ),
        ];
        for (error, code) in cases {
            assert_eq!(error.error_code(), code, "{error:?}");
        }
        let error = BatchError::InvalidTimestamp {
            message: String::new(),
            record_errors: record_errors.clone(),
        };
        assert_eq!(error.record_errors(), record_errors);
        assert!(BatchError::invalid("x").record_errors().is_empty());
    }
}
