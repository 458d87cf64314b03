//! Conditions over time: generations, pods that come and go, restarts, outages.

use super::*;

/// A world with nodes in sync and one policy that is enforced on them; 60 seconds in.
fn enforced<const N: usize>(nodes: [&str; N]) -> (World, ObjectRef) {
    let (mut world, p) = (World::warm(), anp("p"));
    world.apply(&p, Some(names(nodes)));
    for node in nodes {
        world.in_sync(node);
    }
    world.settle();
    (world, p)
}

#[test]
fn one_write_says_everything_once_every_node_has_confirmed() {
    let (mut world, p) = (World::warm(), anp("p"));
    world.apply(&p, Some(names(["n-1", "n-2"])));
    world.node("n-1", NodeState::Updating, Some(0), "");
    world.node("n-2", NodeState::Updating, Some(0), "");
    world.settle();
    world.pass(0.1);
    world.in_sync("n-1");
    world.settle();
    assert_eq!(world.writes, []);
    world.pass(0.1);
    world.in_sync("n-2");
    assert_eq!(
        world.settle()[&p],
        [accepted(1, 60), programmed("enforced on 2/2 nodes", 1, 60), not_degraded(1, 60)]
    );
    assert_eq!(world.writes[0].uid, "uid-1");
    assert_eq!(world.live(3600.0), 0);
}

#[test]
fn slow_nodes_make_a_second_write_and_names() {
    let (mut world, p) = (World::warm(), anp("p"));
    let nodes: BTreeSet<String> = (1..=12).map(|n| format!("n-{n:02}")).collect();
    world.apply(&p, Some(nodes.clone()));
    for node in &nodes {
        world.node(node, NodeState::Updating, Some(0), "");
    }
    assert_eq!(world.live(0.29), 0);
    for node in nodes.iter().take(8) {
        world.in_sync(node);
    }
    assert_eq!(world.live(0.02), 1);
    let waiting = "enforced on 8/12 nodes; waiting for n-09, n-10, n-11 and 1 more";
    assert_eq!(
        world.conditions(&p),
        [
            accepted(1, 60),
            condition("Programmed", "False", "Progressing", waiting, 1, 60),
            not_degraded(1, 60)
        ]
    );
    // Who is named may wait; that it is done may not.
    world.in_sync("n-09");
    assert_eq!(world.live(5.0), 0);
    assert_eq!(world.live(5.0), 1);
    assert!(world.condition(&p, "Programmed").message.starts_with("enforced on 9/12"));
    for node in &nodes {
        world.in_sync(node);
    }
    assert_eq!(world.live(0.0), 1);
    assert_eq!(world.condition(&p, "Programmed"), programmed("enforced on 12/12 nodes", 1, 70));
    assert_eq!(world.live(3600.0), 0);
}

#[test]
fn a_new_generation_is_observed_and_times_stay_where_statuses_stay() {
    let (mut world, p) = enforced(["n-1", "n-2"]);
    world.pass(100.0);
    world.apply(&p, Some(names(["n-1", "n-2"])));
    world.node("n-1", NodeState::Updating, Some(1), "");
    assert_eq!(world.live(0.2), 0);
    world.in_sync("n-1");
    world.in_sync("n-2");
    assert_eq!(world.live(0.0), 1);
    assert_eq!(
        world.conditions(&p),
        [accepted(2, 60), programmed("enforced on 2/2 nodes", 2, 60), not_degraded(2, 60)]
    );
    // One that is slow moves the time, there and back.
    world.pass(100.0);
    world.apply(&p, Some(names(["n-1", "n-2"])));
    world.node("n-1", NodeState::Updating, Some(2), "");
    world.in_sync("n-2");
    assert_eq!(world.live(2.0), 1);
    let message = "enforced on 1/2 nodes; waiting for n-1";
    assert_eq!(
        world.condition(&p, "Programmed"),
        condition("Programmed", "False", "Progressing", message, 3, 260)
    );
    world.in_sync("n-1");
    assert_eq!(world.live(0.0), 1);
    assert_eq!(
        world.conditions(&p),
        [accepted(3, 60), programmed("enforced on 2/2 nodes", 3, 262), not_degraded(3, 60)]
    );
}

