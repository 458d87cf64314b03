//! Which objects are taken, what becomes of them, and what is said of those that are not: `admission.txt`, recorded from a
//! real kube-apiserver. What decides that a policy exists at all must not be different here.
//!
//! A line of the file that begins with a verb is a request, with one object, or with two where one is there already and
//! the other takes its place. The indented lines below it are the answer. With `PALISADE_RECORD` set, the answers are
//! written anew.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::{DeleteParams, PostParams, Request};
use kube_runtime::wait::{await_condition, conditions};
use palisade_e2e::control_plane::Kind;
use palisade_e2e::traffic::scaled;
use serde_json::{Map, Value, json};
use tokio::time::timeout;

use crate::room::{LIMIT, Room};

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/control_plane").join(name)
}

/// A kind with a field for each thing that a schema may say.
fn definition(group: &str) -> Result<CustomResourceDefinition> {
    let schema: Value = serde_json::from_slice(&fs::read(file("admission.schema.json"))?)?;
    Ok(serde_json::from_value(json!({
        "metadata": {"name": format!("probes.{group}")},
        "spec": {
            "group": group, "scope": "Namespaced",
            "names": {"kind": "Probe", "listKind": "ProbeList", "plural": "probes", "singular": "probe"},
            "versions": [{
                "name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": schema},
            }],
        },
    }))?)
}

/// Kind, what comes before it in a path, its version there, and its plural.
fn place(kind: &str, group: &str, namespace: &str) -> Result<(String, String)> {
    let (group, version, plural, is_namespaced) = match kind {
        "Probe" => (group, "v1", "probes", true),
        "AdminNetworkPolicy" => ("policy.networking.k8s.io", "v1alpha1", "adminnetworkpolicies", false),
        "BaselineAdminNetworkPolicy" => {
            ("policy.networking.k8s.io", "v1alpha1", "baselineadminnetworkpolicies", false)
        }
        "ClusterNetworkPolicy" => ("policy.networking.k8s.io", "v1alpha2", "clusternetworkpolicies", false),
        "NetworkPolicy" => ("networking.k8s.io", "v1", "networkpolicies", true),
        "ConfigMap" => ("", "v1", "configmaps", true),
        "CustomResourceDefinition" => ("apiextensions.k8s.io", "v1", "customresourcedefinitions", false),
        other => bail!("no such kind here: {other}"),
    };
    let (root, version) = match group {
        "" => ("/api", version.to_owned()),
        group => ("/apis", format!("{group}/{version}")),
    };
    let namespace = if is_namespaced { format!("namespaces/{namespace}/") } else { String::new() };
    Ok((format!("{root}/{version}/{namespace}{plural}"), version))
}

/// What is the same wherever and whenever it is asked.
fn shown(object: &Value) -> Value {
    let mut shown = Map::new();
    for (name, part) in object.as_object().into_iter().flatten() {
        if !["apiVersion", "kind", "metadata"].contains(&name.as_str()) {
            shown.insert(name.clone(), part.clone());
        }
    }
    for name in ["annotations", "finalizers", "generation", "labels", "ownerReferences"] {
        if let Some(part) = object.pointer(&format!("/metadata/{name}")) {
            shown.insert(name.to_owned(), part.clone());
        }
    }
    Value::Object(shown)
}

struct Asker<'a> {
    room: &'a Room,
    group: String,
}

