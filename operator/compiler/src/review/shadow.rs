//! Rules that never decide anything, because those asked before take all that they match.
//!
//! A rule is asked about a subject, a peer and some traffic. It decides nothing if for each peer that it can match, and
//! each subject, the rules before it take all of its traffic. Two proofs are tried: from the selectors, networks and
//! ports alone, where a rule before takes what it does of a peer only if it surely matches all of that peer; and, if that
//! fails, pod by pod for those there are. Both can miss a shadow. Neither may see one that is not there: whoever believes
//! it removes the rule.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use palisade_view::{Direction, Program};

use super::ground::ClassId;
use super::meter::{Exhausted, Meter};
use super::remark::{Basis, Matter, Remark};
use super::sheet::{Extent, Path, Rule, Sheet, Side, Stage};
use super::survey::Survey;
use super::traffic::Traffic;
use crate::diagnostic::Severity;
use crate::model::{Action, NamedPort, Node, ObjectRef, Peer};

/// How many of the rules that take a rule's traffic are named.
const NAMED: usize = 3;

/// Whom a question is about.
#[derive(Clone, Copy)]
enum Whom<'x> {
    /// Every address that a peer matches, in any cluster.
    Any(&'x Side<'x>),
    /// Pods of a class.
    Class(ClassId),
    /// A node's addresses.
    Node(&'x Node),
}

/// A rule that takes traffic of the one in question.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Taker {
    policy: ObjectRef,
    index: usize,
    action: Action,
}

/// One policy's direction, and what is asked before.
struct Row<'s, 'a> {
    survey: &'s Survey<'a>,
    sheet: &'s Sheet<'a>,
    direction: Direction,
    before: Vec<&'s Sheet<'a>>,
}

/// What rules before a policy, and its own, can tell of a subject: which of them are about it, and its named ports on
/// ingress.
type Alike<'x> = (Rc<Vec<bool>>, Option<&'x BTreeSet<NamedPort>>);

/// Looks at a policy's rules.
pub(super) fn look(
    survey: &Survey<'_>,
    position: usize,
    meter: &mut Meter,
    found: &mut Vec<Remark>,
) -> Result<(), Exhausted> {
    let Some(sheet) = survey.sheets.get(position) else { return Ok(()) };
    let Some(scope) = &sheet.scope else { return Ok(()) };
    for direction in [Direction::Ingress, Direction::Egress] {
        let rules = sheet.rules(direction);
        if rules.is_empty() {
            continue;
        }
        let mut before = Vec::new();
        for earlier in survey.before(position).filter(|earlier| !earlier.rules(direction).is_empty()) {
            meter.spend(1)?;
            if earlier.scope.as_ref().is_some_and(|earlier| !earlier.is_disjoint(scope)) {
                before.push(earlier);
            }
        }
        let row = Row { survey, sheet, direction, before };
        // Which of the policies before are about a subject.
        let mut about = BTreeMap::new();
        for (place, rule) in rules.iter().enumerate().filter(|(_, rule)| !rule.is_stand_in) {
            let basis = if let Some(takers) = row.always(place, rule, meter)? {
                Some((Basis::Policies, takers))
            } else {
                row.now(place, rule, &mut about, meter)?.map(|takers| (Basis::Present, takers))
            };
            found.extend(basis.map(|(basis, takers)| row.remark(rule, basis, &takers)));
        }
    }
    Ok(())
}

impl Row<'_, '_> {
    /// Those that take all of a rule's traffic in any cluster.
    fn always(
        &self,
        place: usize,
        rule: &Rule<'_>,
        meter: &mut Meter,
    ) -> Result<Option<Vec<Taker>>, Exhausted> {
        let Some(scope) = &self.sheet.scope else { return Ok(None) };
        let covers: Vec<bool> = self
            .before
            .iter()
            .map(|earlier| earlier.scope.as_ref().is_some_and(|s| s.contains(scope)))
            .collect();
        meter.spend(covers.len())?;
        let mut takers = Vec::new();
        for side in rule.sides.iter().filter(|side| !is_void(side)) {
            let left = side.limited(&rule.traffic);
            if !self.is_taken(place, left, Whom::Any(side), None, &covers, &mut takers, meter)? {
                return Ok(None);
            }
        }
        Ok(Some(takers).filter(|takers| !takers.is_empty()))
    }

