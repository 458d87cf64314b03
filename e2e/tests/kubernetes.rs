//! Policies through the Kubernetes API: applied by kubectl, obeyed by packets, spoken of in their status; malformed and
//! from the future; many at once.

#[allow(clippy::panic, dead_code, reason = "shared with the compiler's tests, which read other data of it")]
#[path = "../../operator/compiler/tests/common/reference.rs"]
mod reference;
mod trial;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures::FutureExt;
use libtest_mimic::Trial;
use palisade_e2e::api::{ADMIN_KINDS, Objects};
use palisade_e2e::control_plane::{ControlPlane, Kind};
use palisade_e2e::levels::{Level, Via};
use palisade_e2e::report;
use palisade_e2e::rundir::RunDir;
use palisade_e2e::runner::{Choice, run_one};
use palisade_e2e::scale::{self, Order};
use palisade_e2e::scenario::{Cni, Scenario};
use palisade_e2e::show::{ApiShow, Stage};
use palisade_e2e::status;
use palisade_e2e::traffic::scaled;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

/// How long a status may take to say what it has to.
const LIMIT: Duration = Duration::from_secs(30);

/// A port on which only floods are.
const FLOOD: u16 = 9999;

const DEFINITIONS: (&str, &str) = ("apiextensions.k8s.io/v1", "CustomResourceDefinition");

/// What the scenarios have in common that are run through the API as well.
const TAG: &str = "live";

/// Scenarios with an object that no API server takes: they are about what is in force if one is there all the same, from
/// a file, or from an API server of another time.
const REFUSED: [&str; 7] = [
    "baseline/banp-edited-and-misnamed",
    "live/bad-edit-keeps-the-good",
    "pods/several-addresses",
    "pods/terminating",
    "ports/named-port-of-networks-anp",
    "ports/named-ports-of-one-number",
    "ports/names-in-a-sidecar-and-a-container",
];

fn main() -> ExitCode {
    let mut trials = vec![
        trial::packets("what_is_written_has_a_mark", |directory| marks(directory).boxed_local()),
        trial::packets("policies_applied_by_kubectl_are_obeyed", |directory| {
            applied(directory).boxed_local()
        }),
        trial::packets("what_is_not_understood_fails_closed_and_is_said", |directory| {
            not_understood(directory).boxed_local()
        }),
        trial::packets("many_at_once_cost_a_write_each", |directory| many(directory).boxed_local()),
    ];
    let data = reference::directory();
    if data.is_none() {
        eprintln!("skipped: upstream's own definitions, which are not here");
    }
    trials.extend(["standard", "experimental"].map(|channel| {
        let data = data.clone();
        let name = format!("upstreams_definitions_do_as_well::{channel}");
        let is_absent = data.is_none() || trial::skips_packets();
        let test = move |directory| {
            async move { upstreams(directory, &data.context("no reference data")?, channel).await }
                .boxed_local()
        };
        trial::packets(&name, test).with_ignored_flag(is_absent)
    }));
    match scenarios() {
        Ok(scenarios) => trials.extend(scenarios),
        Err(error) => {
            eprintln!("error: {error:#}");
            return ExitCode::FAILURE;
        }
    }
    trial::run(trials)
}

fn scenarios() -> Result<Vec<Trial>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let choice = Choice { tags: [TAG.to_owned()].into(), ..Choice::default() };
    let chosen = Scenario::load(&directory)?.into_iter().filter(|scenario| choice.takes(scenario));
    let trials: Vec<Trial> = chosen
        .filter(|scenario| scenario.cni.contains(&Cni::Routed) && !REFUSED.contains(&&*scenario.name))
        .map(|scenario| {
            let level = Level::Packets(Cni::Routed, Via::Api);
            let name = format!("{level}::{}", scenario.name);
            trial::packets(&name, move |_| {
                async move {
                    let (report, _) = run_one(&scenario, level).await;
                    ensure!(report.is_good(), "{}", report::details(&report));
                    Ok(())
                }
                .boxed_local()
            })
        })
        .collect();
    ensure!(trials.len() >= 10, "there are {} scenarios with the tag {TAG}", trials.len());
    Ok(trials)
}

fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/samples")
}

/// The harness itself: whoever waits for the wrong mark waits for ever, or not at all.
async fn marks(directory: Arc<RunDir>) -> Result<()> {
    let plane = ControlPlane::chosen(directory.path()).await?;
    plane.install_crds().await?;
    let objects = Objects::new(plane.client().await?);
    let (_, state) = Stage::plan()?;
    let made = objects.change(None, &state).await?;
    let pods: Vec<u64> = made.iter().filter(|mark| mark.kind == "Pod").map(|mark| mark.version).collect();
    ensure!(pods.len() == state.pods.len() && pods.is_sorted(), "{made:?}");
    ensure!(objects.change(Some(&state), &state).await?.is_empty(), "nothing has changed");

    let policy = admin("mark", &json!({"egress": [{"action": "Deny", "to": [{"namespaces": {}}]}]}));
    let put = objects.put(&policy).await?;
    let again = objects.put(&policy).await?;
    ensure!(put == again, "what changes nothing has no mark of its own: {put:?}, {again:?}");
    let merged = objects.merge(&policy, &json!({"spec": {"priority": 1}})).await?;
    let found = objects.get(&policy).await?;
    ensure!(found["metadata"]["generation"] == 2 && found["spec"]["priority"] == 1, "{found:#}");
    let deleted = objects.delete(&policy).await?.context("it was there")?;
    ensure!(objects.delete(&policy).await?.is_none(), "it is gone");
    ensure!(
        put.version < merged.version && merged.version < deleted.version,
        "{put:?} {merged:?} {deleted:?}"
    );

    // A namespace goes with what is in it, and a pod that changes its node is made anew.
    let mut next = state.clone();
    "node-1".clone_into(&mut next.pods.get_mut("shop/api").context("a pod")?.node);
    next.pods.remove("guest/app");
    next.namespaces.remove("guest");
    let made = objects.change(Some(&state), &next).await?;
    ensure!(made.len() == 4, "two pods and a namespace gone, a pod made: {made:?}");
    let pods = objects.list(("v1", "Pod")).await?;
    let api = pods.iter().find(|pod| pod["metadata"]["name"] == "api").context("it is there")?;
    ensure!(pods.len() == 5 && api["spec"]["nodeName"] == "node-1", "{api:#}");
    let namespaces = objects.list(("v1", "Namespace")).await?;
    ensure!(namespaces.iter().all(|namespace| namespace["metadata"]["name"] != "guest"), "{namespaces:#?}");
    Ok(())
}

/// Waits until the nodes obey everything that is in the API, and holds packets to it.
async fn obeyed(show: &ApiShow) -> Result<Vec<(String, Vec<bool>)>> {
    show.installation.settled(&show.marks().await?).await?;
    show.programmed(LIMIT).await?;
    let matrix = show.matrix().await?;
    ensure!(matrix.findings.is_empty(), "{:#?}", matrix.findings);
    ensure!(matrix.differences.is_empty(), "{:#?}", matrix.differences);
    Ok(matrix.observed())
}

