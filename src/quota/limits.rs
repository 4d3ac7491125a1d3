//! Which quota holds for a client, and which clients share it.
//!
//! Invariant: the order of precedence is Kafka's: (user, client id), (user, default client id), user, (default user,
//! client id), (default user, default client id), default user, client id, default client id. Clients that a quota of a
//! user holds for share one sensor, all others have one for each of their (user, client id) or client ids. A client
//! without an id has only quotas of users. Source: `ClientQuotaManager.DefaultQuotaCallback`.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::collections::BTreeMap;

use crate::metadata::image::quotas::{EntityName, QuotaEntity, QuotaKey, QuotasImage};

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client<'a> {
    /// Name of the principal.
    pub user: &'a str,
    /// What it calls itself; "" = nothing.
    pub client_id: &'a str,
}

/// What tells sensors apart: a user, a client id, or both; "" = all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tags<'a> {
    /// The user, or "".
    pub user: &'a str,
    /// The client id, or "".
    pub client_id: &'a str,
}

#[derive(Debug, Clone, Default, PartialEq)]
struct ByName {
    named: BTreeMap<Box<str>, f64>,
    default: Option<f64>,
}

impl ByName {
    fn set(&mut self, name: &EntityName, bound: f64) {
        match name.name() {
            Some(name) => drop(self.named.insert(name.into(), bound)),
            None => self.default = Some(bound),
        }
    }

    fn get(&self, name: &str) -> Option<f64> {
        self.named.get(name).copied().or(self.default)
    }

    fn is_empty(&self) -> bool {
        self.named.is_empty() && self.default.is_none()
    }
}

/// All bounds of one key.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Limits {
    users: ByName,
    client_ids: ByName,
    /// Client ids of single users.
    of_users: BTreeMap<Box<str>, ByName>,
    /// Client ids of the default user.
    of_default_user: ByName,
}

impl Limits {
    /// The bounds of `key`.
    pub fn of(image: &QuotasImage, key: QuotaKey) -> Self {
        let mut limits = Self::default();
        for (entity, quotas) in image.iter() {
            let Some(bound) = quotas.values.get(&key).map(|bound| bound.0) else {
                continue;
            };
            match entity {
                QuotaEntity::User(user) => limits.users.set(user, bound),
                QuotaEntity::ClientId(client_id) => limits.client_ids.set(client_id, bound),
                QuotaEntity::UserClientId(user, client_id) => limits.client_ids_of(user).set(client_id, bound),
                QuotaEntity::Ip(_) => {}
            }
        }
        limits
    }

    fn client_ids_of(&mut self, user: &EntityName) -> &mut ByName {
        match user.name() {
            Some(user) => self.of_users.entry(user.into()).or_default(),
            None => &mut self.of_default_user,
        }
    }

