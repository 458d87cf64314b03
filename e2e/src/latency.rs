//! The time from a manifest's rename to packets that obey it.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::rundir::RunDir;
use crate::show::Show;
use crate::traffic::scaled;

const PORT: u16 = 9999;

/// Measures that many changes, every other one from deny to allow, and writes the figures.
pub async fn run(changes: usize, json: Option<&Path>) -> Result<()> {
    let directory = RunDir::new()?;
    let show = Show::start(directory.path()).await?;
    // Ports come round again after some seconds: by then the node must have forgotten the flow.
    for node in show.state.nodes.keys() {
        let forget = &[
            ("netfilter/nf_conntrack_udp_timeout", "2"),
            ("netfilter/nf_conntrack_udp_timeout_stream", "2"),
        ];
        show.cluster.node(node)?.sysctl(forget).await?;
    }
    let flood = show.flood("shop/api", "kube-system/dns", PORT).await?;
    let limit = scaled(Duration::from_secs(5));
    flood.steady(true, limit).await?;

    let mut times = [Vec::new(), Vec::new()];
    for change in 0..changes {
        let is_allowed = change % 2 == 1;
        let text = policy(if is_allowed { "Allow" } else { "Deny" });
        show.manifests.write("latency.yaml", &text)?;
        let written = Instant::now();
        let time =
            flood.obeyed(written, is_allowed, limit).await.with_context(|| format!("change {change}"))?;
        times[usize::from(is_allowed)].push(time);
    }
    let [to_deny, to_allow] = times;
    let all: Vec<Duration> = to_deny.iter().chain(&to_allow).copied().collect();
    let figures = json!({
        "what": "from a manifest's rename to packets that obey it, in milliseconds",
        "changes": changes,
        "all": figures(all),
        "to_deny": figures(to_deny),
        "to_allow": figures(to_allow),
    });
    println!("from a manifest's rename to packets that obey it, {changes} live changes, 2 nodes");
    for (name, key) in [("all", "all"), ("allow -> deny", "to_deny"), ("deny -> allow", "to_allow")] {
        let number = |percentile: &str| figures[key][percentile].as_f64().unwrap_or(f64::NAN);
        println!(
            "  {name:<14} p50 {:>6.1} ms   p99 {:>6.1} ms   max {:>6.1} ms",
            number("p50"),
            number("p99"),
            number("max")
        );
    }
    match json {
        Some(path) => {
            std::fs::write(path, format!("{figures:#}\n")).with_context(|| path.display().to_string())?;
        }
        None => println!("{figures}"),
    }
    Ok(())
}

fn policy(action: &str) -> String {
    format!(
        "apiVersion: policy.networking.k8s.io/v1alpha1\nkind: AdminNetworkPolicy\nmetadata: {{name: latency}}\nspec:\n  \
         priority: 0\n  subject: {{namespaces: {{matchLabels: {{tenant: shop}}}}}}\n  egress:\n    \
         - {{action: {action}, to: [{{namespaces: {{}}}}]}}\n"
    )
}

fn figures(mut times: Vec<Duration>) -> Value {
    times.sort();
    let at = |hundredths: usize| {
        let rank = (times.len() * hundredths).div_ceil(100).saturating_sub(1);
        times.get(rank).map(|time| (time.as_secs_f64() * 1e5).round() / 100.0)
    };
    json!({"count": times.len(), "p50": at(50), "p99": at(99), "max": at(100)})
}
