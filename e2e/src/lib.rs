//! Palisade from end to end: clusters of network namespaces, real packets, and scenarios held against three judges.

pub mod cluster;
pub mod daemons;
pub mod demo;
pub mod hold;
pub mod http;
pub mod latency;
pub mod levels;
pub mod manifests;
pub mod namespaces;
pub mod report;
pub mod rundir;
pub mod runner;
pub mod scenario;
pub mod services;
pub mod show;
pub mod traffic;
