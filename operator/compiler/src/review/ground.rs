//! Who is there now: pods in classes that no selector in use can tell apart, namespaces and nodes. Knows selectors and
//! no rule.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::rc::Rc;

use palisade_view::Family;

use super::meter::{Exhausted, Meter};
use super::shape::NAME_LABEL;
use crate::model::{AdminSubject, Cluster, Labels, NamedPort, NamespaceMatch, Node, Peer, Pod, Selector};

/// The label by which cluster DNS is known, and its values (kubeadm's and the `CoreDNS` chart's).
pub(super) const DNS_LABEL: &str = "k8s-app";
pub(super) const DNS_APPS: [&str; 2] = ["kube-dns", "coredns"];

/// Index of a [`Class`].
pub(super) type ClassId = usize;

/// Pods that look the same to every selector in use and have the same named ports.
#[derive(Debug)]
pub(super) struct Class<'a> {
    pub(super) namespace: &'a str,
    /// As far as selectors ask for them.
    labels: Labels,
    pub(super) named_ports: &'a BTreeSet<NamedPort>,
    pub(super) addresses: BTreeSet<IpAddr>,
    /// The first by name.
    pub(super) example: &'a Pod,
    /// All of them, where one must be found that has an uncontested address.
    pub(super) pods: Vec<&'a Pod>,
}

impl Class<'_> {
    /// Whether one of the pods has an address of the family.
    pub(super) fn has(&self, family: Family) -> bool {
        self.addresses.iter().any(|&address| Family::of(address) == family)
    }

    /// Whether the pods are taken for cluster DNS.
    pub(super) fn is_dns(&self) -> bool {
        self.labels.get(DNS_LABEL).is_some_and(|app| DNS_APPS.contains(&app.as_str()))
    }
}

/// Pods that a selector can mean: those that policy sees, and those that share their node's network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Sort {
    Networked,
    Host,
}

type Question = (Sort, NamespaceMatch, Selector);

/// See the module.
#[derive(Debug)]
pub(super) struct Ground<'a> {
    pub(super) classes: Vec<Class<'a>>,
    /// By namespace.
    classes_in: BTreeMap<(Sort, &'a str), Vec<ClassId>>,
    /// Labels of every namespace that is there or has a pod.
    namespaces: BTreeMap<&'a str, Labels>,
    pub(super) nodes: Vec<&'a Node>,
    /// Addresses that several pods claim: whose they are is another question.
    contested: BTreeSet<IpAddr>,
    pub(super) owner_of: HashMap<IpAddr, ClassId>,
    answers: RefCell<HashMap<Question, Rc<[ClassId]>>>,
}

impl<'a> Ground<'a> {
    pub(super) fn of(cluster: &'a Cluster) -> Self {
        let keys = keys(cluster);
        let mut known: BTreeMap<(Sort, &str, Labels, &BTreeSet<NamedPort>), Vec<&'a Pod>> = BTreeMap::new();
        for pod in cluster.pods.values() {
            let sort = match (pod.is_networked(), pod.host_network && !pod.finished) {
                (true, _) => Sort::Networked,
                (false, true) => Sort::Host,
                (false, false) => continue,
            };
            let seen = pod.labels.iter().filter(|(key, _)| keys.contains(key.as_str()));
            let labels = seen.map(|(key, value)| (key.clone(), value.clone())).collect();
            known.entry((sort, &pod.namespace, labels, &pod.named_ports)).or_default().push(pod);
        }
        let mut ground = Self {
            classes: Vec::new(),
            classes_in: BTreeMap::new(),
            namespaces: BTreeMap::new(),
            nodes: cluster.nodes.values().collect(),
            contested: BTreeSet::new(),
            owner_of: HashMap::new(),
            answers: RefCell::default(),
        };
        for ((sort, namespace, labels, named_ports), pods) in known {
            // There is one at least: the class was made for it.
            let Some(&example) = pods.first() else { continue };
            let id = ground.classes.len();
            ground.classes_in.entry((sort, namespace)).or_default().push(id);
            let addresses: BTreeSet<IpAddr> =
                pods.iter().flat_map(|pod| pod.addresses.iter().copied()).collect();
            if sort == Sort::Networked {
                for &address in pods.iter().flat_map(|pod| &pod.addresses) {
                    if ground.owner_of.insert(address, id).is_some() {
                        ground.contested.insert(address);
                    }
                }
            }
            ground.classes.push(Class { namespace, labels, named_ports, addresses, example, pods });
        }
        for (name, namespace) in &cluster.namespaces {
            ground.namespaces.insert(name, namespace.labels.clone());
        }
        for pod in cluster.pods.values() {
            let named = || Labels::from([(NAME_LABEL.to_owned(), pod.namespace.clone())]);
            ground.namespaces.entry(&pod.namespace).or_insert_with(named);
        }
        ground
    }

