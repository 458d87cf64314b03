//! From a peer to a program: what one direction of one subject comes to once tiers, priorities, Pass and isolation
//! are resolved.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::{Family, Key, KeyHasher, Program};

/// A total function from a peer to a [`Program`], for one direction of one subject.
///
/// A peer is looked up by its identity first (pods and nodes have one, by exact address), then by the longest of
/// this function's own networks that holds its address, then by its family's default. The default is defined by
/// meaning: it is the verdict for an address that is no pod, no node and in no network but `0.0.0.0/0` or `::/0`.
/// An identity or network is listed only if its program differs from what the rest of the lookup would give.
///
/// Canonical: equal functions are equal values with equal hashes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Function {
    /// Distinct programs, sorted.
    programs: Vec<Program>,
    /// Indices into `programs` for IPv4 and IPv6.
    defaults: [u32; 2],
    /// Sorted by key.
    identities: Vec<(Key, u32)>,
    /// Sorted; never a `/0`.
    networks: Vec<(IpNet, u32)>,
    /// Prefix lengths that occur in `networks`, longest first, for IPv4 and IPv6. Derived.
    lengths: [Vec<u8>; 2],
}

/// A function that cannot be: see the message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FunctionError {
    /// A `/0` is the default and must be given as such.
    #[error("network {0} is a default, not a cell")]
    NetworkIsDefault(IpNet),
    /// Host bits are set.
    #[error("network {0} has host bits set")]
    HostBits(IpNet),
}

/// Collects the cells of a [`Function`].
///
/// Programs may be given shared, which keeps memory and time proportional to what is given: a program can be large, and
/// every one of very many cells can name it.
#[derive(Clone, Debug)]
pub struct FunctionBuilder {
    defaults: [Arc<Program>; 2],
    identities: BTreeMap<Key, Arc<Program>>,
    networks: BTreeMap<IpNet, Arc<Program>>,
}

impl FunctionBuilder {
    /// A function with nothing but the defaults for IPv4 and IPv6.
    pub fn new(v4: impl Into<Arc<Program>>, v6: impl Into<Arc<Program>>) -> Self {
        Self { defaults: [v4.into(), v6.into()], identities: BTreeMap::new(), networks: BTreeMap::new() }
    }

    /// Sets an identity's program. Cells that repeat what the lookup gives anyway are the caller's to leave out.
    #[must_use]
    pub fn identity(mut self, key: Key, program: impl Into<Arc<Program>>) -> Self {
        self.identities.insert(key, program.into());
        self
    }

    /// Sets a network's program, for networks that are not known to be canonical.
    ///
    /// # Errors
    /// The network is a `/0` or has host bits set.
    pub fn network(self, network: IpNet, program: impl Into<Arc<Program>>) -> Result<Self, FunctionError> {
        if network.prefix_len() == 0 {
            return Err(FunctionError::NetworkIsDefault(network));
        }
        if network.trunc() != network {
            return Err(FunctionError::HostBits(network));
        }
        Ok(self.masked(network, program))
    }

    /// Sets a network's program. Host bits are masked; a `/0` sets its family's default.
    #[must_use]
    pub fn masked(mut self, network: IpNet, program: impl Into<Arc<Program>>) -> Self {
        if network.prefix_len() == 0 {
            self.defaults[family_index(network.network())] = program.into();
        } else {
            self.networks.insert(network.trunc(), program.into());
        }
        self
    }

    /// The canonical function.
    pub fn build(self) -> Function {
        let cells = self.defaults.iter().chain(self.identities.values()).chain(self.networks.values());
        // By address first: what is shared is compared once, not once a cell.
        let shared: HashMap<*const Program, &Program> =
            cells.map(|program| (Arc::as_ptr(program), program.as_ref())).collect();
        let distinct: BTreeSet<&Program> = shared.values().copied().collect();
        let programs: Vec<Program> = distinct.into_iter().cloned().collect();
        let position = |program: &Program| {
            u32::try_from(programs.partition_point(|known| known < program)).unwrap_or(u32::MAX)
        };
        let positions: HashMap<*const Program, u32> =
            shared.iter().map(|(&at, program)| (at, position(program))).collect();
        // Every program was collected above, so each has a position.
        let index =
            |program: &Arc<Program>| positions.get(&Arc::as_ptr(program)).copied().unwrap_or(u32::MAX);
        let mut lengths = [BTreeSet::new(), BTreeSet::new()];
        for network in self.networks.keys() {
            lengths[family_index(network.network())].insert(network.prefix_len());
        }
        Function {
            defaults: [index(&self.defaults[0]), index(&self.defaults[1])],
            identities: self.identities.iter().map(|(key, program)| (*key, index(program))).collect(),
            networks: self.networks.iter().map(|(network, program)| (*network, index(program))).collect(),
            lengths: lengths.map(|set| set.into_iter().rev().collect()),
            programs,
        }
    }
}