#[test]
fn pods_that_come_and_go_reopen_nothing() {
    let (mut world, p) = enforced(["n-1"]);
    // Another node gets a pod, and is slow.
    world.progress.epoch += 1;
    world.node("n-2", NodeState::Updating, Some(1), "");
    world.span(&p, names(["n-1", "n-2"]));
    assert_eq!(world.live(20.0), 0);
    world.in_sync("n-2");
    assert_eq!(world.live(100.0), 0);
    // The last pod goes, and one comes.
    world.span(&p, names([]));
    assert_eq!(world.live(100.0), 0);
    world.span(&p, names(["n-2"]));
    assert_eq!(world.live(100.0), 0);
    assert_eq!(world.condition(&p, "Programmed"), programmed("enforced on 1/1 nodes", 1, 60));
}

#[test]
fn a_policy_without_pods_says_so_until_it_has_some() {
    let (mut world, p) = (World::warm(), anp("p"));
    world.in_sync("n-1");
    world.apply(&p, Some(names([])));
    assert_eq!(world.live(0.2), 0, "pods may be about to come");
    assert_eq!(world.live(0.2), 1);
    let nothing =
        condition("Programmed", "True", "NoMatchingPods", "no node has a pod that it is about", 1, 60);
    assert_eq!(world.condition(&p, "Programmed"), nothing);
    world.progress.epoch += 1;
    world.span(&p, names(["n-1"]));
    world.node("n-1", NodeState::Updating, Some(0), "");
    assert_eq!(world.live(20.0), 0, "it is True of this generation, and stays");
    world.in_sync("n-1");
    assert_eq!(world.live(20.0), 1);
    assert_eq!(world.condition(&p, "Programmed"), programmed("enforced on 1/1 nodes", 1, 60));
    world.span(&p, names([]));
    assert_eq!(world.live(100.0), 0);
}

#[test]
fn pods_right_after_their_policy_cost_no_write() {
    let (mut world, p) = (World::warm(), anp("p"));
    world.apply(&p, Some(names([])));
    assert_eq!(world.live(0.1), 0);
    world.span(&p, names(["n-1"]));
    world.in_sync("n-1");
    assert_eq!(world.live(0.0), 1);
    assert_eq!(world.condition(&p, "Programmed").reason, "Programmed");
}

#[test]
fn a_restart_writes_nothing_and_reopens_nothing() {
    let (mut world, p) = enforced(["n-1", "n-2"]);
    let (waiting, q) = (anp("waiting"), anp("q"));
    world.apply(&waiting, Some(names(["n-1"])));
    world.node("n-1", NodeState::Updating, Some(1), "");
    assert_eq!(world.live(1.0), 1);
    world.restart();
    assert_eq!(world.live(4.0), 0, "shims are on their way");
    world.in_sync("n-2");
    // New since, and not slow.
    world.apply(&q, Some(names(["n-2"])));
    world.in_sync("n-2");
    assert_eq!(world.live(0.0), 1);
    world.in_sync("n-1");
    assert_eq!(world.live(100.0), 1, "only the one that has been waiting for it");
    assert_eq!(world.writes.last().unwrap().object, waiting);
    assert_eq!(world.condition(&p, "Programmed"), programmed("enforced on 2/2 nodes", 1, 60));
}

#[test]
fn after_a_restart_nodes_that_stay_away_are_told_once_that_is_certain() {
    let (mut world, p) = (World::warm(), anp("p"));
    world.apply(&p, Some(names(["n-1"])));
    world.node("n-1", NodeState::NeverConnected, None, "");
    world.restart();
    assert_eq!(world.live(4.9), 0);
    assert_eq!(world.live(0.2), 1);
    assert_eq!(world.condition(&p, "Programmed").reason, "Progressing");
    assert_eq!(world.live(4.8), 0);
    assert_eq!(world.live(0.2), 1);
    let message = "enforced on 0/1 nodes; no shim on n-1";
    assert_eq!(
        world.condition(&p, "Programmed"),
        condition("Programmed", "False", "NodesWithoutShim", message, 1, 65)
    );
}

