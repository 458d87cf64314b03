//! Each fault, as clients meet it.

use std::time::Duration;

use axum::http::Request;
use futures::{AsyncBufReadExt as _, StreamExt as _};
use palisade_apiserver::Server;
use palisade_apiserver::faults::{Effect, Target, When};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::world::{MERGE, World, client, config, config_map, soon, try_send};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

#[tokio::test]
async fn counted_failures_hit_the_next_requests_and_do_nothing() {
    let world = World::start().await;
    let faults = world.server.faults();
    let target = Target::new(["create"], ["configmaps"]);
    faults.add(target.clone(), Effect::Fail { code: 429, retry_after: Some(2) }, When::Next(1));
    faults.add(target.clone(), Effect::Fail { code: 500, retry_after: None }, When::Next(1));
    faults.add(target, Effect::Conflict, When::Next(1));
    assert_eq!(world.get(MAPS).await.code, 200, "reads are not meant");
    let busy = world.post(MAPS, &config_map("a")).await;
    assert_eq!((busy.code, busy.retry_after.as_deref()), (429, Some("2")));
    assert_eq!(
        (&busy.body["reason"], &busy.body["details"]["retryAfterSeconds"]),
        (&json!("TooManyRequests"), &json!(2))
    );
    let broken = world.post(MAPS, &config_map("a")).await;
    assert_eq!((broken.code, &broken.body["reason"]), (500, &json!("InternalError")));
    let conflict = world.post(MAPS, &config_map("a")).await;
    assert_eq!((conflict.code, &conflict.body["reason"]), (409, &json!("Conflict")));
    assert_eq!(world.get(&format!("{MAPS}/a")).await.code, 404);
    assert_eq!(faults.hits(), (3, 0));
    assert_eq!(world.post(MAPS, &config_map("a")).await.code, 201);
}

#[tokio::test]
async fn a_share_of_requests_fails_until_it_is_cleared() {
    let world = World::start().await;
    world.server.faults().add(
        Target::default(),
        Effect::Fail { code: 503, retry_after: None },
        When::Share(0.5),
    );
    let mut codes = Vec::new();
    for _ in 0..4 {
        codes.push(world.get(MAPS).await.code);
    }
    assert_eq!(codes, [200, 503, 200, 503]);
    world.server.faults().clear();
    for _ in 0..4 {
        assert_eq!(world.get(MAPS).await.code, 200);
    }
}

#[tokio::test]
async fn delays_hold_an_answer_back() {
    let world = World::start().await;
    world.server.faults().add(Target::new(["get"], []), Effect::Delay { millis: 300 }, When::Next(1));
    let start = Instant::now();
    world.get(&format!("{MAPS}/x")).await;
    assert!(start.elapsed() >= Duration::from_millis(300));
}

#[tokio::test]
async fn a_reset_request_is_not_done_and_a_lost_answer_is() {
    let world = World::start().await;
    let faults = world.server.faults();
    let headers = [("content-type", "application/json")];
    for (effect, is_done) in [(Effect::Reset, false), (Effect::LoseAnswer, true)] {
        faults.add(Target::new(["create"], []), effect, When::Next(1));
        let lost = try_send(&world.client, "POST", MAPS, &headers, &config_map("a")).await;
        assert!(lost.is_err(), "{lost:?}");
        assert_eq!(world.get(&format!("{MAPS}/a")).await.code == 200, is_done);
    }
}

#[tokio::test]
async fn dropped_watches_break_in_the_middle_of_a_line() {
    let world = World::start().await;
    let open = async |path: &str| {
        let request = Request::get(path).body(Vec::new()).expect("request");
        let mut lines = world.client.request_stream(request).await.expect("watch").lines();
        // The first line shows that it is open.
        assert!(soon(lines.next()).await.expect("open").is_ok());
        lines
    };
    let mut namespaces = open("/api/v1/namespaces?watch=true&fieldSelector=metadata.name%3Ddefault").await;
    world.post(MAPS, &config_map("a")).await;
    let mut maps = open(&format!("{MAPS}?watch=true")).await;
    world.server.faults().drop_watches("configmaps");
    let mut broken = None;
    while let Some(line) = soon(maps.next()).await {
        match line {
            // What had come of the line when the connection broke.
            Ok(line) => assert!(serde_json::from_str::<Value>(&line).is_err(), "{line}"),
            Err(error) => {
                broken = Some(error);
                break;
            }
        }
    }
    assert!(broken.is_some(), "the reader is told that it broke");
    let patch = json!({"metadata": {"labels": {"a": "b"}}});
    world.send("PATCH", "/api/v1/namespaces/default", MERGE, &patch).await;
    let line = soon(namespaces.next()).await.expect("others go on").expect("line");
    assert!(line.starts_with("{\"type\":\"MODIFIED\""), "{line}");
}

