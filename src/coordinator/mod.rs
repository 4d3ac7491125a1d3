//! x
pub mod group;
