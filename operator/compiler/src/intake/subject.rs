//! Whom a cluster-wide policy is about, and the pod selection it shares with peers.

use super::cursor::{Cursor, Refused};
use super::dialect::Dialect;
use super::selector::selector;
use crate::diagnostic::Severity;
use crate::model::{AdminSubject, Selector};

/// The subject of a policy. What is not understood selects nothing, and says so.
pub(super) fn subject(spec: &Cursor<'_>, dialect: &Dialect) -> AdminSubject {
    let decoded =
        spec.required("subject", |subject| match subject.one_of(&["namespaces", "pods"], hint)? {
            "namespaces" => Ok(AdminSubject::Pods {
                namespaces: namespaces(&subject.child("namespaces"))?,
                pods: Selector::EVERYTHING,
            }),
            field => {
                let (namespaces, pods) = pods(&subject.child(field), dialect)?;
                Ok(AdminSubject::Pods { namespaces, pods })
            }
        });
    decoded.unwrap_or_else(|_| {
        spec.child("subject").report(
            Severity::Error,
            "the subject is not understood: it selects no pod, the policy has no effect",
            "correct what else is reported about the subject",
        );
        AdminSubject::Nothing
    })
}

fn hint(field: &str) -> Option<&'static str> {
    match field {
        "namespaceSelector" => Some("write the selector as `namespaces`"),
        "podSelector" => Some("write `pods` with `namespaceSelector` and `podSelector` in it"),
        _ => None,
    }
}

const REPLACED: &str = "this is the shape of the API up to v0.1.1, long since replaced";

/// The value of `namespaces`: a selector. Up to v0.1.1 of the API it was an object around one.
pub(super) fn namespaces(namespaces: &Cursor<'_>) -> Result<Selector, Refused> {
    refuse_old_shape(namespaces)?;
    selector(namespaces)
}

fn refuse_old_shape(namespaces: &Cursor<'_>) -> Result<(), Refused> {
    let selector = namespaces.get("namespaceSelector").map_or(Ok(()), |old| {
        Err(old.error(REPLACED, "write what is in `namespaceSelector` directly into `namespaces`"))
    });
    refuse_relations(namespaces).and(selector)
}

/// Namespaces given by comparison with the subject's own.
fn refuse_relations(namespaces: &Cursor<'_>) -> Result<(), Refused> {
    let mut decoded = Ok(());
    for field in ["sameLabels", "notSameLabels"] {
        if let Some(old) = namespaces.get(field) {
            let remedy = "the API has nothing like it any more: write a policy for each group of namespaces";
            decoded = Err(old.error(REPLACED, remedy));
        }
    }
    decoded
}

/// The value of `pods`: selectors of namespaces and of pods in them.
pub(super) fn pods(pods: &Cursor<'_>, dialect: &Dialect) -> Result<(Selector, Selector), Refused> {
    let old = pods.get("namespaces").map_or(Ok(()), |old| {
        let refused = old.error(REPLACED, "write the selector of namespaces as `pods.namespaceSelector`");
        refuse_relations(&old).and(Err(refused))
    });
    let known = pods.only(&["namespaceSelector", "podSelector", "namespaces"], |field| {
        matches!(field, "matchLabels" | "matchExpressions")
            .then_some("write it into `podSelector`, or into `namespaceSelector`")
    });
    let namespaces = if dialect.needs_namespace_selector && old.is_ok() {
        pods.required("namespaceSelector", selector)
    } else {
        pods.optional("namespaceSelector", selector).map(Option::unwrap_or_default)
    };
    let selected = pods.required("podSelector", selector);
    old?;
    known?;
    Ok((namespaces?, selected?))
}
