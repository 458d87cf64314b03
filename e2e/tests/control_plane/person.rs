//! A person with kubectl.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use anyhow::{Context, Result, ensure};
use kube::api::{Patch, PatchParams};
use palisade_e2e::kubectl::Kubectl;
use palisade_e2e::rundir::RunDir;
use serde_json::{Value, json};

use crate::room::{RUN, Room, VERSION};

/// The words of the second line: what a table says of its only object.
fn cells(table: &str) -> (Vec<&str>, Vec<&str>) {
    let mut lines = table.lines().map(|line| line.split_whitespace().collect());
    (lines.next().unwrap_or_default(), lines.next().unwrap_or_default())
}

async fn get(kubectl: &Kubectl, name: &str) -> Result<Value> {
    Ok(serde_json::from_str(&kubectl.run(&["get", "anp", name, "-o", "json"], "").await?)?)
}

fn tell(room: &Room, statuses: [(&str, &str); 2]) -> Value {
    let conditions: Vec<Value> = statuses
        .iter()
        .map(|(kind, status)| {
            json!({
                "type": kind, "status": status, "reason": "Because", "message": "all of it is said here",
                "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1,
            })
        })
        .collect();
    json!({
        "apiVersion": VERSION, "kind": "AdminNetworkPolicy", "metadata": {"name": room.own("p")},
        "status": {"conditions": conditions},
    })
}

pub(crate) async fn kubectl_shows_a_policys_conditions(room: &Room) -> Result<()> {
    let (kubectl, name) = (room.kubectl()?, room.own("p"));
    room.create_policy("p", 42).await?;
    let table = kubectl.run(&["get", "anp", &name], "").await?;
    let (head, row) = cells(&table);
    ensure!(head == ["NAME", "PRIORITY", "ACCEPTED", "PROGRAMMED", "AGE"], "{table}");
    ensure!(row.len() == 3 && row[..2] == [name.as_str(), "42"], "no status, no cells: {table}");

    let status = tell(room, [("Accepted", "True"), ("Programmed", "False")]);
    let parameters = PatchParams::apply("us");
    room.policies().patch_status(&name, &parameters, &Patch::Apply(&status)).await?;
    let table = kubectl.run(&["get", "adminnetworkpolicies.policy.networking.k8s.io", &name], "").await?;
    let (_, row) = cells(&table);
    ensure!(row.len() == 5 && row[..4] == [name.as_str(), "42", "True", "False"], "{table}");
    let described = kubectl.run(&["describe", "anp", &name], "").await?;
    ensure!(described.contains("all of it is said here") && described.contains("Priority:"), "{described}");
    kubectl.run(&["wait", "anp", &name, "--for=condition=Accepted", "--timeout=20s"], "").await?;
    let waited =
        kubectl.tried(&["wait", "anp", &name, "--for=condition=Programmed", "--timeout=1s"], "").await?;
    ensure!(!waited.status.success());
    let selected = kubectl.run(&["get", "anp", "-l", &room.selector(), "-o", "name"], "").await?;
    ensure!(selected.trim() == format!("adminnetworkpolicy.policy.networking.k8s.io/{name}"), "{selected}");
    let explained = kubectl.run(&["explain", "anp.spec.priority"], "").await?;
    ensure!(explained.contains("<integer>") && explained.contains("VERSION:"), "{explained}");
    let known = kubectl.run(&["api-resources", "--api-group=policy.networking.k8s.io"], "").await?;
    ensure!(
        ["anp", "banp", "cnp"].iter().all(|name| known.split_whitespace().any(|word| word == *name)),
        "{known}"
    );
    Ok(())
}

