//! What a definition makes of the objects of its kind.

use anyhow::{Context, Result, bail, ensure};
use futures::StreamExt;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{
    ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams, PostParams,
    Request, WatchEvent, WatchParams,
};
use kube::{Api, Client};
use kube_runtime::wait::{await_condition, conditions};
use palisade_crds::ClusterNetworkPolicy;
use palisade_e2e::traffic::scaled;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::room::{LIMIT, Room, Set, cause, next, refused};

/// An AdminNetworkPolicy as it is written, not as the types would have it.
async fn create(room: &Room, policy: &Value) -> kube::Result<DynamicObject> {
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk(
        "policy.networking.k8s.io",
        "v1alpha1",
        "AdminNetworkPolicy",
    ));
    let api: Api<DynamicObject> = Api::all_with(room.client.clone(), &kind);
    let policy = serde_json::from_value(policy.clone()).map_err(kube::Error::SerdeError)?;
    api.create(&PostParams::default(), &policy).await
}

pub(crate) async fn what_is_invalid_is_refused_by_field(room: &Room) -> Result<()> {
    let networks =
        json!([{"name": "out", "action": "Deny", "to": [{"networks": ["10.0.0.0/8", "10.0.0.0/33"]}]}]);
    let port = json!([{"portNumber": {"port": 0}}]);
    let named = json!([{
        "name": "out", "action": "Deny", "to": [{"networks": ["10.0.0.0/8"]}], "ports": [{"namedPort": "web"}],
    }]);
    let cases: [(&str, Value, &str, &str); 8] = [
        ("/spec/priority", 1001.into(), "spec.priority", "should be less than or equal to 1000"),
        ("/spec/priority", "high".into(), "spec.priority", "must be of type integer: \"string\""),
        ("/spec/subject", json!({}), "spec.subject", "should have at least 1 properties"),
        (
            "/spec/ingress/0/action",
            "Drop".into(),
            "spec.ingress[0].action",
            "supported values: \"Allow\", \"Deny\", \"Pass\"",
        ),
        ("/spec/ingress/0/from", json!([]), "spec.ingress[0].from", "should have at least 1 items"),
        ("/spec/egress", networks, "spec.egress[0].to[0].networks[1]", "must be a network such as"),
        ("/spec/egress", named, "spec.egress[0]", "write the port's number"),
        (
            "/spec/ingress/0/ports",
            port,
            "spec.ingress[0].ports[0].portNumber.port",
            "greater than or equal to 1",
        ),
    ];
    for (path, value, field, said) in cases {
        let mut policy = room.policy("wrong", 5);
        let (parent, key) = path.rsplit_once('/').context("a path")?;
        let parent = policy.pointer_mut(parent).context("no such place")?;
        parent[key] = value;
        let status = refused(create(room, &policy).await, 422, "Invalid").context(path)?;
        let message = cause(&status, field)?;
        ensure!(message.contains(said), "{field}: {message}");
        ensure!(status.message.contains(&format!("{field}: ")), "{}", status.message);
        ensure!(status.message.contains("AdminNetworkPolicy.policy.networking.k8s.io"), "{}", status.message);
    }
    let mut policy = room.policy("wrong", 5);
    policy["spec"].as_object_mut().context("no spec")?.remove("subject");
    let status = refused(create(room, &policy).await, 422, "Invalid")?;
    ensure!(cause(&status, "spec.subject")? == "Required value");

    // Changes are held to it as well.
    room.create_policy("p", 5).await?;
    let patch = Patch::Merge(json!({"spec": {"priority": -1}}));
    let answer = room.policies().patch(&room.own("p"), &PatchParams::default(), &patch).await;
    cause(&refused(answer, 422, "Invalid")?, "spec.priority")?;
    Ok(())
}

pub(crate) async fn defaults_are_filled_in(room: &Room) -> Result<()> {
    let mut policy = room.policy("p", 5);
    policy["spec"]["ingress"][0]["ports"] = json!([{"portNumber": {"port": 53}}]);
    let created = create(room, &policy).await?;
    let port = created.data.pointer("/spec/ingress/0/ports/0/portNumber").context("no port")?;
    ensure!(*port == json!({"port": 53, "protocol": "TCP"}), "{port}");

    let policies: Api<NetworkPolicy> = Api::namespaced(room.client.clone(), &room.name);
    let policy = serde_json::from_value(json!({
        "metadata": {"name": "p"}, "spec": {"podSelector": {}, "egress": [{"ports": [{"port": 53}]}]},
    }))?;
    let spec = policies.create(&PostParams::default(), &policy).await?.spec.set("spec")?;
    ensure!(spec.policy_types.as_deref() == Some(&["Ingress".to_owned(), "Egress".to_owned()]), "{spec:?}");
    let ports = spec.egress.iter().flatten().flat_map(|rule| rule.ports.iter().flatten());
    let protocols: Vec<_> = ports.map(|port| port.protocol.as_deref()).collect();
    ensure!(protocols == [Some("TCP")], "{protocols:?}");
    Ok(())
}

