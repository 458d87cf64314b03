//! Palisade from end to end: clusters of network namespaces, real packets, and scenarios held against three judges.

pub mod api;
pub mod clock;
pub mod cluster;
pub mod control_plane;
pub mod daemons;
pub mod demo;
pub mod hold;
pub mod http;
pub mod installation;
pub mod kubectl;
pub mod latency;
pub mod levels;
pub mod manifests;
pub mod namespaces;
pub mod objects;
pub mod opinion;
pub mod report;
pub mod rundir;
pub mod runner;
pub mod scale;
pub mod scenario;
pub mod services;
pub mod show;
pub mod status;
pub mod traffic;