pub(crate) async fn kubectl_applies_edits_and_deletes(room: &Room) -> Result<()> {
    let (kubectl, name) = (room.kubectl()?, room.own("p"));
    let says = async |arguments: &[&str], input: &str, end: &str| {
        let said = kubectl.run(arguments, input).await?;
        let said_of = said.strip_prefix(&format!("adminnetworkpolicy.policy.networking.k8s.io/{name} "));
        ensure!(said_of.is_some_and(|words| words.starts_with(end)), "{said}");
        anyhow::Ok(())
    };
    let text = |priority| serde_json::to_string(&room.policy("p", priority));
    says(&["apply", "-f", "-"], &text(5)?, "created").await?;
    says(&["apply", "-f", "-"], &text(5)?, "unchanged").await?;
    says(&["apply", "-f", "-"], &text(6)?, "configured").await?;
    let found = get(&kubectl, &name).await?;
    ensure!(found["spec"]["priority"] == 6 && found["metadata"]["generation"] == 2, "{found}");
    let differs = kubectl.tried(&["diff", "-f", "-"], &text(7)?).await?;
    ensure!(differs.output.contains("+  priority: 7"), "{}{}", differs.output, differs.complaint);
    says(&["apply", "--dry-run=server", "-f", "-"], &text(7)?, "configured (server dry run)").await?;
    says(&["label", "anp", &name, "colour=red"], "", "labeled").await?;
    says(&["annotate", "anp", &name, "note=read this"], "", "annotate").await?;
    says(&["patch", "anp", &name, "--type=merge", "-p", r#"{"spec":{"priority":8}}"#], "", "patched").await?;
    let json_patch = r#"[{"op":"replace","path":"/spec/ingress/0/action","value":"Deny"}]"#;
    says(&["patch", "anp", &name, "--type=json", "-p", json_patch], "", "patched").await?;

    edit(room, &kubectl, &name).await?;
    let found = get(&kubectl, &name).await?;
    ensure!(found["spec"]["priority"] == 9 && found["spec"]["ingress"][0]["action"] == "Deny", "{found}");
    ensure!(found["metadata"]["labels"] == json!({"colour": "red", RUN: room.name}), "{found}");
    ensure!(found["metadata"]["generation"] == 5, "{found}");

    // Applying on the server's side takes the fields over from who applied them here.
    let server = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
    says(&server, &text(10)?, "serverside-applied").await?;
    ensure!(get(&kubectl, &name).await?["spec"]["priority"] == 10);
    let deleted = kubectl.run(&["delete", "anp", &name, "--timeout=20s"], "").await?;
    ensure!(deleted.contains("deleted"), "{deleted}");
    let gone = kubectl.tried(&["get", "anp", &name], "").await?;
    ensure!(!gone.status.success() && gone.complaint.contains("NotFound"), "{}", gone.complaint);
    Ok(())
}

/// `kubectl edit` with an editor that changes the priority.
async fn edit(room: &Room, kubectl: &Kubectl, name: &str) -> Result<()> {
    let directory = RunDir::new()?;
    let editor = directory.path().join("editor");
    fs::write(&editor, "#!/bin/sh\nexec sed -i 's/priority: 8$/priority: 9/' \"$1\"\n")?;
    fs::set_permissions(&editor, fs::Permissions::from_mode(0o700))?;
    let program = kubectl.program().to_owned();
    let output = tokio::process::Command::new(program)
        .args(["edit", "anp", name])
        .env("KUBECONFIG", room.plane.kubeconfig())
        .env("KUBE_EDITOR", &editor)
        .env("HOME", directory.path())
        .output()
        .await
        .context("kubectl edit")?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success() && said.contains("edited"), "{output:?}");
    Ok(())
}

pub(crate) async fn kubectl_is_told_what_is_wrong(room: &Room) -> Result<()> {
    let kubectl = room.kubectl()?;
    let refused = async |policy: &Value, said: &[&str]| {
        let answer = kubectl.tried(&["apply", "-f", "-"], &policy.to_string()).await?;
        ensure!(!answer.status.success(), "{}", answer.output);
        ensure!(said.iter().all(|said| answer.complaint.contains(said)), "{}", answer.complaint);
        anyhow::Ok(())
    };
    refused(&room.policy("p", 1001), &["spec.priority: Invalid value: 1001"]).await?;
    let mut policy = room.policy("p", 5);
    policy["spec"]["subjct"] = json!({});
    // Older ones than 1.27 look for them themselves, and give no path.
    refused(&policy, &["unknown field", "subjct"]).await?;
    let mut policy = room.policy("p", 5);
    policy["kind"] = "AdminNetworkPolice".into();
    refused(&policy, &["no matches for kind \"AdminNetworkPolice\""]).await?;
    ensure!(kubectl.run(&["get", "anp", "-l", &room.selector(), "-o", "name"], "").await?.is_empty());
    Ok(())
}
