//! Server-side apply over HTTP: creation, conflicts, force, taking back, the status of conditions by several.

use serde_json::{Value, json};

use crate::world::{MERGE, THINGS, World, thing};

fn owners(object: &Value) -> Vec<(String, String, Value)> {
    let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let text = |entry: &Value, field: &str| entry[field].as_str().unwrap_or_default().to_owned();
    entries
        .iter()
        .map(|entry| (text(entry, "manager"), text(entry, "subresource"), entry["fieldsV1"].clone()))
        .collect()
}

fn owner(manager: &str, subresource: &str, fields: Value) -> (String, String, Value) {
    (manager.to_owned(), subresource.to_owned(), fields)
}

#[tokio::test]
async fn an_apply_creates_then_changes_and_then_does_nothing() {
    let world = World::with_things().await;
    let path = format!("{THINGS}/t");
    let created = world.apply(&path, "one", false, &thing("t", &json!({"note": "a"}))).await;
    assert_eq!((created.code, &created.body["spec"]), (201, &json!({"note": "a", "size": 1})));
    assert_eq!(owners(&created.body), [owner("one", "", json!({"f:spec": {"f:note": {}}}))]);
    let same = world.apply(&path, "one", false, &thing("t", &json!({"note": "a"}))).await;
    assert_eq!((same.code, &same.body), (200, &created.body));
    let changed = world.apply(&path, "one", false, &thing("t", &json!({"tags": ["x"]}))).await.body;
    assert_eq!(changed["spec"], json!({"tags": ["x"], "size": 1}), "what is no longer applied goes");
    assert_eq!(changed["metadata"]["generation"], 2);
    let unnamed = world.send("PATCH", &path, crate::world::APPLY, &thing("t", &json!({}))).await;
    assert_eq!((unnamed.code, &unnamed.body["reason"]), (422, &json!("Invalid")));
    let with_owners = json!({"metadata": {"name": "t", "managedFields": [{"manager": "x"}]}});
    assert_eq!(world.apply(&path, "one", false, &with_owners).await.code, 400);
}

#[tokio::test]
async fn another_managers_field_is_a_conflict_unless_forced() {
    let world = World::with_things().await;
    let path = format!("{THINGS}/t");
    world.apply(&path, "one", false, &thing("t", &json!({"note": "a", "tags": ["x"]}))).await;
    let conflict = world.apply(&path, "two", false, &thing("t", &json!({"note": "b", "tags": ["y"]}))).await;
    assert_eq!((conflict.code, &conflict.body["reason"]), (409, &json!("Conflict")));
    assert_eq!(conflict.body["message"], "Apply failed with 1 conflict: conflict with \"one\": .spec.note");
    let cause =
        json!({"reason": "FieldManagerConflict", "field": ".spec.note", "message": "conflict with \"one\""});
    assert_eq!(conflict.body["details"]["causes"], json!([cause]));
    let forced =
        world.apply(&path, "two", true, &thing("t", &json!({"note": "b", "tags": ["y"]}))).await.body;
    assert_eq!(forced["spec"], json!({"note": "b", "size": 1, "tags": ["x", "y"]}));
    let expected = [
        owner("one", "", json!({"f:spec": {"f:tags": {"v:\"x\"": {}}}})),
        owner("two", "", json!({"f:spec": {"f:note": {}, "f:tags": {"v:\"y\"": {}}}})),
    ];
    assert_eq!(owners(&forced), expected);
}

#[tokio::test]
async fn a_plain_write_takes_ownership_from_appliers() {
    let world = World::with_things().await;
    let path = format!("{THINGS}/t");
    world.apply(&path, "one", false, &thing("t", &json!({"note": "a"}))).await;
    let change = json!({"spec": {"note": "b"}});
    let patched = world.send("PATCH", &format!("{path}?fieldManager=hand"), MERGE, &change).await.body;
    assert_eq!(owners(&patched), [owner("hand", "", json!({"f:spec": {"f:note": {}}}))]);
    let conflict = world.apply(&path, "one", false, &thing("t", &json!({"note": "a"}))).await;
    assert_eq!(conflict.code, 409);
    let message = conflict.body["message"].as_str().expect("text");
    let start = "Apply failed with 1 conflict: conflict with \"hand\" using stable.example.com/v1 at ";
    assert!(message.starts_with(start) && message.ends_with(": .spec.note"), "{message}");
}

