//! The server as kube's client and watcher see it. What holds here holds for kube-apiserver, apart from faults.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test stops where its world breaks"
)]

mod applies;
mod faults;
mod lists;
mod load;
mod objects;
mod tokens;
mod watches;
mod world;
