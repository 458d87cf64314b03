//! The whole state that policy is judged by.

use std::collections::BTreeMap;

use super::{AdminPolicy, Event, Kind, Namespace, NetworkPolicy, Node, Object, ObjectRef, Pod, Policy};

/// Every object by name. Iteration is ordered.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Cluster {
    /// Namespaces by name.
    pub namespaces: BTreeMap<String, Namespace>,
    /// Nodes by name.
    pub nodes: BTreeMap<String, Node>,
    /// Pods by namespace and name.
    pub pods: BTreeMap<(String, String), Pod>,
    /// Cluster-wide policies by kind and name.
    pub admin_policies: BTreeMap<(Kind, String), AdminPolicy>,
    /// NetworkPolicies by namespace and name.
    pub network_policies: BTreeMap<(String, String), NetworkPolicy>,
}

impl Cluster {
    /// Carries out a change. Returns whether anything is different from before.
    pub fn apply(&mut self, event: Event) -> bool {
        match event {
            Event::Apply(object) => self.insert(object),
            Event::Delete(object) => self.remove(&object),
        }
    }

    fn insert(&mut self, object: Object) -> bool {
        fn put<K: Ord, V: PartialEq>(map: &mut BTreeMap<K, V>, key: K, value: V) -> bool {
            match map.get(&key) {
                Some(old) if *old == value => false,
                _ => {
                    map.insert(key, value);
                    true
                }
            }
        }
        match object {
            Object::Namespace(namespace) => put(&mut self.namespaces, namespace.name.clone(), namespace),
            Object::Node(node) => put(&mut self.nodes, node.name.clone(), node),
            Object::Pod(pod) => put(&mut self.pods, (pod.namespace.clone(), pod.name.clone()), pod),
            Object::Policy(Policy::Admin(policy)) => {
                put(&mut self.admin_policies, (policy.kind, policy.name.clone()), policy)
            }
            Object::Policy(Policy::Network(policy)) => {
                put(&mut self.network_policies, (policy.namespace.clone(), policy.name.clone()), policy)
            }
        }
    }

    fn remove(&mut self, object: &ObjectRef) -> bool {
        let namespaced = || (object.namespace.clone().unwrap_or_default(), object.name.clone());
        match object.kind {
            Kind::Namespace => self.namespaces.remove(&object.name).is_some(),
            Kind::Node => self.nodes.remove(&object.name).is_some(),
            Kind::Pod => self.pods.remove(&namespaced()).is_some(),
            Kind::NetworkPolicy => self.network_policies.remove(&namespaced()).is_some(),
            Kind::ClusterNetworkPolicy | Kind::AdminNetworkPolicy | Kind::BaselineAdminNetworkPolicy => {
                self.admin_policies.remove(&(object.kind, object.name.clone())).is_some()
            }
        }
    }
}