#[test]
fn nodes_that_were_lost_or_refuse_have_reasons_of_their_own() {
    let (mut world, p) = enforced(["n-1", "n-2"]);
    world.apply(&p, Some(names(["n-1", "n-2"])));
    world.in_sync("n-1");
    world.node("n-2", NodeState::Disconnected, Some(1), "the stream broke");
    world.live(9.9);
    assert_eq!(world.condition(&p, "Programmed").reason, "Progressing");
    world.live(0.2);
    let programmed = world.condition(&p, "Programmed");
    assert_eq!(programmed.reason, "NodesUnreachable");
    assert_eq!(programmed.message, "enforced on 1/2 nodes; not connected: n-2");
    // Back, but not of use.
    world.node("n-2", NodeState::Updating, None, "");
    world.live(0.1);
    world.node("n-2", NodeState::Parked, None, "refused (kernel): no such file");
    world.live(1.0);
    let programmed = world.condition(&p, "Programmed");
    assert_eq!(programmed.reason, "NodesRefuse");
    assert_eq!(programmed.message, "enforced on 1/2 nodes; refused by n-2 (refused (kernel): no such file)");
    // It tries again and again, and gives reasons in turn: that is not told each time.
    let writes = world.writes.len();
    for round in 0..20 {
        world.node("n-2", NodeState::Updating, None, "");
        world.live(1.0);
        world.node("n-2", NodeState::Parked, None, &format!("refused (kernel): try {round}"));
        world.live(1.0);
    }
    assert_eq!(world.writes.len(), writes);
    world.in_sync("n-2");
    world.live(0.0);
    assert_eq!(world.condition(&p, "Programmed").message, "enforced on 2/2 nodes");
}

#[test]
fn an_outage_degrades_what_has_become_old_after_half_a_minute_and_ends_after_ten_seconds() {
    let (mut world, p) = enforced(["n-1", "n-2"]);
    world.node("n-2", NodeState::Disconnected, Some(1), "the stream broke");
    assert_eq!(world.live(600.0), 0, "it has all there is to have");
    // Something changes.
    world.progress.epoch += 1;
    world.in_sync("n-1");
    assert_eq!(world.live(29.9), 0);
    assert_eq!(world.live(0.2), 1);
    let message = "1 of 2 nodes enforce an older state: n-2 (its shim is not connected)";
    assert_eq!(
        world.conditions(&p),
        [
            accepted(1, 60),
            programmed("enforced on 2/2 nodes", 1, 60),
            condition("Degraded", "True", "NodesUnreachable", message, 1, 690),
        ]
    );
    // Short returns do not end it.
    for _ in 0..5 {
        world.in_sync("n-2");
        assert_eq!(world.live(9.0), 0);
        world.node("n-2", NodeState::Disconnected, Some(1), "the stream broke");
        assert_eq!(world.live(1.0), 0);
    }
    world.in_sync("n-2");
    assert_eq!(world.live(9.9), 0);
    assert_eq!(world.live(0.2), 1);
    assert_eq!(
        world.conditions(&p),
        [accepted(1, 60), programmed("enforced on 2/2 nodes", 1, 60), not_degraded(1, 750)]
    );
}

#[test]
fn a_short_outage_and_a_busy_node_degrade_nothing() {
    let (mut world, p) = enforced(["n-1"]);
    world.progress.epoch += 1;
    world.node("n-1", NodeState::Disconnected, Some(1), "the stream broke");
    assert_eq!(world.live(29.0), 0);
    world.in_sync("n-1");
    assert_eq!(world.live(100.0), 0);
    // Pods come all the time: it is never in sync, but it follows.
    for _ in 0..100 {
        world.progress.epoch += 1;
        world.node("n-1", NodeState::Updating, Some(world.progress.epoch - 1), "");
        assert_eq!(world.live(1.0), 0);
    }
    // Then it follows no more.
    world.progress.epoch += 1;
    assert_eq!(world.live(28.0), 0);
    assert_eq!(world.live(2.0), 1);
    assert_eq!(world.condition(&p, "Degraded").reason, "NodesLate");
    // A busy node recovers, too.
    for _ in 0..9 {
        world.progress.epoch += 1;
        world.node("n-1", NodeState::Updating, Some(world.progress.epoch - 1), "");
        assert_eq!(world.live(1.0), 0);
    }
    assert_eq!(world.live(2.0), 1);
    assert_eq!(world.condition(&p, "Degraded").status, "False");
}

