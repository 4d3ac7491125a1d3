//! The quota on changes of partitions, as one request sees it.
//!
//! Invariants: strict refuses a change while one before it is not paid for, and never makes wait otherwise; permissive
//! never refuses, and makes wait. Source: Kafka's `StrictControllerMutationQuota`, `PermissiveControllerMutationQuota`.

use std::sync::{Arc, Mutex};

use crate::quota::clients::{QuotaKind, Quotas};
use crate::quota::limits::Client;

/// See the module. Clones are one.
#[derive(Debug, Clone, Default)]
pub struct MutationQuota {
    asked: Option<Arc<Asked>>,
}

#[derive(Debug)]
struct Asked {
    quotas: Arc<Quotas>,
    user: Box<str>,
    client_id: Box<str>,
    strict: bool,
    /// The latest wait, and when it began.
    wait: Mutex<(i32, i64)>,
}

/// The change is refused: THROTTLING_QUOTA_EXCEEDED (89).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the quota on changes of partitions is exceeded: ask again in {wait_ms} ms")]
pub struct QuotaExceeded {
    /// When it may be asked for again.
    pub wait_ms: i32,
}

impl MutationQuota {
    /// Of a client, for one request.
    pub fn new(quotas: &Arc<Quotas>, client: Client<'_>, strict: bool) -> Self {
        let asked = quotas.is_active(QuotaKind::ControllerMutation).then(|| {
            Arc::new(Asked {
                quotas: Arc::clone(quotas),
                user: client.user.into(),
                client_id: client.client_id.into(),
                strict,
                wait: Mutex::new((0, 0)),
            })
        });
        Self { asked }
    }

    /// Nobody's: everything is allowed.
    pub fn unbounded() -> Self {
        Self::default()
    }

    /// Asks for a change that creates or deletes so many partitions. To be asked when everything else allows it.
    ///
    /// # Errors
    /// When it has to be refused.
    pub fn charge(&self, partitions: usize, now_ms: i64) -> Result<(), QuotaExceeded> {
        let Some(asked) = &self.asked else {
            return Ok(());
        };
        let client = Client {
            user: &asked.user,
            client_id: &asked.client_id,
        };
        let charged = asked
            .quotas
            .charge_mutation(client, partitions as f64, asked.strict, now_ms);
        let wait_ms = charged.unwrap_or_else(|wait_ms| wait_ms);
        if wait_ms > 0 {
            *asked.wait.lock().expect("nobody panics with it") = (wait_ms, now_ms);
        }
        charged.map(drop).map_err(|wait_ms| QuotaExceeded { wait_ms })
    }

    /// What is left of the wait that the answer has to tell.
    pub fn throttle_time_ms(&self, now_ms: i64) -> i32 {
        let Some(asked) = &self.asked else { return 0 };
        let (wait_ms, began_ms) = *asked.wait.lock().expect("nobody panics with it");
        let left = i64::from(wait_ms) - (now_ms - began_ms).max(0);
        i32::try_from(left.max(0)).unwrap_or(i32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::image::quotas::{EntityName, QuotaEntity, QuotaKey};
    use crate::quota::clients::tests::quotas;

    /// One partition a second, so 11 at once.
    fn held() -> Arc<Quotas> {
        let entity = QuotaEntity::User(EntityName::Default);
        Arc::new(quotas(&[(entity, QuotaKey::ControllerMutationRate, 1.0)]))
    }

    fn ask(quotas: &Arc<Quotas>, strict: bool) -> MutationQuota {
        let client = Client {
            user: "u",
            client_id: "c",
        };
        MutationQuota::new(quotas, client, strict)
    }

    #[test]
    fn strict_refuses_the_change_after_the_one_too_many() {
        let quotas = held();
        let quota = ask(&quotas, true);
        assert_eq!(quota.charge(13, 0), Ok(()), "a change is never split");
        assert_eq!(quota.throttle_time_ms(0), 0);
        assert_eq!(quota.charge(1, 500), Err(QuotaExceeded { wait_ms: 1_500 }));
        assert_eq!(quota.throttle_time_ms(700), 1_300, "less the time since");
        assert_eq!(ask(&quotas, true).charge(1, 2_000), Ok(()));
    }

    #[test]
    fn permissive_makes_wait_and_refuses_nothing() {
        let quotas = held();
        let quota = ask(&quotas, false);
        assert_eq!(quota.charge(11, 0), Ok(()));
        assert_eq!(quota.throttle_time_ms(0), 0);
        assert_eq!(quota.charge(5, 0), Ok(()));
        assert_eq!(quota.throttle_time_ms(0), 5_000);
        assert_eq!(ask(&quotas, true).charge(1, 0), Err(QuotaExceeded { wait_ms: 5_000 }));
    }

    #[test]
    fn without_a_quota_everything_is_allowed() {
        let quota = ask(&Arc::new(quotas(&[])), true);
        assert_eq!(quota.charge(usize::MAX, 0), Ok(()));
        assert_eq!(quota.throttle_time_ms(0), 0);
        assert_eq!(MutationQuota::unbounded().charge(1, 0), Ok(()));
    }
}
