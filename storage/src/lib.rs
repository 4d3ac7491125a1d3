//! Partition logs on a local disk, in Kafka's file formats. Plain blocking calls; knows no topics' rights, groups or
//! network.

pub mod checkpoint;
pub mod config;
pub mod dir;
pub mod epoch;
pub mod epoch_file;
pub mod error;
pub mod flush;
pub mod io;
pub mod log;
pub mod producer;
mod segment;
