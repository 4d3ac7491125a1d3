//! The lines of Kafka's log by which scripts and test libraries know that a broker is ready.
//!
//! Invariants: pure; the order is that of Kafka's start. Who waits for which: Testcontainers for Java and Go for the state
//! that becomes RUNNING; for Python without KRaft, for .NET and for older Kafkas from Java, `[KafkaServer id=1] started`; for
//! Rust and for Python with KRaft, `Kafka Server started`; the Rust module for Confluent's image for the first line, which
//! was ZooKeeper's, and for the last when it has set `advertised.listeners`.

use protocol::types::BrokerId;

/// All of them, without a line end behind the last.
pub(super) fn of_kafka(node_id: BrokerId) -> String {
    [
        "Creating new log file".to_owned(),
        format!("[BrokerLifecycleManager id={node_id}] Transitioning from RECOVERY to RUNNING"),
        format!("[KafkaServer id={node_id}] started"),
        "Kafka Server started".to_owned(),
        format!("[Controller id={node_id}] Checking need to trigger auto leader balancing"),
    ]
    .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_come_in_the_order_of_a_start() {
        let lines = of_kafka(7);
        let places: Vec<_> = [
            "Creating new log file",
            "Transitioning from RECOVERY to RUNNING",
            "[KafkaServer id=7] started",
            "Kafka Server started",
            "Checking need to trigger auto leader balancing",
        ]
        .iter()
        .map(|text| lines.find(text).expect("printed"))
        .collect();
        assert!(places.is_sorted(), "{lines}");
    }
}
