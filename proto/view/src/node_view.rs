//! Everything one node holds, and how it judges a packet with it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use crate::{Key, KeyHasher, Operation, Packet, Profile, Program, Root};

/// A direction of traffic, seen from the subject pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// Towards the subject.
    Ingress,
    /// Away from the subject.
    Egress,
}

impl std::fmt::Display for Direction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        })
    }
}

/// A local address that is subject to policy. A direction without a profile is unrestricted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Local {
    /// The address's own identity: the peer it is to itself in service hairpin.
    pub identity: Key,
    /// Profile of what the pod may reach.
    pub egress: Option<Key>,
    /// Profile of what may reach the pod.
    pub ingress: Option<Key>,
}

/// One node's share of the compiled policies. A revision of it is named by its [`Root`].
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct NodeView {
    locals: BTreeMap<IpAddr, Local>,
    profiles: BTreeMap<Key, Arc<Profile>>,
    members: BTreeMap<IpAddr, Key>,
    root: Root,
}

/// An operation that does not fit the view it is applied to, or a view that refers to what it does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ViewError {
    /// A profile is put twice.
    #[error("profile {0} is already held")]
    ProfileHeld(Key),
    /// A profile is removed that is not there.
    #[error("profile {0} is not held")]
    ProfileMissing(Key),
    /// An address is added to an identity while it has one.
    #[error("address {address} already belongs to identity {holder}")]
    AddressTaken {
        /// The address.
        address: IpAddr,
        /// Its present identity.
        holder: Key,
    },
    /// An address is removed from an identity that it does not belong to.
    #[error("address {address} does not belong to identity {identity}")]
    NotAMember {
        /// The address.
        address: IpAddr,
        /// The identity named in the operation.
        identity: Key,
    },
    /// A local address is removed that is not there.
    #[error("local address {0} is not held")]
    LocalMissing(IpAddr),
    /// A local address names a profile that is not there.
    #[error("local address {address} refers to profile {profile}, which is not held")]
    DanglingProfile {
        /// The local address.
        address: IpAddr,
        /// The missing profile.
        profile: Key,
    },
    /// The view does not hash to the announced root.
    #[error("view hashes to {actual}, announced was {announced}")]
    WrongRoot {
        /// What the operator announced.
        announced: Root,
        /// What the view hashes to.
        actual: Root,
    },
}

fn local_part(address: IpAddr, local: &Local) -> Key {
    let mut hasher = KeyHasher::new("local");
    hasher.address(address).bytes(&local.identity.0);
    for profile in [local.egress, local.ingress] {
        hasher.bytes(profile.as_ref().map_or(&[], |key| &key.0[..]));
    }
    hasher.finish()
}

fn member_part(identity: Key, address: IpAddr) -> Key {
    KeyHasher::new("member").bytes(&identity.0).address(address).finish()
}

fn profile_part(profile: Key) -> Key {
    KeyHasher::new("held profile").bytes(&profile.0).finish()
}

impl NodeView {
    /// The view's root, kept up to date by every operation.
    pub fn root(&self) -> Root {
        self.root
    }

    /// Local addresses that are subject to policy.
    pub fn locals(&self) -> &BTreeMap<IpAddr, Local> {
        &self.locals
    }

    /// Profiles by key.
    pub fn profiles(&self) -> &BTreeMap<Key, Arc<Profile>> {
        &self.profiles
    }

    /// Peer addresses with their identities.
    pub fn members(&self) -> &BTreeMap<IpAddr, Key> {
        &self.members
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.locals.is_empty() && self.profiles.is_empty() && self.members.is_empty()
    }

    /// Applies one operation.
    ///
    /// # Errors
    /// The operation does not fit; the view is then as before, except that an [`Operation::AddMembers`] or
    /// [`Operation::RemoveMembers`] may have been carried out in part: discard the view.
    pub fn apply(&mut self, operation: &Operation) -> Result<(), ViewError> {
        match operation {
            Operation::PutProfile(profile) => {
                let key = profile.key();
                if self.profiles.insert(key, Arc::clone(profile)).is_some() {
                    return Err(ViewError::ProfileHeld(key));
                }
                self.root = self.root.plus(profile_part(key));
            }
            Operation::RemoveProfile(key) => {
                self.profiles.remove(key).ok_or(ViewError::ProfileMissing(*key))?;
                self.root = self.root.minus(profile_part(*key));
            }
            Operation::AddMembers(identity, addresses) => {
                for &address in addresses {
                    if let Some(&holder) = self.members.get(&address) {
                        return Err(ViewError::AddressTaken { address, holder });
                    }
                    self.members.insert(address, *identity);
                    self.root = self.root.plus(member_part(*identity, address));
                }
            }
            Operation::RemoveMembers(identity, addresses) => {
                for &address in addresses {
                    if self.members.get(&address) != Some(identity) {
                        return Err(ViewError::NotAMember { address, identity: *identity });
                    }
                    self.members.remove(&address);
                    self.root = self.root.minus(member_part(*identity, address));
                }
            }
            Operation::PutLocal(address, local) => {
                if let Some(old) = self.locals.insert(*address, *local) {
                    self.root = self.root.minus(local_part(*address, &old));
                }
                self.root = self.root.plus(local_part(*address, local));
            }
            Operation::RemoveLocal(address) => {
                let old = self.locals.remove(address).ok_or(ViewError::LocalMissing(*address))?;
                self.root = self.root.minus(local_part(*address, &old));
            }
        }
        Ok(())
    }

