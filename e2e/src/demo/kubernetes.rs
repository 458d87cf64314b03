//! The demo on the Kubernetes API, with the real kubectl.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::terminal::{Terminal, Typed};
use super::{EDIT, STREAM_PORT, millis, reasons, seconds, verdict};
use crate::api::ADMIN_KINDS;
use crate::clock::Clock;
use crate::control_plane::Kind;
use crate::report::Paint;
use crate::rundir::RunDir;
use crate::show::{ApiShow, topology};
use crate::status;
use crate::traffic::scaled;

/// How long a status may take to say what it has to.
const LIMIT: Duration = Duration::from_secs(20);

/// A policy that the API server takes, for any word may be an operator there, and that means nothing as it is.
const MISTAKE: &str = "\
apiVersion: policy.networking.k8s.io/v1alpha1
kind: AdminNetworkPolicy
metadata:
  name: quarantine
spec:
  priority: 5
  subject:
    pods:
      namespaceSelector: {}
      podSelector:
        matchExpressions:
          - {key: quarantined, operator: exists}
  ingress:
    - {name: nobody, action: Deny, from: [{namespaces: {}}]}
";

/// Takes the mistake back.
const REPAIR: &str = r#"[{"op": "replace", "path": "/spec/subject/pods/podSelector/matchExpressions/0/operator", "value": "Exists"}]"#;

/// Takes the live edit back.
const RELENT: &str = r#"[{"op": "replace", "path": "/spec/egress/0/action", "value": "Allow"}]"#;

/// Runs the demo; false if anything came out otherwise than it has to.
pub async fn run(samples: &Path) -> Result<bool> {
    let paint = Paint::of_terminal();
    let began = Instant::now();
    let directory = RunDir::new()?;
    println!(
        "{}",
        paint.head("Two nodes, six pods, a host outside: network namespaces that vanish with this process")
    );
    let show = ApiShow::start(Kind::chosen()?, directory.path(), 1).await?;
    let terminal = Terminal::new(show.kubectl()?, paint);
    print!("{}", topology(&show.stage.state, paint)?);
    let up = seconds(began.elapsed());
    println!("  {}\n", paint.dim(&format!("{}, operator and two nodes up after {up}", served_by(&show))));

    let mut is_good = shown(before(&show, &terminal, paint).await, paint);
    is_good &= shown(after(&show, &terminal, samples, paint).await, paint);
    println!("{}", paint.head("Why, as the operator explains it (/debug/explain)"));
    is_good &= shown(reasons(&show.stage, show.installation.admin().await?, paint).await, paint);
    println!("{}", paint.head("A mistake: the API server takes it, the policy's status says what is wrong"));
    is_good &= shown(mistake(&show, &terminal).await, paint);
    println!("\n{}", paint.head("A live edit: an administrator silences shop/api, then takes that back"));
    is_good &= shown(live_edit(&show, &terminal, paint).await, paint);
    drop(show);
    println!("{}", paint.dim(&format!("done and cleaned up in {}", seconds(began.elapsed()))));
    Ok(is_good)
}

/// Whether a part came out as it has to; says why not.
fn shown(part: Result<bool>, paint: Paint) -> bool {
    part.unwrap_or_else(|error| {
        println!("  {}", paint.bad(&format!("otherwise than it has to be: {error:#}")));
        false
    })
}

fn served_by(show: &ApiShow) -> &'static str {
    match show.access.plane.kind() {
        Kind::Dev => "development API server",
        Kind::Assets => "kube-apiserver",
        Kind::Kubeconfig => "the API server of KUBECONFIG",
    }
}

async fn before(show: &ApiShow, terminal: &Terminal, paint: Paint) -> Result<bool> {
    println!("{}", paint.head("Before: no policy, everything reaches everything"));
    let typed = terminal.types(&["get", "nodes,pods", "--all-namespaces"]).await?;
    contains(
        &typed,
        show.stage.state.pods.keys().filter_map(|name| name.split_once('/').map(|(_, pod)| pod)),
    )?;
    println!();
    let matrix = show.matrix().await?;
    print!("{}", matrix.text(paint));
    println!("  {}\n", verdict(&matrix, paint));
    Ok(matrix.differences.is_empty())
}

