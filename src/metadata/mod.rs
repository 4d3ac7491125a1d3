//! Cluster metadata: the commands that change it, the immutable image they build, and its publication.
//!
//! Invariants: an image is never changed after it was published; the same commands in the same order give the same
//! image on every node (no clock, no randomness, no unordered iteration here); nothing in this module does IO.

pub mod apply;
pub mod codec;
pub mod command;
pub mod command_codec;
pub mod delta;
pub mod features;
pub mod image;
pub mod publisher;
pub mod topic_name;