async fn applied(directory: Arc<RunDir>) -> Result<()> {
    let show = ApiShow::start(Kind::chosen()?, directory.path(), 1).await?;
    let kubectl = show.kubectl()?;
    let open = obeyed(&show).await.context("without policies")?;
    ensure!(open.iter().all(|(_, verdicts)| verdicts.iter().all(|allowed| *allowed)), "{open:#?}");

    let samples = samples().to_string_lossy().into_owned();
    let said = kubectl.run(&["apply", "-f", &samples], "").await?;
    ensure!(said.lines().count() == 7 && said.lines().all(|line| line.ends_with(" created")), "{said}");
    let closed = obeyed(&show).await.context("with the samples")?;
    ensure!(closed != open, "the samples change nothing");

    // An edit moves the generation, and the status follows it.
    let patch = r#"[{"op": "replace", "path": "/spec/ingress/0/action", "value": "Deny"}]"#;
    kubectl.run(&["patch", "anp", "tenants-apart", "--type=json", "-p", patch], "").await?;
    let edited = obeyed(&show).await.context("edited")?;
    ensure!(edited != closed, "the edit changes nothing");
    let policies = show.objects.list(ADMIN_KINDS[0]).await?;
    let policy = policies.iter().find(|policy| policy["metadata"]["name"] == "tenants-apart");
    ensure!(policy.context("it is there")?["metadata"]["generation"] == 2, "{policy:#?}");

    // A pod's labels are no less part of it.
    kubectl.run(&["label", "pod", "--namespace", "shop", "db", "app=other", "--overwrite"], "").await?;
    let relabelled = obeyed(&show).await.context("relabelled")?;
    ensure!(relabelled != edited, "the label changes nothing");

    kubectl.run(&["delete", "-f", &samples], "").await?;
    counted(
        &show,
        &["AdminNetworkPolicy", "BaselineAdminNetworkPolicy", "ClusterNetworkPolicy", "NetworkPolicy"],
    )
    .await?;
    let again = obeyed(&show).await.context("deleted")?;
    ensure!(again == open, "something of the policies is left");
    Ok(())
}

/// Waits until the operator knows no object of some kinds and every node obeys that.
async fn counted(show: &ApiShow, kinds: &[&str]) -> Result<()> {
    let deadline = Instant::now() + scaled(LIMIT);
    loop {
        let state = show.installation.state().await?;
        if kinds.iter().all(|kind| state["objects"][kind] == 0) {
            return show.installation.settled(&[]).await;
        }
        ensure!(Instant::now() < deadline, "{:#}", state["objects"]);
        sleep(Duration::from_millis(20)).await;
    }
}

/// Definitions that let everything through, as those of a later version of the API would.
async fn let_everything_through(show: &ApiShow) -> Result<()> {
    for manifest in palisade_crds::MANIFESTS {
        let definition: Value = serde_saphyr::from_str(manifest.text)?;
        let mark = show.objects.replace(&definition, |definition| {
            for version in definition["spec"]["versions"].as_array_mut().into_iter().flatten() {
                version["schema"]["openAPIV3Schema"] =
                    json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
            }
        });
        mark.await.context(manifest.file)?;
    }
    Ok(())
}

/// Where the definitions of the policy kinds, and their columns, are upstream's.
async fn upstreams(directory: Arc<RunDir>, data: &Path, channel: &str) -> Result<()> {
    let show = ApiShow::start(Kind::chosen()?, directory.path(), 1).await?;
    let ours = show.objects.list(DEFINITIONS).await?;
    let outcome = upstreams_definitions(&show, &ours, data, channel).await;
    put_back(&show, &ours).await?;
    outcome
}

async fn upstreams_definitions(show: &ApiShow, ours: &[Value], data: &Path, channel: &str) -> Result<()> {
    for file in [
        format!("v0.1.8/{channel}/policy.networking.k8s.io_adminnetworkpolicies.yaml"),
        format!("v0.1.8/{channel}/policy.networking.k8s.io_baselineadminnetworkpolicies.yaml"),
        format!("v0.2.0/{channel}/policy.networking.k8s.io_clusternetworkpolicies.yaml"),
    ] {
        let path = data.join("crds").join(file);
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let definition: Value = serde_saphyr::from_str(&text)?;
        let replaced = show.objects.replace(&definition, |found| found["spec"] = definition["spec"].clone());
        replaced.await.with_context(|| path.display().to_string())?;
    }
    let theirs = show.objects.list(DEFINITIONS).await?;
    let differing = ours.iter().zip(&theirs).filter(|(one, other)| one["spec"] != other["spec"]).count();
    ensure!(differing == 3, "{differing} definitions differ");

    let kubectl = show.kubectl()?;
    let open = obeyed(show).await.context("without policies")?;
    kubectl.run(&["apply", "-f", &samples().to_string_lossy()], "").await?;
    let closed = obeyed(show).await.context("with the samples")?;
    ensure!(closed != open, "the samples change nothing");
    let accepted = |object: &Value| status::is(object, "Accepted", "True");
    for kind in ADMIN_KINDS {
        let policies = show.objects.list(kind).await?;
        ensure!(!policies.is_empty(), "the samples have no {}", kind.1);
        show.objects.all_are(kind, policies.len(), "Accepted", LIMIT, accepted).await?;
    }
    kubectl.run(&["delete", "-f", &samples().to_string_lossy()], "").await?;
    counted(show, &ADMIN_KINDS.map(|(_, kind)| kind)).await?;
    Ok(())
}

