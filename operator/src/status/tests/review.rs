//! What the review finds, as it reaches people: in `Accepted`, in one Event of a NetworkPolicy, and taken back.

use super::*;

fn shadowed(object: &ObjectRef) -> Finding {
    finding(object, Severity::Warning, "spec.ingress[1]", "the rule never decides anything")
}

const TOLD: &str = "in effect as written, but hardly as meant. \
                    spec.ingress[1]: warning: the rule never decides anything; write it right";

fn told(generation: i64, seconds: i64) -> Condition {
    condition("Accepted", "True", "Accepted", TOLD, generation, seconds)
}

#[test]
fn a_finding_costs_one_write_and_its_end_another() {
    let (mut world, p) = (World::warm(), anp("p"));
    world.apply(&p, Some(names(["n-1"])));
    world.in_sync("n-1");
    assert_eq!(world.live(60.0), 1);
    world.edit(&p, |policy| policy.findings = vec![shadowed(&anp("p"))]);
    assert_eq!(world.live(3600.0), 1);
    // The status is True all along: it began when it did.
    assert_eq!(world.condition(&p, "Accepted"), told(1, 60));
    assert_eq!(world.condition(&p, "Programmed").status, "True");
    world.edit(&p, |policy| policy.findings.clear());
    assert_eq!(world.live(3600.0), 1);
    assert_eq!(world.condition(&p, "Accepted"), accepted(1, 60));
    assert_eq!(world.posts, [], "where there is a status, it is there");
}

#[test]
fn what_comes_and_goes_is_written_seldom() {
    let (mut world, p) = (World::warm(), anp("p"));
    world.apply(&p, Some(names(["n-1"])));
    world.in_sync("n-1");
    world.live(60.0);
    let mut writes = 0;
    for n in 0..600 {
        world.edit(&p, |policy| {
            policy.findings = if n % 2 == 0 { vec![shadowed(&anp("p"))] } else { Vec::new() }
        });
        writes += world.live(1.0);
    }
    assert!(writes <= 61, "{writes} writes in ten minutes");
}

#[test]
fn a_new_leader_finds_what_was_told_and_writes_nothing() {
    let (mut world, p) = (World::warm(), anp("p"));
    world.apply_with(&p, Some(names(["n-1"])), vec![shadowed(&anp("p"))]);
    world.in_sync("n-1");
    assert_eq!(world.live(60.0), 1);
    world.restart();
    world.in_sync("n-1");
    assert_eq!(world.live(3600.0), 0);
}

#[test]
fn a_networkpolicy_gets_one_event_and_no_more_once_it_is_in_order() {
    let (mut world, p) = (World::warm(), netpol("p"));
    world.apply(&p, Some(names(["n-1"])));
    world.in_sync("n-1");
    world.live(60.0);
    assert_eq!(world.posts, []);
    world.edit(&p, |policy| policy.findings = vec![shadowed(&netpol("p"))]);
    world.live(60.0);
    let [Post::Create { notice, .. }] = &world.posts[..] else { panic!("{:?}", world.posts) };
    assert_eq!(
        (notice.key.reason, notice.note.as_str(), notice.is_warning),
        ("AcceptedWithWarnings", TOLD, true)
    );
    world.live(1800.0);
    assert_eq!(world.posts.len(), 2, "reminded of after half an hour");
    world.edit(&p, |policy| policy.findings.clear());
    assert_eq!(world.live(7200.0), 0);
    assert_eq!(world.posts.len(), 2);
}

#[test]
fn advice_makes_no_event_and_no_other_head() {
    let (mut world, p, q) = (World::warm(), anp("p"), netpol("q"));
    let advice =
        |object: &ObjectRef| vec![finding(object, Severity::Advice, "spec.egress[0]", "no pod is selected")];
    world.apply_with(&p, Some(names(["n-1"])), advice(&p));
    world.apply_with(&q, Some(names(["n-1"])), advice(&q));
    world.in_sync("n-1");
    world.live(7200.0);
    assert_eq!(
        world.condition(&p, "Accepted").message,
        "in effect as written. spec.egress[0]: advice: no pod is selected; write it right"
    );
    assert_eq!(world.posts, []);
}
