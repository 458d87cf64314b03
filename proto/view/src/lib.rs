//! The compiled form: what the operator computes and a node enforces, as plain values with content hashes.
//!
//! This crate owns the meaning of a compiled policy: [`Program`] (what is allowed), [`Function`] and [`Profile`]
//! (peer -> program, for one direction of one subject), [`NodeView`] (everything one node holds), the
//! [`Operation`]s that lead from one view to the next, and the hashes ([`Key`], [`Root`]) both ends compare.
//!
//! It must not know policies, Kubernetes, the wire encoding or nftables: both the compiler and the shim depend on
//! it, and neither depends on the other.

mod function;
mod hash;
mod intervals;
mod node_view;
mod operation;
mod packet;
mod program;

pub use function::{Function, FunctionBuilder, FunctionError, Profile};
pub use hash::{Key, KeyHasher, ParseKeyError, Root};
pub use intervals::Intervals;
pub use node_view::{Direction, Local, NodeView, ViewError};
pub use operation::Operation;
pub use packet::{Family, L4, Packet, Protocol};
pub use program::Program;

/// Version of every content hash in this crate. Two builds with different versions never compare hashes: the
/// operator answers such a node with a snapshot in the node's own version or refuses it.
pub const HASH_VERSION: u32 = 1;