#[tokio::test]
async fn conditions_belong_to_those_who_apply_them() {
    let world = World::with_things().await;
    world.apply(&format!("{THINGS}/t"), "user", false, &thing("t", &json!({"note": "a"}))).await;
    let status = format!("{THINGS}/t/status");
    let with = |conditions: &Value| {
        let mut config =
            json!({"apiVersion": "stable.example.com/v1", "kind": "Thing", "metadata": {"name": "t"}});
        config["status"] = json!({"conditions": conditions});
        config
    };
    let ready = json!({"type": "Ready", "status": "True"});
    let seen = json!({"type": "Seen", "status": "True"});
    world.apply(&status, "one", false, &with(&json!([ready]))).await;
    let both = world.apply(&status, "two", false, &with(&json!([seen]))).await.body;
    assert_eq!(both["status"]["conditions"], json!([ready, seen]));
    assert_eq!(both["metadata"]["generation"], 1);
    let of = |kind: &str| {
        let item = json!({".": {}, "f:type": {}, "f:status": {}});
        json!({"f:status": {"f:conditions": {format!("k:{{\"type\":\"{kind}\"}}"): item}}})
    };
    let expected = [
        owner("one", "status", of("Ready")),
        owner("two", "status", of("Seen")),
        owner("user", "", json!({"f:spec": {"f:note": {}}})),
    ];
    assert_eq!(sorted(owners(&both)), sorted(expected.to_vec()));
    let taken_back = world.apply(&status, "one", false, &with(&json!([]))).await.body;
    assert_eq!(taken_back["status"]["conditions"], json!([seen]));
    // The spec is not written this way, and the missing object is not created.
    let mut sneaky = with(&json!([seen]));
    sneaky["spec"] = json!({"note": "z"});
    assert_eq!(world.apply(&status, "two", false, &sneaky).await.body["spec"]["note"], "a");
    let missing = json!({"metadata": {"name": "u"}, "status": {"phase": "x"}});
    assert_eq!(world.apply(&format!("{THINGS}/u/status"), "two", false, &missing).await.code, 404);
}

fn sorted(mut owners: Vec<(String, String, Value)>) -> Vec<(String, String, Value)> {
    owners.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
    owners
}

#[tokio::test]
async fn built_in_kinds_are_applied_by_their_keys() {
    let world = World::start().await;
    let path = "/api/v1/namespaces/default/services/s";
    let service = |ports: &Value| {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", "labels": {"a": "b"}},
               "spec": {"selector": {"app": "web"}, "ports": ports}})
    };
    let http = json!({"name": "http", "port": 80, "protocol": "TCP"});
    let dns = json!({"name": "dns", "port": 53, "protocol": "UDP"});
    assert_eq!(world.apply(path, "one", false, &service(&json!([http]))).await.code, 201);
    let both = world.apply(path, "two", false, &service(&json!([dns]))).await.body;
    assert_eq!(both["spec"]["ports"], json!([http, dns]));
    let one = world.apply(path, "one", false, &service(&json!([]))).await.body;
    assert_eq!(one["spec"]["ports"], json!([dns]));
}

#[tokio::test]
async fn several_appliers_at_once_lose_nothing() {
    let world = World::with_things().await;
    let path = format!("{THINGS}/t");
    world.apply(&path, "base", false, &thing("t", &json!({"note": "a"}))).await;
    let names: Vec<String> = (0..8).map(|index| format!("m{index}")).collect();
    let config = |name: &str| thing("t", &json!({"tags": [name]}));
    let applied = names.iter().map(|name| {
        let (world, path, config) = (&world, &path, config(name));
        async move { world.apply(path, name, false, &config).await.code }
    });
    assert_eq!(futures::future::join_all(applied).await, vec![200; 8]);
    let object = world.send("GET", &path, crate::world::JSON, &Value::Null).await.body;
    let mut tags: Vec<String> = object["spec"]["tags"]
        .as_array()
        .expect("tags")
        .iter()
        .map(|tag| tag.as_str().expect("text").to_owned())
        .collect();
    tags.sort();
    assert_eq!(tags, names);
}
