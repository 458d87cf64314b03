//! Selectors that match nothing: those that never can, and those that do not now.

use palisade_view::Direction;

use super::ground::Sort;
use super::meter::{Exhausted, Meter};
use super::remark::{Matter, Remark};
use super::sheet::{Extent, Path, Scope, Sheet, Side, subject_field};
use super::survey::Survey;
use crate::model::{NamespaceMatch, Peer, Selector};

/// Looks at a policy's subject and peers.
pub(super) fn look(
    survey: &Survey<'_>,
    sheet: &Sheet<'_>,
    meter: &mut Meter,
    found: &mut Vec<Remark>,
) -> Result<(), Exhausted> {
    if let Some(scope) = &sheet.scope {
        found.extend(subject(survey, sheet, scope, meter)?);
    }
    for direction in [Direction::Ingress, Direction::Egress] {
        for rule in sheet.rules(direction).iter().filter(|rule| !rule.is_stand_in) {
            for (index, side) in rule.sides.iter().enumerate() {
                let field = Path(direction, rule.index).peer(index);
                found.extend(peer(survey, sheet, side, &field, meter)?);
            }
        }
    }
    Ok(())
}

fn contradiction(sheet: &Sheet<'_>, field: &str, what: &str, key: &str) -> Remark {
    Remark::certain(
        &sheet.object,
        field,
        Matter::Contradiction,
        format!("no {what} can be selected: the requirements on the label `{key}` exclude each other"),
        format!("correct what is asked of `{key}`"),
    )
}

fn subject(
    survey: &Survey<'_>,
    sheet: &Sheet<'_>,
    scope: &Scope,
    meter: &mut Meter,
) -> Result<Option<Remark>, Exhausted> {
    let field = subject_field(sheet.object.kind);
    if let Some(key) = scope.namespace_shape.contradiction() {
        return Ok(Some(contradiction(sheet, field, "namespace", key)));
    }
    if let Some(key) = scope.pod_shape.contradiction() {
        return Ok(Some(contradiction(sheet, field, "pod", key)));
    }
    if !survey.subjects(scope, meter)?.is_empty() {
        return Ok(None);
    }
    Ok(Some(match host_pod(survey, &scope.namespaces, &scope.pods, meter)? {
        Some(pod) => Remark::present(
            &sheet.object,
            field,
            Matter::HostNetworkOnly,
            format!("only pods with `hostNetwork` are selected, such as {pod}: no policy is about these"),
            "remove the policy, or select pods that have addresses of their own",
        ),
        None => Remark::advice(
            &sheet.object,
            field,
            Matter::EmptySelector,
            nothing(survey, &scope.namespaces, meter)?,
            "nothing, if pods are to come; else correct the selector",
        ),
    }))
}

fn peer(
    survey: &Survey<'_>,
    sheet: &Sheet<'_>,
    side: &Side<'_>,
    field: &str,
    meter: &mut Meter,
) -> Result<Option<Remark>, Exhausted> {
    match (side.peer, &side.extent) {
        (Peer::Pods { namespaces, pods }, Extent::Pods { namespaces: namespace_shape, pods: pod_shape }) => {
            if let Some(key) = namespace_shape.contradiction() {
                return Ok(Some(contradiction(sheet, field, "namespace", key)));
            }
            if let Some(key) = pod_shape.contradiction() {
                return Ok(Some(contradiction(sheet, field, "pod", key)));
            }
            if !survey.selected(side, meter)?.is_empty() {
                return Ok(None);
            }
            Ok(Some(match host_pod(survey, namespaces, pods, meter)? {
                Some(pod) => Remark::present(
                    &sheet.object,
                    field,
                    Matter::HostNetworkOnly,
                    format!(
                        "only pods with `hostNetwork` are selected, such as {pod}: no selector of pods is about these"
                    ),
                    "select their nodes, or write their nodes' addresses",
                ),
                None => Remark::advice(
                    &sheet.object,
                    field,
                    Matter::EmptySelector,
                    nothing(survey, namespaces, meter)?,
                    "nothing, if such pods are to come; else correct the selector",
                ),
            }))
        }
        (Peer::Nodes(selector), Extent::Nodes(shape)) => {
            if let Some(key) = shape.contradiction() {
                return Ok(Some(contradiction(sheet, field, "node", key)));
            }
            meter.spend(survey.ground.nodes.len())?;
            if survey.ground.nodes(selector).next().is_some() {
                return Ok(None);
            }
            Ok(Some(Remark::advice(
                &sheet.object,
                field,
                Matter::EmptySelector,
                "no node is selected now".to_owned(),
                "nothing, if such nodes are to come; else correct the selector",
            )))
        }
        (Peer::Networks { networks, except, .. }, Extent::Networks(addresses)) if addresses.is_empty() => {
            // Of one exception that leaves nothing intake has told.
            let is_told = networks.iter().any(|network| except.contains(network));
            Ok((!is_told).then(|| {
                Remark::certain(
                    &sheet.object,
                    field,
                    Matter::Contradiction,
                    "the exceptions together leave nothing of the network".to_owned(),
                    "remove the peer, or an exception",
                )
            }))
        }
        _ => Ok(None),
    }
}

/// A pod in its node's network that a selector would mean.
fn host_pod(
    survey: &Survey<'_>,
    namespaces: &NamespaceMatch,
    pods: &Selector,
    meter: &mut Meter,
) -> Result<Option<String>, Exhausted> {
    let found = survey.ground.pods(Sort::Host, namespaces, pods, meter)?;
    let first = found.first().and_then(|&id| survey.ground.class(id));
    Ok(first.map(|class| format!("{}/{}", class.namespace, class.example.name)))
}

fn nothing(survey: &Survey<'_>, namespaces: &NamespaceMatch, meter: &mut Meter) -> Result<String, Exhausted> {
    let is_there = survey.ground.has_namespace(namespaces, meter)?;
    Ok(if is_there { "no pod is selected now" } else { "no namespace is selected now" }.to_owned())
}
