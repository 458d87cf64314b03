//! The life of an object: create, change by each kind of patch, status and generation, finalizers, namespaces.

use serde_json::{Value, json};

use crate::world::{JSON, JSON_PATCH, MERGE, STRATEGIC, THINGS, World, config_map, definition, thing};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn revision(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"].as_str().expect("revision").parse().expect("number")
}

#[tokio::test]
async fn an_object_lives_from_create_to_delete() {
    let world = World::start().await;
    let created = world.post(MAPS, &config_map("x")).await;
    assert_eq!(created.code, 201);
    let meta = &created.body["metadata"];
    let expected = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "1"},
        "metadata": {
            "name": "x", "namespace": "default", "uid": meta["uid"], "creationTimestamp": meta["creationTimestamp"],
            "resourceVersion": meta["resourceVersion"], "managedFields": meta["managedFields"],
        },
    });
    assert_eq!(created.body, expected);
    assert_eq!(meta["managedFields"][0]["fieldsV1"], json!({"f:data": {".": {}, "f:a": {}}}));

    let again = world.post(MAPS, &config_map("x")).await;
    assert_eq!((again.code, &again.body["reason"]), (409, &json!("AlreadyExists")));
    assert_eq!(again.body["message"], "configmaps \"x\" already exists");

    let path = format!("{MAPS}/x");
    let mut changed = created.body.clone();
    changed["data"] = json!({"b": "2"});
    let replaced = world.put(&path, &changed).await;
    assert_eq!((replaced.code, &replaced.body["data"]), (200, &json!({"b": "2"})));
    assert!(revision(&replaced.body) > revision(&created.body));
    let stale = world.put(&path, &changed).await;
    assert_eq!((stale.code, &stale.body["reason"]), (409, &json!("Conflict")));
    assert_eq!(world.get(&path).await.body, replaced.body);

    let same = world.put(&path, &replaced.body).await;
    assert_eq!(same.body, replaced.body, "a write that changes nothing is none");

    let deleted = world.delete(&path).await;
    assert_eq!((deleted.code, &deleted.body["status"]), (200, &json!("Success")));
    assert_eq!(deleted.body["details"], json!({"name": "x", "kind": "configmaps", "uid": meta["uid"]}));
    let gone = world.get(&path).await;
    assert_eq!((gone.code, &gone.body["message"]), (404, &json!("configmaps \"x\" not found")));
    assert_eq!(gone.body["details"], json!({"name": "x", "kind": "configmaps"}));
}

#[tokio::test]
async fn names_are_checked_and_generated() {
    let world = World::start().await;
    let wrong = world.post(MAPS, &config_map("Big_Name")).await;
    assert_eq!((wrong.code, &wrong.body["reason"]), (422, &json!("Invalid")));
    assert_eq!(wrong.body["details"]["causes"][0]["field"], "metadata.name");
    let mut unnamed = config_map("");
    unnamed["metadata"] = json!({});
    let refused = world.post(MAPS, &unnamed).await;
    assert_eq!(
        refused.body["message"],
        "ConfigMap \"\" is invalid: metadata.name: Required value: name or generateName is required"
    );
    unnamed["metadata"] = json!({"generateName": "x-"});
    let names = [world.post(MAPS, &unnamed).await, world.post(MAPS, &unnamed).await];
    let names = names.map(|answer| answer.body["metadata"]["name"].as_str().expect("name").to_owned());
    assert!(
        names.iter().all(|name| name.starts_with("x-") && name.len() == 7) && names[0] != names[1],
        "{names:?}"
    );
    let elsewhere = json!({"metadata": {"name": "x", "namespace": "other"}});
    assert_eq!(world.post(MAPS, &elsewhere).await.code, 400);
    assert_eq!(world.put(&format!("{MAPS}/y"), &config_map("x")).await.code, 400);
}

#[tokio::test]
async fn a_dry_run_changes_nothing() {
    let world = World::start().await;
    let tried = world.post(&format!("{MAPS}?dryRun=All"), &config_map("x")).await;
    assert_eq!((tried.code, &tried.body["data"]), (201, &json!({"a": "1"})));
    assert_eq!(world.get(&format!("{MAPS}/x")).await.code, 404);
    let created = world.post(MAPS, &config_map("x")).await.body;
    let change = json!({"data": {"a": "2"}});
    let tried = world.send("PATCH", &format!("{MAPS}/x?dryRun=All"), MERGE, &change).await;
    assert_eq!(tried.body["data"]["a"], "2");
    assert_eq!(world.delete(&format!("{MAPS}/x?dryRun=All")).await.code, 200);
    assert_eq!(world.get(&format!("{MAPS}/x")).await.body, created);
}

