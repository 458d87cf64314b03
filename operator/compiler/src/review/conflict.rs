//! Policies of the same tier and priority that disagree on a packet. The API leaves open which of them wins.
//!
//! Packets are tried, not proved: one subject, one address and what the rules say of it. A disagreement that is reported
//! has an example that can be sent; one that no tried packet shows is missed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use palisade_view::{Direction, Family, L4, Packet, Program, Protocol};

use super::ground::ClassId;
use super::meter::{Exhausted, Meter};
use super::remark::{Matter, Remark};
use super::sheet::{Extent, Path, Rule, Sheet, Side, Stage};
use super::survey::Survey;
use crate::model::{Action, Kind, NamedPort, Node, ObjectRef, Peer};

/// Stands for protocols without ports.
const ICMP: u8 = 1;

/// The other side of a packet.
struct Other<'a> {
    address: IpAddr,
    class: Option<ClassId>,
    nodes: Vec<&'a Node>,
    /// How people know it.
    name: String,
}

/// A packet on which two policies disagree.
#[derive(Clone)]
struct Clash {
    direction: Direction,
    /// Index and action of the deciding rule, of the first policy and of the second.
    rules: [(usize, Action); 2],
    subject: String,
    other: String,
    packet: Packet,
}

/// Looks at the cluster-wide policies, one group of equal tier and priority after the other. Policies that were too much
/// work are added to `unreviewed`.
pub(super) fn look(
    survey: &Survey<'_>,
    meter: &mut Meter,
    found: &mut Vec<Remark>,
    unreviewed: &mut BTreeSet<ObjectRef>,
) {
    // Of each policy the first disagreement, with how many others there are more.
    let mut told: BTreeMap<usize, (usize, Clash, bool, usize)> = BTreeMap::new();
    for (second, sheet) in survey.sheets.iter().enumerate().filter(|(_, sheet)| sheet.stage != Stage::Network)
    {
        meter.next_policy();
        let row = (0..second).rev().take_while(|&first| {
            let place = |sheet: &Sheet<'_>| (sheet.stage, sheet.priority);
            survey.sheets.get(first).is_some_and(|first| place(first) == place(sheet))
        });
        let mut firsts: Vec<usize> = row.collect();
        firsts.reverse();
        for first in firsts {
            match clash(survey, first, second, meter) {
                Ok(None) => {}
                Ok(Some(clash)) => {
                    for (own, other, is_winner) in [(first, second, true), (second, first, false)] {
                        match told.get_mut(&own) {
                            Some((.., more)) => *more += 1,
                            None => {
                                told.insert(own, (other, clash.clone(), is_winner, 0));
                            }
                        }
                    }
                }
                Err(Exhausted) => {
                    unreviewed.insert(sheet.object.clone());
                    break;
                }
            }
        }
    }
    for (own, (other, clash, is_winner, more)) in told {
        if let (Some(own), Some(other)) = (survey.sheets.get(own), survey.sheets.get(other)) {
            found.push(remark(own, other, &clash, is_winner, more));
        }
    }
}

/// A packet on which two policies disagree, and that no policy of a higher place has decided.
fn clash(
    survey: &Survey<'_>,
    first: usize,
    second: usize,
    meter: &mut Meter,
) -> Result<Option<Clash>, Exhausted> {
    let (Some(one), Some(two)) = (survey.sheets.get(first), survey.sheets.get(second)) else {
        return Ok(None);
    };
    let (Some(scope), Some(other_scope)) = (&one.scope, &two.scope) else { return Ok(None) };
    meter.spend(1)?;
    if scope.is_disjoint(other_scope) {
        return Ok(None);
    }
    let (subjects, others) = (survey.subjects(scope, meter)?, survey.subjects(other_scope, meter)?);
    for direction in [Direction::Ingress, Direction::Egress] {
        if !may_disagree(one.rules(direction), two.rules(direction)) {
            continue;
        }
        let candidates = candidates(survey, one, two, direction, meter)?;
        // Subjects that differ in nothing that matters are tried once.
        let mut tried = BTreeSet::new();
        for &id in subjects.iter() {
            meter.spend(1)?;
            if others.binary_search(&id).is_err()
                || (one.stage == Stage::Baseline && survey.is_isolated(id, direction))
            {
                continue;
            }
            let mut before = Vec::new();
            for sheet in survey.before(first).filter(|sheet| !sheet.rules(direction).is_empty()) {
                if survey.is_about(sheet, id, meter)? {
                    before.push(sheet);
                }
            }
            let Some(class) = survey.ground.class(id) else { continue };
            let families = [Family::V4, Family::V6].map(|family| class.has(family));
            let key: Vec<&ObjectRef> = before.iter().map(|sheet| &sheet.object).collect();
            if !tried.insert((key, class.named_ports, families)) {
                continue;
            }
            for other in &candidates {
                let Some((pod, address)) = survey.ground.witness(id, Family::of(other.address)) else {
                    continue;
                };
                let trial = Trial { survey, direction, ports: class.named_ports, other };
                if let Some((rules, traffic)) = trial.disagreement(&before, one, two, meter)? {
                    let (source, destination) = match direction {
                        Direction::Ingress => (other.address, address),
                        Direction::Egress => (address, other.address),
                    };
                    return Ok(Some(Clash {
                        direction,
                        rules,
                        subject: format!("{}/{}", pod.namespace, pod.name),
                        other: other.name.clone(),
                        packet: Packet { source, destination, l4: lowest(&traffic) },
                    }));
                }
            }
        }
    }
    Ok(None)
}

