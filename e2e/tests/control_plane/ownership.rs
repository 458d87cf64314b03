//! Who owns which field, and what a status is.

use anyhow::{Context, Result, ensure};
use kube::api::{Patch, PatchParams, PostParams};
use palisade_crds::AdminNetworkPolicy;
use serde_json::{Value, json};

use crate::room::{Room, Set, VERSION, cause, refused};

fn condition(kind: &str, status: &str) -> Value {
    json!({
        "type": kind, "status": status, "reason": "Because", "message": "", "observedGeneration": 1,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    })
}

/// A status as one applies it.
fn status(name: &str, conditions: &[Value]) -> Value {
    json!({
        "apiVersion": VERSION, "kind": "AdminNetworkPolicy",
        "metadata": {"name": name}, "status": {"conditions": conditions},
    })
}

/// Type and status of each condition, in order of type.
fn conditions(policy: &AdminNetworkPolicy) -> Result<Vec<(String, String)>> {
    let policy = serde_json::to_value(policy)?;
    let all = policy.pointer("/status/conditions").and_then(Value::as_array).cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut pairs: Vec<_> =
        all.iter().map(|condition| (text(&condition["type"]), text(&condition["status"]))).collect();
    pairs.sort();
    Ok(pairs)
}

fn pairs<const N: usize>(pairs: [(&str, &str); N]) -> Vec<(String, String)> {
    pairs.map(|(one, other)| (one.to_owned(), other.to_owned())).into()
}

pub(crate) async fn a_field_belongs_to_who_applied_it(room: &Room) -> Result<()> {
    let api = room.config_maps();
    let map = |data: Value| {
        json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "one", "labels": room.labels}, "data": data,
        })
    };
    let [ours, theirs] = ["us", "them"].map(PatchParams::apply);
    let applied = Patch::Apply(map(json!({"a": "1", "b": "1"})));
    let first = api.patch("one", &ours, &applied).await.context("applying makes what is not there")?;
    let again = api.patch("one", &ours, &applied).await?;
    ensure!(first.metadata.resource_version == again.metadata.resource_version, "no change");

    let other = Patch::Apply(map(json!({"b": "2", "c": "2"})));
    let refusal = refused(api.patch("one", &theirs, &other).await, 409, "Conflict")?;
    let causes = refusal.details.map(|details| details.causes).unwrap_or_default();
    let is_told = |cause: &kube::core::response::StatusCause| {
        cause.reason == "FieldManagerConflict" && cause.field == ".data.b" && cause.message.contains("\"us\"")
    };
    ensure!(causes.len() == 1 && causes.iter().all(is_told), "{causes:?}");
    let taken = api.patch("one", &theirs.clone().force(), &other).await?;
    ensure!(taken.data.set("data")?.get("b").map(String::as_str) == Some("2"));

    // Who leaves a field out gives it up; nobody else has `a`, so it goes, and `b` is theirs by now.
    let less = Patch::Apply(map(json!({})));
    let left = api.patch("one", &ours, &less).await?;
    let keys: Vec<String> = left.data.set("data")?.into_keys().collect();
    ensure!(keys == ["b", "c"], "{keys:?}");
    let nobody = PatchParams::default();
    let answer = api.patch("one", &nobody, &Patch::Apply(map(json!({})))).await;
    ensure!(answer.is_err(), "one who applies has to say who");
    Ok(())
}

pub(crate) async fn a_status_is_written_apart_from_the_spec(room: &Room) -> Result<()> {
    let api = room.policies();
    let name = room.own("p");
    let mut new: AdminNetworkPolicy = serde_json::from_value(room.policy("p", 5))?;
    new.status = serde_json::from_value(json!({"conditions": [condition("Mine", "True")]}))?;
    let created = api.create(&PostParams::default(), &new).await?;
    ensure!(created.status.is_none(), "a status is nothing to create");

    let mut both = created.clone();
    both.spec.priority = 6;
    both.status = serde_json::from_value(json!({"conditions": [condition("Mine", "True")]}))?;
    let told = api.replace_status(&name, &PostParams::default(), &both).await?;
    ensure!(told.spec.priority == 5, "the status carries no spec");
    ensure!(conditions(&told)? == pairs([("Mine", "True")]));

    let mut other = told.clone();
    other.spec.priority = 7;
    other.status = None;
    let kept = api.replace(&name, &PostParams::default(), &other).await?;
    ensure!(kept.spec.priority == 7 && kept.status == told.status, "the spec carries no status");

    let merge = json!({"spec": {"priority": 8}, "status": {"conditions": [condition("Mine", "False")]}});
    let merged = api.patch_status(&name, &PatchParams::default(), &Patch::Merge(&merge)).await?;
    ensure!(merged.spec.priority == 7 && conditions(&merged)? == pairs([("Mine", "False")]));
    ensure!(api.get_status(&name).await? == api.get(&name).await?);
    Ok(())
}

