//! Raw objects: intake gives an answer whatever they are, the same each time, bounded by their size, and damage never
//! widens what they let through.

use palisade_compiler::diagnostic::Severity;
use palisade_compiler::intake::{Decoded, decode};
use palisade_compiler::model::{Event, Kind};
use serde_json::Value;

use crate::generate::Choices;
use crate::{json, properties, samples, widening};

/// The first byte says what the others are: JSON, YAML, or damage to a good object.
pub(crate) fn intake(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    match choices.below(8) {
        0 => {
            if let Ok(raw) = serde_json::from_slice::<Value>(choices.rest()) {
                answered(&raw);
            }
        }
        1 => yaml(choices.rest()),
        2 => damaged_anywhere(&mut choices),
        _ => damaged_rule(&mut choices),
    }
}

/// As the operator reads manifests.
fn yaml(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let options = serde_saphyr::options! { strict_booleans: true };
    if let Ok(raw) = serde_saphyr::from_str_with_options::<Value>(text, options) {
        answered(&raw);
    }
}

fn damaged_anywhere(choices: &mut Choices<'_>) {
    let kind = Kind::ALL[choices.below(Kind::ALL.len())];
    let action = choices.one(&["Deny", "Deny", "Pass", allow(kind)]);
    let mut raw = samples::object(kind, action);
    for _ in 0..=choices.below(3) {
        json::damage(choices, &mut raw, "");
    }
    let Some(decoded) = answered(&raw) else { return };
    if action == "Deny" {
        widening::denials_only_take_away(&raw, &decoded);
    }
    // Whatever intake makes of it, the compiler makes of it the same as the oracle.
    let mut objects: Vec<Value> = samples::cluster();
    objects.push(raw);
    let models = objects.iter().filter_map(|raw| decode(raw).ok()?.model);
    let packets: Vec<_> = (0..32_u8).map(|n| [n, n.wrapping_mul(7), n.wrapping_mul(11), n]).collect();
    if let Err(what) = properties::views_agree(models.map(Event::Apply).collect(), &packets) {
        panic!("{what}");
    }
}

fn damaged_rule(choices: &mut Choices<'_>) {
    const POLICIES: [Kind; 4] = [
        Kind::NetworkPolicy,
        Kind::AdminNetworkPolicy,
        Kind::BaselineAdminNetworkPolicy,
        Kind::ClusterNetworkPolicy,
    ];
    let kind = choices.one(&POLICIES);
    // A baseline policy of v1alpha1 has no Pass.
    let action = match choices.below(3) {
        0 => "Deny",
        1 if kind != Kind::BaselineAdminNetworkPolicy => "Pass",
        _ => allow(kind),
    };
    let good = samples::policy(kind, action);
    let mut raw = good.clone();
    let direction = choices.one(&["ingress", "egress"]);
    let rules = raw["spec"][direction].as_array().map_or(0, Vec::len);
    let rule = format!("/spec/{direction}/{}", choices.below(rules));
    json::damage(choices, &mut raw, &rule);
    let decoded = answered(&raw).expect("its name is not damaged");
    widening::damaged_rule(&good, &decoded);
}

fn allow(kind: Kind) -> &'static str {
    if kind == Kind::ClusterNetworkPolicy { "Accept" } else { "Allow" }
}

/// What intake makes of it, checked to be an answer. `None`: it is no object of ours.
fn answered(raw: &Value) -> Option<Decoded> {
    let first = decode(raw);
    assert_eq!(first, decode(raw), "the same each time");
    let decoded = match first {
        Ok(decoded) => decoded,
        Err(error) => {
            let shown = error.to_string();
            // A kind is shown as it is given, so that it can be searched for.
            assert!(shown.len() <= 1000 + size(raw), "{} bytes: {shown:.1000}", shown.len());
            return None;
        }
    };
    let errors = decoded.diagnostics.iter().any(|finding| finding.severity == Severity::Error);
    assert!(decoded.model.is_some() || errors, "nothing is made of it and nobody is told: {decoded:?}");
    assert!(decoded.model.is_some() || !decoded.object.kind.is_policy(), "a policy vanishes: {decoded:?}");
    assert!(decoded.model.iter().all(|model| model.object() == decoded.object), "{decoded:?}");
    assert!(decoded.diagnostics.is_sorted(), "{decoded:?}");
    let said: usize = decoded.diagnostics.iter().map(|finding| finding.to_string().len()).sum();
    assert!(said <= 4096 + 64 * size(raw), "{said} bytes are said about {}", size(raw));
    Some(decoded)
}

/// Bytes of an object, as JSON.
fn size(raw: &Value) -> usize {
    raw.to_string().len()
}