impl Asker<'_> {
    /// The answer to a line, as the file has it.
    async fn answer(&self, line: &str) -> Result<String> {
        let (verb, objects) = line.split_once(' ').context("a verb and an object")?;
        let (verb, query) = verb.split_once('?').unwrap_or((verb, ""));
        let objects = objects.replace("ROOM", &self.room.name);
        let objects: Vec<Value> =
            objects.split(" => ").map(serde_json::from_str).collect::<Result<_, _>>().context("no JSON")?;
        let first = objects.first().context("no object")?;
        let kind = first.get("kind").and_then(Value::as_str).unwrap_or("Probe");
        let (path, version) = place(kind, &self.group, &self.room.name)?;
        let whole = |object: &Value| {
            let mut object = object.clone();
            object["apiVersion"] = json!(version);
            object["kind"] = json!(kind);
            let metadata = object["metadata"].as_object().cloned().unwrap_or_default();
            object["metadata"] = json!({"name": format!("{}-case", self.room.name)});
            object["metadata"].as_object_mut().into_iter().for_each(|all| all.extend(metadata.clone()));
            object
        };
        let created =
            self.ask("POST", &path, if objects.len() == 1 { query } else { "" }, &whole(first)).await?;
        let answer = match (verb, objects.as_slice(), &created) {
            ("create", [_], _) => created.clone(),
            ("update" | "status", [_, second], Ok(created)) => {
                let mut second = whole(second);
                if second["metadata"].get("resourceVersion").is_none() {
                    second["metadata"]["resourceVersion"] = created["metadata"]["resourceVersion"].clone();
                }
                let name = created["metadata"]["name"].as_str().context("no name")?;
                let part = if verb == "status" { "/status" } else { "" };
                self.ask("PUT", &format!("{path}/{name}{part}"), query, &second).await?
            }
            (_, _, Err(status)) => bail!("what is to be replaced is refused: {status}"),
            _ => bail!("no such verb, or another number of objects"),
        };
        if let Ok(created) = created {
            let name = created["metadata"]["name"].as_str().context("no name")?;
            let free = json!([{"op": "add", "path": "/metadata/finalizers", "value": []}]);
            self.send("PATCH", &format!("{path}/{name}"), &free).await??;
            let delete = Request::new(path).delete(name, &DeleteParams::default())?;
            self.room.client.request::<Value>(delete).await?;
        }
        Ok(match answer {
            Ok(object) => format!("  {}\n", shown(&object)),
            Err(refusal) => refusal,
        }
        .replace(&self.room.name, "ROOM"))
    }

    async fn send(&self, method: &str, uri: &str, body: &Value) -> Result<kube::Result<Value>> {
        let mut request = Request::new("/").create(&PostParams::default(), serde_json::to_vec(body)?)?;
        *request.method_mut() = method.parse()?;
        *request.uri_mut() = uri.parse()?;
        if method == "PATCH" {
            request.headers_mut().insert("content-type", "application/json-patch+json".parse()?);
        }
        Ok(self.room.client.request(request).await)
    }

    /// The object, or the refusal as text.
    async fn ask(
        &self,
        method: &str,
        path: &str,
        query: &str,
        object: &Value,
    ) -> Result<Result<Value, String>> {
        let uri = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
        Ok(match self.send(method, &uri, object).await? {
            Ok(object) => Ok(object),
            Err(kube::Error::Api(status)) => {
                let causes = status.details.iter().flat_map(|details| &details.causes);
                let mut said: Vec<String> =
                    causes.map(|cause| format!("{}: {}", cause.field, cause.message)).collect();
                // Of equal rank: a real server goes through fields in no order.
                said.sort();
                // A real server says it once for each time that it looked.
                said.dedup();
                if said.is_empty() {
                    said.push(status.message.clone());
                }
                let mut text = format!("  {} {}\n", status.code, status.reason);
                for line in said {
                    writeln!(text, "  - {line}")?;
                }
                Err(text)
            }
            Err(error) => bail!("{error}"),
        })
    }
}

pub(crate) async fn the_same_objects_are_taken(room: &Room) -> Result<()> {
    let definitions: Api<CustomResourceDefinition> = Api::all(room.client.clone());
    let group = format!("{}.palisade.example", room.name);
    let definition = definition(&group)?;
    definitions.create(&PostParams::default(), &definition).await?;
    let name = format!("probes.{group}");
    let is_there = await_condition(definitions.clone(), &name, conditions::is_crd_established());
    timeout(scaled(LIMIT), is_there).await.context("not established")??;

    let asker = Asker { room, group };
    let mut found = String::new();
    let (mut differing, mut count) = (Vec::new(), 0);
    let cases = fs::read_to_string(file("admission.txt"))?;
    let mut lines = cases.lines().peekable();
    while let Some(line) = lines.next() {
        writeln!(found, "{line}")?;
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let mut expected = String::new();
        while let Some(answer) = lines.next_if(|line| line.starts_with("  ")) {
            writeln!(expected, "{answer}")?;
        }
        let answer = asker.answer(line).await.with_context(|| line.to_owned())?;
        if answer != expected {
            differing.push(format!("{line}\nexpected\n{expected}found\n{answer}"));
        }
        found.push_str(&answer);
        count += 1;
    }
    definitions.delete(&name, &DeleteParams::default()).await?;
    if std::env::var_os("PALISADE_RECORD").is_some() && room.plane.kind() != Kind::Dev {
        return Ok(fs::write(file("admission.txt"), found)?);
    }
    ensure!(differing.is_empty(), "{} of {count}:\n{}", differing.len(), differing.join("\n"));
    Ok(())
}
