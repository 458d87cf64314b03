//! What the conditions say.

use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

use super::super::conditions::{accepted, degraded, programmed};
use super::super::nodes::{Stand, Trouble};
use super::super::{Meters, events};
use super::*;

fn findings(severities: &[Severity]) -> Vec<Finding> {
    let object = anp("p");
    let each = severities.iter().enumerate();
    each.map(|(n, &severity)| finding(&object, severity, &format!("spec.egress[{n}]"), "it is wrong"))
        .collect()
}

#[test]
fn findings_are_told_with_field_and_remedy_the_worst_first_and_the_rest_counted() {
    use Severity::{Error, FailClosed, Warning};
    let told = |severities: &[Severity]| {
        let draft = accepted(&findings(severities));
        (draft.status, draft.reason, draft.message)
    };
    assert_eq!(told(&[]), ("True", "Accepted", "in effect as written".to_owned()));
    assert_eq!(
        told(&[Warning]),
        (
            "True",
            "Accepted",
            "in effect as written, but hardly as meant. \
             spec.egress[0]: warning: it is wrong; write it right"
                .to_owned()
        )
    );
    assert_eq!(
        told(&[Warning, FailClosed]),
        (
            "False",
            "PartiallyInvalid",
            "a part is not understood and fails closed, the rest is in effect. \
             spec.egress[1]: fails closed: it is wrong; write it right. \
             spec.egress[0]: warning: it is wrong; write it right"
                .to_owned()
        )
    );
    assert_eq!(
        told(&[Warning, FailClosed, FailClosed, Error, Warning]),
        (
            "False",
            "Invalid",
            "breaks the schema of its kind: what can be read is in effect, the rest fails closed. \
             spec.egress[3]: error: it is wrong; write it right. \
             spec.egress[1]: fails closed: it is wrong; write it right. \
             spec.egress[2]: fails closed: it is wrong; write it right. And 2 more"
                .to_owned()
        )
    );
    let mut kept = findings(&[Error]);
    kept[0].is_kept = true;
    kept[0].diagnostic.field = String::new();
    assert_eq!(
        accepted(&kept).message,
        "breaks the schema of its kind: what was in effect before stays. error: it is wrong; write it right"
    );
}

#[test]
fn messages_stay_readable_however_long_the_findings_are() {
    let mut long = findings(&[Severity::Error]);
    long[0].diagnostic.message = "ä".repeat(50_000);
    let message = accepted(&long).message;
    assert!(message.len() <= 4200 && message.ends_with("..."), "{}", message.len());
}

#[test]
fn nodes_are_told_by_class_three_of_each_at_most() {
    let span: BTreeSet<String> = (1..=1000).map(|n| format!("n-{n:04}")).collect();
    let told = |stand: &dyn Fn(usize) -> Stand<'static>| {
        let draft = programmed(&[], Some(&span), |name| stand(name[2..].parse().unwrap()));
        (draft.status, draft.reason, draft.message)
    };
    assert_eq!(told(&|_| Stand::Confirmed), ("True", "Programmed", "enforced on 1000/1000 nodes".to_owned()));
    assert_eq!(
        told(&|n| if n == 500 { Stand::Waiting } else { Stand::Confirmed }),
        ("False", "Progressing", "enforced on 999/1000 nodes; waiting for n-0500".to_owned())
    );
    assert_eq!(
        told(&|_| Stand::Waiting),
        (
            "False",
            "Progressing",
            "enforced on 0/1000 nodes; waiting for n-0001, n-0002, n-0003 and 997 more".to_owned()
        )
    );
    let mixed = |n: usize| match n {
        1..=3 => Stand::Waiting,
        4..=7 => Stand::Unreachable,
        8 => Stand::NoShim,
        _ => Stand::Confirmed,
    };
    assert_eq!(
        told(&mixed),
        (
            "False",
            "NodesWithoutShim",
            "enforced on 992/1000 nodes; no shim on n-0008; not connected: n-0004, n-0005, n-0006 and 1 more; \
             waiting for n-0001, n-0002, n-0003"
                .to_owned()
        )
    );
    let (_, reason, _) = told(&|n| if n == 8 { Stand::Waiting } else { mixed(n) });
    assert_eq!(reason, "NodesUnreachable");
    let refused =
        |n: usize| if n < 1000 { mixed(n) } else { Stand::Refusing("refused (kernel): no such file") };
    let (status, reason, message) = told(&refused);
    assert_eq!((status, reason), ("False", "NodesRefuse"));
    assert!(
        message.starts_with(
            "enforced on 991/1000 nodes; refused by n-1000 (refused (kernel): no such file); no shim on n-0008"
        ),
        "{message}"
    );
}

