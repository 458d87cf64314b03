//! The operator's source of objects, against an API server: lists and watches, definitions that come and go, objects
//! that are malformed, and servers and connections that fail.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a panic is how a test fails")]

mod connections;
mod definitions;
mod faults;
mod objects;
mod plane;
mod source;
mod way;

use std::time::{Duration, Instant};

use kube::api::{ListParams, Patch, PatchParams};
use palisade_compiler::Severity;
use palisade_compiler::model::Kind;
use palisade_operator::watch::Settings;
use serde_json::json;

use crate::objects::*;
use crate::plane::Plane;
use crate::source::Source;

#[tokio::test(flavor = "multi_thread")]
async fn the_first_batch_is_everything_page_by_page() {
    let plane = Plane::start().await;
    let client = &plane.client();
    for number in 0..95 {
        create(client, Kind::Pod, &pod(&format!("p-{number}"))).await;
    }
    let source = Source::ready(client, Settings { page_size: 10, ..Settings::default() }).await;
    let pods = source.cluster.pods.keys().filter(|(_, name)| name.starts_with("p-")).count();
    assert_eq!((pods, source.taken.len()), (95, 1));
    for kind in Kind::ALL {
        let is_custom = kind.api_version().starts_with(GROUP);
        assert_eq!(source.state(kind), if is_custom { "missing" } else { "synced" }, "{kind}");
    }
    let newest = api(client, Kind::Pod).list(&ListParams::default()).await.unwrap().items;
    let newest =
        newest.iter().filter_map(|pod| pod.metadata.resource_version.as_ref()?.parse::<u64>().ok()).max();
    assert_eq!(source.seen.get("Pod").copied(), newest);
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_objects_are_said_and_stop_nothing() {
    let plane = Plane::start().await;
    let client = &plane.client();
    install(client).await;
    create(client, ANP, &policy("edited", 1)).await;
    let mut wild = policy("wild", 2);
    wild["spec"]["ingress"][0]["from"] = json!([{"galaxies": {"matchLabels": {"a": "b"}}}]);
    create(client, ANP, &wild).await;
    let mut source = Source::ready(client, Settings::default()).await;
    let before = source.cluster.admin_policies[&(ANP, "edited".to_owned())].clone();
    let fields = |source: &Source, name: &str| -> Vec<(String, Severity, bool)> {
        let found = source.findings.get(&reference(ANP, name)).into_iter().flatten();
        found.map(|f| (f.diagnostic.field.clone(), f.diagnostic.severity, f.is_kept)).collect()
    };
    let field = "spec.ingress[0].from[0].galaxies".to_owned();
    assert!(fields(&source, "wild").contains(&(field, Severity::FailClosed, false)), "{:?}", source.findings);
    patch(client, ANP, "edited", &json!({"spec": {"priority": {"very": "high"}}})).await;
    source.until("the finding", |source| !fields(source, "edited").is_empty()).await;
    assert!(fields(&source, "edited").contains(&("spec.priority".to_owned(), Severity::Error, true)));
    assert_eq!(source.reports[&reference(ANP, "edited")].generation, 2);
    assert_eq!(source.cluster.admin_policies[&(ANP, "edited".to_owned())], before);
    // Good again.
    patch(client, ANP, "edited", &json!({"spec": {"priority": 5}})).await;
    source.until("the end of the finding", |source| fields(source, "edited").is_empty()).await;
    assert_eq!(source.cluster.admin_policies[&(ANP, "edited".to_owned())].priority, 5);
    // Conditions are reported and change nothing.
    let condition = json!({
        "type": "Accepted", "status": "True", "reason": "Valid", "message": "m", "observedGeneration": 3,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    });
    let status = json!({"status": {"conditions": [condition]}});
    let _ = api(client, ANP)
        .patch_status("edited", &PatchParams::default(), &Patch::Merge(&status))
        .await
        .unwrap();
    let conditions = |source: &Source| source.reports[&reference(ANP, "edited")].conditions.clone();
    source.until("the condition", |source| !conditions(source).is_empty()).await;
    assert_eq!(conditions(&source)[0].reason, "Valid");
    assert_eq!(source.taken.last().unwrap().events, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_heartbeat_makes_no_batch() {
    let plane = Plane::start().await;
    let client = &plane.client();
    let name = unique("node");
    create(client, Kind::Node, &json!({"metadata": {"name": name}})).await;
    let mut source = Source::ready(client, Settings::default()).await;
    source.settle(client).await;
    let before = source.taken.len();
    let nodes = api(client, Kind::Node);
    let mut newest = 0;
    for second in 0..20 {
        let condition = json!({
            "type": "Ready", "status": "True", "reason": "KubeletReady", "message": "m",
            "lastHeartbeatTime": format!("2026-01-01T00:00:{second:02}Z"), "lastTransitionTime": "2026-01-01T00:00:00Z",
        });
        let beat = json!({"status": {"conditions": [condition]}});
        let node = nodes.patch_status(&name, &PatchParams::default(), &Patch::Merge(&beat)).await.unwrap();
        newest = node.metadata.resource_version.unwrap().parse().unwrap();
    }
    // What is seen comes after the heartbeats, and is the only batch.
    patch(client, Kind::Node, &name, &json!({"metadata": {"labels": {"zone": "a"}}})).await;
    source.until("the label", |source| source.cluster.nodes[&name].labels.contains_key("zone")).await;
    assert_eq!(source.taken.len() - before, 1);
    assert!(source.seen["Node"] > newest);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_isolated_change_is_not_held_back_and_a_flood_comes_together() {
    let plane = Plane::start().await;
    let client = &plane.client();
    let mut source = Source::ready(client, Settings::default()).await;
    let mut took = Vec::new();
    for number in 0..40 {
        tokio::time::sleep(Duration::from_millis(70)).await;
        let name = unique("isolated");
        let start = Instant::now();
        create(client, Kind::Namespace, &json!({"metadata": {"name": name}})).await;
        let answered = start.elapsed();
        source.until("the namespace", |source| source.cluster.namespaces.contains_key(&name)).await;
        took.push((start.elapsed().saturating_sub(answered), start.elapsed(), number));
    }
    took.sort();
    let (median, last) = (took[took.len() / 2], took[took.len() - 1]);
    println!(
        "after the answer: median {:?}, longest {:?}; with the request {:?}",
        median.0, last.0, median.1
    );
    assert!(median.0 < Duration::from_millis(20), "{took:?}");
    let before = source.taken.len();
    let start = Instant::now();
    let makers: tokio::task::JoinSet<()> = (0..32)
        .map(|maker| {
            let client = client.clone();
            async move {
                for number in (maker..1000).step_by(32) {
                    create(&client, Kind::Pod, &pod(&format!("flood-{number}"))).await;
                }
            }
        })
        .collect();
    source.until("the flood", |source| source.cluster.pods.len() >= 1000).await;
    println!("1000 pods in {} batches and {:?}", source.taken.len() - before, start.elapsed());
    assert!(source.taken.len() - before < 500);
    makers.join_all().await;
}