fn family_index(address: IpAddr) -> usize {
    match Family::of(address) {
        Family::V4 => 0,
        Family::V6 => 1,
    }
}

impl Function {
    /// The function that allows every peer everything.
    pub fn allow_all() -> Self {
        FunctionBuilder::new(Program::all(), Program::all()).build()
    }

    /// The program for a peer: by identity where it has one and the function lists it, else by address.
    pub fn lookup(&self, identity: Option<Key>, address: IpAddr) -> &Program {
        identity.and_then(|key| self.identity(key)).unwrap_or_else(|| self.by_address(address))
    }

    /// The program of an identity that the function lists.
    pub fn identity(&self, key: Key) -> Option<&Program> {
        let position = self.identities.binary_search_by_key(&key, |cell| cell.0).ok()?;
        self.programs.get(self.identities[position].1 as usize)
    }

    /// The program for an address without an identity: the longest network that holds it, else the default.
    pub fn by_address(&self, address: IpAddr) -> &Program {
        let family = family_index(address);
        for &length in &self.lengths[family] {
            let Ok(network) = IpNet::new(address, length) else { continue };
            if let Ok(position) = self.networks.binary_search_by_key(&network.trunc(), |cell| cell.0) {
                return &self.programs[self.networks[position].1 as usize];
            }
        }
        &self.programs[self.defaults[family] as usize]
    }

    /// The default program of a family.
    pub fn default_of(&self, family: Family) -> &Program {
        &self.programs[self.defaults[usize::from(family == Family::V6)] as usize]
    }

    /// Listed identities with their programs, by key.
    pub fn identities(&self) -> impl ExactSizeIterator<Item = (Key, &Program)> {
        self.identities.iter().map(|&(key, program)| (key, &self.programs[program as usize]))
    }

    /// Listed networks with their programs, sorted.
    pub fn networks(&self) -> impl ExactSizeIterator<Item = (IpNet, &Program)> {
        self.networks.iter().map(|&(network, program)| (network, &self.programs[program as usize]))
    }

    /// The distinct programs, sorted.
    pub fn programs(&self) -> &[Program] {
        &self.programs
    }

    /// Whether every peer is allowed everything.
    pub fn is_allow_all(&self) -> bool {
        self.programs.iter().all(Program::is_all)
    }

    fn hash(&self, hasher: &mut KeyHasher) {
        hasher.u64(self.programs.len() as u64);
        self.programs.iter().for_each(|program| program.hash(hasher));
        hasher.u64(self.defaults[0].into()).u64(self.defaults[1].into());
        hasher.u64(self.identities.len() as u64);
        for (key, program) in &self.identities {
            hasher.bytes(&key.0).u64((*program).into());
        }
        hasher.u64(self.networks.len() as u64);
        for (network, program) in &self.networks {
            hasher.network(*network).u64((*program).into());
        }
    }
}

/// One direction of one subject, shared by every pod and node with the same function and named by its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    key: Key,
    main: Function,
    exempt: Option<Function>,
}

impl Profile {
    /// A profile of the function for ordinary traffic and, where it differs, of the function for traffic that
    /// NetworkPolicy never restricts: to the pod's own node, and from a pod to itself through a service.
    pub fn new(main: Function, exempt: Function) -> Self {
        let exempt = (exempt != main).then_some(exempt);
        let mut hasher = KeyHasher::new("profile");
        main.hash(&mut hasher);
        hasher.u64(u64::from(exempt.is_some()));
        if let Some(exempt) = &exempt {
            exempt.hash(&mut hasher);
        }
        Self { key: hasher.finish(), main, exempt }
    }

    /// The content hash.
    pub fn key(&self) -> Key {
        self.key
    }

    /// The function for ordinary traffic.
    pub fn main(&self) -> &Function {
        &self.main
    }

    /// The function for traffic to the own node and for service hairpin.
    pub fn exempt(&self) -> &Function {
        self.exempt.as_ref().unwrap_or(&self.main)
    }

    /// Whether [`Profile::exempt`] is a function of its own.
    pub fn has_exempt(&self) -> bool {
        self.exempt.is_some()
    }
}
