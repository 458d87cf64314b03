//! Watches: what kube's watcher and a raw reader are told, and when they have to begin again.

use std::time::Duration;

use axum::http::Request;
use futures::{AsyncBufReadExt as _, StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::WatchParams;
use kube::core::WatchEvent;
use kube::{Api, ResourceExt as _};
use kube_runtime::watcher::{self, Event, InitialListStrategy, watcher};
use palisade_apiserver::Options;
use serde_json::{Value, json};

use crate::world::{MERGE, THINGS, World, config_map, definition, soon, thing};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// The events of a raw watch, as they come.
struct Lines<S>(S);

impl<S: futures::Stream<Item = std::io::Result<String>> + Unpin> Lines<S> {
    async fn next(&mut self) -> Option<std::io::Result<Value>> {
        let line = soon(self.0.next()).await?;
        Some(line.map(|line| serde_json::from_str(&line).expect("json")))
    }

    async fn event(&mut self) -> Value {
        self.next().await.expect("an event").expect("no error")
    }

    /// Type and name.
    async fn told(&mut self) -> (String, String) {
        let event = self.event().await;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (text(&event["type"]), text(&event["object"]["metadata"]["name"]))
    }
}

async fn lines(
    world: &World,
    path: &str,
) -> Lines<impl futures::Stream<Item = std::io::Result<String>> + Unpin + use<>> {
    let request = Request::get(path).body(Vec::new()).expect("request");
    Lines(world.client.request_stream(request).await.expect("watch").lines())
}

fn told(kind: &str, name: &str) -> (String, String) {
    (kind.to_owned(), name.to_owned())
}

#[tokio::test]
async fn a_watch_tells_what_is_and_what_comes() {
    let world = World::start().await;
    world.post(MAPS, &config_map("a")).await;
    let mut watch = lines(&world, &format!("{MAPS}?watch=true")).await;
    assert_eq!(watch.told().await, told("ADDED", "a"));
    let created = world.post(MAPS, &config_map("b")).await.body;
    assert_eq!(watch.event().await, json!({"type": "ADDED", "object": created}));
    world.send("PATCH", &format!("{MAPS}/b"), MERGE, &json!({"data": {"z": "1"}})).await;
    assert_eq!(watch.told().await, told("MODIFIED", "b"));
    world.delete(&format!("{MAPS}/a")).await;
    assert_eq!(watch.told().await, told("DELETED", "a"));
    // A write that changes nothing is not told, and neither are other namespaces.
    world.send("PATCH", &format!("{MAPS}/b"), MERGE, &json!({"data": {"z": "1"}})).await;
    world.post("/api/v1/namespaces/kube-system/configmaps", &config_map("x")).await;
    world.post(MAPS, &config_map("c")).await;
    assert_eq!(watch.told().await, told("ADDED", "c"));
}

#[tokio::test]
async fn a_watch_goes_on_from_a_revision_or_says_that_it_cannot() {
    let world = World::with(Options { history: 4, ..Options::default() }).await;
    let first = world.post(MAPS, &config_map("a")).await.body;
    let from = first["metadata"]["resourceVersion"].as_str().expect("revision").to_owned();
    world.post(MAPS, &config_map("b")).await;
    world.delete(&format!("{MAPS}/a")).await;
    let path = format!("{MAPS}?watch=true&resourceVersion={from}");
    let mut watch = lines(&world, &path).await;
    assert_eq!(watch.told().await, told("ADDED", "b"));
    assert_eq!(watch.told().await, told("DELETED", "a"));
    for name in ["c", "d", "e", "f"] {
        world.post(MAPS, &config_map(name)).await;
    }
    let mut watch = lines(&world, &path).await;
    let error = watch.event().await;
    assert_eq!((&error["type"], &error["object"]["reason"]), (&json!("ERROR"), &json!("Expired")));
    assert_eq!(error["object"]["code"], 410);
    assert!(watch.next().await.is_none(), "it ends");
}

#[tokio::test]
async fn objects_enter_and_leave_a_selection() {
    let world = World::start().await;
    let mut watch = lines(&world, &format!("{MAPS}?watch=true&labelSelector=on")).await;
    world.post(MAPS, &config_map("a")).await;
    let label = |value: Value| json!({"metadata": {"labels": {"on": value}}});
    let path = format!("{MAPS}/a");
    world.send("PATCH", &path, MERGE, &label(json!("1"))).await;
    world.send("PATCH", &path, MERGE, &label(json!("2"))).await;
    let left = world.send("PATCH", &path, MERGE, &label(Value::Null)).await.body;
    assert_eq!(watch.told().await, told("ADDED", "a"));
    assert_eq!(watch.told().await, told("MODIFIED", "a"));
    let event = watch.event().await;
    assert_eq!(
        (&event["type"], &event["object"]["metadata"]["labels"]),
        (&json!("DELETED"), &json!({"on": "2"}))
    );
    assert_eq!(event["object"]["metadata"]["resourceVersion"], left["metadata"]["resourceVersion"]);
}

#[tokio::test]
async fn quiet_watches_get_bookmarks_that_are_up_to_date() {
    let options = Options { bookmark_interval: Duration::from_millis(20), ..Options::default() };
    let world = World::with(options).await;
    world.post(MAPS, &config_map("a")).await;
    let path = "/api/v1/pods?watch=true&allowWatchBookmarks=true&timeoutSeconds=600";
    let mut watch = lines(&world, path).await;
    // Other kinds change, and the bookmark knows it.
    let other = world.post(MAPS, &config_map("b")).await.body;
    let wanted: u64 = other["metadata"]["resourceVersion"].as_str().expect("text").parse().expect("number");
    loop {
        let event = watch.event().await;
        assert_eq!((&event["type"], &event["object"]["kind"]), (&json!("BOOKMARK"), &json!("Pod")));
        let revision = event["object"]["metadata"]["resourceVersion"].as_str().expect("text");
        if revision.parse::<u64>().expect("number") >= wanted {
            break;
        }
    }
}

#[tokio::test]
async fn a_watch_ends_in_time_with_a_bookmark() {
    let world = World::start().await;
    let mut watch = lines(&world, "/api/v1/pods?watch=true&allowWatchBookmarks=true&timeoutSeconds=1").await;
    assert_eq!(watch.event().await["type"], "BOOKMARK");
    assert!(watch.next().await.is_none());
}

#[tokio::test]
async fn initial_events_end_with_a_marked_bookmark() {
    let world = World::start().await;
    world.post(MAPS, &config_map("a")).await;
    let query =
        "watch=true&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan";
    let mut watch = lines(&world, &format!("{MAPS}?{query}")).await;
    assert_eq!(watch.told().await, told("ADDED", "a"));
    let end = watch.event().await;
    assert_eq!(end["object"]["metadata"]["annotations"], json!({"k8s.io/initial-events-end": "true"}));
    let refused = world.get(&format!("{MAPS}?watch=true&sendInitialEvents=true")).await;
    assert_eq!((refused.code, &refused.body["reason"]), (422, &json!("Invalid")));
}

#[tokio::test]
async fn watches_of_a_kind_end_with_its_definition() {
    let world = World::with_things().await;
    world.post(THINGS, &thing("t", &json!({}))).await;
    let mut watch = lines(&world, &format!("{THINGS}?watch=true")).await;
    assert_eq!(watch.told().await, told("ADDED", "t"));
    world.delete("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/things.stable.example.com").await;
    assert_eq!(watch.told().await, told("DELETED", "t"));
    assert!(watch.next().await.is_none());
    assert_eq!(world.get(&format!("{THINGS}?watch=true")).await.code, 404);
}

#[tokio::test]
async fn each_version_of_a_kind_is_read_and_watched_as_itself() {
    let world = World::start().await;
    let mut two = definition();
    let versions = two["spec"]["versions"].as_array_mut().expect("versions");
    let mut second = versions[0].clone();
    (second["name"], second["storage"]) = (json!("v2"), json!(false));
    versions.push(second);
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    assert_eq!(world.post(definitions, &two).await.code, 201);
    let newer = THINGS.replace("/v1/", "/v2/");
    let mut watch = lines(&world, &format!("{newer}?watch=true")).await;
    let created = world.post(THINGS, &thing("t", &json!({"note": "a"}))).await.body;
    let event = watch.event().await;
    assert_eq!(
        (&event["type"], &event["object"]["apiVersion"]),
        (&json!("ADDED"), &json!("stable.example.com/v2"))
    );
    let read = world.get(&format!("{newer}/t")).await.body;
    assert_eq!(event["object"], read);
    assert_eq!((&read["spec"], &read["metadata"]), (&created["spec"], &created["metadata"]));
    let change = json!({"spec": {"note": "b"}});
    let changed = world.send("PATCH", &format!("{newer}/t"), MERGE, &change).await.body;
    assert_eq!(changed["metadata"]["generation"], 2);
    let older = world.get(&format!("{THINGS}/t")).await.body;
    assert_eq!(
        (&older["apiVersion"], &older["spec"]["note"]),
        (&json!("stable.example.com/v1"), &json!("b"))
    );
}

#[tokio::test]
async fn typed_watches_read_the_same_events() {
    let world = World::start().await;
    let api: Api<ConfigMap> = Api::default_namespaced(world.client.clone());
    let mut watch = api.watch(&WatchParams::default(), "0").await.expect("watch").boxed();
    world.post(MAPS, &config_map("a")).await;
    match soon(watch.try_next()).await.expect("event") {
        Some(WatchEvent::Added(map)) => assert_eq!(map.name_any(), "a"),
        other => panic!("{other:?}"),
    }
}

/// What kube's watcher makes of it, until it has seen a name.
async fn until<S>(watch: &mut S, name: &str) -> Vec<String>
where
    S: futures::Stream<Item = watcher::Result<Event<Pod>>> + Unpin,
{
    let mut seen = Vec::new();
    loop {
        // It goes on by itself after an error.
        let Ok(event) = soon(watch.next()).await.expect("endless") else { continue };
        let (text, is_last) = match &event {
            Event::Apply(pod) => (format!("apply {}", pod.name_any()), pod.name_any() == name),
            Event::Delete(pod) => (format!("delete {}", pod.name_any()), false),
            Event::InitApply(pod) => (format!("init {}", pod.name_any()), pod.name_any() == name),
            Event::Init | Event::InitDone => continue,
        };
        seen.push(text);
        if is_last {
            return seen;
        }
    }
}

async fn pod(world: &World, name: &str) {
    let pod = json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    assert_eq!(world.post("/api/v1/namespaces/default/pods", &pod).await.code, 201);
}

#[tokio::test]
async fn a_watcher_lists_in_pages_and_follows_by_either_strategy() {
    for strategy in [InitialListStrategy::ListWatch, InitialListStrategy::StreamingList] {
        let world = World::start().await;
        for name in ["a", "b", "c"] {
            pod(&world, name).await;
        }
        let config =
            watcher::Config { initial_list_strategy: strategy, ..watcher::Config::default().page_size(2) };
        let api: Api<Pod> = Api::all(world.client.clone());
        let mut watch = Box::pin(watcher(api, config));
        assert_eq!(until(&mut watch, "c").await, ["init a", "init b", "init c"]);
        world.delete("/api/v1/namespaces/default/pods/b").await;
        pod(&world, "d").await;
        assert_eq!(until(&mut watch, "d").await, ["delete b", "apply d"]);
    }
}

#[tokio::test]
async fn a_watcher_lists_anew_when_its_revision_is_forgotten() {
    let world = World::start().await;
    pod(&world, "a").await;
    let api: Api<Pod> = Api::all(world.client.clone());
    let mut watch = Box::pin(watcher(api, watcher::Config::default()));
    assert_eq!(until(&mut watch, "a").await, ["init a"]);
    let faults = world.server.faults();
    // It falls behind while it is silent, and what it has missed is forgotten.
    faults.stall_watches("pods");
    pod(&world, "b").await;
    world.delete("/api/v1/namespaces/default/pods/b").await;
    pod(&world, "c").await;
    faults.compact();
    faults.resume_watches();
    assert_eq!(until(&mut watch, "c").await, ["init a", "init c"]);
}