#[test]
fn a_span_may_be_empty_or_not_known() {
    let stand = |_: &str| -> Stand<'static> { panic!("no node is asked about") };
    let empty = programmed(&[], Some(&BTreeSet::new()), stand);
    assert_eq!((empty.status, empty.reason), ("True", "NoMatchingPods"));
    let unknown = programmed(&[], None, stand);
    assert_eq!((unknown.status, unknown.reason), ("Unknown", "Progressing"));
    let invalid = programmed(&findings(&[Severity::Error]), Some(&names(["n-1"])), stand);
    assert_eq!((invalid.status, invalid.reason), ("False", "Invalid"));
    // What fails closed is in force, so that is told as ever.
    let part = programmed(&findings(&[Severity::FailClosed]), Some(&names(["n-1"])), |_| Stand::Confirmed);
    assert_eq!((part.status, part.message.as_str()), ("True", "enforced on 1/1 nodes"));
}

#[test]
fn degraded_names_the_worst_nodes_and_what_is_the_matter_with_them() {
    let refusing = Trouble::Refusing("refused (kernel): table is full".to_owned());
    let behind =
        [("a", &Trouble::Late), ("b", &Trouble::Unreachable), ("c", &Trouble::Late), ("d", &refusing)];
    let draft = degraded(&behind, 12);
    assert_eq!((draft.status, draft.reason), ("True", "NodesRefuse"));
    assert_eq!(
        draft.message,
        "4 of 12 nodes enforce an older state: d, b, a and 1 more (refused (kernel): table is full)"
    );
    assert_eq!(degraded(&behind[..1], 12).reason, "NodesLate");
    assert_eq!(degraded(&behind[..3], 12).reason, "NodesUnreachable");
    assert_eq!(degraded(&[], 12).status, "False");
}

#[test]
fn the_documentation_has_every_reason_and_every_metric() {
    let text = include_str!("../../../../docs/status.md");
    let severities = [Severity::Warning, Severity::FailClosed, Severity::Error];
    let mut reasons = vec!["AcceptedWithWarnings", accepted(&[]).reason, events::recovery("n").key.reason];
    reasons.extend(severities.map(|severity| accepted(&findings(&[severity])).reason));
    let span = names(["n"]);
    for stand in [
        Stand::Confirmed,
        Stand::Waiting,
        Stand::Unreachable,
        Stand::NoShim,
        Stand::Refusing("refused (kernel): no"),
    ] {
        reasons.push(programmed(&[], Some(&span), |_| stand).reason);
    }
    reasons.push(programmed(&[], Some(&names([])), |_| Stand::Waiting).reason);
    reasons.push(programmed(&findings(&[Severity::Error]), None, |_| Stand::Waiting).reason);
    reasons.push(degraded(&[], 1).reason);
    for trouble in [Trouble::Late, Trouble::Unreachable, Trouble::NoShim, Trouble::Refusing(String::new())] {
        reasons.push(degraded(&[("n", &trouble)], 1).reason);
        reasons.push(events::trouble("n", &trouble).key.reason);
    }
    for reason in reasons {
        assert!(text.contains(&format!("`{reason}`")), "{reason}");
        // What the API takes.
        assert!(
            reason.chars().all(|letter| letter.is_ascii_alphanumeric()) && reason.len() <= 128,
            "{reason}"
        );
    }

    let mut registry = Registry::with_prefix("palisade");
    let meters = Meters::default();
    meters.register(&mut registry);
    // Told by a leader only.
    meters.troubles.get_or_create(&[("trouble", "late")]).set(1);
    meters.policies.get_or_create(&[("condition", "Accepted"), ("status", "True")]).set(1);
    let mut metrics = String::new();
    encode(&mut metrics, &registry).unwrap();
    let named = metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let named: Vec<_> = named.collect();
    assert_eq!(named.len(), 5, "{metrics}");
    for name in named {
        assert!(text.contains(&format!("`{name}")), "{name}");
    }
}
