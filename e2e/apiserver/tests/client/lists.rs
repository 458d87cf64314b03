//! Lists: pages of one state, expired ones, selectors, the forms of objects.

use axum::http::StatusCode;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use palisade_apiserver::Options;
use serde_json::{Value, json};

use crate::world::{World, config_map, send};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

async fn fill(world: &World, count: usize) {
    for index in 0..count {
        world.post(MAPS, &config_map(&format!("m{index}"))).await;
    }
}

fn names(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().expect("items");
    items.iter().map(|item| item["metadata"]["name"].as_str().expect("name").to_owned()).collect()
}

#[tokio::test]
async fn pages_are_of_one_state_while_objects_change() {
    let world = World::start().await;
    fill(&world, 5).await;
    let api: Api<ConfigMap> = Api::default_namespaced(world.client.clone());
    let first = api.list(&ListParams::default().limit(2)).await.expect("first");
    assert_eq!(first.metadata.remaining_item_count, Some(3));
    let token = first.metadata.continue_.clone().expect("more");
    world.delete(&format!("{MAPS}/m3")).await;
    world.post(MAPS, &config_map("m2a")).await;
    let second = api.list(&ListParams::default().limit(2).continue_token(&token)).await.expect("second");
    assert_eq!(second.metadata.resource_version, first.metadata.resource_version);
    let token = second.metadata.continue_.clone().expect("more");
    let third = api.list(&ListParams::default().limit(2).continue_token(&token)).await.expect("third");
    assert_eq!(third.metadata.continue_, None);
    let all: Vec<_> = first.iter().chain(&second).chain(&third).map(ResourceExt::name_any).collect();
    assert_eq!(all, ["m0", "m1", "m2", "m3", "m4"]);
    let now = api.list(&ListParams::default()).await.expect("now");
    assert_eq!(now.iter().map(ResourceExt::name_any).collect::<Vec<_>>(), ["m0", "m1", "m2", "m2a", "m4"]);
}

#[tokio::test]
async fn a_page_of_a_forgotten_state_is_expired_and_may_go_on_with_the_present() {
    let world = World::with(Options { history: 3, ..Options::default() }).await;
    fill(&world, 4).await;
    let token = world.get(&format!("{MAPS}?limit=2")).await.body["metadata"]["continue"].clone();
    let next = format!("{MAPS}?limit=2&continue={}", token.as_str().expect("token"));
    assert_eq!(names(&world.get(&next).await.body), ["m2", "m3"]);
    fill_more(&world).await;
    let expired = world.get(&next).await;
    assert_eq!((expired.code, &expired.body["reason"]), (410, &json!("Expired")));
    let token = expired.body["metadata"]["continue"].as_str().expect("a way to go on").to_owned();
    let rest = world.get(&format!("{MAPS}?continue={token}")).await;
    assert_eq!(names(&rest.body), ["m2", "m3", "n0", "n1", "n2", "n3"]);
    assert_eq!(world.get(&format!("{MAPS}?continue=nonsense")).await.code, 400);
}

async fn fill_more(world: &World) {
    for index in 0..4 {
        world.post(MAPS, &config_map(&format!("n{index}"))).await;
    }
}

#[tokio::test]
async fn a_list_may_be_of_an_exact_or_a_least_revision() {
    let world = World::start().await;
    fill(&world, 1).await;
    let then =
        world.get(MAPS).await.body["metadata"]["resourceVersion"].as_str().expect("revision").to_owned();
    fill(&world, 3).await;
    let exact = world.get(&format!("{MAPS}?resourceVersion={then}&resourceVersionMatch=Exact")).await.body;
    assert_eq!((names(&exact), &exact["metadata"]["resourceVersion"]), (vec!["m0".to_owned()], &json!(then)));
    let least = format!("{MAPS}?resourceVersion={then}&resourceVersionMatch=NotOlderThan");
    assert_eq!(names(&world.get(&least).await.body), ["m0", "m1", "m2"]);
    let future = world.get(&format!("{MAPS}?resourceVersion=999999")).await;
    assert_eq!(
        (future.code, &future.body["details"]["causes"][0]["reason"]),
        (504, &json!("ResourceVersionTooLarge"))
    );
    world.server.faults().compact();
    let past = world.get(&format!("{MAPS}?resourceVersion={then}&resourceVersionMatch=Exact")).await;
    assert_eq!(past.code, 410);
}

#[tokio::test]
async fn selectors_choose_by_labels_and_fields() {
    let world = World::start().await;
    for (name, node, app) in [("a", "n1", "web"), ("b", "n2", "web"), ("c", "n1", "db")] {
        let pod = json!({
            "metadata": {"name": name, "labels": {"app": app}},
            "spec": {"nodeName": node, "containers": [{"name": "c", "image": "i"}]},
        });
        world.post("/api/v1/namespaces/default/pods", &pod).await;
    }
    for (query, expected) in [
        ("labelSelector=app%3Dweb", vec!["a", "b"]),
        ("labelSelector=app%20in%20(db,x)", vec!["c"]),
        ("fieldSelector=spec.nodeName%3Dn1", vec!["a", "c"]),
        ("fieldSelector=spec.nodeName%3Dn1&labelSelector=app%21%3Ddb", vec!["a"]),
        ("fieldSelector=metadata.name%3Db", vec!["b"]),
        ("fieldSelector=status.phase%3DPending,metadata.name%21%3Da", vec!["b", "c"]),
    ] {
        assert_eq!(names(&world.get(&format!("/api/v1/pods?{query}")).await.body), expected, "{query}");
    }
    let unknown = world.get("/api/v1/pods?fieldSelector=spec.image%3Dx").await;
    assert_eq!(unknown.code, 400);
    assert!(
        unknown.body["message"].as_str().expect("text").ends_with("field label not supported: spec.image")
    );
    assert_eq!(world.get("/api/v1/pods?labelSelector=a%20b").await.code, 400);
}

#[tokio::test]
async fn objects_come_whole_or_as_metadata() {
    let world = World::start().await;
    world.post(MAPS, &config_map("x")).await;
    let api: Api<ConfigMap> = Api::default_namespaced(world.client.clone());
    let listed = api.list_metadata(&ListParams::default()).await.expect("metadata");
    assert_eq!(listed.iter().map(ResourceExt::name_any).collect::<Vec<_>>(), ["x"]);
    let accept = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io";
    let one =
        send(&world.client, "GET", &format!("{MAPS}/x"), &[("accept", accept)], &Value::Null).await.body;
    assert_eq!((&one["kind"], one.get("data")), (&json!("PartialObjectMetadata"), None));
    let refused = send(&world.client, "GET", MAPS, &[("accept", "text/plain")], &Value::Null).await;
    assert_eq!(refused.code, StatusCode::NOT_ACCEPTABLE.as_u16());
}
