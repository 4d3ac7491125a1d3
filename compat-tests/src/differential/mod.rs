//! The differential test: the same requests to two brokers, whose answers are compared field by field.
//!
//! - `schema` and `codec` speak the protocol by a table of all fields, apart from the client library of the other tests;
//! - `script` reads the cases, `expression` the values in them, `edges` changes requests, `run` asks a broker;
//! - `records` and `normalise` bring answers into a form that can be compared, `recorded` keeps it in files;
//! - `differences` compares, and knows what may differ and why.

pub mod codec;
pub mod differences;
pub mod edges;
pub mod expression;
pub mod normalise;
pub mod recorded;
pub mod records;
pub mod run;
pub mod schema;
pub mod script;
