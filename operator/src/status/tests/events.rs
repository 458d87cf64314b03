//! Which Events are made, and how often.

use super::*;

fn told(world: &World) -> Vec<(&'static str, &'static str)> {
    let age = |post: &Post| match post {
        Post::Create { .. } => "new",
        Post::Repeat { .. } => "again",
    };
    world.posts.iter().map(|post| (age(post), post.key().reason)).collect()
}

fn note(post: &Post) -> &str {
    match post {
        Post::Create { notice, .. } => &notice.note,
        Post::Repeat { .. } => panic!("{post:?}"),
    }
}

#[test]
fn an_outage_is_one_event_and_its_end_another() {
    let (mut world, p) = (World::warm(), anp("p"));
    world.apply(&p, Some(names(["n-1", "n-2"])));
    world.in_sync("n-1");
    world.in_sync("n-2");
    world.live(10.0);
    world.node("n-2", NodeState::Disconnected, Some(1), "the stream broke");
    world.live(29.9);
    assert_eq!(told(&world), []);
    world.live(200.0);
    assert_eq!(told(&world), [("new", "ShimUnreachable")]);
    // It stays away for long: nobody should forget.
    world.live(3600.0);
    assert_eq!(told(&world)[1..], [("again", "ShimUnreachable"); 2]);
    world.posts.clear();
    world.in_sync("n-2");
    world.live(9.9);
    assert_eq!(told(&world), []);
    world.live(200.0);
    assert_eq!(told(&world), [("new", "PoliciesUpToDate")]);
}

#[test]
fn a_node_that_comes_and_goes_counts_one_event_up() {
    let (mut world, p) = (World::warm(), anp("p"));
    world.apply(&p, Some(names(["n-1"])));
    for _ in 0..5 {
        world.in_sync("n-1");
        world.live(20.0);
        world.node("n-1", NodeState::Disconnected, Some(1), "the stream broke");
        world.live(40.0);
    }
    let creates = world.posts.iter().filter(|post| matches!(post, Post::Create { .. }));
    let reasons: Vec<_> = creates.map(|post| post.key().reason).collect();
    assert_eq!(reasons, ["ShimUnreachable", "PoliciesUpToDate"]);
    let Some(Post::Repeat { count, .. }) = world.posts.last() else { panic!("{:?}", world.posts) };
    assert_eq!(*count, 5);
    let names: BTreeSet<_> = world.posts.iter().map(|post| (post.key().reason, name(post))).collect();
    assert_eq!(names.len(), 2, "{names:?}");
}

fn name(post: &Post) -> &str {
    match post {
        Post::Create { name, .. } | Post::Repeat { name, .. } => name,
    }
}

#[test]
fn a_refusal_is_told_at_once_with_its_reason() {
    let (mut world, p) = (World::warm(), anp("p"));
    world.apply(&p, Some(names(["n-1"])));
    world.node("n-1", NodeState::Parked, None, "refused (kernel): no such file");
    world.live(0.0);
    assert_eq!(told(&world), [("new", "PoliciesRefused")]);
    assert_eq!(
        note(&world.posts[0]),
        "the shim does not put what it should into force: refused (kernel): no such file; \
         what it enforced last stays in force"
    );
}

#[test]
fn a_node_that_no_policy_is_about_is_not_missed() {
    let (mut world, p) = (World::warm(), anp("p"));
    world.node("control-plane", NodeState::NeverConnected, None, "");
    world.apply(&p, Some(names([])));
    world.live(7200.0);
    assert_eq!(told(&world), []);
    world.span(&p, names(["control-plane"]));
    world.live(1.0);
    assert_eq!(told(&world), [("new", "ShimMissing")]);
}

#[test]
fn a_node_that_is_removed_is_not_told_to_be_back() {
    let (mut world, p) = (World::warm(), anp("p"));
    world.apply(&p, Some(names(["n-1"])));
    world.node("n-1", NodeState::Disconnected, Some(1), "the stream broke");
    world.live(31.0);
    world.progress.nodes.clear();
    world.live(100.0);
    assert_eq!(told(&world), [("new", "ShimUnreachable")]);
}