#[test]
fn a_restart_in_an_outage_neither_ends_nor_repeats_what_was_said() {
    let (mut world, p) = enforced(["n-1", "n-2"]);
    world.progress.epoch += 1;
    world.in_sync("n-1");
    world.node("n-2", NodeState::Disconnected, Some(1), "the stream broke");
    assert_eq!(world.live(31.0), 1);
    let degraded = world.condition(&p, "Degraded");
    assert_eq!(degraded.status, "True");
    for _ in 0..5 {
        world.restart();
        world.in_sync("n-1");
        assert_eq!(world.live(12.0), 0);
    }
    assert_eq!(world.condition(&p, "Degraded"), degraded);
    // It stays away: the words change, the status and its time do not.
    assert!(world.live(100.0) <= 1);
    let now = world.condition(&p, "Degraded");
    assert_eq!((&now.status, &now.last_transition_time), (&degraded.status, &degraded.last_transition_time));
    world.in_sync("n-2");
    assert_eq!(world.live(10.1), 1);
    assert_eq!(world.condition(&p, "Degraded").status, "False");
}

#[test]
fn an_outage_of_a_node_that_many_policies_are_about_writes_no_status() {
    let mut world = World::warm();
    let policies: Vec<_> = (0..101).map(|n| anp(&format!("p-{n}"))).collect();
    for policy in &policies {
        world.apply(policy, Some(names(["n-1", "n-2"])));
    }
    let small = anp("small");
    world.apply(&small, Some(names(["n-3"])));
    for node in ["n-1", "n-2", "n-3"] {
        world.in_sync(node);
    }
    assert_eq!(world.live(1.0), 102);
    world.progress.epoch += 1;
    world.in_sync("n-1");
    let acked = Some(world.progress.epoch - 1);
    world.node("n-2", NodeState::Disconnected, acked, "the stream broke");
    assert_eq!(world.live(600.0), 0);
    // One that few are about is told in each.
    world.node("n-3", NodeState::Disconnected, acked, "the stream broke");
    assert_eq!(world.live(600.0), 1);
    assert_eq!(world.condition(&small, "Degraded").status, "True");
    // What is changed in an outage says what it waits for.
    world.apply(&policies[0], Some(names(["n-1", "n-2"])));
    world.in_sync("n-1");
    assert_eq!(world.live(600.0), 1);
    assert_eq!(world.condition(&policies[0], "Programmed").reason, "NodesUnreachable");
    let reasons: BTreeSet<_> = world.posts.iter().map(|post| post.key().reason).collect();
    assert_eq!(reasons, ["ShimUnreachable"].into());
    assert_eq!(world.posts.iter().filter(|post| matches!(post, Post::Create { .. })).count(), 2);
}

#[test]
fn an_invalid_policy_says_so_at_once_and_is_not_programmed() {
    let (mut world, p) = enforced(["n-1"]);
    world.pass(10.0);
    let mut wrong = finding(&p, Severity::Error, "spec.priority", "1001 is too high");
    wrong.is_kept = true;
    world.apply_with(&p, Some(names(["n-1"])), vec![wrong]);
    world.in_sync("n-1");
    assert_eq!(world.live(0.0), 1);
    assert_eq!(
        world.conditions(&p),
        [
            condition(
                "Accepted",
                "False",
                "Invalid",
                "breaks the schema of its kind: what was in effect before stays. \
                 spec.priority: error: 1001 is too high; write it right",
                2,
                70
            ),
            condition(
                "Programmed",
                "False",
                "Invalid",
                "this generation is not in effect as written; see Accepted",
                2,
                70
            ),
            not_degraded(2, 60),
        ]
    );
    assert_eq!(world.live(100.0), 0);
    world.apply(&p, Some(names(["n-1"])));
    world.in_sync("n-1");
    assert_eq!(world.live(0.0), 1);
    let [a, b, _] = world.conditions(&p).try_into().unwrap();
    assert_eq!((a, b), (accepted(3, 170), programmed("enforced on 1/1 nodes", 3, 170)));
}