/// Makes definitions again what they were: a cluster may outlive its test.
async fn put_back(show: &ApiShow, definitions: &[Value]) -> Result<()> {
    for definition in definitions {
        show.objects.replace(definition, |found| found["spec"] = definition["spec"].clone()).await?;
    }
    Ok(())
}

/// An object that is not understood in one place.
struct Case {
    what: &'static str,
    object: Value,
    /// The field that its status names.
    field: &'static str,
    /// Whether shop/api reaches the DNS server beside it.
    is_allowed: bool,
}

fn admin(name: &str, rest: &Value) -> Value {
    let mut spec = json!({
        "priority": 0,
        "subject": {"pods": {"namespaceSelector": {"matchLabels": {"tenant": "shop"}}, "podSelector": {}}},
    });
    for (field, value) in rest.as_object().into_iter().flatten() {
        spec[field] = value.clone();
    }
    json!({
        "apiVersion": "policy.networking.k8s.io/v1alpha1", "kind": "AdminNetworkPolicy",
        "metadata": {"name": name}, "spec": spec,
    })
}

fn cluster(name: &str, rest: &Value) -> Value {
    let mut object = admin(name, rest);
    object["apiVersion"] = "policy.networking.k8s.io/v1alpha2".into();
    object["kind"] = "ClusterNetworkPolicy".into();
    object["spec"]["tier"] = "Admin".into();
    object
}

fn cases() -> Vec<Case> {
    let everyone = json!([{"namespaces": {}}]);
    let unknown = json!([{"planets": {}}]);
    let baseline = |egress: Value| {
        let mut object = admin("default", &json!({"egress": egress}));
        object["kind"] = "BaselineAdminNetworkPolicy".into();
        if let Some(spec) = object["spec"].as_object_mut() {
            spec.remove("priority");
        }
        object
    };
    vec![
        Case {
            what: "a Deny to a peer from the future denies everything",
            object: admin("newer", &json!({"egress": [{"action": "Deny", "to": unknown}]})),
            field: "spec.egress[0].to[0]",
            is_allowed: false,
        },
        Case {
            what: "an Allow to a peer from the future allows nothing",
            object: admin(
                "newer",
                &json!({"egress": [{"action": "Allow", "to": unknown}, {"action": "Deny", "to": everyone}]}),
            ),
            field: "spec.egress[0].to[0]",
            is_allowed: false,
        },
        Case {
            what: "a Deny to ports from the future denies all ports",
            object: cluster(
                "newer",
                &json!({"egress": [{"action": "Deny", "to": everyone, "protocols": [{"quic": {}}]}]}),
            ),
            field: "spec.egress[0].protocols[0]",
            is_allowed: false,
        },
        Case {
            what: "an action from the future denies",
            object: cluster("newer", &json!({"egress": [{"action": "Ponder", "to": everyone}]})),
            field: "spec.egress[0].action",
            is_allowed: false,
        },
        Case {
            what: "an unknown subject selects nothing",
            object: admin(
                "newer",
                &json!({"subject": {"planets": {}}, "egress": [{"action": "Deny", "to": everyone}]}),
            ),
            field: "spec.subject",
            is_allowed: true,
        },
        Case {
            what: "the baseline, too, fails closed",
            object: baseline(json!([{"action": "Deny", "to": unknown}])),
            field: "spec.egress[0].to[0]",
            is_allowed: false,
        },
        Case {
            what: "a priority that is none: what can be read is in effect",
            object: admin(
                "malformed",
                &json!({"priority": "high", "egress": [{"action": "Deny", "to": everyone}]}),
            ),
            field: "spec.priority",
            is_allowed: false,
        },
    ]
}

