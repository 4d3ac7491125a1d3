//! The goals that figures are held against: ratios to a floor or to Apache Kafka in the same run, and a few absolute
//! ones for memory and times.

/// What a figure of the broker is divided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Against {
    /// The same figure of another contestant.
    Contestant(&'static str),
    /// Nothing: the figure itself counts.
    Nothing,
}

/// Where the result has to lie.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Limit {
    AtMost(f64),
    AtLeast(f64),
}

/// One goal.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Goal {
    pub(crate) scenario: &'static str,
    pub(crate) figure: &'static str,
    pub(crate) against: Against,
    pub(crate) limit: Limit,
}

impl Limit {
    pub(crate) fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtMost(limit) => value <= limit,
            Self::AtLeast(limit) => value >= limit,
        }
    }

    pub(crate) fn text(self) -> String {
        match self {
            Self::AtMost(limit) => format!("≤ {limit}"),
            Self::AtLeast(limit) => format!("≥ {limit}"),
        }
    }
}

const fn ratio(scenario: &'static str, figure: &'static str, to: &'static str, at_most: f64) -> Goal {
    Goal {
        scenario,
        figure,
        against: Against::Contestant(to),
        limit: Limit::AtMost(at_most),
    }
}

const fn absolute(scenario: &'static str, figure: &'static str, at_most: f64) -> Goal {
    Goal {
        scenario,
        figure,
        against: Against::Nothing,
        limit: Limit::AtMost(at_most),
    }
}

const PER_GB: &str = "CPU-s per GB";
const PER_REQUEST: &str = "CPU-µs per request";

/// All goals.
pub(crate) const GOALS: &[Goal] = &[
    ratio("P1U", PER_REQUEST, "relay", 1.5),
    ratio("P1", PER_REQUEST, "echo", 1.0),
    ratio("P16", PER_GB, "relay", 1.5),
    ratio("P64", PER_GB, "relay", 1.6),
    ratio("P1M", PER_GB, "relay", 1.6),
    ratio("P16", PER_GB, "kafka", 0.5),
    ratio("P64", PER_GB, "kafka", 0.5),
    ratio("P1M", PER_GB, "kafka", 0.5),
    ratio("P100B", "CPU-s per million records", "kafka", 0.5),
    ratio("F1M", PER_GB, "sendfile", 1.5),
    ratio("F1M", PER_GB, "kafka", 1.0),
    ratio("FS", "CPU-µs per produce and fetch", "kafka", 1.0),
    ratio("L20", "CPU-µs per record", "kafka", 1.0),
    absolute("L100", "p99.99, µs", 10_000.0),
    Goal {
        scenario: "D64",
        figure: "durable appends per s",
        against: Against::Contestant("sync"),
        limit: Limit::AtLeast(4.0),
    },
    absolute("TX", "idempotent, times plain", 1.05),
    absolute("TX", "classic, 100 batches, times plain", 1.15),
    absolute("TX", "V2, 100 batches, times plain", 1.15),
    absolute("P16", "RSS, MB", 40.0),
    absolute("G", "partitions 1000, ratio", 1.3),
    absolute("G", "connections 1000, ratio", 2.0),
    absolute("C10k", "RSS with 10,000 connections, MB", 60.0),
    absolute("C10k", "RSS with 10,000 partitions, MB", 80.0),
    absolute("C10k", "idle CPU with 10,000 connections, % of a core", 0.1),
    absolute("C10k", "idle CPU with 10,000 partitions, % of a core", 0.1),
    absolute("R", "kill -9 at 1 GB, s", 1.0),
    absolute("R", "kill -9 at 4 GB, s", 1.0),
    absolute("R", "kill -9 at 16 GB, s", 1.0),
    absolute("R", "start with 10000 topics, s", 1.0),
    absolute("S", "idle RSS, MB", 15.0),
    absolute("S", "idle CPU, % of a core", 0.1),
    absolute("I", "user instructions per 1 kB produce", 5_000.0),
];