    /// Applies all operations in order.
    ///
    /// # Errors
    /// The position and error of the first operation that does not fit. Discard the view then.
    pub fn apply_all<'a>(
        &mut self,
        operations: impl IntoIterator<Item = &'a Operation>,
    ) -> Result<(), (usize, ViewError)> {
        for (position, operation) in operations.into_iter().enumerate() {
            self.apply(operation).map_err(|error| (position, error))?;
        }
        Ok(())
    }

    /// Checks that every profile a local address names is held.
    ///
    /// # Errors
    /// The first dangling reference.
    pub fn check(&self) -> Result<(), ViewError> {
        for (&address, local) in &self.locals {
            for profile in [local.egress, local.ingress].into_iter().flatten() {
                if !self.profiles.contains_key(&profile) {
                    return Err(ViewError::DanglingProfile { address, profile });
                }
            }
        }
        Ok(())
    }

    /// The operations that turn this view into the other, in an order in which they can be applied: what frees an
    /// address comes before what takes it.
    pub fn diff(&self, to: &Self) -> Vec<Operation> {
        let mut operations = Vec::new();
        for (key, profile) in &to.profiles {
            if !self.profiles.contains_key(key) {
                operations.push(Operation::PutProfile(Arc::clone(profile)));
            }
        }
        let moved = |from: &BTreeMap<IpAddr, Key>, to: &BTreeMap<IpAddr, Key>| {
            let mut grouped: BTreeMap<Key, Vec<IpAddr>> = BTreeMap::new();
            for (&address, &identity) in from {
                if to.get(&address) != Some(&identity) {
                    grouped.entry(identity).or_default().push(address);
                }
            }
            grouped
        };
        for (identity, addresses) in moved(&self.members, &to.members) {
            operations.push(Operation::RemoveMembers(identity, addresses));
        }
        for (identity, addresses) in moved(&to.members, &self.members) {
            operations.push(Operation::AddMembers(identity, addresses));
        }
        for &address in self.locals.keys() {
            if !to.locals.contains_key(&address) {
                operations.push(Operation::RemoveLocal(address));
            }
        }
        for (&address, local) in &to.locals {
            if self.locals.get(&address) != Some(local) {
                operations.push(Operation::PutLocal(address, *local));
            }
        }
        for key in self.profiles.keys() {
            if !to.profiles.contains_key(key) {
                operations.push(Operation::RemoveProfile(*key));
            }
        }
        operations
    }

    /// The identities that the held profiles mention: the node's span.
    pub fn mentioned_identities(&self) -> BTreeSet<Key> {
        self.profiles
            .values()
            .flat_map(|profile| profile.main().identities().chain(profile.exempt().identities()))
            .map(|(key, _)| key)
            .collect()
    }

    fn profile(&self, key: Key) -> Option<&Profile> {
        self.profiles.get(&key).map(Arc::as_ref)
    }

    /// What the node allows a local source towards a destination that it forwards to. `None`: not a subject.
    pub fn egress_program(&self, source: IpAddr, destination: IpAddr) -> Option<&Program> {
        let profile = self.profile(self.locals.get(&source)?.egress?)?;
        Some(profile.main().lookup(self.members.get(&destination).copied(), destination))
    }

    /// What the node allows a source towards a local destination. `None`: not a subject.
    pub fn ingress_program(&self, source: IpAddr, destination: IpAddr) -> Option<&Program> {
        let profile = self.profile(self.locals.get(&destination)?.ingress?)?;
        Some(profile.main().lookup(self.members.get(&source).copied(), source))
    }

    /// What the node allows a local pod towards itself through a service: both directions, NetworkPolicy aside.
    /// `None`: not a subject.
    pub fn hairpin_program(&self, address: IpAddr) -> Option<Program> {
        let local = self.locals.get(&address)?;
        [local.egress, local.ingress]
            .into_iter()
            .flatten()
            .filter_map(|key| self.profile(key))
            .map(|profile| profile.exempt().lookup(Some(local.identity), address).clone())
            .reduce(|egress, ingress| egress.intersection(&ingress))
    }

    /// Whether the node forwards the packet: egress of a local source and ingress of a local destination.
    pub fn forwards(&self, packet: &Packet) -> bool {
        if packet.source == packet.destination {
            return self.hairpin_program(packet.source).is_none_or(|program| program.allows(packet.l4));
        }
        let permits = |program: Option<&Program>| program.is_none_or(|program| program.allows(packet.l4));
        permits(self.egress_program(packet.source, packet.destination))
            && permits(self.ingress_program(packet.source, packet.destination))
    }

    /// Whether the node lets the packet reach its own stack (any of the node's addresses) from a local pod.
    pub fn delivers(&self, packet: &Packet) -> bool {
        let Some(profile) = self.locals.get(&packet.source).and_then(|local| self.profile(local.egress?))
        else {
            return true;
        };
        let peer = self.members.get(&packet.destination).copied();
        profile.exempt().lookup(peer, packet.destination).allows(packet.l4)
    }
}