fn may_disagree(one: &[Rule<'_>], two: &[Rule<'_>]) -> bool {
    one.iter().any(|rule| two.iter().any(|other| other.action != rule.action))
}

/// Addresses to try: of each class of pods, of each node, and the first of each network that a rule names.
fn candidates<'a>(
    survey: &Survey<'a>,
    one: &Sheet<'_>,
    two: &Sheet<'_>,
    direction: Direction,
    meter: &mut Meter,
) -> Result<Vec<Other<'a>>, Exhausted> {
    let ground = &survey.ground;
    let nodes_at = |address: IpAddr| -> Vec<&'a Node> {
        ground.nodes.iter().copied().filter(|node| node.addresses.contains(&address)).collect()
    };
    let mut known = BTreeSet::new();
    let mut candidates = Vec::new();
    for id in ground.networked() {
        meter.spend(2)?;
        for family in [Family::V4, Family::V6] {
            let Some((pod, address)) = ground.witness(id, family) else { continue };
            known.insert(address);
            let name = format!("{}/{}", pod.namespace, pod.name);
            candidates.push(Other { address, class: Some(id), nodes: nodes_at(address), name });
        }
    }
    // No ingress rule names nodes or networks.
    if direction == Direction::Ingress {
        return Ok(candidates);
    }
    let of_nodes = ground.nodes.iter().flat_map(|node| &node.addresses).copied();
    let sides = [one, two].into_iter().flat_map(|sheet| sheet.rules(direction)).flat_map(|rule| &rule.sides);
    let of_networks = sides.flat_map(|side| match &side.extent {
        Extent::Networks(networks) => networks.firsts().collect(),
        _ => Vec::new(),
    });
    for address in of_nodes.chain(of_networks) {
        meter.spend(1 + ground.nodes.len())?;
        if !ground.is_contested(address) && known.insert(address) {
            let class = ground.owner_of.get(&address).copied();
            candidates.push(Other { address, class, nodes: nodes_at(address), name: address.to_string() });
        }
    }
    Ok(candidates)
}

/// One subject's side of a packet.
struct Trial<'p, 'a> {
    survey: &'p Survey<'a>,
    direction: Direction,
    /// The subject's.
    ports: &'p BTreeSet<NamedPort>,
    other: &'p Other<'a>,
}

/// What each rule decides: its index and action, and the traffic.
type Decided = Vec<(usize, Action, Program)>;

/// Index and action of a rule of each of two policies, and the traffic that they decide differently.
type Disagreement = ([(usize, Action); 2], Program);

