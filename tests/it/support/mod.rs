//! Modules that several tests use.

pub mod api;
pub mod client;
#[cfg(feature = "postgres")]
pub mod cluster;
pub mod dice;
pub mod directory;
#[cfg(target_os = "linux")]
pub mod proxy;
pub mod serving;
pub mod watched;
#[cfg(target_os = "linux")]
pub mod webdriver;
