//! While the API server fails in every way it knows: the same statuses in the end, and no write too many.

use std::time::{Duration, Instant};

use kube::api::DynamicObject;
use palisade_apiserver::faults::{Effect, Target, When};

use crate::plane::Plane;
use crate::rig::{Rig, wait};
use crate::{deny, is_true};

const POLICIES: &str = "adminnetworkpolicies.policy.networking.k8s.io";

fn statuses() -> Target {
    Target { subresources: ["status".to_owned()].into(), ..Target::new(["patch"], [POLICIES]) }
}

async fn some(rig: &Rig, count: i64) -> Vec<DynamicObject> {
    let mut policies = Vec::new();
    for n in 0..count {
        policies.push(rig.policy(&format!("p-{n}"), deny(&rig.namespace, 1000 + n)).await);
    }
    policies
}

async fn all_true(rig: &Rig, policies: &[DynamicObject]) {
    for policy in policies {
        rig.until(policy, is_true).await;
    }
    wait("nothing waits", || async { rig.waiting() == 0 }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_that_are_refused_for_now_are_made_later_and_once() {
    let rig = Rig::with(Plane::dev().await, |_| {}).await;
    rig.cluster(&["n-1"]).await;
    let policies = some(&rig, 30).await;
    let faults = rig.plane.server().faults();
    let fail = |code: u16, retry_after: Option<u64>| Effect::Fail { code, retry_after };
    for (effect, count) in [
        (fail(500, None), 3),
        (fail(503, None), 2),
        (fail(429, Some(1)), 2),
        (Effect::Conflict, 5),
        (Effect::Reset, 2),
    ] {
        faults.add(statuses(), effect, When::Next(count));
    }
    rig.lead(1);
    all_true(&rig, &policies).await;
    assert_eq!(faults.hits(), (14, 0));
    assert_eq!(rig.asked(), 30 + 14);
    assert_eq!((rig.count("written"), rig.count("conflict"), rig.count("failed")), (30, 5, 9));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_asks_for_a_pause_gets_it() {
    let rig = Rig::with(Plane::dev().await, |_| {}).await;
    rig.cluster(&["n-1"]).await;
    let policies = some(&rig, 5).await;
    let faults = rig.plane.server().faults();
    faults.add(statuses(), Effect::Fail { code: 429, retry_after: Some(2) }, When::Next(1));
    rig.lead(1);
    wait("the server has asked", || async { faults.hits().0 == 1 }).await;
    let asked = Instant::now();
    all_true(&rig, &policies).await;
    assert!(asked.elapsed() >= Duration::from_millis(1900), "{:?}", asked.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_are_lost_cost_no_second_write() {
    let rig = Rig::with(Plane::dev().await, |_| {}).await;
    rig.cluster(&["n-1"]).await;
    let policies = some(&rig, 10).await;
    let faults = rig.plane.server().faults();
    faults.add(statuses(), Effect::LoseAnswer, When::Next(4));
    rig.lead(1);
    all_true(&rig, &policies).await;
    assert_eq!((faults.hits().0, rig.asked()), (4, 10));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watches_that_stall_break_or_expire_cost_no_write() {
    let rig = Rig::with(Plane::dev().await, |_| {}).await;
    rig.cluster(&["n-1"]).await;
    let policies = some(&rig, 10).await;
    for policy in &policies {
        rig.known(policy).await;
    }
    rig.settled().await;
    let faults = rig.plane.server().faults();
    // What is written is not seen to be.
    faults.stall_watches(POLICIES);
    rig.lead(1);
    wait("all is written", || async { rig.count("written") == 10 && rig.waiting() == 0 }).await;
    rig.pod("another", "n-1", "10.200.9.1").await;
    rig.settled().await;
    faults.resume_watches();
    all_true(&rig, &policies).await;
    faults.compact();
    faults.drop_watches("");
    let late = rig.policy("late", deny(&rig.namespace, 77)).await;
    all_true(&rig, &[late]).await;
    assert_eq!(rig.asked(), 11);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_keep_to_their_rate() {
    let rig = Rig::with(Plane::dev().await, |options| options.writes = (20, 5)).await;
    rig.cluster(&["n-1"]).await;
    let policies = some(&rig, 45).await;
    for policy in &policies {
        rig.known(policy).await;
    }
    let start = Instant::now();
    rig.lead(1);
    wait("all is written", || async { rig.count("written") == 45 }).await;
    // Five at once, and twenty a second.
    assert!(start.elapsed() >= Duration::from_millis(1950), "{:?}", start.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_that_is_deleted_meanwhile_is_let_go_and_its_successor_gets_its_own() {
    let rig = Rig::with(Plane::dev().await, |_| {}).await;
    rig.cluster(&["n-1"]).await;
    let [policy] = some(&rig, 1).await.try_into().unwrap();
    rig.known(&policy).await;
    rig.settled().await;
    let faults = rig.plane.server().faults();
    // The operator does not hear of it.
    faults.stall_watches(POLICIES);
    rig.delete(&policy).await;
    rig.lead(1);
    wait("it is noticed", || async { rig.count("gone") == 1 }).await;
    let [successor] = some(&rig, 1).await.try_into().unwrap();
    faults.resume_watches();
    rig.until(&successor, is_true).await;
    // The watch may tell of a write before its own answer has come.
    wait("the answer is counted", || async { rig.count("written") > 0 }).await;
    assert_eq!((rig.count("written"), rig.count("gone"), rig.asked()), (1, 1, 2));

    // And one whose place is taken at once.
    faults.stall_watches(POLICIES);
    rig.stand_by();
    rig.delete(&successor).await;
    let [next] = some(&rig, 1).await.try_into().unwrap();
    rig.patch(&next, serde_json::json!({"metadata": {"annotations": {"which": "third"}}})).await;
    faults.resume_watches();
    rig.lead(2);
    let next = rig.until(&next, is_true).await;
    assert_ne!(next.metadata.uid, successor.metadata.uid);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_made_in_the_end_too() {
    let rig = Rig::with(Plane::dev().await, |_| {}).await;
    rig.cluster(&["n-1"]).await;
    let faults = rig.plane.server().faults();
    let events = || Target::new(["create"], ["events.events.k8s.io"]);
    faults.add(events(), Effect::Fail { code: 503, retry_after: None }, When::Next(2));
    faults.add(events(), Effect::LoseAnswer, When::Next(1));
    rig.network_policy(
        "warned",
        serde_json::json!({"podSelector": {}, "policyTypes": ["Ingress"], "egress": [{}]}),
    )
    .await;
    rig.lead(1);
    // The third time it was made, though nobody said so; the fourth time it is there already.
    wait("the Event is known", || async { rig.events("known") == 1 }).await;
    assert_eq!((rig.events("failed"), rig.events("created"), faults.hits().0), (3, 0, 3));
}
