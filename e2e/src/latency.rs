//! The time from a change to packets that obey it: a manifest's rename, or a request to the API server.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::control_plane::Kind;
use crate::rundir::RunDir;
use crate::show::{ApiShow, Show, Stage};
use crate::traffic::scaled;

const PORT: u16 = 9999;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Manifests,
    Api,
}

impl Source {
    fn what(self) -> &'static str {
        match self {
            Self::Manifests => "from a manifest's rename to packets that obey it",
            Self::Api => "from sending a patch to the API server to packets that obey it",
        }
    }
}

/// Measures that many changes of each source, every other one from deny to allow, and writes the figures.
pub async fn run(changes: usize, json: Option<&Path>) -> Result<()> {
    let mut all = serde_json::Map::new();
    for (name, source) in [("manifests", Source::Manifests), ("api", Source::Api)] {
        let figures = measure(source, changes).await.with_context(|| name.to_owned())?;
        println!("{}, {changes} live changes, 2 nodes", source.what());
        for (name, key) in [("all", "all"), ("allow -> deny", "to_deny"), ("deny -> allow", "to_allow")] {
            let number = |percentile: &str| figures[key][percentile].as_f64().unwrap_or(f64::NAN);
            println!(
                "  {name:<14} p50 {:>6.1} ms   p99 {:>6.1} ms   max {:>6.1} ms",
                number("p50"),
                number("p99"),
                number("max")
            );
        }
        all.insert(name.to_owned(), figures);
    }
    let figures = Value::Object(all);
    match json {
        Some(path) => {
            std::fs::write(path, format!("{figures:#}\n")).with_context(|| path.display().to_string())?;
        }
        None => println!("{figures}"),
    }
    Ok(())
}

async fn measure(source: Source, changes: usize) -> Result<Value> {
    let directory = RunDir::new()?;
    let [to_deny, to_allow] = match source {
        Source::Manifests => {
            let show = Show::start(directory.path()).await?;
            let edit = async |is_allowed| {
                show.manifests.write("latency.yaml", &policy(is_allowed).to_string())?;
                Ok(Instant::now())
            };
            times(&show.stage, changes, edit).await?
        }
        Source::Api => {
            let show = ApiShow::start(Kind::chosen()?, directory.path(), 1).await?;
            show.installation.settled(&[show.objects.put(&policy(true)).await?]).await?;
            let edit = async |is_allowed| {
                let policy = policy(is_allowed);
                let sent = Instant::now();
                show.objects.merge(&policy, &json!({"spec": policy["spec"]})).await?;
                Ok(sent)
            };
            times(&show.stage, changes, edit).await?
        }
    };
    let all: Vec<Duration> = to_deny.iter().chain(&to_allow).copied().collect();
    Ok(json!({
        "what": format!("{}, in milliseconds", source.what()),
        "changes": changes,
        "all": figures(all),
        "to_deny": figures(to_deny),
        "to_allow": figures(to_allow),
    }))
}

/// Makes changes one after the other; an edit gives the moment from which its time counts. Gives the times of those
/// to deny and of those to allow.
async fn times(
    stage: &Stage,
    changes: usize,
    edit: impl AsyncFn(bool) -> Result<Instant>,
) -> Result<[Vec<Duration>; 2]> {
    // Ports come round again after some seconds: by then the node must have forgotten the flow.
    for node in stage.state.nodes.keys() {
        let forget = &[
            ("netfilter/nf_conntrack_udp_timeout", "2"),
            ("netfilter/nf_conntrack_udp_timeout_stream", "2"),
        ];
        stage.cluster.node(node)?.sysctl(forget).await?;
    }
    let flood = stage.flood("shop/api", "kube-system/dns", PORT).await?;
    let limit = scaled(Duration::from_secs(5));
    flood.steady(true, limit).await?;
    let mut times = [Vec::new(), Vec::new()];
    for change in 0..changes {
        let is_allowed = change % 2 == 1;
        let made = edit(is_allowed).await.with_context(|| format!("change {change}"))?;
        let time = flood.obeyed(made, is_allowed, limit).await.with_context(|| format!("change {change}"))?;
        times[usize::from(is_allowed)].push(time);
    }
    Ok(times)
}

fn policy(is_allowed: bool) -> Value {
    let action = if is_allowed { "Allow" } else { "Deny" };
    json!({
        "apiVersion": "policy.networking.k8s.io/v1alpha1",
        "kind": "AdminNetworkPolicy",
        "metadata": {"name": "latency"},
        "spec": {
            "priority": 0,
            "subject": {"namespaces": {"matchLabels": {"tenant": "shop"}}},
            "egress": [{"action": action, "to": [{"namespaces": {}}]}],
        },
    })
}

fn figures(mut times: Vec<Duration>) -> Value {
    times.sort();
    let at = |hundredths: usize| {
        let rank = (times.len() * hundredths).div_ceil(100).saturating_sub(1);
        times.get(rank).map(|time| (time.as_secs_f64() * 1e5).round() / 100.0)
    };
    json!({"count": times.len(), "p50": at(50), "p99": at(99), "max": at(100)})
}
