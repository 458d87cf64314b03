//! Created, listed, replaced, patched, deleted.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use serde_json::json;

use crate::room::{Room, Set, cause, refused, version};

pub(crate) async fn what_is_created_carries_what_the_server_sets(room: &Room) -> Result<()> {
    let api = room.config_maps();
    let by_us = PostParams { field_manager: Some("us".to_owned()), ..PostParams::default() };
    let created = api.create(&by_us, &room.config_map("one", "1")).await?;
    let metadata = &created.metadata;
    metadata.uid.set("uid")?;
    metadata.creation_timestamp.set("creationTimestamp")?;
    version(metadata.resource_version.as_ref())?;
    ensure!(metadata.namespace.as_ref() == Some(&room.name), "{metadata:?}");
    let managers = metadata.managed_fields.set("managedFields")?;
    ensure!(
        managers
            .iter()
            .any(|entry| entry.manager.as_deref() == Some("us")
                && entry.operation.as_deref() == Some("Update")),
        "{managers:?}"
    );
    ensure!(api.get("one").await? == created);

    refused(api.create(&by_us, &room.config_map("one", "2")).await, 409, "AlreadyExists")?;
    let status = refused(api.get("two").await, 404, "NotFound")?;
    ensure!(status.message == "configmaps \"two\" not found", "{}", status.message);
    ensure!(api.get_opt("two").await?.is_none());
    let status = refused(api.create(&by_us, &room.config_map("Not_a_name", "")).await, 422, "Invalid")?;
    cause(&status, "metadata.name")?;

    let mut nameless = room.config_map("", "");
    nameless.metadata.name = None;
    nameless.metadata.generate_name = Some("made-".to_owned());
    let name = api.create(&by_us, &nameless).await?.metadata.name.set("name")?;
    ensure!(name.starts_with("made-") && name.len() > "made-".len(), "{name}");

    let try_only = PostParams { dry_run: true, ..by_us };
    api.create(&try_only, &room.config_map("two", "")).await?;
    ensure!(api.get_opt("two").await?.is_none(), "a dry run has made it");
    Ok(())
}

pub(crate) async fn lists_come_in_pages_of_one_moment(room: &Room) -> Result<()> {
    let api = room.config_maps();
    let new = PostParams::default();
    for number in 0..25 {
        api.create(&new, &room.config_map(&format!("m-{number:02}"), "")).await?;
    }
    let mut page = ListParams::default().labels(&room.selector()).limit(10);
    let first = api.list(&page).await?;
    let at = version(first.metadata.resource_version.as_ref())?;
    let mut names: Vec<String> = first.items.iter().filter_map(|item| item.metadata.name.clone()).collect();
    ensure!(names.len() == 10, "{names:?}");

    // What happens between the pages is not in them.
    api.delete("m-15", &DeleteParams::default()).await?;
    api.create(&new, &room.config_map("m-155", "")).await?;
    let mut next = first.metadata.continue_;
    while let Some(token) = next.filter(|token| !token.is_empty()) {
        page = page.continue_token(&token);
        let more = api.list(&page).await?;
        ensure!(version(more.metadata.resource_version.as_ref())? == at, "a page of another moment");
        ensure!(more.items.len() <= 10);
        names.extend(more.items.iter().filter_map(|item| item.metadata.name.clone()));
        next = more.metadata.continue_;
    }
    let all: Vec<String> = (0..25).map(|number| format!("m-{number:02}")).collect();
    ensure!(names == all, "{names:?}");

    let now = api.list(&ListParams::default().labels(&room.selector())).await?;
    ensure!(version(now.metadata.resource_version.as_ref())? > at);
    ensure!(now.items.len() == 25);
    let one = api.list(&ListParams::default().fields("metadata.name=m-03")).await?;
    ensure!(one.items.len() == 1);
    let cached = api.list(&ListParams::default().match_any().labels(&room.selector())).await?;
    ensure!(version(cached.metadata.resource_version.as_ref())? > 0);
    Ok(())
}

pub(crate) async fn of_two_who_replace_one_fails(room: &Room) -> Result<()> {
    let api = room.config_maps();
    let parameters = PostParams::default();
    let seen = api.create(&parameters, &room.config_map("one", "0")).await?;
    let change = |value: &str| {
        let mut changed = seen.clone();
        changed.data = Some([("key".to_owned(), value.to_owned())].into());
        changed
    };
    let replaced = api.replace("one", &parameters, &change("1")).await?;
    let (before, after) = (
        version(seen.metadata.resource_version.as_ref())?,
        version(replaced.metadata.resource_version.as_ref())?,
    );
    ensure!(before < after, "{before} {after}");
    ensure!(replaced.metadata.uid == seen.metadata.uid);
    refused(api.replace("one", &parameters, &change("2")).await, 409, "Conflict")?;
    ensure!(api.get("one").await? == replaced);

    // What says the same is no change.
    let again = api.replace("one", &parameters, &replaced).await?;
    ensure!(again.metadata.resource_version == replaced.metadata.resource_version);

    let mut another = replaced.clone();
    another.metadata.uid = Some("00000000-0000-0000-0000-000000000000".to_owned());
    let status = refused(api.replace("one", &parameters, &another).await, 409, "Conflict")?;
    ensure!(status.message.contains("Precondition failed: UID in precondition"), "{}", status.message);

    let mut absent = change("3");
    absent.metadata.name = Some("absent".to_owned());
    refused(api.replace("absent", &parameters, &absent).await, 404, "NotFound")?;

    // A custom resource is replaced by those only who say which version they mean.
    let mut policy = room.create_policy("p", 1).await?;
    policy.metadata.resource_version = None;
    let name = room.own("p");
    let status = refused(room.policies().replace(&name, &parameters, &policy).await, 422, "Invalid")?;
    cause(&status, "metadata.resourceVersion")?;
    Ok(())
}

