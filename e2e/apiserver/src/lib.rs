//! A slim Kubernetes API server for development and tests: in memory, on its own, over TLS with bearer tokens.
//!
//! It keeps the semantics of kube-apiserver that clients rely on: resource versions, watches with bookmarks and 410,
//! consistent pages, server-side apply, status and generation, finalizers, definitions of kinds with validation. What
//! it does not have: admission webhooks, authorization (whoever is known may do everything), controllers, kubelets,
//! garbage collection, persistence. And it breaks on request: see [`Faults`].

pub mod auth;
mod certificate;
mod core;
pub mod discovery;
pub mod faults;
mod meta;
pub mod openapi;
pub mod patch;
mod protobuf;
mod qualified;
pub mod registry;
pub mod requests;
mod rest;
pub mod schema;
pub mod select;
mod server;
pub mod store;
pub mod table;
mod version;

pub use faults::Faults;
pub use server::{Options, Server, StartError};
