//! One row of the config table: everything that parser, documentation, `--help` and DescribeConfigs know of a config.

use crate::config::check::Check;
use crate::config::value::{ConfigType, ConfigValue};

/// How often people touch the config, by Kafka's judgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Importance {
    /// Most installations set it.
    High,
    /// Some do.
    Medium,
    /// Few do.
    Low,
}

impl Importance {
    /// As documentation names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Medium => "medium",
            Self::Low => "low",
        }
    }
}

/// Whether Kafka lets the config be changed while the broker runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateMode {
    /// Only at the start.
    ReadOnly,
    /// For one broker.
    PerBroker,
    /// For one broker or for all.
    ClusterWide,
}

impl UpdateMode {
    /// As documentation names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::ReadOnly => "read-only",
            Self::PerBroker => "per-broker",
            Self::ClusterWide => "cluster-wide",
        }
    }
}

/// What the config changes in this broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The broker behaves by it.
    Acts,
    /// Known, parsed, checked and shown, so that configurations written for Kafka work; nothing else.
    Accepted,
}

/// A default that differs from Kafka's on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Kafka's default, as its documentation writes it.
    pub kafka_default: &'static str,
    /// Why ours is another.
    pub reason: &'static str,
}

/// One config.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConfigKey {
    /// Kafka's name; ours start with `monedula.`.
    pub name: &'static str,
    /// Type of the value.
    pub kind: ConfigType,
    /// Text of the default; `None` is null.
    pub default: Option<&'static str>,
    /// Kafka's importance.
    pub importance: Importance,
    /// Kafka's update mode, see [`ConfigKey::update`] for ours.
    pub kafka_update: UpdateMode,
    /// Accepted values beyond the type.
    pub check: Check,
    /// Whether it does anything.
    pub effect: Effect,
    /// Internal configs are not shown unless they are set.
    pub internal: bool,
    /// Set when the default is not Kafka's.
    pub difference: Option<Difference>,
    /// Why it cannot be changed while this broker runs, although Kafka can.
    pub fixed: Option<&'static str>,
    /// Why it can be changed for one broker while it runs, although Kafka cannot.
    pub live: Option<&'static str>,
    /// For a topic or group config: the broker configs that give its default, highest priority first.
    pub synonyms: &'static [&'static str],
    /// One sentence.
    doc: &'static str,
}

impl ConfigKey {
    /// What the config is, in one sentence.
    pub fn doc(&self) -> &'static str {
        self.doc.trim()
    }

    /// Sensitive values are never shown.
    pub fn is_sensitive(&self) -> bool {
        self.kind == ConfigType::Password
    }

    /// Whether it can be changed while the broker runs.
    pub fn can_change(&self) -> bool {
        self.update() != UpdateMode::ReadOnly && self.fixed.is_none()
    }

    /// For whom it can be changed while brokers run, `fixed` ones aside.
    pub fn update(&self) -> UpdateMode {
        if self.live.is_some() {
            UpdateMode::PerBroker
        } else {
            self.kafka_update
        }
    }

    /// Reads and checks `text`; the error says what is allowed.
    pub fn parse(&self, text: &str) -> Result<ConfigValue, String> {
        let value = ConfigValue::parse(self.kind, text)?;
        self.check.check(&value)?;
        Ok(value)
    }

    /// The default; `None` is null.
    ///
    /// # Panics
    /// When the table's default has not the table's type, which a test excludes.
    pub fn default_value(&self) -> Option<ConfigValue> {
        let parsed = self.default.map(|text| ConfigValue::parse(self.kind, text));
        parsed.map(|value| value.expect("defaults in the table have the type in the table"))
    }

    pub(super) const fn differs(mut self, kafka_default: &'static str, reason: &'static str) -> Self {
        self.difference = Some(Difference { kafka_default, reason });
        self
    }

    /// Acts at the start only, although Kafka changes it while it runs.
    pub(super) const fn fixed(mut self, why: &'static str) -> Self {
        self.fixed = Some(why);
        self
    }

    /// Changes for one broker while it runs, although Kafka reads it at the start only.
    pub(super) const fn live(mut self, why: &'static str) -> Self {
        self.live = Some(why);
        self
    }

    pub(super) const fn internal(mut self) -> Self {
        self.internal = true;
        self
    }

    pub(super) const fn synonyms(mut self, synonyms: &'static [&'static str]) -> Self {
        self.synonyms = synonyms;
        self
    }

    pub(super) const fn documented(mut self, doc: &'static str) -> Self {
        self.doc = doc;
        self
    }
}

/// A row that acts.
pub(super) const fn acting(
    name: &'static str,
    kind: ConfigType,
    default: Option<&'static str>,
    importance: Importance,
    kafka_update: UpdateMode,
    check: Check,
) -> ConfigKey {
    ConfigKey {
        name,
        kind,
        default,
        importance,
        kafka_update,
        check,
        effect: Effect::Acts,
        internal: false,
        difference: None,
        fixed: None,
        live: None,
        synonyms: &[],
        doc: "",
    }
}

/// A row that is only accepted.
pub(super) const fn accepted(
    name: &'static str,
    kind: ConfigType,
    default: Option<&'static str>,
    importance: Importance,
    kafka_update: UpdateMode,
    check: Check,
    doc: &'static str,
) -> ConfigKey {
    let mut key = acting(name, kind, default, importance, kafka_update, check);
    key.effect = Effect::Accepted;
    key.doc = doc;
    key
}
