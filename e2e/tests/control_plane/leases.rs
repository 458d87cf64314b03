//! What leading and telling of it takes: Leases and Events.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::{Event as CoreEvent, ObjectReference};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use serde_json::json;

use crate::room::{Room, Set, VERSION, refused};

fn lease(room: &Room, holder: &str) -> Result<Lease> {
    // Leases keep microseconds.
    let now = MicroTime("2026-01-01T00:00:00.123456Z".parse::<Timestamp>()?);
    Ok(Lease {
        metadata: ObjectMeta {
            name: Some("leader".to_owned()),
            labels: Some(room.labels.clone()),
            ..ObjectMeta::default()
        },
        spec: Some(LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            lease_duration_seconds: Some(10),
            lease_transitions: Some(1),
            acquire_time: Some(now.clone()),
            renew_time: Some(now),
            ..LeaseSpec::default()
        }),
    })
}

pub(crate) async fn of_two_who_take_a_lease_one_fails(room: &Room) -> Result<()> {
    let api: Api<Lease> = Api::namespaced(room.client.clone(), &room.name);
    let parameters = PostParams::default();
    let created = api.create(&parameters, &lease(room, "one")?).await?;
    ensure!(created.spec == lease(room, "one")?.spec, "{:?}", created.spec);
    refused(api.create(&parameters, &lease(room, "two")?).await, 409, "AlreadyExists")?;

    let take = |holder: &str| {
        let mut taken = created.clone();
        if let Some(spec) = &mut taken.spec {
            spec.holder_identity = Some(holder.to_owned());
            spec.lease_transitions = Some(2);
        }
        taken
    };
    let [two, three] = [take("two"), take("three")];
    let (two, three) =
        tokio::join!(api.replace("leader", &parameters, &two), api.replace("leader", &parameters, &three));
    let (won, lost) = if two.is_ok() { (two, three) } else { (three, two) };
    let won = won.context("nobody has it")?;
    refused(lost, 409, "Conflict")?;
    ensure!(api.get("leader").await? == won);
    ensure!(won.metadata.creation_timestamp == created.metadata.creation_timestamp);

    // Given up on a clean end.
    let mut released = won.clone();
    if let Some(spec) = &mut released.spec {
        spec.holder_identity = Some(String::new());
        spec.lease_duration_seconds = Some(1);
    }
    let released = api.replace("leader", &parameters, &released).await?;
    let holder = released.spec.set("spec")?.holder_identity;
    ensure!(holder.is_none_or(|holder| holder.is_empty()));

    api.delete("leader", &DeleteParams::default()).await?;
    let answer = api.replace("leader", &parameters, &won).await;
    let is_refused = matches!(&answer, Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409));
    ensure!(is_refused, "a Lease that is gone is not to be had: {answer:?}");
    let again = api.create(&parameters, &lease(room, "two")?).await?;
    ensure!(again.metadata.uid != created.metadata.uid);
    ensure!(
        again.metadata.creation_timestamp.set("creationTimestamp")?
            >= created.metadata.creation_timestamp.set("creationTimestamp")?
    );
    Ok(())
}

pub(crate) async fn an_event_is_one_object_of_two_groups(room: &Room) -> Result<()> {
    let policy = room.create_policy("p", 5).await?;
    let name = room.own("event");
    let events: Api<Event> = Api::namespaced(room.client.clone(), "default");
    let at = MicroTime("2026-01-01T00:00:00.5Z".parse::<Timestamp>()?);
    let event = Event {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            namespace: Some("default".to_owned()),
            labels: Some(room.labels.clone()),
            ..ObjectMeta::default()
        },
        event_time: Some(at.clone()),
        type_: Some("Warning".to_owned()),
        reason: Some("NotAccepted".to_owned()),
        action: Some("Compile".to_owned()),
        note: Some("spec.priority: what is wrong with it".to_owned()),
        regarding: Some(ObjectReference {
            api_version: Some(VERSION.to_owned()),
            kind: Some("AdminNetworkPolicy".to_owned()),
            name: policy.metadata.name.clone(),
            uid: policy.metadata.uid.clone(),
            ..ObjectReference::default()
        }),
        reporting_controller: Some("palisade".to_owned()),
        reporting_instance: Some("palisade-operator-0".to_owned()),
        ..Event::default()
    };
    events.create(&PostParams::default(), &event).await?;
    let series = json!({"series": {"count": 2, "lastObservedTime": at}});
    let patched = events.patch(&name, &PatchParams::default(), &Patch::Merge(&series)).await?;
    ensure!(patched.series.set("series")?.count == 2);

    let old: Api<CoreEvent> = Api::all(room.client.clone());
    let about = format!("involvedObject.name={},type=Warning", room.own("p"));
    let found = old.list(&ListParams::default().fields(&about)).await?.items;
    let [found] = &found[..] else { anyhow::bail!("{} Events with {about}", found.len()) };
    ensure!(found.message == event.note && found.involved_object.uid == policy.metadata.uid, "{found:?}");
    ensure!(found.series.set("series")?.count == Some(2) && found.reason == event.reason);

    // About an object without namespace it is in `default`, and nowhere else.
    let mut elsewhere = event.clone();
    elsewhere.metadata.namespace = Some(room.name.clone());
    let api: Api<Event> = Api::namespaced(room.client.clone(), &room.name);
    refused(api.create(&PostParams::default(), &elsewhere).await, 422, "Invalid")?;
    events.delete(&name, &DeleteParams::default()).await?;
    ensure!(old.list(&ListParams::default().fields(&about)).await?.items.is_empty());
    Ok(())
}