#[test]
fn an_invalid_policy_is_told_once_for_each_generation() {
    let (mut world, p) = (World::warm(), anp("p"));
    let wrong = || vec![finding(&anp("p"), Severity::Error, "spec.priority", "it is too high")];
    world.apply_with(&p, Some(names([])), wrong());
    world.live(7200.0);
    assert_eq!(told(&world), [("new", "Invalid")]);
    world.apply_with(&p, Some(names([])), wrong());
    world.live(7200.0);
    assert_eq!(told(&world), [("new", "Invalid"); 2]);
    assert_ne!(name(&world.posts[0]), name(&world.posts[1]));
    world.apply(&p, Some(names([])));
    world.live(7200.0);
    assert_eq!(world.posts.len(), 2);
}

#[test]
fn another_process_finds_the_event_under_the_name_that_it_would_give_it() {
    let (mut world, p) = (World::warm(), netpol("p"));
    let wrong = finding(&p, Severity::FailClosed, "spec.ingress[0]", "what is this");
    world.apply_with(&p, Some(names([])), vec![wrong]);
    world.live(10.0);
    world.restart();
    world.live(10.0);
    assert_eq!(told(&world), [("new", "PartiallyInvalid"); 2]);
    assert_eq!(name(&world.posts[0]), name(&world.posts[1]));
    assert!(name(&world.posts[0]).starts_with("p."), "{:?}", world.posts[0]);
}

#[test]
fn what_has_no_status_is_told_of_for_as_long_as_it_is_wrong() {
    let (mut world, p, q) = (World::warm(), netpol("p"), netpol("q"));
    let warning = finding(&p, Severity::Warning, "spec.ingress[0]", "that matches nothing");
    world.apply_with(&p, Some(names([])), vec![warning]);
    world.apply(&q, Some(names([])));
    world.live(5401.0);
    assert_eq!(told(&world)[0], ("new", "AcceptedWithWarnings"));
    assert_eq!(told(&world)[1..], [("again", "AcceptedWithWarnings"); 3]);
    assert_eq!(world.writes, [], "a NetworkPolicy has no status");
    world.progress.policies.remove(&p);
    world.live(7200.0);
    assert_eq!(world.posts.len(), 4);
}

#[test]
fn events_that_cannot_be_made_are_given_up_and_long_notes_cut() {
    let (mut world, p) = (World::warm(), netpol("p"));
    let wrong = finding(&p, Severity::Error, "spec", &"ä".repeat(2000));
    world.apply_with(&p, Some(names([])), vec![wrong]);
    world.observe();
    for attempt in 1..=5 {
        let now = world.now();
        let post = world.index.notices().next(now).unwrap();
        assert!(note(&post).len() <= 1024, "{}", note(&post).len());
        assert_eq!(world.index.notices().failed(post.key()), attempt < 5);
    }
    let now = world.now();
    assert_eq!(world.index.notices().next(now), None);
    assert_eq!((world.index.notices().take_dropped(), world.index.notices().take_dropped()), (1, 0));
}

#[test]
fn an_event_that_the_api_has_forgotten_is_made_anew() {
    let (mut world, p) = (World::warm(), netpol("p"));
    let wrong = finding(&p, Severity::Error, "spec", "it is wrong");
    world.apply_with(&p, Some(names([])), vec![wrong]);
    world.live(1.0);
    world.pass(1800.0);
    world.observe();
    let now = world.now();
    let post = world.index.notices().next(now).unwrap();
    assert!(matches!(post, Post::Repeat { count: 2, .. }), "{post:?}");
    world.index.notices().forgotten(post.key(), now);
    let post = world.index.notices().next(now).unwrap();
    assert!(matches!(post, Post::Create { .. }), "{post:?}");
}

#[test]
fn ten_thousand_broken_policies_are_kept_in_mind_only_so_far() {
    let mut world = World::warm();
    for n in 0..10_000 {
        let p = netpol(&format!("p-{n}"));
        let wrong = finding(&p, Severity::Error, "spec", "it is wrong");
        world.apply_with(&p, Some(names([])), vec![wrong]);
    }
    world.observe();
    assert_eq!(world.index.notices().take_dropped(), 5_000);
}
