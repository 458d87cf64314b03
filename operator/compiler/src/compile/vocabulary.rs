//! What the policies in force can tell apart: the networks they name, the node selectors they use, the values of
//! volatile labels they ask for. Owns the projection of objects onto that; decides nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use palisade_view::Family;

use crate::model::{AdminSubject, Cluster, Labels, NetworkPolicyRule, Operator, Peer, Selector};

/// Labels that differ from pod to pod by construction. As part of an identity they would make every pod an identity
/// of its own, so they count only where a selector names them, and then only the values it names.
/// Source: "Well-Known Labels, Annotations and Taints" of the Kubernetes documentation.
const VOLATILE: [&str; 12] = [
    "apps.kubernetes.io/pod-index",
    "batch.kubernetes.io/controller-uid",
    "batch.kubernetes.io/job-completion-index",
    "batch.kubernetes.io/job-name",
    "controller-revision-hash",
    "controller-uid",
    "job-name",
    "pod-template-generation",
    "pod-template-hash",
    "statefulset.kubernetes.io/pod-name",
    "apps.kubernetes.io/pod-name",
    "leaderworkerset.sigs.k8s.io/worker-index",
];

/// Stands for every value that no selector names. No label can have it: values are alphanumeric at the ends.
const ANOTHER_VALUE: &str = "*";

/// A part of the address space that the networks in use do not divide: everything in `prefix` and in no longer
/// network in use; without a prefix, everything that is in no network in use but a `/0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Region {
    pub(super) family: Family,
    pub(super) prefix: Option<IpNet>,
}

impl Region {
    /// Whether the region lies in the network. Networks nest or are disjoint, so it lies in it whole or not at all,
    /// given that the network is one in use.
    pub(super) fn is_in(&self, network: &IpNet) -> bool {
        match self.prefix {
            Some(prefix) => network.contains(&prefix),
            None => network.prefix_len() == 0 && Family::of(network.network()) == self.family,
        }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Vocabulary {
    networks: BTreeSet<IpNet>,
    lengths: BTreeMap<Family, BTreeSet<u8>>,
    node_selectors: BTreeSet<Selector>,
    volatile: BTreeMap<&'static str, BTreeSet<String>>,
}

impl Vocabulary {
    pub(super) fn of(cluster: &Cluster) -> Self {
        let mut vocabulary = Self::default();
        for policy in cluster.admin_policies.values() {
            if let AdminSubject::Pods { pods, .. } = &policy.subject {
                vocabulary.add_pod_selector(pods);
            }
            for rule in policy.ingress.iter().chain(&policy.egress) {
                rule.peers.iter().for_each(|peer| vocabulary.add_peer(peer));
            }
        }
        for policy in cluster.network_policies.values() {
            policy.subject.iter().for_each(|pods| vocabulary.add_pod_selector(pods));
            let rules: [&Option<Vec<NetworkPolicyRule>>; 2] = [&policy.ingress, &policy.egress];
            for rule in rules.into_iter().flatten().flatten() {
                rule.peers.iter().for_each(|peer| vocabulary.add_peer(peer));
            }
        }
        vocabulary
    }

    fn add_peer(&mut self, peer: &Peer) {
        match peer {
            Peer::Everything | Peer::Names(_) => {}
            Peer::Pods { pods, .. } => self.add_pod_selector(pods),
            Peer::Nodes(selector) => {
                self.node_selectors.insert(selector.clone());
            }
            Peer::Networks { networks, except, .. } => {
                for network in networks.iter().chain(except).filter(|network| network.prefix_len() > 0) {
                    self.networks.insert(*network);
                    let family = Family::of(network.network());
                    self.lengths.entry(family).or_default().insert(network.prefix_len());
                }
            }
        }
    }

    fn add_pod_selector(&mut self, selector: &Selector) {
        for requirement in selector.requirements() {
            if let Some(key) = VOLATILE.iter().find(|key| **key == requirement.key) {
                let named = self.volatile.entry(key).or_default();
                if let Operator::In(values) | Operator::NotIn(values) = &requirement.operator {
                    named.extend(values.iter().cloned());
                }
            }
        }
    }

    /// Networks in use, without `/0`, shorter before longer where they nest.
    pub(super) fn networks(&self) -> &BTreeSet<IpNet> {
        &self.networks
    }

    /// The region an address lies in.
    pub(super) fn region(&self, address: IpAddr) -> Region {
        self.longest(address, u8::MAX)
    }

    /// The region around a network in use: that of the longest network in use that truly contains it.
    pub(super) fn parent(&self, network: IpNet) -> Region {
        self.longest(network.network(), network.prefix_len())
    }

    fn longest(&self, address: IpAddr, below: u8) -> Region {
        let family = Family::of(address);
        let lengths = self.lengths.get(&family).into_iter().flat_map(|lengths| lengths.range(..below).rev());
        let prefix = lengths
            .filter_map(|&length| IpNet::new(address, length).ok().map(|network| network.trunc()))
            .find(|network| self.networks.contains(network));
        Region { family, prefix }
    }

    /// The node selectors in use that match labels.
    pub(super) fn node_selectors(&self, labels: &Labels) -> BTreeSet<Selector> {
        self.node_selectors.iter().filter(|selector| selector.matches(labels)).cloned().collect()
    }

    /// Labels as far as the selectors in use can tell them apart.
    pub(super) fn project(&self, labels: &Labels) -> Labels {
        labels
            .iter()
            .filter_map(|(key, value)| {
                if !VOLATILE.contains(&key.as_str()) {
                    return Some((key.clone(), value.clone()));
                }
                let named = self.volatile.get(key.as_str())?;
                let value = if named.contains(value) { value.as_str() } else { ANOTHER_VALUE };
                Some((key.clone(), value.to_owned()))
            })
            .collect()
    }
}

/// Whether a namespace's labels match. Pods may be seen before their namespace is: then it has the one label that
/// every namespace has.
pub(super) fn labels_match(cluster: &Cluster, selector: &Selector, namespace: &str) -> bool {
    match cluster.namespaces.get(namespace) {
        Some(known) => selector.matches(&known.labels),
        None => selector
            .matches(&Labels::from([("kubernetes.io/metadata.name".to_owned(), namespace.to_owned())])),
    }
}
