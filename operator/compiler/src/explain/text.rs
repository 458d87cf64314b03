//! An explanation as text: the verdict first, then each direction tier by tier, then what is odd about the addresses.

use std::fmt;

use super::tier_name;
use crate::model::{Action, ObjectRef, Tier};
use crate::oracle::{Exemption, Explanation, Pair, RuleRef, Side, Stage, Walk};

/// More names than this in one list are counted instead. JSON has them all.
const NAMES: usize = 20;

impl fmt::Display for Explanation {
    /// Ends with a line break.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = (self.flow.source_node.as_deref(), self.flow.destination_node.as_deref());
        let (source, destination) = (who(&self.source, from), who(&self.destination, to));
        write!(f, "{source} -> {destination} {}: ", self.flow.l4)?;
        match self.denies() {
            None => writeln!(f, "allowed")?,
            Some(walk) => writeln!(f, "denied by {}: {}", walk.direction, walk.verdict.reason)?,
        }
        for (walk, subject) in [(&self.egress, &source), (&self.ingress, &destination)] {
            writeln!(f)?;
            direction(f, walk, subject)?;
        }
        let mut notes: Vec<String> = note(&self.source, from).collect();
        notes.extend(note(&self.destination, to).filter(|_| self.flow.source != self.flow.destination));
        for note in notes {
            writeln!(f, "\n{note}")?;
        }
        Ok(())
    }
}

/// An address with whose it is.
fn who(side: &Side, stack: Option<&str>) -> String {
    let pods: Vec<String> = side.pods.iter().map(pod).collect();
    let whose = match (stack, pods.is_empty(), side.nodes.is_empty()) {
        (Some(node), ..) => format!("node {node}"),
        (None, false, _) => pods.join(" or "),
        (None, true, false) => format!("node {}", side.nodes.join(" or ")),
        (None, true, true) => return format!("{}", side.address),
    };
    format!("{whose} ({})", side.address)
}

fn pod(pod: &ObjectRef) -> String {
    format!("{}/{}", pod.namespace.as_deref().unwrap_or_default(), pod.name)
}

fn direction(f: &mut fmt::Formatter<'_>, walk: &Walk, subject: &str) -> fmt::Result {
    writeln!(f, "{} of {subject}: {}", walk.direction, walk.verdict)?;
    if let [pair] = walk.pairs.as_slice() {
        return stages(f, walk, pair, "  ");
    }
    for pair in &walk.pairs {
        let peer = pair.peer.iter().map(pod).next().unwrap_or_else(|| "no pod".to_owned());
        writeln!(f, "  {} as {}, peer as {peer}: {}", walk.direction, pod(&pair.subject), pair.verdict)?;
        stages(f, walk, pair, "    ")?;
    }
    Ok(())
}

fn stages(f: &mut fmt::Formatter<'_>, walk: &Walk, pair: &Pair, indent: &str) -> fmt::Result {
    for stage in &pair.stages {
        write!(f, "{indent}")?;
        match stage {
            Stage::OwnNode => writeln!(f, "the pod's own node sends, which no policy restricts")?,
            Stage::Tier { tier, policies, matched } => {
                write!(f, "{}: ", tier_name(*tier))?;
                match matched {
                    Some((by, action)) => {
                        write!(f, "{} {}", rule(walk, by), effect(*tier, *action))?;
                        if policies.len() > 1 {
                            write!(f, "; about the pod are, in order: {}", list(policies))?;
                        }
                        writeln!(f)?;
                    }
                    None if policies.is_empty() => writeln!(f, "no policy is about the pod")?,
                    None => writeln!(f, "no rule matches of {}", list(policies))?,
                }
            }
            Stage::NetworkPolicy { isolating, .. } if isolating.is_empty() => {
                writeln!(f, "NetworkPolicy: none isolates the pod")?;
            }
            Stage::NetworkPolicy { isolating, exemption, allowing } => {
                write!(f, "NetworkPolicy: isolated by {}; ", list(isolating))?;
                match exemption {
                    Some(Exemption::OwnNode) => writeln!(f, "but never from its own node")?,
                    Some(Exemption::Itself) => writeln!(f, "but never from itself")?,
                    None if allowing.is_empty() => writeln!(f, "no rule of them matches")?,
                    None => {
                        let rules: Vec<String> = allowing.iter().map(|by| rule(walk, by)).collect();
                        writeln!(f, "allowed by {}", list(&rules))?;
                    }
                }
            }
            Stage::Default => writeln!(f, "nothing has decided, so it is allowed")?,
        }
    }
    let unasked = unasked(pair);
    if unasked.is_empty() { Ok(()) } else { writeln!(f, "{indent}not asked: {}", unasked.join(", ")) }
}

/// The tiers behind the decisive one.
fn unasked(pair: &Pair) -> &'static [&'static str] {
    match pair.stages.last() {
        None | Some(Stage::OwnNode) => &["Admin", "NetworkPolicy", "Baseline"],
        Some(Stage::Tier { tier: Tier::Admin, .. }) => &["NetworkPolicy", "Baseline"],
        Some(Stage::NetworkPolicy { .. }) => &["Baseline"],
        Some(Stage::Tier { tier: Tier::Baseline, .. } | Stage::Default) => &[],
    }
}

fn rule(walk: &Walk, rule: &RuleRef) -> String {
    let place = format!("{} {}[{}]", rule.policy, walk.direction, rule.index);
    match &rule.name {
        // Names are any text.
        Some(name) => format!("{place} {name:?}"),
        None => place,
    }
}

fn effect(tier: Tier, action: Action) -> &'static str {
    match (tier, action) {
        (_, Action::Allow) => "allows",
        (_, Action::Deny) => "denies",
        (Tier::Admin, Action::Pass) => "passes it on to NetworkPolicy",
        (Tier::Baseline, Action::Pass) => "passes it, which allows it here",
    }
}

fn list<T: fmt::Display>(all: &[T]) -> String {
    let mut names: Vec<String> = all.iter().take(NAMES).map(ToString::to_string).collect();
    if all.len() > NAMES {
        names.push(format!("and {} more", all.len() - NAMES));
    }
    names.join(", ")
}

/// What one would not expect of an address.
fn note(side: &Side, stack: Option<&str>) -> impl Iterator<Item = String> {
    let address = side.address;
    let pods = |all: &[ObjectRef]| list(&all.iter().map(pod).collect::<Vec<_>>());
    let contested = (side.pods.len() > 1).then(|| {
        format!(
            "note: {address} is claimed by {}, and no node's pod range tells whose it is. Only what is allowed for each \
             of them is allowed.",
            pods(&side.pods)
        )
    });
    let outbid = (!side.outbid.is_empty()).then(|| {
        format!(
            "note: {address} is also claimed by {}, whose node's pod range does not hold it. On a node that hosts no \
             rightful owner, the policies of who claims it there count as well.",
            pods(&side.outbid)
        )
    });
    let is_unknown = side.pods.is_empty() && side.nodes.is_empty() && stack.is_none();
    let unknown = is_unknown.then(|| {
        format!(
            "note: {address} is no pod's and no node's address that the operator knows. If it is a Service's, ask for a \
             pod behind it: policies judge packets after the translation."
        )
    });
    [contested, outbid, unknown].into_iter().flatten()
}
