//! The broker spoken to without any client: bad input, and the corners of the protocol that clients seldom touch.
//!
//! Every test starts a broker of its own, or uses the one at `MONEDULA_COMPAT_ADDRESS`: each expectation was asked of Apache
//! Kafka 4.3.1 that way. **Invariant:** after whatever a test did, a second client on another connection is undisturbed;
//! [`Bench`] checks that at the end of each.

mod config_changes;
mod configs;
mod connections;
mod delete_groups;
mod delete_records;
mod fetch;
mod fetch_sessions;
mod group_admin;
mod groups;
mod log_dirs;
mod malformed;
mod offsets;
mod older;
mod oversized;
mod partitions;
mod pressure;
mod produce;
mod quorum;
mod quotas;
mod quotas_admin;
mod records;
mod samples;
mod sequences;
mod topic_checks;
mod topics;
mod txn_admin;
mod txn_codes;
mod txn_epochs;
mod txn_input;
mod txn_input_data;
mod txn_markers;
mod txn_offsets;
mod txn_order;
mod txn_reads;
mod txn_strangers;
mod txn_table;
mod txn_timeouts;
mod versions;

use std::ops::{Deref, DerefMut};
use std::thread;

use compat_tests::broker::Broker;
use compat_tests::requests::{fetch as fetch_all, new_topic, produce_values, values};
use compat_tests::wire::Connection;

/// A broker, a connection for the test, and a bystander who must not notice anything.
struct Bench {
    connection: Connection,
    bystander: Connection,
    topic: String,
    broker: Broker,
}

impl Bench {
    fn new() -> Self {
        Self::on(Broker::quick())
    }

    fn on(broker: Broker) -> Self {
        let mut bystander = broker.connect();
        let topic = new_topic(&mut bystander);
        produce_values(&mut bystander, &topic, &["before"]);
        Self {
            connection: broker.connect(),
            bystander,
            topic,
            broker,
        }
    }

    /// A further connection.
    fn connect(&self) -> Connection {
        self.broker.connect()
    }
}

impl Deref for Bench {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl DerefMut for Bench {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if thread::panicking() {
            return;
        }
        assert!(self.broker.is_alive(), "the broker ended");
        produce_values(&mut self.bystander, &self.topic, &["after"]);
        let data = fetch_all(&mut self.bystander, &self.topic, 0, 0);
        assert_eq!(values(&data), ["before", "after"], "the bystander was disturbed");
        let output = self.broker.output();
        assert!(!output.contains("panicked at"), "{output}");
    }
}