#[tokio::test]
async fn each_kind_of_patch_works() {
    let world = World::with_things().await;
    world.post(MAPS, &config_map("x")).await;
    let path = format!("{MAPS}/x");
    let merged = world.send("PATCH", &path, MERGE, &json!({"data": {"a": null, "b": "2"}})).await;
    assert_eq!(merged.body["data"], json!({"b": "2"}));
    let change = json!([{"op": "add", "path": "/data/c", "value": "3"}, {"op": "remove", "path": "/data/b"}]);
    let patched = world.send("PATCH", &path, JSON_PATCH, &change).await;
    assert_eq!(patched.body["data"], json!({"c": "3"}));
    let failed = world.send("PATCH", &path, JSON_PATCH, &json!([{"op": "remove", "path": "/data/b"}])).await;
    assert_eq!(failed.code, 422, "{failed:?}");
    let stale = json!({"metadata": {"resourceVersion": "1"}, "data": {"a": "9"}});
    assert_eq!(world.send("PATCH", &path, MERGE, &stale).await.code, 409);

    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "finalizers": ["a/a", "b/b"]},
        "spec": {"containers": [{"name": "one", "image": "i"}, {"name": "two", "image": "j"}]},
    });
    world.post("/api/v1/namespaces/default/pods", &pod).await;
    let change = json!({
        "metadata": {"$deleteFromPrimitiveList/finalizers": ["a/a"], "labels": {"l": "v"}},
        "spec": {"containers": [{"name": "two", "image": "k"}]},
    });
    let path = "/api/v1/namespaces/default/pods/p";
    let merged = world.send("PATCH", path, STRATEGIC, &change).await;
    assert_eq!(merged.code, 200, "{merged:?}");
    let images: Vec<_> =
        merged.body["spec"]["containers"].as_array().expect("list").iter().map(|c| &c["image"]).collect();
    assert_eq!(images, ["i", "k"]);
    assert_eq!(merged.body["metadata"]["finalizers"], json!(["b/b"]));
    assert_eq!(merged.body["metadata"]["labels"], json!({"l": "v"}));

    world.post(THINGS, &thing("t", &json!({}))).await;
    let refused = world.send("PATCH", &format!("{THINGS}/t"), STRATEGIC, &json!({"spec": {"size": 2}})).await;
    assert_eq!((refused.code, &refused.body["reason"]), (415, &json!("UnsupportedMediaType")));
    let merged = world.send("PATCH", &format!("{THINGS}/t"), MERGE, &json!({"spec": {"size": 2}})).await;
    assert_eq!(merged.body["spec"], json!({"size": 2}));
}

#[tokio::test]
async fn status_and_the_rest_are_written_apart_and_generations_count_the_rest() {
    let world = World::with_things().await;
    let mut given = thing("t", &json!({"note": "a"}));
    given["status"] = json!({"phase": "Faked"});
    let created = world.post(THINGS, &given).await.body;
    assert_eq!(created["metadata"]["generation"], 1);
    assert_eq!((&created["spec"], created.get("status")), (&json!({"note": "a", "size": 1}), None));
    let (path, status) = (format!("{THINGS}/t"), format!("{THINGS}/t/status"));

    let change =
        json!({"metadata": {"labels": {"l": "v"}}, "spec": {"note": "b"}, "status": {"phase": "Good"}});
    let by_status = world.send("PATCH", &status, MERGE, &change).await.body;
    assert_eq!(by_status["status"], json!({"phase": "Good"}));
    assert_eq!((&by_status["spec"]["note"], by_status["metadata"].get("labels")), (&json!("a"), None));
    assert_eq!(by_status["metadata"]["generation"], 1);
    let by_main =
        world.send("PATCH", &path, MERGE, &json!({"spec": {"note": "b"}, "status": {"phase": "Bad"}})).await;
    assert_eq!(by_main.body["status"], json!({"phase": "Good"}));
    assert_eq!(
        (&by_main.body["spec"]["note"], &by_main.body["metadata"]["generation"]),
        (&json!("b"), &json!(2))
    );
    let labelled = world.send("PATCH", &path, MERGE, &json!({"metadata": {"labels": {"l": "v"}}})).await.body;
    assert_eq!(labelled["metadata"]["generation"], 2);

    let mut full = labelled.clone();
    full["status"] = json!({"phase": "Full"});
    full["spec"] = json!({"note": "c"});
    let replaced = world.put(&status, &full).await.body;
    assert_eq!((&replaced["status"]["phase"], &replaced["spec"]["note"]), (&json!("Full"), &json!("b")));
    assert_eq!(world.get(&status).await.body, replaced);
    let no_revision = world.put(&path, &thing("t", &json!({}))).await;
    assert_eq!(
        (no_revision.code, &no_revision.body["details"]["causes"][0]["field"]),
        (422, &json!("metadata.resourceVersion"))
    );

    // Kinds without a status of its own have no such path, and kinds without generations count none.
    assert_eq!(world.get(&format!("{MAPS}/x/status")).await.code, 404);
    let policy = json!({"metadata": {"name": "p"}, "spec": {"podSelector": {}}});
    let policies = "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies";
    assert_eq!(world.post(policies, &policy).await.body["metadata"]["generation"], 1);
    let change = json!({"spec": {"podSelector": {"matchLabels": {"a": "b"}}}});
    let changed = world.send("PATCH", &format!("{policies}/p"), MERGE, &change).await;
    assert_eq!(changed.body["metadata"]["generation"], 2);
}

