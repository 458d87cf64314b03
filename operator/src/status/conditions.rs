//! What each condition says, in which words. Pure: findings, spans and where nodes stand in; status, reason and message
//! out. Knows neither what was said before nor when to say it.

use std::collections::BTreeSet;

use jiff::{Timestamp, ToSpan};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use palisade_compiler::Severity;
use palisade_compiler::model::Kind;

use super::nodes::{Stand, Trouble};
use crate::batch::Finding;

/// The policy's content is understood and in effect as written.
pub(super) const ACCEPTED: &str = "Accepted";
/// Every node with a pod that the policy is about has put this generation into force at least once.
pub(super) const PROGRAMMED: &str = "Programmed";
/// A node with such a pod has fallen behind since.
pub(super) const DEGRADED: &str = "Degraded";
/// The types of our conditions, in the order in which they are written.
pub(super) const TYPES: [&str; 3] = [ACCEPTED, PROGRAMMED, DEGRADED];

/// Reason where something in a policy breaks the schema of its kind.
pub(super) const INVALID: &str = "Invalid";
/// Reason where something in a policy is not understood.
pub(super) const PARTIALLY_INVALID: &str = "PartiallyInvalid";
/// Reason where no node has a pod that the policy is about.
pub(super) const NO_MATCHING_PODS: &str = "NoMatchingPods";

/// Whether a policy of that kind has a status to write.
pub(super) fn has_status(kind: Kind) -> bool {
    kind.is_policy() && kind != Kind::NetworkPolicy
}

/// How many findings and nodes are named; the rest is counted.
const NAMED: usize = 3;

/// The longest message, in bytes. The API takes 32,768, but it should be read by people.
const LONGEST: usize = 4096;

/// What one condition should say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Draft {
    pub(super) status: &'static str,
    pub(super) reason: &'static str,
    pub(super) message: String,
}

impl Draft {
    fn new(status: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self { status, reason, message: message.into() }
    }

    /// The whole condition. Its time moves only with its status.
    pub(super) fn complete(
        self,
        kind: &str,
        generation: i64,
        known: Option<&Condition>,
        now: Timestamp,
    ) -> Condition {
        let since =
            known.filter(|known| known.status == self.status).map(|known| known.last_transition_time.0);
        Condition {
            type_: kind.to_owned(),
            status: self.status.to_owned(),
            reason: self.reason.to_owned(),
            message: self.message,
            observed_generation: Some(generation),
            last_transition_time: Time(since.unwrap_or_else(|| whole_seconds(now))),
        }
    }
}

/// The API keeps whole seconds; what is compared with what it has must, too.
fn whole_seconds(time: Timestamp) -> Timestamp {
    let rest = i64::from(time.subsec_nanosecond());
    time.checked_sub(rest.nanoseconds()).unwrap_or(time)
}

/// Whether two conditions say the same, whenever they began to.
pub(super) fn says_the_same(a: &Condition, b: &Condition) -> bool {
    (&a.status, &a.reason, &a.message, a.observed_generation)
        == (&b.status, &b.reason, &b.message, b.observed_generation)
}

/// The worst of what was found.
pub(super) fn worst(findings: &[Finding]) -> Option<Severity> {
    findings.iter().map(|finding| finding.diagnostic.severity).max()
}

/// Whether the policy is in effect as written.
pub(super) fn accepted(findings: &[Finding]) -> Draft {
    let is_kept = findings.iter().any(|finding| finding.is_kept);
    let (status, reason, head) = match worst(findings) {
        None => return Draft::new("True", "Accepted", "in effect as written"),
        Some(Severity::Advice) => ("True", "Accepted", "in effect as written"),
        Some(Severity::Warning) => ("True", "Accepted", "in effect as written, but hardly as meant"),
        Some(Severity::FailClosed) => {
            ("False", PARTIALLY_INVALID, "a part is not understood and fails closed, the rest is in effect")
        }
        Some(Severity::Error) if is_kept => {
            ("False", INVALID, "breaks the schema of its kind: what was in effect before stays")
        }
        Some(Severity::Error) => (
            "False",
            INVALID,
            "breaks the schema of its kind: what can be read is in effect, the rest fails closed",
        ),
    };
    Draft::new(status, reason, format!("{head}. {}", listed(findings)))
}