pub(crate) async fn policies_are_read_as_they_were_written(room: &Room) -> Result<()> {
    let policy: ClusterNetworkPolicy = serde_json::from_value(json!({
        "metadata": {"name": room.own("p"), "labels": room.labels},
        "spec": {
            "tier": "Baseline", "priority": 0,
            "subject": {"pods": {"podSelector": {"matchLabels": {"a": "b"}}}},
            "egress": [{
                "action": "Accept", "to": [{"networks": ["10.0.0.0/8"]}],
                "protocols": [{"tcp": {"destinationPort": {"range": {"start": 1, "end": 2}}}}],
            }],
        },
    }))?;
    let api = room.cluster_policies();
    let created = api.create(&PostParams::default(), &policy).await?;
    ensure!(created.spec == policy.spec);
    ensure!(api.get(&room.own("p")).await? == created);
    Ok(())
}

pub(crate) async fn unknown_fields_are_dropped_or_refused(room: &Room) -> Result<()> {
    let mut policy = room.policy("p", 5);
    policy["spec"]["subjct"] = json!({});
    let ask = async |validation: &str| {
        let uri = "/apis/policy.networking.k8s.io/v1alpha1/adminnetworkpolicies";
        let mut request = Request::new(uri).create(&PostParams::default(), serde_json::to_vec(&policy)?)?;
        *request.uri_mut() = format!("{uri}?fieldValidation={validation}").parse()?;
        anyhow::Ok(room.client.request::<Value>(request).await)
    };
    let status = refused(ask("Strict").await?, 400, "BadRequest")?;
    ensure!(status.message.contains("unknown field \"spec.subjct\""), "{}", status.message);
    ensure!(room.policies().get_opt(&room.own("p")).await?.is_none());
    let created = ask("Ignore").await??;
    ensure!(created["spec"].get("subjct").is_none(), "{created}");
    ensure!(created["spec"]["priority"] == 5);

    let strict = PatchParams::apply("us").force().validation_strict();
    let answer = room.policies().patch(&room.own("p"), &strict, &Patch::Apply(&policy)).await;
    let Err(kube::Error::Api(status)) = answer else { bail!("{answer:?}") };
    ensure!(status.message.contains("spec.subjct"), "{}", status.message);
    Ok(())
}

/// A definition of a group that no other test has.
fn definition(group: &str) -> Result<CustomResourceDefinition> {
    Ok(serde_json::from_value(json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("things.{group}")},
        "spec": {
            "group": group, "scope": "Namespaced",
            "names": {"kind": "Thing", "listKind": "ThingList", "plural": "things", "singular": "thing"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "x-kubernetes-preserve-unknown-fields": true,
            }}}],
        },
    }))?)
}

pub(crate) async fn a_definition_takes_its_objects_with_it(room: &Room) -> Result<()> {
    let definitions: Api<CustomResourceDefinition> = Api::all(room.client.clone());
    let group = format!("{}.palisade.example", room.name);
    let name = format!("things.{group}");
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk(&group, "v1", "Thing"));
    let things: Api<DynamicObject> = Api::namespaced_with(room.client.clone(), &room.name, &kind);
    let answer = things.list(&ListParams::default()).await;
    ensure!(matches!(answer, Err(kube::Error::Api(status)) if status.code == 404), "there is no such kind");

    let limit = scaled(LIMIT);
    let install = async || {
        let created = definitions.create(&PostParams::default(), &definition(&group)?).await?;
        let is_there = await_condition(definitions.clone(), &name, conditions::is_crd_established());
        timeout(limit, is_there).await.context("not established")??;
        anyhow::Ok(created)
    };
    let first = install().await?;
    let thing = DynamicObject::new("one", &kind);
    things.create(&PostParams::default(), &thing).await?;
    let list = things.list(&ListParams::default()).await?;
    ensure!(list.items.len() == 1);
    let from = list.metadata.resource_version.set("version")?;
    let only = WatchParams::default().disable_bookmarks();
    let mut events = things.watch(&only, &from).await?.boxed();

    definitions.delete(&name, &DeleteParams::default()).await?;
    let event = next(&mut events).await?;
    let is_end = |event: &WatchEvent<DynamicObject>| matches!(event, WatchEvent::Deleted(thing) if thing.metadata.name.as_deref() == Some("one"));
    ensure!(event.as_ref().is_some_and(is_end), "{event:?}");
    // Its watches end with it, if not at once.
    while let Some(event) = next(&mut events).await? {
        ensure!(matches!(event, WatchEvent::Error(_)), "{event:?}");
    }
    let uid = first.metadata.uid.set("uid")?;
    timeout(limit, await_condition(definitions.clone(), &name, conditions::is_deleted(&uid))).await??;
    absent(&room.client, &group).await?;

    let second = install().await?;
    ensure!(second.metadata.uid.set("uid")? != uid, "another definition of the same name");
    ensure!(things.list(&ListParams::default()).await?.items.is_empty(), "the objects have come back");
    definitions.delete(&name, &DeleteParams::default()).await?;
    Ok(())
}

