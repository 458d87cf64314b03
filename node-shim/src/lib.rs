//! The node's daemon: it takes its compiled policies from the operator and keeps them in force in the kernel.
//!
//! ```text
//! link -> collect -> hold -> plan (palisade-ruleset) -> apply
//!                      \-> state on disk
//! ```
//!
//! It decides no policy and knows no Kubernetes: [`run`] is the map, every other module a leaf.

pub mod apply;
pub mod args;
pub mod cleanup;
pub mod collect;
pub mod enforce;
pub mod health;
pub mod hold;
pub mod link;
pub mod probe;
mod process;
pub mod run;
pub mod state;
