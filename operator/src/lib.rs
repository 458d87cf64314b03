//! The operator: takes objects in, compiles them, serves every node its share, and tells what it knows.
//!
//! [`run`] is the map; the rest are leaves that know the [`hub`] and not each other.

pub mod admin;
pub mod args;
pub mod authority;
pub mod batch;
mod changes;
pub mod engine;
pub mod explain;
pub mod hub;
pub mod identity;
pub mod leader;
pub mod manifests;
pub mod metrics;
pub mod progress;
pub mod review;
pub mod reviewed;
pub mod run;
mod said;
pub mod serve;
pub mod state;
pub mod status;
pub mod watch;
