//! Patches: a pure function each from an object and a patch to the object that is wanted. What the result must look
//! like is admission's business, not theirs.

pub mod apply;
mod fields;
mod managed;
pub mod merge;
mod shape;
pub mod strategic;
mod tree;

pub use self::fields::FieldSet;
pub use self::managed::{Manager, Operation, update};
pub(crate) use self::shape::metadata_list;
pub use self::shape::{Lists, Shape, StrategicKey};

/// A patch that cannot be done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PatchError(pub String);