pub(crate) async fn conditions_are_owned_by_type(room: &Room) -> Result<()> {
    let api = room.policies();
    let name = room.own("p");
    let created = room.create_policy("p", 5).await?;
    let [ours, theirs] = ["us", "them"].map(|manager| PatchParams::apply(manager).force());
    let apply = async |parameters: &PatchParams, what: &[Value]| {
        let patch = Patch::Apply(status(&name, what));
        anyhow::Ok(api.patch_status(&name, parameters, &patch).await?)
    };
    apply(&theirs, &[condition("Theirs", "True")]).await?;
    let both = apply(&ours, &[condition("Accepted", "True"), condition("Programmed", "False")]).await?;
    let expected = pairs([("Accepted", "True"), ("Programmed", "False"), ("Theirs", "True")]);
    ensure!(conditions(&both)? == expected, "{:?}", conditions(&both)?);
    let fewer = apply(&ours, &[condition("Programmed", "True")]).await?;
    let expected = pairs([("Programmed", "True"), ("Theirs", "True")]);
    ensure!(conditions(&fewer)? == expected, "{:?}", conditions(&fewer)?);
    ensure!(fewer.spec == created.spec && fewer.metadata.generation == created.metadata.generation);
    let again = apply(&ours, &[condition("Programmed", "True")]).await?;
    ensure!(again.metadata.resource_version == fewer.metadata.resource_version, "no change");

    // That it was meant for an earlier object of the same name keeps a status from no object.
    let mut earlier = status(&name, &[condition("Programmed", "False")]);
    earlier["metadata"]["uid"] = "00000000-0000-0000-0000-000000000000".into();
    let patched = api.patch_status(&name, &ours, &Patch::Apply(&earlier)).await?;
    ensure!(patched.metadata.uid == created.metadata.uid);
    ensure!(conditions(&patched)? == pairs([("Programmed", "False"), ("Theirs", "True")]));
    // That it was meant for an earlier version does.
    let version = created.metadata.resource_version.set("resourceVersion")?;
    earlier["metadata"] = json!({"name": name, "resourceVersion": version});
    refused(api.patch_status(&name, &ours, &Patch::Apply(&earlier)).await, 409, "Conflict")?;
    let mut spec = room.policy("p", 5);
    spec["metadata"]["uid"] = "00000000-0000-0000-0000-000000000000".into();
    let refusal = refused(api.patch(&name, &ours, &Patch::Apply(&spec)).await, 422, "Invalid")?;
    ensure!(cause(&refusal, "metadata.uid")?.contains("field is immutable"));

    let absent = room.own("absent");
    let patch = Patch::Apply(status(&absent, &[condition("Programmed", "False")]));
    refused(api.patch_status(&absent, &ours, &patch).await, 404, "NotFound")?;
    let wrong = Patch::Apply(status(&name, &[condition("Programmed", "Perhaps")]));
    refused(api.patch_status(&name, &ours, &wrong).await, 422, "Invalid")?;
    Ok(())
}

pub(crate) async fn generations_count_changes_of_the_spec(room: &Room) -> Result<()> {
    let api = room.policies();
    let name = room.own("p");
    let generation = |policy: &AdminNetworkPolicy| policy.metadata.generation;
    let created = room.create_policy("p", 5).await?;
    ensure!(generation(&created) == Some(1));
    let parameters = PatchParams::default();
    let merge = async |patch: Value| anyhow::Ok(api.patch(&name, &parameters, &Patch::Merge(patch)).await?);
    ensure!(generation(&merge(json!({"metadata": {"labels": {"more": "1"}}})).await?) == Some(1));
    ensure!(generation(&merge(json!({"spec": {"priority": 5}})).await?) == Some(1), "it says the same");
    ensure!(generation(&merge(json!({"spec": {"priority": 6}})).await?) == Some(2));
    let patch = Patch::Merge(json!({"status": {"conditions": [condition("Mine", "True")]}}));
    ensure!(generation(&api.patch_status(&name, &parameters, &patch).await?) == Some(2));
    // What a client says it is counts for nothing.
    ensure!(
        generation(&merge(json!({"metadata": {"generation": 9}, "spec": {"priority": 7}})).await?) == Some(3)
    );
    Ok(())
}
