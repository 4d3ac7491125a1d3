//! Runs stock Kafka clients and hand-made frames against the real broker binary.
//!
//! - `broker` starts, kills and restarts the binary on a free port and an empty directory;
//! - `client`, `installer` and `librdkafka` install the clients of `clients.txt`, `matrix` runs each scenario of
//!   `scenarios/` with each of them, `report` writes what came of it, with times, and `compatibility` what is committed;
//! - `requests`, `admin` and `transactions` build what most tests ask;
//! - `suites` lists other projects' own tests, and what does not pass of them and why;
//! - `image` builds the container image and runs it, `container_modules` are the Kafka modules of Testcontainers;
//! - `workload` and `checker` put stock clients and the broker under kills and pauses, and find what must not happen;
//! - `kafka_tools` plays sessions with Apache Kafka's own command line tools;
//! - `differential` compares answers with those of Apache Kafka, field by field;
//! - `wire` and `batch` speak the protocol without any client, for what no client would send.
//!
//! **Invariant:** nothing here uses the broker's own crates, so that no mistake is made on both sides alike.
//! Adding a scenario is adding one small file under `scenarios/<client>`, or under `scenarios/shared` for every client that
//! has a worker; see `matrix` for the directives it may carry.

pub mod admin;
pub mod arguments;
pub mod batch;
pub mod broker;
pub mod checker;
pub mod client;
pub mod compatibility;
pub mod container_modules;
pub mod differential;
pub mod image;
pub mod installer;
pub mod kafka_tools;
pub mod librdkafka;
pub mod matrix;
pub mod report;
pub mod requests;
pub mod suites;
pub mod transactions;
pub mod wire;
pub mod workload;