#[tokio::test]
async fn nodes_are_created_with_their_status_and_pods_are_not() {
    let world = World::start().await;
    let node = json!({"metadata": {"name": "n"}, "status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.1"}]}});
    let created = world.post("/api/v1/nodes", &node).await;
    assert_eq!(created.body["status"]["addresses"][0]["address"], "192.0.2.1");
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]},
                     "status": {"phase": "Running", "podIP": "192.0.2.2"}});
    let created = world.post("/api/v1/namespaces/default/pods", &pod).await.body;
    assert_eq!(created["status"], json!({"phase": "Pending"}));
}

#[tokio::test]
async fn finalizers_hold_an_object_until_they_are_gone() {
    let world = World::with_things().await;
    let mut given = thing("t", &json!({}));
    given["metadata"]["finalizers"] = json!(["example.com/hold"]);
    world.post(THINGS, &given).await;
    let path = format!("{THINGS}/t");
    let marked = world.delete(&path).await;
    assert_eq!((marked.code, &marked.body["kind"]), (200, &json!("Thing")));
    assert!(marked.body["metadata"]["deletionTimestamp"].is_string());
    assert_eq!(marked.body["metadata"]["generation"], 2);
    assert_eq!(world.delete(&path).await.body, marked.body, "a second delete changes nothing");
    let more = json!({"metadata": {"finalizers": ["example.com/hold", "example.com/new"]}});
    let refused = world.send("PATCH", &path, MERGE, &more).await;
    assert_eq!(
        (refused.code, &refused.body["details"]["causes"][0]["field"]),
        (422, &json!("metadata.finalizers"))
    );
    let last = world.send("PATCH", &path, MERGE, &json!({"metadata": {"finalizers": null}})).await;
    assert_eq!(last.code, 200);
    assert_eq!(world.get(&path).await.code, 404);
}

#[tokio::test]
async fn preconditions_hold_deletes_back() {
    let world = World::start().await;
    let created = world.post(MAPS, &config_map("x")).await.body;
    let path = format!("{MAPS}/x");
    for preconditions in [json!({"uid": "other"}), json!({"resourceVersion": "1"})] {
        let refused = world.send("DELETE", &path, JSON, &json!({"preconditions": preconditions})).await;
        assert_eq!((refused.code, &refused.body["reason"]), (409, &json!("Conflict")));
    }
    let uid = &created["metadata"]["uid"];
    assert_eq!(world.send("DELETE", &path, JSON, &json!({"preconditions": {"uid": uid}})).await.code, 200);
}

#[tokio::test]
async fn many_are_deleted_by_selector() {
    let world = World::start().await;
    for (name, label) in [("a", "x"), ("b", "y"), ("c", "x")] {
        let mut map = config_map(name);
        map["metadata"]["labels"] = json!({"l": label});
        world.post(MAPS, &map).await;
    }
    let deleted = world.delete(&format!("{MAPS}?labelSelector=l%3Dx")).await.body;
    assert_eq!(
        (&deleted["kind"], deleted["items"].as_array().expect("items").len()),
        (&json!("ConfigMapList"), 2)
    );
    let left = world.get(MAPS).await.body;
    let names: Vec<_> =
        left["items"].as_array().expect("items").iter().map(|item| &item["metadata"]["name"]).collect();
    assert_eq!(names, ["b"]);
}