    /// Those that take all of a rule's traffic with the pods and nodes there are.
    fn now(
        &self,
        place: usize,
        rule: &Rule<'_>,
        about: &mut BTreeMap<ClassId, Rc<Vec<bool>>>,
        meter: &mut Meter,
    ) -> Result<Option<Vec<Taker>>, Exhausted> {
        let Some(scope) = &self.sheet.scope else { return Ok(None) };
        let mut takers = Vec::new();
        let mut done: BTreeSet<Alike<'_>> = BTreeSet::new();
        for &subject in self.survey.subjects(scope, meter)?.iter() {
            meter.spend(1)?;
            if self.sheet.stage == Stage::Baseline && self.survey.is_isolated(subject, self.direction) {
                continue;
            }
            let applies = if let Some(known) = about.get(&subject) {
                Rc::clone(known)
            } else {
                let before = self.before.iter();
                let applies: Result<Vec<bool>, Exhausted> =
                    before.map(|earlier| self.survey.is_about(earlier, subject, meter)).collect();
                let applies = Rc::new(applies?);
                about.insert(subject, Rc::clone(&applies));
                applies
            };
            let own = self.survey.ground.class(subject).map(|class| class.named_ports);
            let ports = own.filter(|_| self.direction == Direction::Ingress);
            // Subjects that no rule before tells apart are one.
            if !done.insert((Rc::clone(&applies), ports)) {
                continue;
            }
            for side in rule.sides.iter().filter(|side| !is_void(side)) {
                for whom in self.whom(side, meter)? {
                    let left = side.limited(&rule.traffic);
                    let ports = match whom {
                        Whom::Class(id) if self.direction == Direction::Egress => {
                            self.survey.ground.class(id).map(|class| class.named_ports)
                        }
                        _ => ports,
                    };
                    if !self.is_taken(place, left, whom, ports, &applies, &mut takers, meter)? {
                        return Ok(None);
                    }
                }
            }
        }
        Ok(Some(takers).filter(|takers| !takers.is_empty()))
    }

