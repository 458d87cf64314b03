//! An API server that fails.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::time::{Duration, Instant};

use palisade_apiserver::Options;
use palisade_apiserver::faults::{Effect, Target, When};
use palisade_compiler::model::Kind;
use palisade_operator::watch::Settings;
use serde_json::json;

use crate::objects::*;
use crate::plane::Plane;
use crate::source::Source;

fn fail(code: u16, retry_after: Option<u64>) -> Effect {
    Effect::Fail { code, retry_after }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_of_failing_servers_are_asked_for_again() {
    let plane = Plane::start().await;
    let client = &plane.client();
    install(client).await;
    create(client, ANP, &policy("one", 1)).await;
    for code in [500, 502, 503, 504, 429] {
        plane.faults().add(Target::new(["list", "get"], []), fail(code, None), When::Next(3));
        plane.faults().add(Target::new(["watch"], []), fail(code, None), When::Next(3));
    }
    let mut source = Source::ready(client, Settings::default()).await;
    assert!(source.has("one"));
    source.until("every kind", |source| source.state(ANP) == "synced").await;
    for code in [500, 429] {
        plane.faults().add(Target::new(["watch"], []), fail(code, None), When::Next(3));
        plane.faults().drop_watches("");
        source.settle(client).await;
    }
    assert_eq!(plane.faults().hits().1, 0);
    assert_eq!(source.removed(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_is_not_believed_while_its_definition_cannot_be_read() {
    let plane = Plane::start().await;
    let client = &plane.client();
    install(client).await;
    create(client, ANP, &policy("one", 1)).await;
    let mut source = Source::ready(client, Settings::default()).await;
    let definitions = "customresourcedefinitions.apiextensions.k8s.io";
    plane.faults().add(Target::new(["get"], [definitions]), fail(500, None), When::Always);
    delete(client, ANP, "one").await;
    source.until("the alarm", |source| source.state(ANP) == "failing").await;
    let message = source.states()[ANP.name()]["message"].to_string();
    assert!(message.contains(definitions), "{message}");
    assert!(source.has("one"));
    plane.faults().clear();
    source.until("the deletion", |source| !source.has("one")).await;
    source.until("the end of the alarm", |source| source.state(ANP) == "synced").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_read_is_named() {
    let plane = Plane::start().await;
    let client = &plane.client();
    plane.faults().add(Target::new(["watch"], ["pods"]), fail(403, None), When::Always);
    let mut source = Source::start(client, Settings::default());
    source.until("the alarm", |source| source.state(Kind::Pod) == "failing").await;
    let message = source.states()["Pod"]["message"].to_string();
    assert!(message.contains("add the verb watch for pods"), "{message}");
    plane.faults().clear();
    source.until("the pods", |source| source.state(Kind::Pod) == "synced").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_right_to_read_definitions_discovery_tells() {
    let plane = Plane::start().await;
    let client = &plane.client();
    let definitions = "customresourcedefinitions.apiextensions.k8s.io";
    install(client).await;
    for name in ["one", "two"] {
        create(client, ANP, &policy(name, 1)).await;
    }
    let only_source =
        Target { user_agents: ["source".to_owned()].into(), ..Target::new(["get"], [definitions]) };
    plane.faults().add(only_source, fail(403, None), When::Always);
    let mut source = Source::ready(&plane.client_named("source").await, Settings::default()).await;
    assert_eq!(source.state(Kind::ClusterNetworkPolicy), "missing");
    assert_eq!(source.state(ANP), "synced");
    delete(client, ANP, "one").await;
    source.until("the deletion", |source| !source.has("one")).await;
    uninstall(client).await;
    source.until("the alarm", |source| source.state(ANP) == "vanished").await;
    assert_eq!(source.removed(), ["one"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forgotten_past_is_listed_again() {
    let plane = Plane::start().await;
    let client = &plane.client();
    install(client).await;
    for name in ["stays", "goes", "changes"] {
        create(client, ANP, &policy(name, 1)).await;
    }
    let mut source = Source::ready(client, Settings::default()).await;
    for round in 2..5 {
        // While no watch is open, so that all of it is missed.
        plane.faults().stall_watches("");
        let (old, new) = (format!("goes-{}", round - 1), format!("goes-{round}"));
        create(client, ANP, &policy(&new, 1)).await;
        delete(client, ANP, if round == 2 { "goes" } else { &old }).await;
        patch(client, ANP, "changes", &json!({"spec": {"priority": round}})).await;
        plane.faults().compact();
        plane.faults().drop_watches("");
        plane.faults().resume_watches();
        source.until("what is new", |source| source.has(&new)).await;
        let changed =
            |source: &Source| source.cluster.admin_policies[&(ANP, "changes".to_owned())].priority == round;
        source.until("what changed", changed).await;
        source.until("what is gone", |source| source.cluster.admin_policies.len() == 3).await;
        assert!(source.has("stays"));
    }
    assert_eq!(source.removed(), ["goes", "goes-2", "goes-3"]);
    assert_eq!(source.state(ANP), "synced");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_that_expire_are_asked_for_from_the_start() {
    let plane = Plane::with(Options { history: 50, ..Options::default() }).await;
    let client = &plane.client();
    for number in 0..95 {
        create(client, Kind::Pod, &pod(&format!("p-{number}"))).await;
    }
    // Every page takes so long that the snapshot is forgotten now and then while others write.
    let only_source = Target { user_agents: ["source".to_owned()].into(), ..Target::new(["list"], ["pods"]) };
    plane.faults().add(only_source, Effect::Delay { millis: 20 }, When::Next(30));
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let writer = {
        let client = client.clone();
        tokio::spawn(async move {
            let mut written = 0;
            while stopped.try_recv().is_err() {
                patch(
                    &client,
                    Kind::Pod,
                    "p-1",
                    &json!({"metadata": {"annotations": {"n": written.to_string()}}}),
                )
                .await;
                written += 1;
            }
            written
        })
    };
    let paged = Settings { page_size: 10, ..Settings::default() };
    let source = Source::ready(&plane.client_named("source").await, paged).await;
    stop.send(()).unwrap();
    println!("{} writes during the list", writer.await.unwrap());
    assert_eq!(source.cluster.pods.len(), 95);
    assert_eq!(source.taken.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_fails_does_not_begin_the_list_anew() {
    let plane = Plane::start().await;
    let client = &plane.client();
    for number in 0..95 {
        create(client, Kind::Pod, &pod(&format!("p-{number}"))).await;
    }
    let only_source = Target { user_agents: ["source".to_owned()].into(), ..Target::new(["list"], ["pods"]) };
    plane.faults().add(only_source, fail(500, None), When::Share(0.3));
    let paged = Settings { page_size: 10, ..Settings::default() };
    let source = Source::ready(&plane.client_named("source").await, paged).await;
    assert_eq!(source.cluster.pods.len(), 95);
    // Ten pages, and three or four failures.
    assert!((12..=16).contains(&plane.asked("list", "pods")), "{}", plane.asked("list", "pods"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_watch_is_given_up_after_its_time() {
    let plane = Plane::start().await;
    let client = &plane.client();
    let short = Settings { watch_timeout: Duration::from_secs(1), ..Settings::default() };
    let mut source = Source::ready(client, short).await;
    source.settle(client).await;
    plane.faults().stall_watches("namespaces");
    let name = unique("silent");
    create(client, Kind::Namespace, &json!({"metadata": {"name": name}})).await;
    let start = Instant::now();
    // Each watch that is taken up anew is silent too.
    let before = plane.asked("watch", "namespaces");
    source.until("two more watches", |_| plane.asked("watch", "namespaces") >= before + 2).await;
    plane.faults().resume_watches();
    source.until("the namespace", |source| source.cluster.namespaces.contains_key(&name)).await;
    println!("two silent watches were given up in {:?}", start.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_at_once_ends_where_it_would_without() {
    let plane = Plane::start().await;
    let client = &plane.client();
    install(client).await;
    let only_source = |verbs: &[&str]| Target {
        user_agents: ["source".to_owned()].into(),
        ..Target::new(verbs.iter().copied(), [])
    };
    plane.faults().add(only_source(&["list", "get"]), fail(503, None), When::Share(0.2));
    plane.faults().add(only_source(&["watch"]), fail(429, Some(1)), When::Share(0.2));
    let quick = Settings { page_size: 7, watch_timeout: Duration::from_secs(2), ..Settings::default() };
    let mut source = Source::ready(&plane.client_named("source").await, quick).await;
    for round in 0_u32..40 {
        create(client, ANP, &policy(&format!("p-{round}"), round)).await;
        create(client, Kind::Pod, &pod(&format!("p-{round}"))).await;
        match round % 8 {
            1 => plane.faults().drop_watches(""),
            3 => plane.faults().compact(),
            5 => delete(client, ANP, &format!("p-{}", round - 5)).await,
            6 => {
                plane.faults().compact();
                plane.faults().drop_watches("");
            }
            7 => delete(client, Kind::Pod, &format!("p-{}", round - 4)).await,
            _ => {}
        }
    }
    let policies = api(client, ANP).list(&kube::api::ListParams::default()).await.unwrap().items;
    let pods = api(client, Kind::Pod).list(&kube::api::ListParams::default()).await.unwrap().items;
    let names = |items: &[kube::api::DynamicObject]| -> Vec<String> {
        items.iter().filter_map(|object| object.metadata.name.clone()).collect()
    };
    let (mut policies, mut pods) = (names(&policies), names(&pods));
    policies.sort();
    pods.sort();
    let is_there = |source: &Source| {
        let known = source.cluster.admin_policies.keys().map(|(_, name)| name);
        let known_pods = source.cluster.pods.keys().map(|(_, name)| name);
        known.eq(&policies) && known_pods.eq(&pods)
    };
    source.until("the same as the API has", is_there).await;
    let reports: Vec<String> = source.reports.keys().map(|object| object.name.clone()).collect();
    assert_eq!(reports, policies);
    assert!(source.findings.is_empty(), "{:?}", source.findings);
}