#[test]
fn what_is_not_enforced_yet_shows_while_the_rest_is_programmed() {
    let (mut world, p) = (World::warm(), anp("p"));
    let names_ =
        finding(&p, Severity::FailClosed, "spec.egress[0].to[0].domainNames", "names are not enforced yet");
    world.apply_with(&p, Some(names(["n-1"])), vec![names_]);
    world.in_sync("n-1");
    assert_eq!(world.live(1.0), 1);
    let accepted = world.condition(&p, "Accepted");
    assert_eq!((accepted.status.as_str(), accepted.reason.as_str()), ("False", "PartiallyInvalid"));
    assert!(accepted.message.contains("spec.egress[0].to[0].domainNames"), "{accepted:?}");
    assert_eq!(world.condition(&p, "Programmed"), programmed("enforced on 1/1 nodes", 1, 60));
}

#[test]
fn a_policy_made_anew_under_its_name_starts_anew() {
    let (mut world, p) = enforced(["n-1"]);
    world.pass(10.0);
    world.progress.policies.remove(&p);
    world.apply(&p, Some(names(["n-1"])));
    world.node("n-1", NodeState::Updating, Some(1), "");
    world.live(1.0);
    assert_eq!(world.condition(&p, "Programmed").status, "False");
    assert_eq!(world.condition(&p, "Accepted"), accepted(1, 70));
    assert_eq!(world.writes.last().unwrap().uid, "uid-2");
}

#[test]
fn conditions_of_others_are_neither_written_nor_an_occasion_to_write() {
    let (mut world, p) = enforced(["n-1"]);
    let other = condition("Ready-In-Zone-a", "True", "SetupSucceeded", "", 1, 5);
    world.edit(&p, |policy| policy.report.conditions.insert(0, other.clone()));
    assert_eq!(world.live(100.0), 0);
    world.apply(&p, Some(names(["n-1"])));
    world.in_sync("n-1");
    let written = &world.settle()[&p];
    assert!(written.iter().all(|condition| condition.type_ != other.type_), "{written:?}");
    assert_eq!(world.conditions(&p)[0], other);
}

#[test]
fn what_others_write_over_ours_is_put_right_less_and_less_often() {
    let (mut world, p) = enforced(["n-1"]);
    let mut at = Vec::new();
    for _ in 0..2000 {
        // As soon as it stands, somebody changes it.
        if world.condition(&p, "Programmed").reason == "Programmed" {
            world.edit(&p, |policy| {
                let theirs = condition("Programmed", "False", "Never", "ours", 1, 7);
                merge(&mut policy.report.conditions, &[theirs]);
            });
        }
        if world.live(0.1) > 0 {
            at.push(world.elapsed.as_secs());
        }
    }
    assert!((3..=9).contains(&at.len()), "{at:?}");
    assert!(at.windows(3).all(|at| at[2] - at[1] >= at[1] - at[0]), "{at:?}");
    world.live(200.0);
    assert_eq!(world.condition(&p, "Programmed").reason, "Programmed");
}

