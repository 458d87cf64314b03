//! `AdminNetworkPolicy`, `BaselineAdminNetworkPolicy` and `ClusterNetworkPolicy`.

use palisade_view::Direction;

use super::admin_rule::rules;
use super::cursor::{Cursor, Refused, shown};
use super::dialect::Dialect;
use super::subject::subject;
use crate::diagnostic::Severity;
use crate::model::{Action, AdminPolicy, AdminSubject, Kind, Tier};

/// The last priority of the API.
const LAST_PRIORITY: i64 = 1000;

/// A cluster-wide policy named `name`.
pub(super) fn admin_policy(root: &Cursor<'_>, name: &str, dialect: &Dialect) -> AdminPolicy {
    let mut policy = AdminPolicy {
        kind: dialect.kind,
        name: name.to_owned(),
        tier: if dialect.kind == Kind::BaselineAdminNetworkPolicy { Tier::Baseline } else { Tier::Admin },
        priority: 0,
        subject: AdminSubject::Nothing,
        ingress: Vec::new(),
        egress: Vec::new(),
    };
    let spec = root.child("spec");
    if root.required("spec", |spec| spec.object().map(drop)).is_err() {
        spec.report(
            Severity::Error,
            "the policy is not understood: it selects no pod and has no effect",
            "correct what else is reported about it",
        );
        return policy;
    }
    spec.ignore_others(dialect.spec);
    policy.subject = subject(&spec, dialect);
    policy.ingress = rules(&spec, dialect, Direction::Ingress);
    policy.egress = rules(&spec, dialect, Direction::Egress);
    match place(root, &spec, name, dialect) {
        Ok((tier, priority)) => (policy.tier, policy.priority) = (tier, priority),
        Err(_) => keep_only_denials(&spec, &mut policy),
    }
    policy
}

/// Tier and priority.
fn place(
    root: &Cursor<'_>,
    spec: &Cursor<'_>,
    name: &str,
    dialect: &Dialect,
) -> Result<(Tier, u32), Refused> {
    match dialect.kind {
        Kind::BaselineAdminNetworkPolicy if name == "default" => Ok((Tier::Baseline, u32::MAX)),
        Kind::BaselineAdminNetworkPolicy => Err(root.child("metadata").child("name").error(
            format!("the one BaselineAdminNetworkPolicy is named `default`, not {}", shown(name)),
            "name it `default`, or write a ClusterNetworkPolicy of the Baseline tier",
        )),
        Kind::ClusterNetworkPolicy => {
            let (tier, priority) = (spec.required("tier", tier), spec.required("priority", priority));
            Ok((tier?, priority?))
        }
        _ => Ok((Tier::Admin, spec.required("priority", priority)?)),
    }
}

fn tier(tier: &Cursor<'_>) -> Result<Tier, Refused> {
    match tier.string()? {
        "Admin" => Ok(Tier::Admin),
        "Baseline" => Ok(Tier::Baseline),
        other => Err(tier.error(format!("{} is no tier", shown(other)), "write `Admin` or `Baseline`")),
    }
}

/// A priority outside the API's range still says on which side of all others the policy stands.
fn priority(priority: &Cursor<'_>) -> Result<u32, Refused> {
    let number = priority.integer()?;
    let clamped = number.clamp(0, LAST_PRIORITY);
    if clamped != number {
        priority.report(
            Severity::Error,
            format!("{number} is no priority: it is read as {clamped}"),
            format!("write a number from 0 to {LAST_PRIORITY}"),
        );
    }
    Ok(u32::try_from(clamped).unwrap_or_default())
}

/// A policy whose place in the order is not known must neither let traffic past nor get out of the way: it stands
/// where priority 0 stands, and what it would allow or pass is left to the others.
fn keep_only_denials(spec: &Cursor<'_>, policy: &mut AdminPolicy) {
    for rule in policy.ingress.iter_mut().chain(&mut policy.egress) {
        if rule.action != Action::Deny {
            rule.peers.clear();
        }
    }
    spec.report(
        Severity::FailClosed,
        "the policy's place among the others is not known: only its Deny rules are in force, at priority 0",
        "correct what else is reported about tier, priority or name",
    );
}