impl Trial<'_, '_> {
    /// Rules of two policies that decide the same traffic differently, and which traffic.
    fn disagreement(
        &self,
        before: &[&Sheet<'_>],
        one: &Sheet<'_>,
        two: &Sheet<'_>,
        meter: &mut Meter,
    ) -> Result<Option<Disagreement>, Exhausted> {
        let (ones, twos) = (self.decided(one, meter)?, self.decided(two, meter)?);
        let mut open: Option<Program> = None;
        for (index, action, traffic) in &ones {
            for (other_index, other_action, other_traffic) in
                twos.iter().filter(|(_, other, _)| other != action)
            {
                let both = traffic.intersection(other_traffic);
                if both.is_none() {
                    continue;
                }
                let left = match &open {
                    Some(known) => known.clone(),
                    None => self.open(before, one.stage, meter)?,
                };
                let both = both.intersection(&left);
                open = Some(left);
                if !both.is_none() {
                    return Ok(Some(([(*index, *action), (*other_index, *other_action)], both)));
                }
            }
        }
        Ok(None)
    }

    /// What policies of a higher place leave to a tier.
    fn open(&self, before: &[&Sheet<'_>], stage: Stage, meter: &mut Meter) -> Result<Program, Exhausted> {
        let (mut open, mut undecided) = (Program::all(), Program::all());
        let mut tier = Stage::Admin;
        for sheet in before {
            if sheet.stage != tier {
                // What the Admin tier passed on or said nothing of.
                (undecided, tier) = (open.clone(), sheet.stage);
            }
            for (_, action, traffic) in self.decided(sheet, meter)? {
                let decided = undecided.intersection(&traffic);
                undecided = undecided.difference(&decided);
                if sheet.stage == stage || action != Action::Pass {
                    open = open.difference(&decided);
                }
            }
        }
        Ok(open)
    }

    /// What each rule of a policy decides by itself, in order.
    fn decided(&self, sheet: &Sheet<'_>, meter: &mut Meter) -> Result<Decided, Exhausted> {
        let mut open = Program::all();
        let mut decided = Decided::new();
        for rule in sheet.rules(self.direction) {
            meter.spend(1 + rule.sides.len())?;
            let mut traffic = Program::NONE;
            for side in &rule.sides {
                if self.matches(side, meter)? {
                    let limited = side.limited(&rule.traffic);
                    traffic = traffic.union(&match self.destination() {
                        Some(ports) => limited.at(ports),
                        None => limited.numbered,
                    });
                }
            }
            let own = traffic.intersection(&open);
            open = open.difference(&own);
            if !own.is_none() {
                decided.push((rule.index, rule.action, own));
            }
        }
        Ok(decided)
    }

    /// The named ports of the destination.
    fn destination(&self) -> Option<&BTreeSet<NamedPort>> {
        match self.direction {
            Direction::Ingress => Some(self.ports),
            Direction::Egress => self.survey.ground.class(self.other.class?).map(|class| class.named_ports),
        }
    }

    fn matches(&self, side: &Side<'_>, meter: &mut Meter) -> Result<bool, Exhausted> {
        Ok(match (side.peer, &side.extent) {
            (Peer::Everything, _) => true,
            (Peer::Pods { .. }, _) => match self.other.class {
                Some(id) => self.survey.selected(side, meter)?.binary_search(&id).is_ok(),
                None => false,
            },
            (_, Extent::Networks(networks)) => networks.has(self.other.address),
            (Peer::Nodes(selector), _) => self.other.nodes.iter().any(|node| selector.matches(&node.labels)),
            _ => false,
        })
    }
}

/// The first of some traffic.
fn lowest(traffic: &Program) -> L4 {
    let port = |protocol: Protocol| Some(L4::Port(protocol, traffic.of(protocol).as_slice().first()?.0));
    Protocol::ALL.into_iter().find_map(port).unwrap_or(L4::Other(ICMP))
}

fn in_words(l4: L4) -> String {
    match l4 {
        L4::Port(protocol, port) => format!("{} port {port}", protocol.name()),
        L4::Other(_) => "ICMP".to_owned(),
    }
}

fn remark(own: &Sheet<'_>, other: &Sheet<'_>, clash: &Clash, is_winner: bool, more: usize) -> Remark {
    let [first, second] = clash.rules;
    let (mine, others, winner, loser) =
        if is_winner { (first, second, own, other) } else { (second, first, other, own) };
    let says = |sheet: &Sheet<'_>, (index, action): (usize, Action)| {
        let word = match action {
            Action::Allow if sheet.object.kind == Kind::ClusterNetworkPolicy => "Accept",
            Action::Allow => "Allow",
            Action::Deny => "Deny",
            Action::Pass => "Pass",
        };
        (Path(clash.direction, index).short(), word)
    };
    let ((my_rule, my_word), (other_rule, other_word)) = (says(own, mine), says(other, others));
    let (from, to) = match clash.direction {
        Direction::Ingress => (&clash.other, &clash.subject),
        Direction::Egress => (&clash.subject, &clash.other),
    };
    let by = if winner.object.name == loser.object.name { "kind" } else { "name" };
    let more = match more {
        0 => String::new(),
        1 => "; one more policy of this priority disagrees too".to_owned(),
        more => format!("; {more} more policies of this priority disagree too"),
    };
    let message = format!(
        "{} has the same priority and disagrees: of {} from {from} to {to}, {my_rule} here says {my_word} and {other_rule} \
         there says {other_word}; {} wins, because its {by} comes first{more}",
        other.object,
        in_words(clash.packet.l4),
        winner.object,
    );
    Remark::present(
        &own.object,
        "spec.priority",
        Matter::Conflict,
        message,
        "give one of them another priority",
    )
    .shown_by(clash.packet)
}
