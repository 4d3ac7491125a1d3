//! File access: the traits and their implementations.

pub mod file_system;
pub(crate) mod patience;
pub mod sim_fs;
pub mod std_fs;

#[cfg(test)]
mod conformance;