pub(crate) async fn what_is_deleted_is_the_one_that_is_meant(room: &Room) -> Result<()> {
    let api = room.config_maps();
    let created = api.create(&PostParams::default(), &room.config_map("one", "")).await?;
    let uid = |uid: &str| {
        let wanted = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
        DeleteParams::default().preconditions(wanted)
    };
    refused(api.delete("one", &uid("00000000-0000-0000-0000-000000000000")).await, 409, "Conflict")?;
    let deleted = api.delete("one", &uid(&created.metadata.uid.set("uid")?)).await?;
    ensure!(deleted.is_right(), "nothing holds it, so it is gone at once");
    refused(api.get("one").await, 404, "NotFound")?;
    refused(api.delete("one", &DeleteParams::default()).await, 404, "NotFound")?;

    let again = api.create(&PostParams::default(), &room.config_map("one", "")).await?;
    ensure!(again.metadata.uid != created.metadata.uid, "another object of the same name");

    api.create(&PostParams::default(), &room.config_map("two", "")).await?;
    let ours = ListParams::default().labels(&room.selector());
    api.delete_collection(&DeleteParams::default(), &ours).await?;
    ensure!(api.list(&ours).await?.items.is_empty());
    Ok(())
}

pub(crate) async fn what_has_finalizers_stays_until_they_are_gone(room: &Room) -> Result<()> {
    let api = room.config_maps();
    let mut held = room.config_map("held", "");
    held.metadata.finalizers = Some(vec!["e2e.palisade.example/held".to_owned()]);
    api.create(&PostParams::default(), &held).await?;
    let deleted = api.delete("held", &DeleteParams::default()).await?;
    let going = deleted.left().context("it is gone at once")?;
    let since = going.metadata.deletion_timestamp.set("deletionTimestamp")?;
    ensure!(api.get("held").await?.metadata.deletion_timestamp == Some(since));
    let free = json!({"metadata": {"finalizers": null}});
    api.patch("held", &PatchParams::default(), &Patch::Merge(&free)).await?;
    ensure!(api.get_opt("held").await?.is_none(), "nothing holds it any more");
    Ok(())
}

pub(crate) async fn patches_change_what_they_name(room: &Room) -> Result<()> {
    let api = room.config_maps();
    let parameters = PatchParams::default();
    let created = api.create(&PostParams::default(), &room.config_map("one", "0")).await?;
    let value = |map: &ConfigMap, key: &str| map.data.as_ref().and_then(|data| data.get(key).cloned());

    let merge = json!({"data": {"key": null, "other": "1"}, "metadata": {"labels": {"more": "yes"}}});
    let merged = api.patch("one", &parameters, &Patch::Merge(&merge)).await?;
    ensure!(value(&merged, "key").is_none() && value(&merged, "other").as_deref() == Some("1"));
    ensure!(merged.metadata.labels.as_ref().is_some_and(|labels| labels.len() == 2));
    let again = api.patch("one", &parameters, &Patch::Merge(&merge)).await?;
    ensure!(again.metadata.resource_version == merged.metadata.resource_version, "no change");

    let patch =
        |value: serde_json::Value| anyhow::Ok(Patch::<ConfigMap>::Json(serde_json::from_value(value)?));
    let test = patch(json!([
        {"op": "test", "path": "/data/other", "value": "2"},
        {"op": "replace", "path": "/data/other", "value": "3"},
    ]))?;
    refused(api.patch("one", &parameters, &test).await, 422, "Invalid")?;
    let replace = patch(json!([{"op": "replace", "path": "/data/other", "value": "4"}]))?;
    let replaced = api.patch("one", &parameters, &replace).await?;
    ensure!(value(&replaced, "other").as_deref() == Some("4"));

    let strategic = json!({"metadata": {"labels": {"more": null}}, "data": {"third": "5"}});
    let changed = api.patch("one", &parameters, &Patch::Strategic(&strategic)).await?;
    ensure!(changed.metadata.labels == created.metadata.labels, "{:?}", changed.metadata.labels);
    ensure!(value(&changed, "third").as_deref() == Some("5") && value(&changed, "other").is_some());

    // One who says which version is meant is refused where it is another by now.
    let stale = json!({
        "metadata": {"resourceVersion": created.metadata.resource_version}, "data": {"third": "6"},
    });
    refused(api.patch("one", &parameters, &Patch::Merge(&stale)).await, 409, "Conflict")?;
    // Kinds that are no Go types have no strategic merge.
    let name = room.own("p");
    room.create_policy("p", 1).await?;
    let answer = room.policies().patch(&name, &parameters, &Patch::Strategic(&strategic)).await;
    refused(answer, 415, "UnsupportedMediaType")?;
    refused(api.patch("absent", &parameters, &Patch::Merge(&merge)).await, 404, "NotFound")?;
    Ok(())
}

pub(crate) async fn metadata_is_had_without_the_rest(room: &Room) -> Result<()> {
    let created = room.create_policy("p", 7).await?;
    let api = room.policies();
    let metadata = api.get_metadata(&room.own("p")).await?;
    ensure!(metadata.metadata.uid == created.metadata.uid);
    ensure!(metadata.metadata.resource_version == created.metadata.resource_version);
    let list = api.list_metadata(&ListParams::default().labels(&room.selector())).await?;
    ensure!(list.items.len() == 1);
    version(list.metadata.resource_version.as_ref())?;
    let kind = metadata.types.map(|types| types.kind);
    ensure!(kind.as_deref() == Some("PartialObjectMetadata"), "{kind:?}");
    Ok(())
}
