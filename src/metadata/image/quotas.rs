//! Quotas of clients: by user, by client id, by both, and by address, each with a name or as the default.
//!
//! Invariants: an entity without values is not in the map; an entity holds only keys that its kind knows
//! ([`QuotaKey::suits`]); the address of an entity was found out by the proposer, so that no node asks a name server
//! while it applies. Source: Kafka's `ClientQuotaControlManager`, `ClientQuotasImage`, KIP-546.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// One part of an entity.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum EntityName {
    /// All that have no entity of their own.
    Default,
    /// This one.
    Named(String),
}

impl EntityName {
    /// The name; `None` is the default.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Default => None,
            Self::Named(name) => Some(name),
        }
    }
}

impl From<Option<String>> for EntityName {
    fn from(name: Option<String>) -> Self {
        name.map_or(Self::Default, Self::Named)
    }
}

/// What a part of an entity names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EntityKind {
    /// The name of a user's principal.
    User,
    /// What a client calls itself.
    ClientId,
    /// An address that connects.
    Ip,
}

impl EntityKind {
    /// The kind of this name.
    pub fn find(name: &str) -> Option<Self> {
        [Self::User, Self::ClientId, Self::Ip]
            .into_iter()
            .find(|kind| kind.name() == name)
    }

    /// Kafka's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::ClientId => "client-id",
            Self::Ip => "ip",
        }
    }
}

/// Whom a quota is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum QuotaEntity {
    /// All clients of a user together.
    User(EntityName),
    /// All clients of a client id together.
    ClientId(EntityName),
    /// The clients of a user with a client id.
    UserClientId(EntityName, EntityName),
    /// An address, or a host name with one.
    Ip(EntityName),
}

impl QuotaEntity {
    /// Its parts, in Kafka's order.
    pub fn parts(&self) -> impl Iterator<Item = (EntityKind, &EntityName)> {
        let (first, second) = match self {
            Self::User(user) => ((EntityKind::User, user), None),
            Self::ClientId(client_id) => ((EntityKind::ClientId, client_id), None),
            Self::UserClientId(user, client_id) => ((EntityKind::User, user), Some((EntityKind::ClientId, client_id))),
            Self::Ip(ip) => ((EntityKind::Ip, ip), None),
        };
        [Some(first), second].into_iter().flatten()
    }

    /// The part of this kind.
    pub fn part(&self, kind: EntityKind) -> Option<&EntityName> {
        self.parts().find(|(found, _)| *found == kind).map(|(_, name)| name)
    }
}

/// What is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum QuotaKey {
    /// Bytes per second of Produce requests.
    ProducerByteRate,
    /// Bytes per second of Fetch responses.
    ConsumerByteRate,
    /// Percent of one thread's time.
    RequestPercentage,
    /// Partitions created or deleted per second.
    ControllerMutationRate,
    /// Connections per second.
    ConnectionCreationRate,
}

impl QuotaKey {
    /// All.
    pub const ALL: [Self; 5] = [
        Self::ProducerByteRate,
        Self::ConsumerByteRate,
        Self::RequestPercentage,
        Self::ControllerMutationRate,
        Self::ConnectionCreationRate,
    ];

    /// The key of this name.
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|key| key.name() == name)
    }

    /// Kafka's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::ProducerByteRate => "producer_byte_rate",
            Self::ConsumerByteRate => "consumer_byte_rate",
            Self::RequestPercentage => "request_percentage",
            Self::ControllerMutationRate => "controller_mutation_rate",
            Self::ConnectionCreationRate => "connection_creation_rate",
        }
    }

    /// Whether an entity of this kind can have it.
    pub fn suits(self, entity: &QuotaEntity) -> bool {
        (self == Self::ConnectionCreationRate) == matches!(entity, QuotaEntity::Ip(_))
    }
}

/// A bound above zero. Compared by its bits, so that what holds it can be compared.
#[derive(Debug, Clone, Copy)]
pub struct QuotaBound(pub f64);

impl PartialEq for QuotaBound {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_bits() == other.0.to_bits()
    }
}

impl Eq for QuotaBound {}

/// The quotas of one entity.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct QuotaImage {
    /// The address that an [`QuotaEntity::Ip`] with a name stands for.
    pub address: Option<IpAddr>,
    /// The bounds.
    pub values: BTreeMap<QuotaKey, QuotaBound>,
}

/// Quotas by entity: read far more often than changed, so the whole is one shared map.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct QuotasImage {
    by_entity: Arc<BTreeMap<QuotaEntity, QuotaImage>>,
}

impl QuotasImage {
    /// The entity's quotas.
    pub fn get(&self, entity: &QuotaEntity) -> Option<&QuotaImage> {
        self.by_entity.get(entity)
    }

    /// All, sorted by entity.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&QuotaEntity, &QuotaImage)> {
        self.by_entity.iter()
    }

    /// How many entities have quotas.
    pub fn len(&self) -> usize {
        self.by_entity.len()
    }

    /// Whether no quota is set.
    pub fn is_empty(&self) -> bool {
        self.by_entity.is_empty()
    }

    /// Whether nothing changed from one to the other; told by their address, at no cost.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.by_entity, &other.by_entity)
    }

    pub(in crate::metadata) fn set(&mut self, entity: QuotaEntity, quotas: QuotaImage) {
        let unchanged = match self.by_entity.get(&entity) {
            Some(old) => *old == quotas,
            None => quotas.values.is_empty(),
        };
        if unchanged {
            return;
        }
        let by_entity = Arc::make_mut(&mut self.by_entity);
        if quotas.values.is_empty() {
            by_entity.remove(&entity);
        } else {
            by_entity.insert(entity, quotas);
        }
    }
}
