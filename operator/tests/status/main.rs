//! Status and Events through an API server: the real source, engine, hub and writer, with shims that only confirm.
//!
//! Against the development server; with `PALISADE_CONTROL_PLANE=kubeconfig` against the one that `KUBECONFIG` leads to,
//! where nothing else may write status meanwhile.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a panic is how a test fails")]

mod faults;
mod plane;
mod rig;

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Api;
use kube::api::{DynamicObject, ListParams, Patch, PatchParams};
use serde_json::{Value, json};

use plane::Plane;
use rig::{Mode, Rig, wait};

fn programmed(object: &DynamicObject) -> Option<Condition> {
    rig::condition(object, "Programmed")
}

fn is_true(object: &DynamicObject) -> bool {
    let generation = object.metadata.generation;
    programmed(object).is_some_and(|found| found.status == "True" && found.observed_generation == generation)
}

/// What a policy's conditions say, without times.
fn said(object: &DynamicObject) -> Vec<String> {
    let each = rig::conditions(object).into_iter();
    each.map(|condition| {
        format!(
            "{} {} {} {} {}",
            condition.type_,
            condition.status,
            condition.reason,
            condition.observed_generation.unwrap_or_default(),
            condition.message
        )
    })
    .collect()
}

/// A policy about a test's own namespace. Each of another port changes what the nodes do.
fn deny(namespace: &str, port: i64) -> Value {
    json!({
        "priority": port % 100,
        "subject": {"namespaces": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}},
        "ingress": [{
            "action": "Deny",
            "from": [{"namespaces": {}}],
            "ports": [{"portNumber": {"protocol": "TCP", "port": port}}],
        }],
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_is_told_in_one_write_that_has_our_fields_only() {
    let rig = Rig::start().await;
    rig.cluster(&["n-1", "n-2"]).await;
    rig.lead(1);
    let policy = rig.policy("one", deny(&rig.namespace, 7)).await;
    let policy = rig.until(&policy, is_true).await;
    assert_eq!(
        said(&policy),
        [
            "Accepted True Accepted 1 in effect as written",
            "Programmed True Programmed 1 enforced on 2/2 nodes",
            "Degraded False AsExpected 1 "
        ]
    );
    rig.writes(1).await;

    let fields = policy.metadata.managed_fields.clone().unwrap_or_default();
    let ours: Vec<_> = fields.iter().filter(|entry| entry.manager.as_deref() == Some("palisade")).collect();
    assert_eq!(ours.len(), 1, "{fields:?}");
    assert_eq!(ours[0].operation.as_deref(), Some("Apply"));
    assert_eq!(ours[0].subresource.as_deref(), Some("status"));
    let owned = serde_json::to_value(ours[0].fields_v1.as_ref().unwrap()).unwrap();
    let top: Vec<_> = owned.as_object().unwrap().keys().cloned().collect();
    assert_eq!(top, ["f:status"]);
    let conditions: BTreeSet<_> =
        owned["f:status"]["f:conditions"].as_object().unwrap().keys().cloned().collect();
    let key = |kind: &str| format!("k:{{\"type\":\"{kind}\"}}");
    assert_eq!(conditions, [key("Accepted"), key("Degraded"), key("Programmed")].into());

    // An edit is observed, in one more write; a label is nobody's business.
    let times = |object: &DynamicObject| {
        rig::conditions(object)
            .into_iter()
            .map(|condition| condition.last_transition_time)
            .collect::<Vec<_>>()
    };
    rig.patch(&policy, json!({"metadata": {"labels": {"colour": "red"}}})).await;
    rig.patch(&policy, json!({"spec": {"priority": 8}})).await;
    let edited = rig.until(&policy, |object| object.metadata.generation == Some(2) && is_true(object)).await;
    assert_eq!(times(&edited), times(&policy));
    rig.writes(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_review_finds_is_told_beside_and_taken_back() {
    let rig = Rig::start().await;
    rig.cluster(&["n-1"]).await;
    rig.lead(1);
    let mut spec = deny(&rig.namespace, 7);
    let rule = spec["ingress"][0].clone();
    spec["ingress"] = json!([rule, rule]);
    let policy = rig.policy("one", spec).await;
    let accepted = |object: &DynamicObject| {
        rig::condition(object, "Accepted").map(|found| (found.status, found.message))
    };
    let shadowed = "in effect as written, but hardly as meant. spec.ingress[1]: warning: the rule never decides anything: \
                    it is shadowed by spec.ingress[0]; remove it, or move it up in the list";
    let is_told = Some(("True".to_owned(), shadowed.to_owned()));
    let told = rig.until(&policy, |object| accepted(object) == is_told && is_true(object)).await;
    rig.patch(&told, json!({"spec": {"ingress": [rule]}})).await;
    let is_well = Some(("True".to_owned(), "in effect as written".to_owned()));
    rig.until(&policy, |object| {
        object.metadata.generation == Some(2) && accepted(object) == is_well && is_true(object)
    })
    .await;

    // A NetworkPolicy has no status: one Event.
    let cut_off = json!({"podSelector": {}, "policyTypes": ["Egress"]});
    rig.network_policy("cut-off", cut_off).await;
    rig.posted("created", 1).await;
    let events: Api<Event> = Api::namespaced(rig.client.clone(), &rig.namespace);
    let events = events.list(&ListParams::default()).await.unwrap();
    let notes: Vec<_> = events
        .iter()
        .map(|event| (event.reason.as_deref(), event.note.as_deref().unwrap_or_default()))
        .collect();
    let [(Some("AcceptedWithWarnings"), note)] = &notes[..] else { panic!("{notes:?}") };
    assert!(note.contains("nothing lets them ask DNS"), "{note}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_policies_are_two_hundred_writes() {
    let rig = Rig::start().await;
    rig.cluster(&["n-1", "n-2", "n-3"]).await;
    rig.lead(1);
    let mut policies = Vec::new();
    for n in 0..200 {
        policies.push(rig.policy(&format!("many-{n}"), deny(&rig.namespace, 1000 + n)).await);
    }
    for policy in &policies {
        rig.until(policy, is_true).await;
    }
    // Pods come, and every policy is about them.
    for n in 0..10 {
        rig.pod(&format!("late-{n}"), "n-1", &format!("10.200.9.{n}")).await;
    }
    rig.settled().await;
    rig.writes(200).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_node_is_named_until_it_has_confirmed() {
    let rig = Rig::start().await;
    rig.cluster(&["n-1", "n-2"]).await;
    rig.mode("n-2", Mode::Hold);
    rig.lead(1);
    let policy = rig.policy("slow", deny(&rig.namespace, 7)).await;
    let policy = rig.until(&policy, |object| programmed(object).is_some()).await;
    assert_eq!(said(&policy)[1], "Programmed False Progressing 1 enforced on 1/2 nodes; waiting for n-2");
    rig.mode("n-2", Mode::Confirm);
    let policy = rig.until(&policy, is_true).await;
    assert_eq!(said(&policy)[1], "Programmed True Programmed 1 enforced on 2/2 nodes");
    rig.writes(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_writes_nothing_and_who_takes_over_only_what_is_missing() {
    let rig = Rig::start().await;
    rig.cluster(&["n-1"]).await;
    let first = rig.policy("first", deny(&rig.namespace, 7)).await;
    rig.known(&first).await;
    rig.settled().await;
    rig.writes(0).await;
    rig.lead(1);
    rig.until(&first, is_true).await;
    rig.writes(1).await;
    rig.stand_by();
    let second = rig.policy("second", deny(&rig.namespace, 8)).await;
    rig.known(&second).await;
    rig.settled().await;
    rig.writes(1).await;
    rig.lead(2);
    rig.until(&second, is_true).await;
    rig.writes(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conditions_of_others_stay_and_what_is_written_over_ours_does_not() {
    let rig = Rig::start().await;
    rig.cluster(&["n-1"]).await;
    rig.lead(1);
    let policy = rig.policy("shared", deny(&rig.namespace, 7)).await;
    let policy = rig.until(&policy, is_true).await;
    let theirs = |kind: &str, status: &str| {
        json!({
            "type": kind, "status": status, "reason": "Theirs", "message": "theirs",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        })
    };
    let patch = json!({
        "apiVersion": "policy.networking.k8s.io/v1alpha1",
        "kind": "AdminNetworkPolicy",
        "metadata": {"name": policy.metadata.name},
        "status": {"conditions": [theirs("Ready-In-Zone-a", "True"), theirs("Programmed", "False")]},
    });
    let name = policy.metadata.name.clone().unwrap();
    let parameters = PatchParams::apply("another").force();
    rig.policies().patch_status(&name, &parameters, &Patch::Apply(&patch)).await.unwrap();
    let policy = rig.until(&policy, is_true).await;
    assert_eq!(rig::condition(&policy, "Ready-In-Zone-a").unwrap().reason, "Theirs");
    assert_eq!(rig::condition(&policy, "Programmed").unwrap().reason, "Programmed");
    rig.writes(2).await;
}

async fn events(rig: &Rig, about: &str) -> Vec<Event> {
    let all: Api<Event> = Api::namespaced(rig.client.clone(), "default");
    let mut found = all.list(&ListParams::default()).await.unwrap().items;
    found.retain(|event| {
        event.reporting_controller.as_deref() == Some("palisade")
            && event.regarding.as_ref().is_some_and(|object| object.name.as_deref() == Some(about))
    });
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_understood_is_told_in_status_and_in_one_event_whoever_leads() {
    let rig = Rig::start().await;
    rig.cluster(&["n-1"]).await;
    rig.lead(1);
    let mut spec = deny(&rig.namespace, 7);
    spec["egress"] = json!([{"action": "Allow", "to": [{"domainNames": ["www.example.com"]}]}]);
    let policy = rig.policy("names", spec).await;
    let policy = rig.until(&policy, is_true).await;
    let accepted = rig::condition(&policy, "Accepted").unwrap();
    assert_eq!((accepted.status.as_str(), accepted.reason.as_str()), ("False", "PartiallyInvalid"));
    assert!(accepted.message.contains("spec.egress[0].to[0].domainNames: fails closed: "), "{accepted:?}");
    let name = policy.metadata.name.clone().unwrap();
    rig.posted("created", 1).await;
    // Who leads no more counts no answer.
    rig.writes(1).await;
    rig.lead(2);
    rig.posted("known", 1).await;
    let found = events(&rig, &name).await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].note.as_ref(), Some(&accepted.message));
    rig.writes(1).await;

    let text = rig.kubectl(&["describe", "anp", &name]);
    for words in
        ["PartiallyInvalid", "enforced on 1/1 nodes", "Warning  PartiallyInvalid", "palisade  a part is"]
    {
        assert!(text.contains(words), "{words}:\n{text}");
    }
    rig.kubectl(&["wait", "--for=condition=Programmed", "--timeout=10s", &format!("anp/{name}")]);
    rig.kubectl(&["wait", "--for=condition=Degraded=False", "--timeout=10s", &format!("anp/{name}")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_policy_is_told_of_in_events_alone() {
    let rig = Rig::start().await;
    rig.cluster(&["n-1"]).await;
    rig.lead(1);
    // It says that it is about egress, and has rules for ingress.
    let spec = json!({"podSelector": {}, "policyTypes": ["Egress"], "ingress": [{}]});
    rig.network_policy("warned", spec).await;
    rig.posted("created", 1).await;
    // `kubectl describe` shows no Events of this kind.
    let text = rig.kubectl(&["events", "--for", "networkpolicy/warned", "-n", &rig.namespace]);
    assert!(text.contains("AcceptedWithWarnings") && text.contains("spec.ingress: warning: "), "{text}");
    rig.writes(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_refuses_is_told_of_once_and_so_is_its_recovery() {
    let rig = Rig::with(Plane::chosen().await, |options| {
        options.timing.recovered_after = Duration::from_millis(200);
    })
    .await;
    rig.cluster(&["n-1", "n-2"]).await;
    rig.lead(1);
    let kept = rig.policy("kept", deny(&rig.namespace, 7)).await;
    rig.until(&kept, is_true).await;
    rig.mode("n-2", Mode::Refuse);
    let policy = rig.policy("refused", deny(&rig.namespace, 8)).await;
    let policy = rig.until(&policy, |object| programmed(object).is_some()).await;
    assert_eq!(
        said(&policy)[1],
        "Programmed False NodesRefuse 1 enforced on 1/2 nodes; refused by n-2 (refused (kernel): no such file)"
    );
    let kept = rig
        .until(&kept, |object| {
            rig::condition(object, "Degraded").is_some_and(|degraded| degraded.status == "True")
        })
        .await;
    assert_eq!(
        said(&kept)[1..],
        [
            "Programmed True Programmed 1 enforced on 2/2 nodes",
            "Degraded True NodesRefuse 1 1 of 2 nodes enforce an older state: n-2 (refused (kernel): no such file)",
        ]
    );
    rig.posted("created", 1).await;
    rig.mode("n-2", Mode::Confirm);
    rig.until(&policy, is_true).await;
    rig.until(&kept, |object| {
        rig::condition(object, "Degraded").is_some_and(|degraded| degraded.status == "False")
    })
    .await;
    rig.posted("created", 2).await;
    let mut reasons: Vec<_> =
        events(&rig, "n-2").await.into_iter().filter_map(|event| event.reason).collect();
    reasons.sort_unstable();
    assert_eq!(reasons, ["PoliciesRefused", "PoliciesUpToDate"]);
    let text = rig.kubectl(&["describe", "node", "n-2"]);
    for words in ["PoliciesRefused", "PoliciesUpToDate", "no such file"] {
        assert!(text.contains(words), "{words}:\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_degrades_and_is_one_event() {
    let rig = Rig::with(Plane::chosen().await, |options| {
        options.timing.behind_after = Duration::from_millis(300);
        options.timing.recovered_after = Duration::from_millis(200);
    })
    .await;
    rig.cluster(&["n-1", "n-2"]).await;
    rig.lead(1);
    let policy = rig.policy("kept", deny(&rig.namespace, 7)).await;
    rig.until(&policy, is_true).await;
    rig.mode("n-2", Mode::Away);
    rig.posted("created", 1).await;
    // What the node has is what it should have, until a pod comes there.
    rig.pod("new", "n-2", "10.200.9.9").await;
    let is_degraded = |object: &DynamicObject| {
        rig::condition(object, "Degraded").is_some_and(|degraded| degraded.status == "True")
    };
    let degraded = rig.until(&policy, is_degraded).await;
    assert_eq!(
        said(&degraded)[2],
        "Degraded True NodesUnreachable 1 1 of 2 nodes enforce an older state: n-2 (its shim is not connected)"
    );
    rig.mode("n-2", Mode::Confirm);
    rig.until(&policy, |object| !is_degraded(object)).await;
    rig.posted("created", 2).await;
    rig.writes(3).await;
    let reasons: BTreeSet<_> =
        events(&rig, "n-2").await.into_iter().filter_map(|event| event.reason).collect();
    assert_eq!(reasons, ["PoliciesUpToDate".to_owned(), "ShimUnreachable".to_owned()].into());
    wait("no Event more", || async { events(&rig, "n-2").await.len() == 2 }).await;
}