/// The worst findings, and how many more there are.
pub(super) fn listed(findings: &[Finding]) -> String {
    let mut sorted: Vec<_> = findings.iter().map(|finding| &finding.diagnostic).collect();
    // Stable: within a severity by field, as they come.
    sorted.sort_by_key(|diagnostic| std::cmp::Reverse(diagnostic.severity));
    let mut text = String::new();
    for diagnostic in sorted.iter().take(NAMED) {
        let at = if diagnostic.field.is_empty() { String::new() } else { format!("{}: ", diagnostic.field) };
        let sentence =
            format!("{at}{}: {}; {}. ", diagnostic.severity, diagnostic.message, diagnostic.remedy);
        text.push_str(&sentence);
    }
    if sorted.len() > NAMED {
        text = format!("{text}And {} more", sorted.len() - NAMED);
    }
    shortened(text.trim_end_matches(['.', ' ']), LONGEST)
}

/// Whether this generation has been put into force, while it is not known to have been before.
pub(super) fn programmed<'n>(
    findings: &[Finding],
    span: Option<&BTreeSet<String>>,
    mut stand: impl FnMut(&str) -> Stand<'n>,
) -> Draft {
    if worst(findings) == Some(Severity::Error) {
        return Draft::new("False", INVALID, "this generation is not in effect as written; see Accepted");
    }
    let Some(span) = span else {
        return Draft::new(
            "Unknown",
            "Progressing",
            "which nodes have pods that it is about is being found out",
        );
    };
    if span.is_empty() {
        return Draft::new("True", NO_MATCHING_PODS, "no node has a pod that it is about");
    }
    let (mut confirmed, mut refusing, mut cause) = (0, Vec::new(), None);
    let (mut missing, mut unreachable, mut waiting) = (Vec::new(), Vec::new(), Vec::new());
    for node in span {
        match stand(node) {
            Stand::Confirmed => confirmed += 1,
            Stand::Refusing(message) => {
                cause.get_or_insert(message);
                refusing.push(node.as_str());
            }
            Stand::NoShim => missing.push(node.as_str()),
            Stand::Unreachable => unreachable.push(node.as_str()),
            Stand::Waiting => waiting.push(node.as_str()),
        }
    }
    let message = format!("enforced on {confirmed}/{} nodes", span.len());
    if confirmed == span.len() {
        return Draft::new("True", "Programmed", message);
    }
    let reason = if !refusing.is_empty() {
        "NodesRefuse"
    } else if !missing.is_empty() {
        "NodesWithoutShim"
    } else if !unreachable.is_empty() {
        "NodesUnreachable"
    } else {
        "Progressing"
    };
    let cause = cause.map(|cause| format!(" ({cause})")).unwrap_or_default();
    let classes = [
        ("refused by", refusing, cause.as_str()),
        ("no shim on", missing, ""),
        ("not connected:", unreachable, ""),
        ("waiting for", waiting, ""),
    ];
    let mut message = message;
    for (head, nodes, tail) in classes {
        if !nodes.is_empty() {
            message = format!("{message}; {head} {}{tail}", named(&nodes));
        }
    }
    Draft::new("False", reason, shortened(&message, LONGEST))
}

/// Whether nodes have fallen behind since: those, with what is the matter, of so many.
pub(super) fn degraded(behind: &[(&str, &Trouble)], of: usize) -> Draft {
    let Some(worst) = behind.iter().map(|(_, trouble)| *trouble).max() else {
        return Draft::new("False", "AsExpected", "");
    };
    let reason = match worst {
        Trouble::Late => "NodesLate",
        Trouble::Unreachable => "NodesUnreachable",
        Trouble::NoShim => "NodesWithoutShim",
        Trouble::Refusing(_) => "NodesRefuse",
    };
    // What is the matter with the worst says most; the others are in their Events.
    let mut sorted: Vec<_> = behind.to_vec();
    sorted.sort_by(|(a, a_trouble), (b, b_trouble)| b_trouble.rank().cmp(&a_trouble.rank()).then(a.cmp(b)));
    let nodes: Vec<_> = sorted.iter().map(|(node, _)| *node).collect();
    let what = sorted.first().map(|(_, trouble)| trouble.to_string()).unwrap_or_default();
    let message = format!("{} of {of} nodes enforce an older state: {} ({what})", nodes.len(), named(&nodes));
    Draft::new("True", reason, shortened(&message, LONGEST))
}

/// The first few, and how many more.
fn named(nodes: &[&str]) -> String {
    let (first, more) = nodes.split_at(nodes.len().min(NAMED));
    let names = first.join(", ");
    if more.is_empty() { names } else { format!("{names} and {} more", more.len()) }
}

/// At most so many bytes of a text.
pub(super) fn shortened(text: &str, longest: usize) -> String {
    if text.len() <= longest {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(longest.saturating_sub(3));
    format!("{}...", text.get(..end).unwrap_or_default())
}
