//! Which nodes a policy is about: those with a pod that is its subject. Status is told of them; what is enforced
//! does not depend on it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::vocabulary::labels_match;
use crate::model::{AdminSubject, Cluster, Labels, ObjectRef, Selector};

/// Nodes with a subject, by policy; every policy is there. Equal subjects share theirs.
pub type Spans = BTreeMap<ObjectRef, Arc<BTreeSet<String>>>;

/// The nodes of pods that look the same to a subject, by namespace and labels.
type Subjects<'a> = BTreeMap<&'a str, BTreeMap<&'a Labels, BTreeSet<&'a str>>>;

/// The span of every policy.
pub(super) fn spans(cluster: &Cluster) -> Spans {
    let mut subjects = Subjects::new();
    for pod in cluster.pods.values().filter(|pod| pod.is_networked()) {
        let Some(node) = &pod.node else { continue };
        subjects.entry(&pod.namespace).or_default().entry(&pod.labels).or_default().insert(node);
    }
    let mut admin: BTreeMap<&AdminSubject, Arc<BTreeSet<String>>> = BTreeMap::new();
    let mut nowhere = Arc::default();
    let mut network: BTreeMap<(&str, &Selector), Arc<BTreeSet<String>>> = BTreeMap::new();
    let mut spans = Spans::new();
    for policy in cluster.admin_policies.values() {
        let span =
            admin.entry(&policy.subject).or_insert_with(|| of_admin(cluster, &subjects, &policy.subject));
        spans.insert(policy.object(), Arc::clone(span));
    }
    for policy in cluster.network_policies.values() {
        let inside = subjects.get(policy.namespace.as_str());
        let span = match (inside, &policy.subject) {
            (Some(pods), Some(selector)) => network
                .entry((&policy.namespace, selector))
                .or_insert_with(|| Arc::new(of_pods(pods, selector).collect())),
            _ => &mut nowhere,
        };
        spans.insert(policy.object(), Arc::clone(span));
    }
    spans
}

fn of_admin(cluster: &Cluster, subjects: &Subjects<'_>, subject: &AdminSubject) -> Arc<BTreeSet<String>> {
    let AdminSubject::Pods { namespaces, pods: selector } = subject else { return Arc::default() };
    let inside = subjects.iter().filter(|(namespace, _)| labels_match(cluster, namespaces, namespace));
    Arc::new(inside.flat_map(|(_, pods)| of_pods(pods, selector)).collect())
}

fn of_pods<'a>(
    pods: &'a BTreeMap<&'a Labels, BTreeSet<&'a str>>,
    selector: &'a Selector,
) -> impl Iterator<Item = String> + 'a {
    let selected = pods.iter().filter(|(labels, _)| selector.matches(labels));
    selected.flat_map(|(_, nodes)| nodes.iter().map(|&node| node.to_owned()))
}
