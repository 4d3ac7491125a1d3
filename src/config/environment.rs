//! `KAFKA_*` environment variables as configs, the habit of Kafka's container images (`KafkaDockerWrapper`).
//!
//! `KAFKA_LOG_DIRS` is `log.dirs`: `_` stands for `.`, `__` for `_`, `___` for `-`. `KAFKA_CFG_LOG_DIRS`, as Bitnami's
//! image has it, is the same and wins over it.
//! Invariant: variables that start scripts, the JVM or Kubernetes mean for themselves are passed over in silence.

use std::ffi::OsString;

/// Variables with the prefix that are no configs: those of Kafka's start scripts and images.
const SCRIPTS: &[&str] = &[
    "KAFKA_CLASSPATH",
    "KAFKA_DATA_DIR",
    "KAFKA_DEBUG",
    "KAFKA_ENABLE_KRAFT",
    "KAFKA_GC_LOG_OPTS",
    "KAFKA_HEAP_OPTS",
    "KAFKA_HOME",
    "KAFKA_HOST",
    "KAFKA_JVM_PERFORMANCE_OPTS",
    "KAFKA_KRAFT_CLUSTER_ID",
    "KAFKA_MODE",
    "KAFKA_OPTS",
    "KAFKA_PORT",
    "KAFKA_REST_HOST",
    "KAFKA_USER",
    "KAFKA_VERSION",
];

/// How Bitnami's image marks the variables that are configs.
const MARKED: &str = "KAFKA_CFG_";

/// Beginnings of such variables. `KAFKA_REST_` is for the proxy in Confluent's local image. Kubernetes makes `KAFKA_SERVICE_HOST`, `KAFKA_PORT_9092_TCP` and so on for a service
/// named kafka.
const FAMILIES: &[&str] = &[
    "KAFKA_JMX_",
    "KAFKA_LOG4J_",
    "KAFKA_TOOLS_LOG4J_",
    "KAFKA_PORT_",
    "KAFKA_SERVICE_",
    "KAFKA_CLUSTER_ID",
    "KAFKA_REST_",
];

/// The variables that may be configs, those that win last. One that is not UTF-8 is read with replacement characters, so that its check
/// refuses it with a sentence.
pub fn variables(all: impl IntoIterator<Item = (OsString, OsString)>) -> Vec<(String, String)> {
    let texts = all.into_iter().map(|(name, value)| {
        (
            name.to_string_lossy().into_owned(),
            value.to_string_lossy().into_owned(),
        )
    });
    let mut found: Vec<_> = texts.filter(|(name, _)| name.starts_with("KAFKA_")).collect();
    // two variables may mean one config: which of them counts must not depend on the order of the environment
    found.sort_by(|(left, _), (right, _)| (left.starts_with(MARKED), left).cmp(&(right.starts_with(MARKED), right)));
    found
}

/// The config that the variable means, or `None` when it means none.
pub fn config_name(variable: &str) -> Option<String> {
    let rest = variable
        .strip_prefix(MARKED)
        .or_else(|| variable.strip_prefix("KAFKA_"))?;
    if rest.is_empty() || SCRIPTS.contains(&variable) || FAMILIES.iter().any(|family| variable.starts_with(family)) {
        return None;
    }
    let mut name = String::with_capacity(rest.len());
    let mut underscores = 0;
    for c in rest.chars().chain(std::iter::once('\0')) {
        if c == '_' && underscores < 3 {
            underscores += 1;
            continue;
        }
        match underscores {
            0 => {}
            1 => name.push('.'),
            2 => name.push('_'),
            _ => name.push('-'),
        }
        underscores = usize::from(c == '_');
        if underscores == 0 && c != '\0' {
            name.extend(c.to_lowercase());
        }
    }
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_translated() {
        for (variable, expected) in [
            ("KAFKA_LOG_DIRS", "log.dirs"),
            ("KAFKA_NODE_ID", "node.id"),
            ("KAFKA_A__B", "a_b"),
            ("KAFKA_A___B", "a-b"),
            ("KAFKA_A____B", "a-.b"),
            ("KAFKA_A_", "a."),
            ("KAFKA_CFG_LOG_DIRS", "log.dirs"),
            ("KAFKA_CFG_A___B", "a-b"),
            ("KAFKA_CFGS", "cfgs"),
            (
                "KAFKA_LISTENER_NAME_SASL__SSL_PLAIN_SASL_JAAS_CONFIG",
                "listener.name.sasl_ssl.plain.sasl.jaas.config",
            ),
        ] {
            assert_eq!(config_name(variable).as_deref(), Some(expected), "{variable}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn bytes_that_are_no_text_do_not_end_the_start() {
        use std::os::unix::ffi::OsStringExt;
        let odd = OsString::from_vec(vec![0xff]);
        let all = [
            (odd.clone(), odd.clone()),
            ("KAFKA_NODE_ID".into(), odd),
            ("PATH".into(), "/bin".into()),
        ];
        assert_eq!(variables(all), [("KAFKA_NODE_ID".to_owned(), "\u{fffd}".to_owned())]);
    }

    #[test]
    fn marked_variables_come_last_whatever_the_order() {
        let all = ["KAFKA_CFG_NUM_PARTITIONS", "KAFKA_NUM_PARTITIONS", "KAFKA_CFG_LOG_DIRS"].map(OsString::from);
        let names = |all: Vec<OsString>| {
            let found = variables(all.into_iter().map(|name| (name, OsString::new())));
            found.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
        };
        let expected = ["KAFKA_NUM_PARTITIONS", "KAFKA_CFG_LOG_DIRS", "KAFKA_CFG_NUM_PARTITIONS"];
        assert_eq!(names(all.to_vec()), expected);
        assert_eq!(names(all.iter().rev().cloned().collect()), expected);
    }

    #[test]
    fn other_variables_are_passed_over() {
        for variable in [
            "PATH",
            "KAFKA_",
            "KAFKA_CFG_",
            "KAFKA_ENABLE_KRAFT",
            "KAFKA_HEAP_OPTS",
            "KAFKA_JMX_PORT",
            "KAFKA_LOG4J_ROOT_LOGLEVEL",
            "KAFKA_PORT",
            "KAFKA_PORT_9092_TCP_ADDR",
            "KAFKA_REST_BOOTSTRAP_SERVERS",
            "KAFKA_SERVICE_HOST",
            "kafka_log_dirs",
        ] {
            assert_eq!(config_name(variable), None, "{variable}");
        }
    }
}