#[tokio::test]
async fn stalled_watches_are_silent_and_then_tell_all() {
    let world = World::start().await;
    world.post(MAPS, &config_map("a")).await;
    let request = Request::get(format!("{MAPS}?watch=true")).body(Vec::new()).expect("request");
    let mut lines = world.client.request_stream(request).await.expect("watch").lines();
    assert!(soon(lines.next()).await.expect("open").is_ok());
    world.server.faults().stall_watches("");
    world.post(MAPS, &config_map("b")).await;
    let silent = tokio::time::timeout(Duration::from_millis(200), lines.next()).await;
    assert!(silent.is_err(), "{silent:?}");
    world.server.faults().resume_watches();
    let line = soon(lines.next()).await.expect("line").expect("line");
    assert!(line.contains("\"name\":\"b\""), "{line}");
}

#[tokio::test]
async fn connections_are_refused_for_a_while() {
    let world = World::start().await;
    assert_eq!(world.get(MAPS).await.code, 200);
    let faults = world.server.faults();
    faults.refuse_connections(Duration::from_mins(10));
    assert!(try_send(&world.client, "GET", MAPS, &[], &Value::Null).await.is_err());
    assert!(
        try_send(&client(&world.server.kubeconfig()).await, "GET", MAPS, &[], &Value::Null).await.is_err()
    );
    faults.clear();
    assert_eq!(world.get(MAPS).await.code, 200);
    faults.refuse_connections(Duration::from_millis(50));
    soon(async {
        while try_send(&world.client, "GET", MAPS, &[], &Value::Null).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn faults_are_run_over_http_too() {
    let world = World::start().await;
    let rule = json!({"add": {"target": {"verbs": ["get"]}, "effect": {"fail": {"code": 500}}, "when": {"next": 1}}});
    let added = world.post("/_faults", &rule).await;
    assert_eq!((added.code, &added.body["left"]), (200, &json!(1)));
    assert_eq!(world.get(&format!("{MAPS}/x")).await.code, 500);
    assert_eq!(world.get("/_faults").await.body["hits"], 1);
    assert_eq!(world.delete("/_faults").await.body["rules"], json!([]));
    assert_eq!(world.post("/_faults", &json!({"breakAll": 1})).await.code, 400);
    let counts = world.get("/_requests").await.body;
    assert_eq!(
        counts.as_array().expect("list").iter().map(|count| &count["verb"]).collect::<Vec<_>>(),
        ["get"]
    );
}

#[tokio::test]
async fn a_dropped_server_ends_its_connections_and_its_address_is_free() {
    let world = World::start().await;
    let request = Request::get(format!("{MAPS}?watch=true")).body(Vec::new()).expect("request");
    let mut lines = world.client.request_stream(request).await.expect("watch").lines();
    let address = world.server.address();
    let World { server, client } = world;
    drop(server);
    assert!(soon(lines.next()).await.is_none_or(|line| line.is_err()));
    drop(client);
    let listener = soon(async {
        loop {
            match tokio::net::TcpListener::bind(address).await {
                Ok(listener) => return listener,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    })
    .await;
    // A listener that was bound elsewhere serves as well.
    let server = Server::serve_on(listener, palisade_apiserver::Options::default()).expect("server");
    assert_eq!(server.address(), address);
    let client = kube::Client::try_from(config(&server.kubeconfig()).await).expect("client");
    assert_eq!(try_send(&client, "GET", MAPS, &[], &Value::Null).await.expect("answer").code, 200);
}