pub(crate) async fn watches_end_when_their_definition_changes(room: &Room) -> Result<()> {
    let definitions: Api<CustomResourceDefinition> = Api::all(room.client.clone());
    let group = format!("{}.palisade.example", room.name);
    let name = format!("things.{group}");
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk(&group, "v1", "Thing"));
    let things: Api<DynamicObject> = Api::namespaced_with(room.client.clone(), &room.name, &kind);
    definitions.create(&PostParams::default(), &definition(&group)?).await?;
    let limit = scaled(LIMIT);
    let is_there = await_condition(definitions.clone(), &name, conditions::is_crd_established());
    timeout(limit, is_there).await.context("not established")??;
    let from = things.list(&ListParams::default()).await?.metadata.resource_version.set("version")?;
    let only = WatchParams::default().disable_bookmarks();
    let mut events = things.watch(&only, &from).await?.boxed();

    // What is no change of the kind is nothing to its watches.
    let label = Patch::Merge(json!({"metadata": {"labels": {"a": "b"}}}));
    definitions.patch(&name, &PatchParams::default(), &label).await?;
    let one = things.create(&PostParams::default(), &DynamicObject::new("one", &kind)).await?;
    let event = next(&mut events).await?;
    ensure!(matches!(event, Some(WatchEvent::Added(_))), "{event:?}");

    let short = Patch::Merge(json!({"spec": {"names": {"shortNames": ["th"]}}}));
    definitions.patch(&name, &PatchParams::default(), &short).await?;
    let event = next(&mut events).await?;
    ensure!(event.is_none(), "{event:?}");
    // Whoever comes back goes on from where it was, or is told that this is forgotten, as real servers do.
    let from = one.metadata.resource_version.set("version")?;
    let mut events = things.watch(&only, &from).await?.boxed();
    things.delete("one", &DeleteParams::default()).await?;
    let event = next(&mut events).await?;
    let is_forgotten = matches!(&event, Some(WatchEvent::Error(status)) if status.code == 410);
    ensure!(is_forgotten || matches!(event, Some(WatchEvent::Deleted(_))), "{event:?}");
    definitions.delete(&name, &DeleteParams::default()).await?;
    Ok(())
}

/// Waits until a group is served no longer; API servers take their time.
async fn absent(client: &Client, group: &str) -> Result<()> {
    let asked = timeout(scaled(LIMIT), async {
        loop {
            let groups = client.list_api_groups().await?;
            if groups.groups.iter().all(|found| found.name != group) {
                return anyhow::Ok(());
            }
            // Discovery has no watch.
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    });
    asked.await.with_context(|| format!("{group} is still served"))?
}

pub(crate) async fn kinds_are_found_by_discovery(room: &Room) -> Result<()> {
    let client = &room.client;
    let groups = client.list_api_groups().await?;
    let ours = groups.groups.iter().find(|group| group.name == "policy.networking.k8s.io");
    let versions: Vec<_> =
        ours.context("no such group")?.versions.iter().map(|version| version.version.as_str()).collect();
    ensure!(versions.contains(&"v1alpha1") && versions.contains(&"v1alpha2"), "{versions:?}");
    let list = client.list_api_group_resources("policy.networking.k8s.io/v1alpha1").await?;
    let found = |name: &str| {
        let found = list.resources.iter().find(|resource| resource.name == name);
        found.with_context(|| format!("no resource {name}"))
    };
    let policies = found("adminnetworkpolicies")?;
    ensure!(!policies.namespaced && policies.kind == "AdminNetworkPolicy");
    ensure!(policies.short_names.iter().flatten().any(|name| name == "anp"), "{policies:?}");
    for verb in ["create", "delete", "get", "list", "patch", "update", "watch"] {
        ensure!(policies.verbs.iter().any(|known| known == verb), "{verb}: {policies:?}");
    }
    let status = found("adminnetworkpolicies/status")?;
    ensure!(status.verbs.iter().any(|verb| verb == "patch"), "{status:?}");
    let answer = client.list_api_group_resources("none.palisade.example/v1").await;
    ensure!(matches!(answer, Err(kube::Error::Api(status)) if status.code == 404));
    let core = client.list_core_api_resources("v1").await?;
    ensure!(core.resources.iter().any(|resource| resource.name == "pods" && resource.namespaced));
    let version = client.apiserver_version().await?;
    ensure!(version.major == "1" && !version.git_version.is_empty(), "{version:?}");
    Ok(())
}
