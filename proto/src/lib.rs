//! The wire contract between the operator and the node shims: generated types, and the conversions to and from the
//! compiled form. Knows nothing of how either end computes or applies it.

mod decode;
mod encode;

pub use decode::{DecodeError, decode_operations, key, optional_root, root};
pub use encode::{Parts, encode_operation, parts};

/// Version of the contract. Raised when an older end would misunderstand a newer one.
pub const SCHEMA_VERSION: u32 = 1;

/// Largest payload of one [`v1::Update`] part, in bytes.
pub const PART_BYTES: usize = 256 * 1024;

/// Largest message either end decodes, in bytes: a part with room for its head.
pub const MESSAGE_BYTES: usize = PART_BYTES + 64 * 1024;

/// Largest update a shim collects, in bytes; beyond it answers a Nack.
pub const UPDATE_BYTES: usize = 512 * 1024 * 1024;

/// Generated from `palisade/v1/node.proto`, which documents every message.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]
pub mod v1 {
    tonic::include_proto!("palisade.v1");
}