#[tokio::test]
async fn a_namespace_takes_its_content_with_it_and_takes_no_more() {
    let world = World::with_things().await;
    let missing = world.post("/api/v1/namespaces/team/configmaps", &config_map("x")).await;
    assert_eq!((missing.code, &missing.body["message"]), (404, &json!("namespaces \"team\" not found")));
    let created = world.post("/api/v1/namespaces", &json!({"metadata": {"name": "team"}})).await.body;
    assert_eq!(created["status"]["phase"], "Active");
    assert_eq!(created["metadata"]["labels"], json!({"kubernetes.io/metadata.name": "team"}));
    world.post("/api/v1/namespaces/team/configmaps", &config_map("x")).await;
    let things = "/apis/stable.example.com/v1/namespaces/team/things";
    let mut held = thing("t", &json!({}));
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    world.post(things, &held).await;

    let going = world.delete("/api/v1/namespaces/team").await.body;
    assert_eq!(going["status"]["phase"], "Terminating");
    assert_eq!(world.get("/api/v1/namespaces/team/configmaps/x").await.code, 404);
    assert_eq!(world.get("/api/v1/namespaces/team").await.code, 200, "the thing holds it");
    let refused = world.post("/api/v1/namespaces/team/configmaps", &config_map("y")).await;
    assert_eq!((refused.code, &refused.body["reason"]), (403, &json!("Forbidden")));
    assert_eq!(refused.body["details"]["causes"][0]["reason"], "NamespaceTerminating");
    world.send("PATCH", &format!("{things}/t"), MERGE, &json!({"metadata": {"finalizers": null}})).await;
    assert_eq!(world.get(&format!("{things}/t")).await.code, 404);
    assert_eq!(world.get("/api/v1/namespaces/team").await.code, 404);
}

#[tokio::test]
async fn a_definition_brings_its_kind_and_takes_it_with_it() {
    let world = World::start().await;
    assert_eq!(world.get(THINGS).await.code, 404);
    world.define_things().await;
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let path = format!("{definitions}/things.stable.example.com");
    let conditions = world.get(&path).await.body["status"]["conditions"].clone();
    let told: Vec<_> =
        conditions.as_array().expect("list").iter().map(|c| (&c["type"], &c["status"])).collect();
    assert_eq!(told, [(&json!("NamesAccepted"), &json!("True")), (&json!("Established"), &json!("True"))]);

    let invalid = world.post(THINGS, &thing("t", &json!({"size": -1}))).await;
    assert_eq!((invalid.code, &invalid.body["details"]["causes"][0]["field"]), (422, &json!("spec.size")));
    let unknown = thing("t", &json!({"sise": 2}));
    let warned = world.post(&format!("{THINGS}?dryRun=All"), &unknown).await;
    assert_eq!(warned.warnings, ["299 - \"unknown field \\\"spec.sise\\\"\""]);
    let strict = world.post(&format!("{THINGS}?fieldValidation=Strict"), &unknown).await;
    assert_eq!(strict.code, 400);
    assert!(
        strict.body["message"]
            .as_str()
            .expect("text")
            .ends_with("strict decoding error: unknown field \"spec.sise\"")
    );
    assert_eq!(world.post(THINGS, &thing("t", &json!({}))).await.code, 201);

    // Its schema changes with it.
    let mut wider = definition();
    wider["metadata"]["resourceVersion"] = world.get(&path).await.body["metadata"]["resourceVersion"].clone();
    wider["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["sise"] =
        json!({"type": "integer"});
    assert_eq!(world.put(&path, &wider).await.code, 200);
    let patched = world.send("PATCH", &format!("{THINGS}/t"), MERGE, &json!({"spec": {"sise": 3}})).await;
    assert_eq!(patched.body["spec"], json!({"size": 1, "sise": 3}));

    assert_eq!(world.delete(&path).await.code, 200);
    assert_eq!(world.get(THINGS).await.code, 404);
    world.define_things().await;
    assert_eq!(world.get(THINGS).await.body["items"], json!([]), "it starts empty");
}

#[tokio::test]
async fn an_event_is_in_both_groups() {
    let world = World::start().await;
    let event = json!({
        "metadata": {"name": "e"}, "regarding": {"kind": "Pod", "name": "p", "namespace": "default"},
        "reason": "Because", "note": "it is so", "type": "Normal", "action": "Do", "eventTime": "2026-01-01T00:00:00.000000Z",
        "reportingController": "example.com/c", "reportingInstance": "i",
    });
    let created = world.post("/apis/events.k8s.io/v1/namespaces/default/events", &event).await;
    assert_eq!(created.code, 201, "{created:?}");
    let path =
        "/api/v1/namespaces/default/events?fieldSelector=involvedObject.name%3Dp,involvedObject.kind%3DPod";
    let listed = world.get(path).await.body;
    assert_eq!(listed["items"][0]["message"], "it is so");
    assert_eq!(listed["items"][0]["involvedObject"]["name"], "p");
    let none =
        world.get("/api/v1/namespaces/default/events?fieldSelector=involvedObject.name%3Dq").await.body;
    assert_eq!(none["items"], json!([]));
}
