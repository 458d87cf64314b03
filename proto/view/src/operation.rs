//! The steps from one revision of a view to the next.

use std::net::IpAddr;
use std::sync::Arc;

use crate::{Key, Local, Profile};

/// One change to a [`NodeView`](crate::NodeView).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A profile is added. It is named by its content, so it never changes.
    PutProfile(Arc<Profile>),
    /// A profile is removed.
    RemoveProfile(Key),
    /// Addresses join an identity.
    AddMembers(Key, Vec<IpAddr>),
    /// Addresses leave an identity.
    RemoveMembers(Key, Vec<IpAddr>),
    /// A local address becomes a subject, or changes as one.
    PutLocal(IpAddr, Local),
    /// A local address is no longer a subject.
    RemoveLocal(IpAddr),
}
