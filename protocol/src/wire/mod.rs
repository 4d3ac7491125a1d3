//! Hand-written codecs: of the two APIs that carry records, so that records are never copied between
//! socket and file, and of the versions that kafka-protocol has types but no codec for: newer ones that it does not know
//! yet, and older ones that it has dropped.
//!
//! Invariants: a request reader accepts a body exactly when the guard does (a test compares them);
//! what it reserves is bounded by the body's length; records and strings are slices of the frame.

pub mod fetch;
pub mod fetch_response;
mod offset_commit;
mod offset_fetch;
pub mod older;
pub mod produce;
mod reader;
pub mod write_txn_markers;
pub mod writer;

use std::any::Any;

use bytes::Bytes;
use kafka_protocol::messages::{OffsetCommitRequest, OffsetFetchRequest, WriteTxnMarkersRequest};
use kafka_protocol::protocol::Message;

use crate::decode::DecodeError;

/// Reads the requests of versions that kafka-protocol's decoder stops short of, on either side; `None` = it does not.
pub(crate) fn read_by_hand<R: Message + 'static>(version: i16, body: &Bytes) -> Result<Option<R>, DecodeError> {
    let mut request: Option<R> = None;
    if version < R::VERSIONS.min {
        older::read(&mut request, version, body)?;
    } else if version > R::VERSIONS.max {
        read_newer(&mut request, version, body)?;
    }
    Ok(request)
}

fn read_newer(slot: &mut dyn Any, version: i16, body: &Bytes) -> Result<(), DecodeError> {
    if let Some(slot) = slot.downcast_mut::<Option<OffsetCommitRequest>>() {
        *slot = Some(offset_commit::read(body)?);
    } else if let Some(slot) = slot.downcast_mut::<Option<OffsetFetchRequest>>() {
        *slot = Some(offset_fetch::read(body)?);
    } else if let Some(slot) = slot.downcast_mut::<Option<WriteTxnMarkersRequest>>() {
        *slot = Some(write_txn_markers::WriteTxnMarkersRequest::read(version, body)?.in_their_fields());
    }
    Ok(())
}
