//! Definitions of kinds that come, go, are replaced, or serve other versions.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::time::{Duration, Instant};

use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use palisade_operator::watch::Settings;
use serde_json::json;

use crate::objects::*;
use crate::plane::Plane;
use crate::source::Source;

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_is_waited_for_and_noticed_soon() {
    let plane = Plane::start().await;
    let client = &plane.client();
    let mut source = Source::ready(client, Settings::default()).await;
    // The longest of the waits between two looks has been reached, for each of the three kinds.
    let definitions = "customresourcedefinitions.apiextensions.k8s.io";
    source.until("many looks", |_| plane.asked("get", definitions) >= 3 * 5).await;
    let installed = Instant::now();
    install(client).await;
    source.until("the kind", |source| source.state(ANP) == "synced").await;
    println!("noticed a definition after {:?}", installed.elapsed());
    assert!(installed.elapsed() < Duration::from_secs(6));
    create(client, ANP, &policy("one", 1)).await;
    source.until("the policy", |source| source.has("one")).await;
    let report = &source.reports[&reference(ANP, "one")];
    assert_eq!((report.generation, report.conditions.len()), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_outlive_their_definition_for_the_time_of_grace() {
    let plane = Plane::start().await;
    let client = &plane.client();
    install(client).await;
    for number in 0..20 {
        create(client, ANP, &policy(&format!("p-{number}"), number)).await;
    }
    let grace = Duration::from_secs(8);
    let mut source = Source::ready(client, Settings { crd_grace: grace, ..Settings::default() }).await;
    assert_eq!(source.cluster.admin_policies.len(), 20);
    let start = Instant::now();
    uninstall(client).await;
    source.until("the alarm", |source| source.state(ANP) == "vanished").await;
    source.until("nothing but what is held", |source| source.reports.is_empty()).await;
    println!("held {:?} after the deletion of the definition", start.elapsed());
    assert_eq!(source.removed(), Vec::<String>::new());
    assert!(source.findings.values().flatten().all(|finding| finding.is_kept));
    assert_eq!(source.findings.len(), 20);
    let in_state = |state: &str| format!("palisade_sources{{kind=\"AdminNetworkPolicy\",state=\"{state}\"}}");
    source.is_counted(&[
        (&in_state("vanished"), 1),
        (&in_state("synced"), 0),
        ("palisade_policies_dropped_total", 0),
    ]);
    source.until("the end", |source| source.state(ANP) == "missing").await;
    source.until("the drop", |source| source.cluster.admin_policies.is_empty()).await;
    source.is_counted(&[
        (&in_state("missing"), 1),
        (&in_state("vanished"), 0),
        ("palisade_policies_dropped_total", 20),
    ]);
    assert!(start.elapsed() >= grace, "{:?}", start.elapsed());
    assert!(source.findings.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_that_is_replaced_leaves_no_gap() {
    let plane = Plane::start().await;
    let client = &plane.client();
    install(client).await;
    for number in 0..20 {
        create(client, ANP, &policy(&format!("p-{number}"), number)).await;
    }
    let mut source = Source::ready(client, Settings::default()).await;
    uninstall(client).await;
    install(client).await;
    // Nothing has been applied again yet.
    source.until("what is held", |source| source.state(ANP) == "vanished" && source.reports.is_empty()).await;
    for number in 0..20 {
        create(client, ANP, &policy(&format!("p-{number}"), number)).await;
    }
    source.until("the new policies", |source| source.reports.len() == 20).await;
    source.until("the end of the alarm", |source| source.state(ANP) == "synced").await;
    assert_eq!(source.removed(), Vec::<String>::new());
    assert!(source.findings.is_empty());
    // They are as mortal as any.
    delete(client, ANP, "p-7").await;
    source.until("a deletion", |source| !source.has("p-7")).await;
    assert_eq!(source.removed(), ["p-7"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ordinary_deletion_takes_effect_at_once() {
    let plane = Plane::start().await;
    let client = &plane.client();
    install(client).await;
    create(client, ANP, &policy("one", 1)).await;
    let mut source = Source::ready(client, Settings::default()).await;
    let mut took = Vec::new();
    for _ in 0..20 {
        create(client, ANP, &policy("two", 2)).await;
        source.until("the second", |source| source.has("two")).await;
        delete(client, ANP, "two").await;
        let answered = Instant::now();
        source.until("its deletion", |source| !source.has("two")).await;
        took.push(answered.elapsed());
    }
    took.sort();
    println!("a deletion: median {:?} after the answer, longest {:?}", took[10], took[19]);
    assert!(took[10] < Duration::from_millis(100), "{took:?}");
    assert!(source.has("one"));
    assert_eq!(source.state(ANP), "synced");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_deletions_are_deletions() {
    let plane = Plane::start().await;
    let client = &plane.client();
    install(client).await;
    for number in 0..200 {
        create(client, ANP, &policy(&format!("p-{number}"), number)).await;
    }
    let mut source = Source::ready(client, Settings::default()).await;
    let start = Instant::now();
    let _ =
        api(client, ANP).delete_collection(&DeleteParams::default(), &ListParams::default()).await.unwrap();
    let answered = start.elapsed();
    source.until("the deletions", |source| source.cluster.admin_policies.is_empty()).await;
    println!("200 deletions: answered after {answered:?}, taken in after {:?}", start.elapsed());
    assert_eq!(source.removed().len(), 200);
    assert_eq!(source.state(ANP), "synced");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_is_not_read_is_said_and_keeps_what_was_good() {
    let plane = Plane::start().await;
    let client = &plane.client();
    install(client).await;
    create(client, ANP, &policy("one", 1)).await;
    let short = Settings { watch_timeout: Duration::from_secs(2), ..Settings::default() };
    let mut source = Source::ready(client, short).await;
    let before = source.cluster.admin_policies.clone();
    let set = async |served: &[&str]| {
        let spec = json!({"spec": {"versions": definition(served)["spec"]["versions"]}});
        definitions(client).patch(DEFINITION, &PatchParams::default(), &Patch::Merge(&spec)).await.unwrap();
    };
    set(&["v1beta1"]).await;
    source.until("the alarm", |source| source.state(ANP) == "failing").await;
    source.until("the finding", |source| source.findings.contains_key(&reference(ANP, "one"))).await;
    let message = source.states()[ANP.name()]["message"].to_string();
    assert!(message.contains("v1beta1") && message.contains("v1alpha1"), "{message}");
    let found = &source.findings[&reference(ANP, "one")];
    assert!(found.iter().any(|found| found.diagnostic.field == "apiVersion" && found.is_kept), "{found:?}");
    assert_eq!(source.cluster.admin_policies, before);
    // A new one is in force as far as it is understood, and said to be no more than that.
    let beta = resource(GROUP, "v1beta1", "AdminNetworkPolicy", "adminnetworkpolicies");
    let mut two = policy("two", 2);
    two["apiVersion"] = "policy.networking.k8s.io/v1beta1".into();
    two["kind"] = "AdminNetworkPolicy".into();
    let beta: Api<DynamicObject> = Api::all_with(client.clone(), &beta);
    beta.create(&PostParams::default(), &serde_json::from_value(two).unwrap()).await.unwrap();
    source.until("the second", |source| source.has("two")).await;
    assert!(source.findings[&reference(ANP, "two")].iter().all(|found| !found.is_kept));
    // Served as before: noticed, and nothing is found any more.
    set(&["v1alpha1", "v1beta1"]).await;
    source.until("the end of the alarm", |source| source.state(ANP) == "synced").await;
    source.until("the end of the findings", |source| source.findings.is_empty()).await;
    assert_eq!(source.removed(), Vec::<String>::new());
}
