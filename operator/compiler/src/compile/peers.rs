//! Who is at an address: claimants resolved, addresses gathered into identities, identities taken apart into the
//! entities that rules match. Knows no rule.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use palisade_view::{Family, Key, KeyHasher};

use super::vocabulary::{Region, Vocabulary};
use crate::model::{Cluster, Labels, NamedPort, Operator, Pod, Selector};

/// What policy can tell of a pod, addresses aside. Pods with equal facts are one to every policy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct PodFacts {
    pub(super) namespace: String,
    pub(super) labels: Labels,
    pub(super) named_ports: BTreeSet<NamedPort>,
}

impl PodFacts {
    pub(super) fn of(pod: &Pod, vocabulary: &Vocabulary) -> Self {
        Self {
            namespace: pod.namespace.clone(),
            labels: vocabulary.project(&pod.labels),
            named_ports: pod.named_ports.clone(),
        }
    }
}

/// Index of [`PodFacts`] in [`Peers::pods`].
pub(super) type PodId = u32;
/// Index of an [`Entity`] in [`Peers::entities`].
pub(super) type EntityId = u32;

/// One possible peer as rules match it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Entity {
    /// The pod it is, if it is one.
    pub(super) pod: Option<PodId>,
    /// The node selectors in use that match the node it is; empty where it is none.
    pub(super) nodes: BTreeSet<Selector>,
    /// Where its address lies.
    pub(super) region: Region,
}

/// An identity: addresses that no policy can tell apart.
#[derive(Debug)]
pub(super) struct Identity {
    pub(super) key: Key,
    pub(super) region: Region,
    /// One; several where an address is claimed by several pods and nothing tells whose it is. Such an address is
    /// allowed only what every claimant would be: a compromised kubelet gains nothing by claiming an address.
    pub(super) entities: Vec<EntityId>,
    pub(super) members: BTreeSet<IpAddr>,
}

/// A local address and the pods whose policies it is subject to.
pub(super) type Subjects = BTreeMap<IpAddr, BTreeSet<PodId>>;

/// Everybody a rule can match.
#[derive(Debug)]
pub(super) struct Peers {
    pub(super) pods: Vec<PodFacts>,
    pub(super) entities: Vec<Entity>,
    /// The entity of a bare address in a region.
    pub(super) bare: BTreeMap<Region, EntityId>,
    pub(super) identities: Vec<Identity>,
    /// Index into `identities`, by address.
    pub(super) identity_of: HashMap<IpAddr, usize>,
    /// Index into `identities`, by key.
    pub(super) identity_by_key: HashMap<Key, usize>,
    /// Identities that an entity is part of, by entity.
    pub(super) identities_of_entity: Vec<Vec<usize>>,
    /// Pods by namespace.
    pub(super) pods_in: BTreeMap<String, Vec<PodId>>,
    /// By node name.
    pub(super) subjects: BTreeMap<String, Subjects>,
    /// Entities that are pods, by pod.
    pub(super) entities_of_pod: Vec<Vec<EntityId>>,
    /// Entities by region.
    pub(super) entities_in: BTreeMap<Region, Vec<EntityId>>,
}

/// Gives equal values one number.
struct Interner<T>(Vec<T>, HashMap<T, u32>);

impl<T: Clone + Eq + std::hash::Hash> Interner<T> {
    fn new() -> Self {
        Self(Vec::new(), HashMap::new())
    }

    fn intern(&mut self, value: T) -> u32 {
        if let Some(&id) = self.1.get(&value) {
            return id;
        }
        // More than four billion distinct pods do not fit in memory.
        let id = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        self.0.push(value.clone());
        self.1.insert(value, id);
        id
    }
}

#[derive(Default)]
struct Claims<'a> {
    /// Pod id and the name of its node.
    pods: Vec<(PodId, &'a Pod)>,
    nodes: BTreeSet<Selector>,
}