    /// Whom a peer means, one by one where they can be listed.
    fn whom<'x>(&'x self, side: &'x Side<'x>, meter: &mut Meter) -> Result<Vec<Whom<'x>>, Exhausted> {
        Ok(match side.peer {
            Peer::Pods { .. } => {
                self.survey.selected(side, meter)?.iter().map(|&id| Whom::Class(id)).collect()
            }
            Peer::Nodes(selector) => {
                meter.spend(self.survey.ground.nodes.len())?;
                self.survey.ground.nodes(selector).map(Whom::Node).collect()
            }
            _ => vec![Whom::Any(side)],
        })
    }

    /// Whether those before surely take all of some traffic with somebody. `ports`: the destination's, if it is known;
    /// `applies`: which of the policies before are about the subject.
    #[expect(clippy::too_many_arguments, reason = "one question with all that it depends on")]
    fn is_taken(
        &self,
        place: usize,
        traffic: Traffic,
        whom: Whom<'_>,
        ports: Option<&BTreeSet<NamedPort>>,
        applies: &[bool],
        takers: &mut Vec<Taker>,
        meter: &mut Meter,
    ) -> Result<bool, Exhausted> {
        let there = |traffic: Traffic| match ports {
            Some(ports) => traffic.at(ports).into(),
            None => traffic,
        };
        let mut left = there(traffic);
        // What rules of an earlier tier may pass on does come here, whatever their tier says of it afterwards.
        let mut passed = Program::NONE;
        let own = self.sheet.rules(self.direction).iter().take(place).map(|rule| (self.sheet, rule, true));
        let before = self.before.iter().zip(applies).flat_map(|(&sheet, &applies)| {
            sheet.rules(self.direction).iter().map(move |rule| (sheet, rule, applies))
        });
        for (sheet, rule, applies) in before.chain(own) {
            if left.is_none() {
                break;
            }
            meter.spend(1 + rule.sides.len())?;
            let is_crossing = sheet.stage < self.sheet.stage;
            if is_crossing && rule.action == Action::Pass {
                if rule.sides.iter().any(|side| self.may_match(side, whom)) {
                    passed = passed.union(&rule.traffic.at_most());
                }
                continue;
            }
            if !applies {
                continue;
            }
            let mut rest = left.clone();
            for side in &rule.sides {
                if !self.surely_matches(side, whom, meter)? {
                    continue;
                }
                let mut taken = there(side.limited(&rule.traffic));
                if is_crossing && !passed.is_none() {
                    taken = taken.numbered.difference(&passed).into();
                }
                rest = rest.without(&taken);
            }
            if rest != left {
                let taker = Taker { policy: sheet.object.clone(), index: rule.index, action: rule.action };
                if !takers.contains(&taker) {
                    takers.push(taker);
                }
                left = rest;
            }
        }
        Ok(left.is_none())
    }

    fn surely_matches(&self, side: &Side<'_>, whom: Whom<'_>, meter: &mut Meter) -> Result<bool, Exhausted> {
        let all = |addresses: &BTreeSet<std::net::IpAddr>| match &side.extent {
            Extent::Networks(networks) => addresses.iter().all(|&address| networks.has(address)),
            extent => matches!(extent, Extent::Everything),
        };
        Ok(match (whom, side.peer) {
            (Whom::Any(other), _) => side.contains(other),
            (Whom::Class(id), Peer::Pods { .. }) => {
                self.survey.selected(side, meter)?.binary_search(&id).is_ok()
            }
            (Whom::Class(id), _) => self.survey.ground.class(id).is_some_and(|class| all(&class.addresses)),
            (Whom::Node(node), Peer::Nodes(selector)) => selector.matches(&node.labels),
            (Whom::Node(node), _) => all(&node.addresses),
        })
    }

    /// Whether a peer may mean some of them. What cannot be told quickly may be.
    #[expect(clippy::unused_self, reason = "the counterpart of `surely_matches`")]
    fn may_match(&self, side: &Side<'_>, whom: Whom<'_>) -> bool {
        match whom {
            Whom::Any(other) => !side.is_disjoint(other),
            Whom::Class(_) | Whom::Node(_) => !matches!(side.extent, Extent::Nothing),
        }
    }

    fn remark(&self, rule: &Rule<'_>, basis: Basis, takers: &[Taker]) -> Remark {
        let object = &self.sheet.object;
        let name = |taker: &Taker| {
            let path = Path(self.direction, taker.index);
            if taker.policy == *object {
                path.to_string()
            } else {
                format!("{} {}", taker.policy, path.short())
            }
        };
        let mut names: Vec<String> = takers.iter().take(NAMED).map(name).collect();
        if takers.len() > NAMED {
            names.push(format!("{} more", takers.len() - NAMED));
        }
        let last = names.pop().unwrap_or_default();
        let names = if names.is_empty() { last } else { format!("{} and {last}", names.join(", ")) };
        let is_own = takers.iter().all(|taker| taker.policy == *object);
        let is_denied = takers.iter().any(|taker| taker.action == Action::Deny);
        let remedy = match (self.sheet.stage, is_denied) {
            (Stage::Network, true) => {
                "remove it, or have the cluster-wide policy pass on what the namespace may decide"
            }
            (Stage::Network, false) => "remove it: what it allows is allowed without it",
            _ if is_own => "remove it, or move it up in the list",
            _ => "remove it, or let its policy be asked earlier",
        };
        let field = Path(self.direction, rule.index).to_string();
        match basis {
            Basis::Policies => {
                let message = format!("the rule never decides anything: it is shadowed by {names}");
                let remark = Remark::certain(object, field, Matter::Shadowed, message, remedy);
                // That several policies allow the same is how NetworkPolicies are meant to be used.
                let is_harmless = self.sheet.stage == Stage::Network && !is_own && !is_denied;
                if is_harmless { remark.graded(Severity::Advice) } else { remark }
            }
            Basis::Present => {
                let message = format!(
                    "with the pods there are now, the rule decides nothing: it is shadowed by {names}"
                );
                Remark::advice(object, field, Matter::Shadowed, message, remedy)
            }
        }
    }
}

/// Whether a peer can match nothing at all.
fn is_void(side: &Side<'_>) -> bool {
    match &side.extent {
        Extent::Everything => false,
        Extent::Pods { namespaces, pods } => {
            namespaces.contradiction().is_some() || pods.contradiction().is_some()
        }
        Extent::Networks(networks) => networks.is_empty(),
        Extent::Nodes(shape) => shape.contradiction().is_some(),
        Extent::Nothing => true,
    }
}
