//! File access: the traits and their implementations.

pub mod file_system;
pub mod std_fs;