async fn after(show: &ApiShow, terminal: &Terminal, samples: &Path, paint: Paint) -> Result<bool> {
    println!("{}", paint.head(&format!("After: the policies of {}", samples.display())));
    let typed = terminal.types(&["apply", "-f", &samples.to_string_lossy()]).await?;
    ensure!(typed.said.status.success(), "kubectl failed");
    show.installation.settled(&show.marks().await?).await?;
    let obeyed = typed.ended.elapsed();
    show.programmed(LIMIT).await?;
    let reported = typed.ended.elapsed();
    println!();
    let typed = terminal.types(&["get", "anp,banp,cnp,netpol", "--all-namespaces"]).await?;
    for kind in ADMIN_KINDS {
        for object in show.objects.list(kind).await? {
            let name = object["metadata"]["name"].as_str().context("an object without name")?;
            let line = typed.said.output.lines().find(|line| line.contains(&format!("/{name} ")));
            let line = line.with_context(|| format!("kubectl does not show {name}"))?;
            ensure!(line.matches("True").count() == 2, "kubectl shows {name} not as in force: {line}");
        }
    }
    println!();
    let matrix = show.matrix().await?;
    print!("{}", matrix.text(paint));
    println!(
        "  {}; both nodes known to obey {} after kubectl was done, every status after {}\n",
        verdict(&matrix, paint),
        millis(obeyed),
        millis(reported)
    );
    Ok(matrix.differences.is_empty())
}

async fn mistake(show: &ApiShow, terminal: &Terminal) -> Result<bool> {
    let policy: Value = serde_saphyr::from_str(MISTAKE)?;
    let typed = terminal.types_in(&["apply", "-f", "-"], MISTAKE).await?;
    ensure!(typed.said.status.success(), "kubectl failed");
    let refused = |object: &Value| status::is(object, "Accepted", "False");
    show.objects.wait(&policy, "Accepted is False", LIMIT, refused).await?;
    show.objects.appears(("v1", "Event"), "involvedObject.name=quarantine", LIMIT).await?;
    let typed = terminal.types(&["describe", "anp", "quarantine"]).await?;
    contains(
        &typed,
        [
            "spec.subject.pods.podSelector.matchExpressions[0].operator",
            "the operator \"exists\" is not known",
            "write one of `In`, `NotIn`, `Exists`, `DoesNotExist`",
            "Events:",
        ],
    )?;
    let events = typed.said.output.split("Events:").nth(1).unwrap_or_default();
    ensure!(events.contains("Warning"), "the policy has no Event");
    let typed = terminal.types(&["patch", "anp", "quarantine", "--type=json", "-p", REPAIR]).await?;
    ensure!(typed.said.status.success(), "kubectl failed");
    let in_force =
        |object: &Value| status::is(object, "Accepted", "True") && status::is(object, "Programmed", "True");
    show.objects.wait(&policy, "Accepted and Programmed are True", LIMIT, in_force).await?;
    let typed = terminal.types(&["get", "anp", "quarantine"]).await?;
    in_force_by(&typed)?;
    Ok(true)
}

async fn live_edit(show: &ApiShow, terminal: &Terminal, paint: Paint) -> Result<bool> {
    let limit = scaled(Duration::from_secs(5));
    let policy: Value = serde_saphyr::from_str(EDIT)?;
    let clock = Clock::start(&show.objects, &policy)?;
    // The DNS server accepts from everyone, so that only the edit decides.
    let flood = show.stage.flood("shop/api", "kube-system/dns", STREAM_PORT).await?;
    flood.steady(true, limit).await?;

    let relent = ["patch", "anp", "live-edit", "--type=json", "-p", RELENT];
    let edits: [(&[&str], &str, bool); 2] = [(&["apply", "-f", "-"], EDIT, false), (&relent, "", true)];
    for ((arguments, input, is_allowed), generation) in edits.into_iter().zip(1..) {
        let typed = terminal.types_in(arguments, input).await?;
        ensure!(typed.said.status.success(), "kubectl failed");
        let told = clock.generation(generation).await?;
        let time = flood.obeyed(told, is_allowed, limit).await?;
        let shown = clock.programmed(generation).await?;
        let what = if is_allowed { "packets pass" } else { "packets stop" };
        println!(
            "  {what} {} after the API server told of it, `kubectl get` shows it after {} {}",
            paint.good(&millis(time)),
            millis(shown.duration_since(told)),
            paint.dim(&format!("(kubectl itself took {})", millis(typed.took))),
        );
        let typed = terminal.types(&["get", "anp", "live-edit"]).await?;
        in_force_by(&typed)?;
        println!();
    }
    Ok(true)
}

/// Whether the only object that kubectl shows is accepted and programmed.
fn in_force_by(typed: &Typed) -> Result<()> {
    let line = typed.said.output.lines().nth(1).unwrap_or_default();
    ensure!(line.matches("True").count() == 2, "kubectl shows it not as in force: {line}");
    Ok(())
}

fn contains<'a>(typed: &Typed, needles: impl IntoIterator<Item = &'a str>) -> Result<()> {
    ensure!(typed.said.status.success(), "kubectl failed");
    // What kubectl wraps is one line to a reader.
    let text = typed.said.output.split_whitespace().collect::<Vec<_>>().join(" ");
    for needle in needles {
        ensure!(text.contains(needle), "kubectl does not show `{needle}`");
    }
    Ok(())
}