impl Peers {
    pub(super) fn of(cluster: &Cluster, vocabulary: &Vocabulary) -> Self {
        let mut pods = Interner::new();
        let mut claims: BTreeMap<IpAddr, Claims<'_>> = BTreeMap::new();
        for pod in cluster.pods.values().filter(|pod| pod.is_networked()) {
            let id = pods.intern(PodFacts::of(pod, vocabulary));
            for &address in &pod.addresses {
                claims.entry(address).or_default().pods.push((id, pod));
            }
        }
        for node in cluster.nodes.values() {
            let selectors = vocabulary.node_selectors(&node.labels);
            if !selectors.is_empty() {
                for &address in &node.addresses {
                    claims.entry(address).or_default().nodes.extend(selectors.iter().cloned());
                }
            }
        }

        let mut entities = Interner::new();
        let mut bare = BTreeMap::new();
        let defaults = [Family::V4, Family::V6].map(|family| Region { family, prefix: None });
        let regions = vocabulary
            .networks()
            .iter()
            .map(|&network| Region { family: Family::of(network.network()), prefix: Some(network) });
        for region in defaults.into_iter().chain(regions) {
            bare.insert(region, entities.intern(Entity { pod: None, nodes: BTreeSet::new(), region }));
        }

        let mut identities: BTreeMap<Key, Identity> = BTreeMap::new();
        let mut subjects: BTreeMap<String, Subjects> = BTreeMap::new();
        for (address, claim) in claims {
            let region = vocabulary.region(address);
            let owners = owners(cluster, address, &claim.pods);
            for (_, pod) in &claim.pods {
                let Some(node) = &pod.node else { continue };
                // An address is judged where its owners are. Where only others claim it, their policies count too:
                // what leaves a pod there must not go unjudged because its address is somebody else's.
                let on_node = |(_, other): &&(PodId, &Pod)| other.node.as_ref() == Some(node);
                let local = subjects.entry(node.clone()).or_default().entry(address).or_default();
                local.extend(owners.iter().map(|(id, _)| *id));
                if !owners.iter().any(|owner| on_node(&owner)) {
                    local.extend(claim.pods.iter().filter(on_node).map(|(id, _)| *id));
                }
            }
            let owners: BTreeSet<PodId> = owners.into_iter().map(|(id, _)| id).collect();
            let key = identity_key(&pods.0, &owners, &claim.nodes, region);
            let identity = identities.entry(key).or_insert_with(|| {
                let entity = |pod| Entity { pod, nodes: claim.nodes.clone(), region };
                let own = if owners.is_empty() {
                    vec![entities.intern(entity(None))]
                } else {
                    owners.iter().map(|&pod| entities.intern(entity(Some(pod)))).collect()
                };
                Identity { key, region, entities: own, members: BTreeSet::new() }
            });
            identity.members.insert(address);
        }

        let identities: Vec<Identity> = identities.into_values().collect();
        let mut identity_of = HashMap::new();
        let mut identity_by_key = HashMap::with_capacity(identities.len());
        let mut identities_of_entity = vec![Vec::new(); entities.0.len()];
        for (index, identity) in identities.iter().enumerate() {
            identity_of.extend(identity.members.iter().map(|&address| (address, index)));
            identity_by_key.insert(identity.key, index);
            for &entity in &identity.entities {
                identities_of_entity[entity as usize].push(index);
            }
        }
        let mut pods_in: BTreeMap<String, Vec<PodId>> = BTreeMap::new();
        for (id, facts) in (0..).zip(&pods.0) {
            pods_in.entry(facts.namespace.clone()).or_default().push(id);
        }
        let mut entities_of_pod = vec![Vec::new(); pods.0.len()];
        let mut entities_in: BTreeMap<Region, Vec<EntityId>> = BTreeMap::new();
        for (id, entity) in (0..).zip(&entities.0) {
            entities_in.entry(entity.region).or_default().push(id);
            if let Some(pod) = entity.pod {
                entities_of_pod[pod as usize].push(id);
            }
        }
        Self {
            pods: pods.0,
            entities: entities.0,
            bare,
            identities,
            identity_of,
            identity_by_key,
            identities_of_entity,
            pods_in,
            subjects,
            entities_of_pod,
            entities_in,
        }
    }

    /// What a packet from or to the address meets if it is that pod's, or no pod's.
    pub(super) fn entity_at(
        &self,
        address: IpAddr,
        pod: Option<PodId>,
        vocabulary: &Vocabulary,
    ) -> Option<EntityId> {
        let Some(&identity) = self.identity_of.get(&address) else {
            return self.bare.get(&vocabulary.region(address)).copied();
        };
        let mut entities = self.identities[identity].entities.iter().copied();
        entities.find(|&entity| self.entities[entity as usize].pod == pod)
    }

    /// The number of a pod that was among those gathered.
    pub(super) fn id_of(&self, pod: &Pod, vocabulary: &Vocabulary) -> Option<PodId> {
        let facts = PodFacts::of(pod, vocabulary);
        (0..).zip(&self.pods).find(|(_, known)| **known == facts).map(|(id, _)| id)
    }
}

/// Whose an address is: of several claimants, those whose node's pod range holds it; else all of them.
pub(super) fn owners<'a>(
    cluster: &Cluster,
    address: IpAddr,
    claimants: &[(PodId, &'a Pod)],
) -> Vec<(PodId, &'a Pod)> {
    let in_range = |pod: &Pod| {
        let node = pod.node.as_ref().and_then(|name| cluster.nodes.get(name));
        node.is_some_and(|node| node.pod_cidrs.iter().any(|range| range.contains(&address)))
    };
    let rightful: Vec<_> = claimants.iter().filter(|(_, pod)| in_range(pod)).copied().collect();
    if rightful.is_empty() { claimants.to_vec() } else { rightful }
}

fn identity_key(
    pods: &[PodFacts],
    owners: &BTreeSet<PodId>,
    nodes: &BTreeSet<Selector>,
    region: Region,
) -> Key {
    let mut hasher = KeyHasher::new("identity");
    hasher.u64(u64::from(region.family == Family::V6));
    hasher.u64(u64::from(region.prefix.is_some()));
    if let Some(prefix) = region.prefix {
        hasher.network(prefix);
    }
    hasher.u64(owners.len() as u64);
    // By content: the numbers depend on which other pods there are.
    let facts: BTreeSet<&PodFacts> = owners.iter().map(|&id| &pods[id as usize]).collect();
    for pod in facts {
        hasher.str(&pod.namespace).u64(pod.labels.len() as u64);
        for (key, value) in &pod.labels {
            hasher.str(key).str(value);
        }
        hasher.u64(pod.named_ports.len() as u64);
        for port in &pod.named_ports {
            hasher.str(&port.name).u64(port.protocol.number().into()).u64(port.port.into());
        }
    }
    hasher.u64(nodes.len() as u64);
    for selector in nodes {
        hash_selector(&mut hasher, selector);
    }
    hasher.finish()
}

fn hash_selector(hasher: &mut KeyHasher, selector: &Selector) {
    hasher.u64(selector.requirements().len() as u64);
    for requirement in selector.requirements() {
        hasher.str(&requirement.key);
        let (operator, values) = match &requirement.operator {
            Operator::In(values) => (0, Some(values)),
            Operator::NotIn(values) => (1, Some(values)),
            Operator::Exists => (2, None),
            Operator::DoesNotExist => (3, None),
        };
        hasher.u64(operator).u64(values.map_or(0, |values| values.len() as u64));
        for value in values.into_iter().flatten() {
            hasher.str(value);
        }
    }
}