#[test]
fn a_write_that_has_not_come_back_is_not_repeated() {
    let (mut world, p) = (World::warm(), anp("p"));
    world.apply(&p, Some(names(["n-1"])));
    world.in_sync("n-1");
    world.observe();
    let first = world.index.next_write().unwrap();
    world.observe();
    assert_eq!(world.index.next_write(), None, "it is under way");
    let now = world.now();
    world.index.ended(&first, &Outcome::Written, |_| Duration::ZERO, now);
    world.pass(100.0);
    world.observe();
    assert_eq!(world.index.next_write(), None, "it was written, if not seen");
    // A label changes, and the watch is that far.
    world.edit(&p, |_| {});
    world.observe();
    assert_eq!(world.index.next_write(), None);
    // A second one, before the first has come back.
    world.apply(&p, Some(names(["n-1"])));
    world.in_sync("n-1");
    world.observe();
    let second = world.index.next_write().unwrap();
    world.edit(&p, |policy| merge(&mut policy.report.conditions, &first.conditions));
    world.observe();
    let now = world.now();
    world.index.ended(&second, &Outcome::Written, |_| Duration::ZERO, now);
    world.observe();
    assert_eq!(world.index.next_write(), None);
    world.edit(&p, |policy| merge(&mut policy.report.conditions, &second.conditions));
    assert_eq!(world.live(100.0), 0);
}

#[test]
fn a_write_that_comes_back_before_its_answer_is_not_repeated() {
    let (mut world, p) = (World::warm(), anp("p"));
    world.apply(&p, Some(names(["n-1"])));
    world.in_sync("n-1");
    world.observe();
    let write = world.index.next_write().unwrap();
    world.edit(&p, |policy| merge(&mut policy.report.conditions, &write.conditions));
    world.observe();
    let now = world.now();
    // And the answer is lost.
    world.index.ended(&write, &Outcome::Failed, |_| Duration::from_secs(1), now);
    assert_eq!(world.live(100.0), 0);
}

#[test]
fn writes_that_fail_are_made_with_what_is_true_by_then() {
    let (mut world, p) = (World::warm(), anp("p"));
    world.apply(&p, Some(names(["n-1"])));
    world.node("n-1", NodeState::Updating, Some(0), "");
    world.observe();
    world.pass(0.4);
    world.observe();
    for failures in 0..5 {
        let write = world.index.next_write().unwrap();
        let now = world.now();
        let pause = |count: u32| {
            assert_eq!(count, failures);
            Duration::from_secs(3)
        };
        world.index.ended(&write, &Outcome::Failed, pause, now);
        world.observe();
        assert_eq!(world.index.next_write(), None);
        assert!(world.index.wake_at().unwrap() <= world.elapsed + Duration::from_secs(3));
        world.pass(3.0);
        world.observe();
    }
    world.in_sync("n-1");
    assert_eq!(world.live(0.0), 1);
    assert_eq!(world.condition(&p, "Programmed").status, "True");
}

#[test]
fn what_is_refused_rests_until_the_policy_changes() {
    let (mut world, p) = enforced(["n-1"]);
    world.apply(&p, Some(names(["n-1"])));
    world.in_sync("n-1");
    world.observe();
    let write = world.index.next_write().unwrap();
    let now = world.now();
    world.index.ended(&write, &Outcome::Refused, |_| Duration::ZERO, now);
    assert_eq!(world.live(299.0), 0);
    assert_eq!(world.live(2.0), 1, "after a while it is tried again");
}

#[test]
fn what_is_awaited_goes_first() {
    let (mut world, old) = enforced(["n-1", "n-2"]);
    // Its status changes, in thousands of others' company.
    world.progress.epoch += 1;
    world.in_sync("n-1");
    world.node("n-2", NodeState::Disconnected, Some(1), "the stream broke");
    world.settle();
    world.pass(31.0);
    world.observe();
    assert_eq!(world.index.due(), 1);
    let new = anp("a-new-one");
    world.apply(&new, Some(names(["n-1"])));
    world.in_sync("n-1");
    world.observe();
    assert_eq!(world.index.next_write().unwrap().object, new);
    assert_eq!(world.index.next_write().unwrap().object, old);
}

#[test]
fn a_policy_that_is_gone_is_forgotten() {
    let (mut world, p) = (World::warm(), anp("p"));
    world.apply(&p, Some(names(["n-1"])));
    world.in_sync("n-1");
    world.observe();
    let write = world.index.next_write().unwrap();
    world.progress.policies.clear();
    world.observe();
    let now = world.now();
    world.index.ended(&write, &Outcome::Refused, |_| Duration::ZERO, now);
    assert_eq!((world.index.due(), world.live(1000.0)), (0, 0));
}

