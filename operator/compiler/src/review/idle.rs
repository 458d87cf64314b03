//! Rules that never apply to what is there: named ports that no destination has, networks of a family that no subject
//! has, Baseline policies that are never asked.

use std::collections::BTreeSet;

use palisade_view::{Direction, Family};

use super::ground::ClassId;
use super::meter::{Exhausted, Meter};
use super::remark::{Matter, Remark};
use super::sheet::{Extent, Path, Rule, Sheet, Side, Stage};
use super::survey::Survey;
use super::traffic::is_meant;
use crate::model::{Peer, PortMatch};

/// The longest name of a container port. Of names that no port can have intake has told.
const LONGEST_NAME: usize = 15;

/// Looks at a policy whose subjects are there.
pub(super) fn look(
    survey: &Survey<'_>,
    sheet: &Sheet<'_>,
    meter: &mut Meter,
    found: &mut Vec<Remark>,
) -> Result<(), Exhausted> {
    let Some(scope) = &sheet.scope else { return Ok(()) };
    let subjects = survey.subjects(scope, meter)?;
    if subjects.is_empty() {
        return Ok(());
    }
    for direction in [Direction::Ingress, Direction::Egress] {
        let rules = sheet.rules(direction);
        meter.spend(subjects.len())?;
        if sheet.stage == Stage::Baseline
            && !rules.is_empty()
            && subjects.iter().all(|&id| survey.is_isolated(id, direction))
        {
            found.push(Remark::advice(
                &sheet.object,
                format!("spec.{direction}"),
                Matter::NeverAsked,
                format!(
                    "NetworkPolicies isolate every pod that the policy is about for {direction}: its rules are never asked"
                ),
                "nothing, if it is for pods to come; else remove the rules",
            ));
        }
        for rule in rules.iter().filter(|rule| !rule.is_stand_in) {
            ports(survey, sheet, direction, rule, &subjects, meter, found)?;
            families(survey, sheet, direction, rule, &subjects, meter, found)?;
        }
    }
    Ok(())
}

fn ports(
    survey: &Survey<'_>,
    sheet: &Sheet<'_>,
    direction: Direction,
    rule: &Rule<'_>,
    subjects: &[ClassId],
    meter: &mut Meter,
    found: &mut Vec<Remark>,
) -> Result<(), Exhausted> {
    if rule.traffic.named.is_empty() || !rule.sides.iter().any(Side::has_names) {
        return Ok(());
    }
    let destinations = match direction {
        Direction::Ingress => subjects.iter().copied().collect(),
        Direction::Egress => peers(survey, rule, meter)?,
    };
    if destinations.is_empty() {
        return Ok(());
    }
    for (index, port) in rule.ports.unwrap_or_default().iter().enumerate() {
        let PortMatch::Named { name, protocol } = port else { continue };
        let is_possible =
            |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
        if name.len() > LONGEST_NAME || !name.chars().all(is_possible) {
            continue;
        }
        meter.spend(destinations.len())?;
        let wanted = (name.clone(), *protocol);
        let mut named = destinations.iter().filter_map(|&id| survey.ground.class(id));
        if named.any(|class| class.named_ports.iter().any(|port| is_meant(&wanted, port))) {
            continue;
        }
        let of = protocol.map(|protocol| format!("{} ", protocol.name())).unwrap_or_default();
        let whose = match direction {
            Direction::Ingress => "the pods that the policy is about",
            Direction::Egress => "the pods that the rule names",
        };
        found.push(Remark::present(
            &sheet.object,
            Path(direction, rule.index).port(sheet.object.kind, index),
            Matter::MissingPort,
            format!("none of {whose} has a {of}port named `{name}`: it matches nothing"),
            "correct the name, name the port in the pods' containers, or write its number",
        ));
    }
    Ok(())
}

/// The pods with named ports that a rule's peers are.
fn peers(survey: &Survey<'_>, rule: &Rule<'_>, meter: &mut Meter) -> Result<BTreeSet<ClassId>, Exhausted> {
    let mut all = BTreeSet::new();
    for side in rule.sides.iter().filter(|side| side.has_names()) {
        match (side.peer, &side.extent) {
            (Peer::Pods { .. }, _) => all.extend(survey.selected(side, meter)?.iter()),
            (_, Extent::Everything) => all.extend(survey.ground.networked()),
            (_, Extent::Networks(networks)) => {
                meter.spend(survey.ground.classes.len())?;
                let is_in = |id: &ClassId| {
                    let class = survey.ground.class(*id);
                    class.is_some_and(|class| class.addresses.iter().any(|&address| networks.has(address)))
                };
                all.extend(survey.ground.networked().filter(is_in));
            }
            _ => {}
        }
        meter.spend(all.len())?;
    }
    Ok(all)
}

fn families(
    survey: &Survey<'_>,
    sheet: &Sheet<'_>,
    direction: Direction,
    rule: &Rule<'_>,
    subjects: &[ClassId],
    meter: &mut Meter,
    found: &mut Vec<Remark>,
) -> Result<(), Exhausted> {
    for (index, side) in rule.sides.iter().enumerate() {
        let Extent::Networks(networks) = &side.extent else { continue };
        let (family, its_name, other_name) = match (networks.lacks(Family::V4), networks.lacks(Family::V6)) {
            (false, true) => (Family::V4, "IPv4", "IPv6"),
            (true, false) => (Family::V6, "IPv6", "IPv4"),
            _ => continue,
        };
        meter.spend(subjects.len())?;
        if subjects.iter().any(|&id| survey.ground.class(id).is_none_or(|class| class.has(family))) {
            continue;
        }
        found.push(Remark::present(
            &sheet.object,
            Path(direction, rule.index).peer(index),
            Matter::WrongFamily,
            format!(
                "the pods that the policy is about have no {its_name} address: with {its_name} networks they exchange no packet"
            ),
            format!("write the {other_name} networks that are meant"),
        ));
    }
    Ok(())
}