    pub(super) fn class(&self, id: ClassId) -> Option<&Class<'a>> {
        self.classes.get(id)
    }

    /// Every class of pods that policy sees.
    pub(super) fn networked(&self) -> impl Iterator<Item = ClassId> + '_ {
        self.classes_in
            .iter()
            .filter(|((sort, _), _)| *sort == Sort::Networked)
            .flat_map(|(_, ids)| ids)
            .copied()
    }

    /// The classes of pods in the namespaces that are meant, sorted.
    pub(super) fn pods(
        &self,
        sort: Sort,
        namespaces: &NamespaceMatch,
        pods: &Selector,
        meter: &mut Meter,
    ) -> Result<Rc<[ClassId]>, Exhausted> {
        let question = (sort, namespaces.clone(), pods.clone());
        meter.spend(1)?;
        if let Some(known) = self.answers.borrow().get(&question) {
            return Ok(Rc::clone(known));
        }
        let mut found = Vec::new();
        let mut look = |ids: &[ClassId]| {
            meter.spend(ids.len())?;
            found.extend(
                ids.iter().filter(|&&id| self.class(id).is_some_and(|class| pods.matches(&class.labels))),
            );
            Ok(())
        };
        match namespaces {
            NamespaceMatch::Name(name) => {
                self.classes_in.get(&(sort, name.as_str())).map_or(Ok(()), |ids| look(ids))?;
            }
            NamespaceMatch::Labels(selector) => {
                for ((_, namespace), ids) in self.classes_in.iter().filter(|((of, _), _)| *of == sort) {
                    if self.namespaces.get(namespace).is_some_and(|labels| selector.matches(labels)) {
                        look(ids)?;
                    }
                }
            }
        }
        found.sort_unstable();
        let found: Rc<[ClassId]> = found.into();
        self.answers.borrow_mut().insert(question, Rc::clone(&found));
        Ok(found)
    }

    /// Whether one of the namespaces there are is meant.
    pub(super) fn has_namespace(
        &self,
        namespaces: &NamespaceMatch,
        meter: &mut Meter,
    ) -> Result<bool, Exhausted> {
        match namespaces {
            NamespaceMatch::Name(name) => Ok(self.namespaces.contains_key(name.as_str())),
            NamespaceMatch::Labels(selector) => {
                meter.spend(self.namespaces.len())?;
                Ok(self.namespaces.values().any(|labels| selector.matches(labels)))
            }
        }
    }

    /// The nodes that are meant.
    pub(super) fn nodes(&self, selector: &Selector) -> impl Iterator<Item = &'a Node> {
        self.nodes.iter().copied().filter(|node| selector.matches(&node.labels))
    }

    /// A pod of the class with an address of the family that no other pod claims.
    pub(super) fn witness(&self, id: ClassId, family: Family) -> Option<(&'a Pod, IpAddr)> {
        let is_plain =
            |address: &&IpAddr| Family::of(**address) == family && !self.contested.contains(*address);
        let mut pods = self.class(id)?.pods.iter();
        pods.find_map(|&pod| Some((pod, *pod.addresses.iter().find(is_plain)?)))
    }

    /// Whether several pods claim the address.
    pub(super) fn is_contested(&self, address: IpAddr) -> bool {
        self.contested.contains(&address)
    }
}

/// The keys of pods' labels that any selector asks for.
fn keys(cluster: &Cluster) -> BTreeSet<&str> {
    let mut keys = BTreeSet::from([DNS_LABEL]);
    for policy in cluster.admin_policies.values() {
        if let AdminSubject::Pods { pods, .. } = &policy.subject {
            keys.extend(asked(pods));
        }
        let rules = policy.ingress.iter().chain(&policy.egress);
        keys.extend(rules.flat_map(|rule| &rule.peers).flat_map(asked_by_peer));
    }
    for policy in cluster.network_policies.values() {
        keys.extend(policy.subject.iter().flat_map(asked));
        let rules = policy.ingress.iter().chain(&policy.egress).flatten();
        keys.extend(rules.flat_map(|rule| &rule.peers).flat_map(asked_by_peer));
    }
    keys
}

fn asked(selector: &Selector) -> impl Iterator<Item = &str> {
    selector.requirements().iter().map(|requirement| requirement.key.as_str())
}

fn asked_by_peer(peer: &Peer) -> impl Iterator<Item = &str> {
    let pods = match peer {
        Peer::Pods { pods, .. } => Some(pods),
        _ => None,
    };
    pods.into_iter().flat_map(asked)
}
