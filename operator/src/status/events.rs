//! What Events say. Words only: when they are made is for the index, how often for the notices.

use palisade_compiler::Severity;
use palisade_compiler::model::ObjectRef;

use super::conditions::{self, INVALID, PARTIALLY_INVALID, has_status};
use super::nodes::Trouble;
use super::notices::{About, Key, Notice};
use crate::progress::PolicyProgress;

/// What to tell of a policy's findings.
pub(super) fn findings(object: &ObjectRef, policy: &PolicyProgress) -> Option<Notice> {
    let reason = match conditions::worst(&policy.findings)? {
        Severity::Error => INVALID,
        Severity::FailClosed => PARTIALLY_INVALID,
        // Nothing that anybody need be told unasked.
        Severity::Advice => return None,
        // Where there is a status, it is there.
        Severity::Warning if has_status(object.kind) => return None,
        Severity::Warning => "AcceptedWithWarnings",
    };
    let note = conditions::accepted(&policy.findings).message;
    let about = About::Policy(object.clone(), policy.report.uid.clone());
    let occasion = format!("{}\n{note}", policy.report.generation);
    Some(Notice { key: Key { about, reason, occasion }, is_warning: true, action: "Accept", note })
}

/// What to tell of a node in trouble.
pub(super) fn trouble(name: &str, trouble: &Trouble) -> Notice {
    const STAYS: &str = "what it enforced last stays in force";
    let (reason, note) = match trouble {
        Trouble::Late => (
            "PoliciesLate",
            format!("the shim is connected and has not put a change of policies or pods into force in time; {STAYS}"),
        ),
        Trouble::Unreachable => (
            "ShimUnreachable",
            format!("the shim is not connected, so changes of policies and pods do not reach the node; {STAYS}"),
        ),
        Trouble::NoShim => (
            "ShimMissing",
            "no shim has connected from the node: unless one runs there, policies are not enforced on its pods"
                .to_owned(),
        ),
        Trouble::Refusing(message) => {
            ("PoliciesRefused", format!("the shim does not put what it should into force: {message}; {STAYS}"))
        }
    };
    let occasion = match trouble {
        Trouble::Refusing(message) => message.clone(),
        _ => String::new(),
    };
    about_node(name, reason, true, note, occasion)
}

/// What to tell of a node that was in trouble.
pub(super) fn recovery(name: &str) -> Notice {
    let note = "the node enforces the present policies again".to_owned();
    about_node(name, "PoliciesUpToDate", false, note, String::new())
}

fn about_node(name: &str, reason: &'static str, is_warning: bool, note: String, occasion: String) -> Notice {
    let key = Key { about: About::Node(name.to_owned()), reason, occasion };
    Notice { key, is_warning, action: "Enforce", note }
}