#[test]
fn ten_thousand_policies_at_rest_are_looked_through_in_no_time() {
    let mut world = World::warm();
    let nodes: BTreeSet<String> = (0..1000).map(|n| format!("n-{n}")).collect();
    let span = Arc::new(nodes.clone());
    for n in 0..10_000 {
        world.apply(&anp(&format!("p-{n}")), None);
        world.edit(&anp(&format!("p-{n}")), |policy| policy.span = Some(Arc::clone(&span)));
    }
    for node in &nodes {
        world.in_sync(node);
    }
    assert_eq!(world.settle().len(), 10_000);
    let start = std::time::Instant::now();
    for _ in 0..10 {
        world.observe();
    }
    let each = start.elapsed() / 10;
    assert!(each < Duration::from_millis(500), "{each:?}");
    assert_eq!(world.live(100.0), 0);
}

#[test]
fn a_status_that_strays_to_a_successor_of_the_same_name_is_not_believed() {
    for is_seen_first in [true, false] {
        let (mut world, p) = (World::warm(), anp("p"));
        world.apply(&p, Some(names(["n-1"])));
        world.in_sync("n-1");
        world.observe();
        let write = world.index.next_write().unwrap();
        // Meanwhile it is deleted and made anew, in the same first generation, and its node is slow.
        world.progress.policies.remove(&p);
        world.apply(&p, Some(names(["n-1"])));
        world.node("n-1", NodeState::Updating, Some(1), "");
        let stray = |world: &mut World| {
            world.edit(&p, |policy| merge(&mut policy.report.conditions, &write.conditions));
        };
        if is_seen_first {
            stray(&mut world);
            world.observe();
        }
        let now = world.now();
        world.index.ended(&write, &Outcome::Strayed("uid-2".to_owned()), |_| Duration::ZERO, now);
        if !is_seen_first {
            stray(&mut world);
        }
        assert_eq!(world.live(3.0), 1);
        assert_eq!(world.condition(&p, "Programmed").reason, "Progressing");
        world.in_sync("n-1");
        assert_eq!(world.live(600.0), 1);
        assert_eq!(world.condition(&p, "Programmed").status, "True");
    }
}

#[test]
fn a_status_that_strays_to_one_that_is_not_known_yet_is_not_believed_either() {
    let (mut world, p) = (World::warm(), anp("p"));
    world.apply(&p, Some(names(["n-1"])));
    world.in_sync("n-1");
    world.observe();
    let write = world.index.next_write().unwrap();
    let now = world.now();
    world.index.ended(&write, &Outcome::Strayed("uid-2".to_owned()), |_| Duration::ZERO, now);
    assert_eq!(world.live(10.0), 0, "the one that is known is gone, though the watch has not said so");
    world.progress.policies.remove(&p);
    world.settle();
    world.apply(&p, Some(names(["n-1"])));
    world.node("n-1", NodeState::Updating, Some(1), "");
    world.edit(&p, |policy| merge(&mut policy.report.conditions, &write.conditions));
    assert_eq!(world.live(3.0), 1);
    assert_eq!(world.condition(&p, "Programmed").status, "False");
}

#[test]
fn who_takes_over_waits_for_what_the_one_before_wrote_last() {
    let (mut world, p) = (World::warm(), anp("p"));
    world.apply(&p, Some(names(["n-1"])));
    world.in_sync("n-1");
    world.observe();
    let write = world.index.next_write().unwrap();
    world.restart();
    world.in_sync("n-1");
    assert_eq!(world.live(0.1), 0);
    world.edit(&p, |policy| merge(&mut policy.report.conditions, &write.conditions));
    assert_eq!(world.live(600.0), 0);
    // What nobody wrote is not waited for longer.
    let (q, mut world) = (anp("q"), world);
    world.restart();
    world.in_sync("n-1");
    world.apply(&q, Some(names(["n-1"])));
    world.in_sync("n-1");
    assert_eq!(world.live(0.31), 1);
}
