//! Connections that are cut or go silent.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::time::{Duration, Instant};

use palisade_compiler::model::Kind;
use palisade_operator::watch::Settings;
use serde_json::json;

use crate::objects::*;
use crate::plane::Plane;
use crate::source::Source;
use crate::way::{Mode, Way};

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_while_the_connection_is_down_is_caught_up_on() {
    let plane = Plane::start().await;
    let client = &plane.client();
    let way = Way::to(plane.address()).await;
    install(client).await;
    for name in ["stays", "goes"] {
        create(client, ANP, &policy(name, 1)).await;
    }
    let mut source = Source::ready(&plane.client_at(way.at).await, Settings::default()).await;
    for round in 0..3 {
        way.is(Mode::Cut);
        let came = format!("came-{round}");
        create(client, ANP, &policy(&came, 1)).await;
        way.is(Mode::Open);
        source.until("what came", |source| source.has(&came)).await;
    }
    // Longer: rules stay, and it is said, with what is wrong.
    way.is(Mode::Cut);
    let start = Instant::now();
    source.until("the alarm", |source| Kind::ALL.iter().all(|kind| source.state(*kind) != "synced")).await;
    println!("an outage is said after {:?}", start.elapsed());
    assert!(start.elapsed() >= Duration::from_secs(2), "a short outage is none: {:?}", start.elapsed());
    assert_eq!(source.state(ANP), "failing");
    let message = source.states()[ANP.name()]["message"].to_string();
    assert!(message.contains("adminnetworkpolicies"), "{message}");
    println!("{message}");
    delete(client, ANP, "goes").await;
    assert!(source.has("stays") && source.has("goes"));
    way.is(Mode::Open);
    let start = Instant::now();
    source.until("the deletion", |source| !source.has("goes")).await;
    source.until("the end of the alarm", |source| source.state(ANP) == "synced").await;
    println!("an outage is over after {:?}", start.elapsed());
    assert_eq!(source.removed(), ["goes"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_has_gone_silent_is_given_up() {
    let plane = Plane::start().await;
    let client = &plane.client();
    let way = Way::to(plane.address()).await;
    let timeout = Duration::from_secs(2);
    let short = Settings { watch_timeout: timeout, ..Settings::default() };
    let mut source = Source::ready(&plane.client_at(way.at).await, short).await;
    source.settle(client).await;
    way.is(Mode::Stalled);
    let name = unique("silent");
    create(client, Kind::Namespace, &json!({"metadata": {"name": name}})).await;
    let start = Instant::now();
    source.until("the alarm", |source| source.state(Kind::Namespace) == "failing").await;
    println!("silence is said after {:?}", start.elapsed());
    assert!(
        source.states()["Namespace"]["message"].to_string().contains("not answered"),
        "{}",
        source.states()
    );
    way.is(Mode::Open);
    source.until("the namespace", |source| source.cluster.namespaces.contains_key(&name)).await;
    source.until("the end of the alarm", |source| source.state(Kind::Namespace) == "synced").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_that_is_replaced_while_the_connection_is_down_drops_nothing() {
    let plane = Plane::start().await;
    let client = &plane.client();
    let way = Way::to(plane.address()).await;
    install(client).await;
    for number in 0..20 {
        create(client, ANP, &policy(&format!("p-{number}"), number)).await;
    }
    let mut source = Source::ready(&plane.client_at(way.at).await, Settings::default()).await;
    way.is(Mode::Cut);
    uninstall(client).await;
    install(client).await;
    create(client, ANP, &policy("p-3", 3)).await;
    way.is(Mode::Open);
    source.until("what is held", |source| source.findings.len() == 19).await;
    source.until("the policy that is back", |source| source.reports.len() == 1).await;
    assert_eq!(source.state(ANP), "vanished");
    assert_eq!(source.removed(), Vec::<String>::new());
    assert_eq!(source.cluster.admin_policies.len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_yet_is_waited_for() {
    let plane = Plane::start().await;
    let way = Way::to(plane.address()).await;
    way.is(Mode::Cut);
    let mut source = Source::start(&plane.client_at(way.at).await, Settings::default());
    source.until("the alarm", |source| source.state(Kind::Pod) == "failing").await;
    assert!(source.taken.is_empty());
    way.is(Mode::Open);
    source.until("the first batch", |source| !source.taken.is_empty()).await;
    source.until("the end of the alarm", |source| source.state(Kind::Pod) == "synced").await;
    assert_eq!(source.taken.len(), 1);
}
