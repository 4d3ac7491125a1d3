//! Quotas: how much a client may do, and how long it is made to wait for what it did.
//!
//! Invariants: pure but for the short locks of [`clients::Quotas`] and [`connections::ConnectionRates`]; time comes in
//! as an argument; without a quota of its kind nothing is recorded, and asking costs one relaxed load; what is
//! remembered of clients is bounded, whatever they call themselves. Sources: Kafka's `ClientQuotaManager`,
//! `ClientRequestQuotaManager`, `ControllerMutationQuotaManager`, `ConnectionQuotas`; KIP-13, 55, 124, 219, 599, 612.

pub mod clients;
pub mod connections;
pub mod limits;
pub mod mutations;
pub mod rate;
pub mod sensors;
pub mod token_bucket;