    /// Whether there is no bound.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The sensor that the client has, with its bound; `None` when it may do as it likes.
    pub fn find<'a>(&self, client: Client<'a>) -> Option<(Tags<'a>, f64)> {
        let tags = self.tags(client);
        Some((tags, self.bound(tags)?))
    }

    /// The bound of a sensor.
    pub fn bound(&self, tags: Tags<'_>) -> Option<f64> {
        match (tags.user, tags.client_id) {
            ("", "") => None,
            ("", client_id) => self.client_ids.get(client_id),
            (user, "") => self.users.get(user),
            (user, client_id) => {
                let own = self.of_users.get(user).and_then(|own| own.get(client_id));
                own.or_else(|| self.of_default_user.get(client_id))
            }
        }
    }

    fn tags<'a>(&self, client: Client<'a>) -> Tags<'a> {
        let Client { user, client_id } = client;
        let both = Tags { user, client_id };
        let of_user = Tags { user, client_id: "" };
        let of_client_id = Tags { user: "", client_id };
        let pairs = !(self.of_users.is_empty() && self.of_default_user.is_empty());
        match (pairs, !self.users.is_empty(), !self.client_ids.is_empty()) {
            (false, false, _) => of_client_id,
            (false, true, false) => of_user,
            (true, false, false) => both,
            _ if self.of_users.get(user).and_then(|own| own.get(client_id)).is_some() => both,
            _ if self.users.named.contains_key(user) => of_user,
            _ if self.of_default_user.get(client_id).is_some() => both,
            _ if self.users.default.is_some() => of_user,
            _ => of_client_id,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::metadata::apply::apply;
    use crate::metadata::command::{AlterClientQuotas, Command, QuotaChange};
    use crate::metadata::image::MetadataImage;
    use crate::metadata::image::quotas::QuotaBound;

    /// Quotas as an operator sets them.
    pub(crate) fn image_of(quotas: &[(QuotaEntity, QuotaKey, f64)]) -> QuotasImage {
        let mut image = MetadataImage::default();
        let changes = quotas.iter().map(|(entity, key, bound)| QuotaChange {
            entity: entity.clone(),
            address: None,
            values: [(*key, Some(QuotaBound(*bound)))].into(),
        });
        let alter = AlterClientQuotas {
            changes: changes.collect(),
            max_entities: 1_000,
        };
        apply(&mut image, 1, &Command::AlterClientQuotas(alter));
        image.quotas
    }

    fn named(name: &str) -> EntityName {
        EntityName::Named(name.to_owned())
    }

    /// The eight kinds of entities that can hold for user `u` with client id `c`, in the order of precedence.
    fn levels() -> [QuotaEntity; 8] {
        use EntityName::Default;
        use QuotaEntity::{ClientId, User, UserClientId};
        [
            UserClientId(named("u"), named("c")),
            UserClientId(named("u"), Default),
            User(named("u")),
            UserClientId(Default, named("c")),
            UserClientId(Default, Default),
            User(Default),
            ClientId(named("c")),
            ClientId(Default),
        ]
    }

    #[test]
    fn the_first_level_that_is_set_holds_in_every_combination() {
        let client = Client {
            user: "u",
            client_id: "c",
        };
        for set in 0..256_u32 {
            let quotas: Vec<_> = (0..)
                .zip(levels())
                .filter(|(level, _)| set & (1 << level) != 0)
                .map(|(level, entity)| (entity, QuotaKey::ProducerByteRate, f64::from(level) + 1.0))
                .collect();
            let limits = Limits::of(&image_of(&quotas), QuotaKey::ProducerByteRate);
            let first = quotas.first().map(|(_, _, bound)| *bound);
            let found = limits.find(client);
            assert_eq!(found.map(|(_, bound)| bound), first, "{quotas:?}");
            let shared_by = found.map(|(tags, _)| (tags.user, tags.client_id));
            let expected = quotas.first().map(|(entity, ..)| match entity {
                QuotaEntity::UserClientId(..) => ("u", "c"),
                QuotaEntity::User(_) => ("u", ""),
                _ => ("", "c"),
            });
            assert_eq!(shared_by, expected, "{quotas:?}");
            assert_eq!(limits.is_empty(), set == 0);
            assert!(Limits::of(&image_of(&quotas), QuotaKey::ConsumerByteRate).is_empty());
        }
    }

    #[test]
    fn a_client_without_an_id_has_only_quotas_of_users() {
        let client = Client {
            user: "u",
            client_id: "",
        };
        for (level, entity) in levels().into_iter().enumerate() {
            let of_user = matches!(entity, QuotaEntity::User(_));
            let limits = Limits::of(
                &image_of(&[(entity, QuotaKey::ConsumerByteRate, 1.0)]),
                QuotaKey::ConsumerByteRate,
            );
            assert_eq!(limits.find(client).is_some(), of_user, "level {level}");
        }
    }

    #[test]
    fn others_are_not_held() {
        let limits = |entity| {
            Limits::of(
                &image_of(&[(entity, QuotaKey::RequestPercentage, 1.0)]),
                QuotaKey::RequestPercentage,
            )
        };
        let other = Client {
            user: "v",
            client_id: "d",
        };
        for (level, entity) in levels().into_iter().enumerate() {
            let held = [4, 5, 7].contains(&level);
            assert_eq!(limits(entity).find(other).is_some(), held, "level {level}");
        }
    }
}
