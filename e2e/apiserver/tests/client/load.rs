//! Thousands of objects at full speed, with watchers attached: nobody misses anything, and writes do not slow down.

use std::collections::BTreeSet;

use futures::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt as _};
use kube_runtime::watcher::{self, Event, watcher};
use serde_json::json;

use crate::world::{MERGE, THINGS, World, soon, thing};

const PODS: usize = 5000;
const POLICIES: usize = 1000;

/// Follows pods until all of them have their addresses.
async fn follow(api: Api<Pod>) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    let mut watch = Box::pin(watcher(api, watcher::Config::default()));
    while seen.len() < PODS {
        let event = watch.next().await.expect("endless").expect("no error");
        if let Event::Apply(pod) | Event::InitApply(pod) = event
            && pod.status.as_ref().is_some_and(|status| status.pod_ip.is_some())
        {
            seen.insert(pod.name_any());
        }
    }
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_objects_come_through_to_every_watcher() {
    let world = World::with_things().await;
    let watchers: Vec<_> = (0..3).map(|_| tokio::spawn(follow(Api::all(world.client.clone())))).collect();
    let mark = world.server.requests().counts();
    let world = &world;
    let pods = stream::iter(0..PODS).for_each_concurrent(16, |index| async move {
        let name = format!("p{index}");
        let pod = json!({
            "metadata": {"name": name, "labels": {"app": format!("a{}", index % 50)}},
            "spec": {"nodeName": format!("n{}", index % 10), "containers": [{"name": "c", "image": "i"}]},
        });
        let created = world.post("/api/v1/namespaces/default/pods", &pod).await;
        assert_eq!(created.code, 201, "{created:?}");
        let status = json!({"status": {"phase": "Running", "podIP": "192.0.2.1"}});
        let path = format!("/api/v1/namespaces/default/pods/{name}/status");
        assert_eq!(world.send("PATCH", &path, MERGE, &status).await.code, 200);
    });
    let policies = stream::iter(0..POLICIES).for_each_concurrent(4, |index| async move {
        let created = world.post(THINGS, &thing(&format!("t{index}"), &json!({"size": index}))).await;
        assert_eq!(created.code, 201, "{created:?}");
    });
    soon(async { tokio::join!(pods, policies) }).await;
    let expected: BTreeSet<String> = (0..PODS).map(|index| format!("p{index}")).collect();
    for watcher in watchers {
        assert_eq!(soon(watcher).await.expect("no panic"), expected);
    }
    let counts = world.server.requests().counts().since(&mark);
    assert_eq!(counts.writes(), u64::try_from(2 * PODS + POLICIES).expect("number"));
}