async fn not_understood(directory: Arc<RunDir>) -> Result<()> {
    let show = ApiShow::start(Kind::chosen()?, directory.path(), 1).await?;
    let before = show.objects.list(DEFINITIONS).await?;
    let outcome = fails_closed(&show).await;
    put_back(&show, &before).await?;
    outcome
}

async fn fails_closed(show: &ApiShow) -> Result<()> {
    let_everything_through(show).await?;
    let flood = show.stage.flood("shop/api", "kube-system/dns", FLOOD).await?;
    let limit = scaled(Duration::from_secs(10));
    flood.steady(true, limit).await?;
    for Case { what, object, field, is_allowed } in cases() {
        let mark = show.objects.put(&object).await.context(what)?;
        show.installation.settled(&[mark]).await.context(what)?;
        flood.steady(is_allowed, limit).await.context(what)?;
        says(show, &object, field).await.context(what)?;
        let mark = show.objects.delete(&object).await?.context("it was there")?;
        show.installation.settled(&[mark]).await.context(what)?;
        flood.steady(true, limit).await.with_context(|| format!("after: {what}"))?;
    }

    // What was good stays in force when it is spoilt, and what repairs it takes effect.
    let good = admin("spoilt", &json!({"egress": [{"action": "Deny", "to": [{"namespaces": {}}]}]}));
    show.installation.settled(&[show.objects.put(&good).await?]).await?;
    flood.steady(false, limit).await?;
    let spoilt = admin("spoilt", &json!({"subject": 5, "egress": []}));
    show.installation.settled(&[show.objects.put(&spoilt).await?]).await?;
    says(show, &spoilt, "spec.subject").await?;
    flood.steady(false, limit).await.context("its last good content stays in force")?;
    let repaired = admin("spoilt", &json!({"egress": [{"action": "Allow", "to": [{"namespaces": {}}]}]}));
    show.installation.settled(&[show.objects.put(&repaired).await?]).await?;
    flood.steady(true, limit).await?;
    let accepted = |object: &Value| status::is(object, "Accepted", "True");
    show.objects.wait(&repaired, "Accepted", LIMIT, accepted).await?;
    Ok(())
}

/// Waits until the status of the present generation refuses it and names the field.
async fn says(show: &ApiShow, object: &Value, field: &str) -> Result<()> {
    let refused = |object: &Value| {
        let condition = status::condition(object, "Accepted");
        condition.is_some_and(|condition| {
            condition["status"] == "False"
                && condition["message"].as_str().is_some_and(|message| message.contains(field))
        })
    };
    show.objects.wait(object, &format!("Accepted is False and names {field}"), LIMIT, refused).await?;
    Ok(())
}

/// As many as an unoptimised build takes in the time of a test; `palisade-e2e scale` takes the whole.
async fn many(directory: Arc<RunDir>) -> Result<()> {
    let show = ApiShow::start(Kind::chosen()?, directory.path(), 1).await?;
    let figures = scale::measure(&show, 1000, 200, Order::PodsFirst).await?;
    println!("{figures}");
    let with_status = u64::try_from(figures.with_status)?;
    // A real API server does not say how often it was asked.
    if let Some(writes) = figures.status_writes {
        // A policy that a busy machine enforces late is said to be waited for first: that may happen, but not as a rule.
        ensure!(writes <= with_status * 3 / 2, "more than a status write a policy: {figures}");
    }
    ensure!(figures.event_writes.unwrap_or_default() == 0, "Events where nothing is wrong: {figures}");
    Ok(())
}
