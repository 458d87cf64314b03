//! The node around the table: bridges that bypass it, sysctls, what the kernel says of its modules. Only reads.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use tokio::process::Command;

use super::report::{Report, Status};
use crate::process;

const BRIDGE_REMEDY: &str = "modprobe br_netfilter; sysctl -w net.bridge.bridge-nf-call-iptables=1 net.bridge.bridge-nf-call-ip6tables=1";

const LIMIT: Duration = Duration::from_secs(5);

/// A bridge of this network namespace.
#[derive(Debug, PartialEq, Eq)]
struct Bridge {
    name: String,
    ports: usize,
}

/// Where the kernel tells about itself.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// `/proc`
    pub proc: PathBuf,
    /// `/sys`
    pub sys: PathBuf,
}

impl Default for Surroundings {
    fn default() -> Self {
        Self { proc: "/proc".into(), sys: "/sys".into() }
    }
}

impl Surroundings {
    pub(super) async fn look(&self, report: &mut Report) {
        self.conntrack(report);
        self.forwarding(report);
        let bridges = match self.bridges_by_sys() {
            Some(bridges) => Some(bridges),
            None => bridges_by_ip().await,
        };
        self.bridges(bridges, report);
    }

    /// Whether iptables' own queue target is there; it stands in for nft's queue expression.
    pub(super) fn has_xt_queue(&self) -> bool {
        fs::read_to_string(self.proc.join("net/ip_tables_targets"))
            .is_ok_and(|targets| targets.lines().any(|target| target == "NFQUEUE"))
    }

    fn sysctl(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.proc.join("sys/net").join(path)).ok().map(|text| text.trim().to_owned())
    }

    fn conntrack(&self, report: &mut Report) {
        const NEED: &str = "connection tracking table";
        let read = |name: &str| -> Option<u64> { self.sysctl(&format!("netfilter/{name}"))?.parse().ok() };
        // Outside the first namespace the limit may be hidden; without the module both are.
        match (read("nf_conntrack_count"), read("nf_conntrack_max")) {
            (Some(count), Some(most)) if count.saturating_mul(10) >= most.saturating_mul(9) => report.add(
                NEED,
                format!("{count} of {most} entries"),
                Status::Warning,
                "new connections will be dropped soon: raise net.netfilter.nf_conntrack_max",
            ),
            (Some(count), Some(most)) => {
                report.add(NEED, format!("{count} of {most} entries"), Status::Ok, "");
            }
            (Some(count), None) => report.add(NEED, format!("{count} entries"), Status::Ok, ""),
            (None, _) => report.add(
                NEED,
                "not loaded yet; the table loads it",
                Status::Info,
                "modprobe nf_conntrack, if the table does not load",
            ),
        }
    }

    fn forwarding(&self, report: &mut Report) {
        for (need, path, name) in [
            ("IPv4 forwarding", "ipv4/ip_forward", "net.ipv4.ip_forward"),
            ("IPv6 forwarding", "ipv6/conf/all/forwarding", "net.ipv6.conf.all.forwarding"),
        ] {
            match self.sysctl(path).as_deref() {
                None => report.add(need, "no such protocol here", Status::Info, ""),
                Some("0") => report.add(
                    need,
                    "off",
                    Status::Warning,
                    format!("pods of this family reach nobody off the node: sysctl -w {name}=1"),
                ),
                Some(_) => report.add(need, "on", Status::Ok, ""),
            }
        }
    }

    /// Packets between two ports of a bridge pass the table only if `br_netfilter` takes them there.
    fn bridges(&self, bridges: Option<Vec<Bridge>>, report: &mut Report) {
        const NEED: &str = "bridged packets are filtered";
        let Some(bridges) = bridges else {
            report.add(
                NEED,
                "not known: /sys shows another network namespace, and iproute2 is not here",
                Status::Warning,
                format!("if pods share a bridge here: {BRIDGE_REMEDY}"),
            );
            return;
        };
        if bridges.is_empty() {
            report.add(NEED, "no bridge here", Status::Ok, "");
            return;
        }
        let names = bridges.iter().map(|bridge| bridge.name.as_str()).collect::<Vec<_>>().join(", ");
        let off: Vec<&str> = ["bridge-nf-call-iptables", "bridge-nf-call-ip6tables"]
            .into_iter()
            .filter(|name| self.sysctl(&format!("bridge/{name}")).is_none_or(|value| value == "0"))
            .collect();
        if off.is_empty() {
            report.add(NEED, format!("yes ({names})"), Status::Ok, "");
            return;
        }
        let found =
            format!("NO: pods on one bridge ({names}) reach each other unfiltered; off: {}", off.join(", "));
        // An empty bridge, such as an idle container runtime leaves, lets nothing through yet.
        let used = bridges.iter().any(|bridge| bridge.ports > 0);
        let status = if used { Status::Missing } else { Status::Warning };
        report.add(NEED, found, status, BRIDGE_REMEDY);
    }

    /// `None`: /sys was mounted for another network namespace.
    fn bridges_by_sys(&self) -> Option<Vec<Bridge>> {
        let entries = |path: PathBuf| -> BTreeSet<String> {
            let names = fs::read_dir(path).into_iter().flatten().flatten();
            names.filter_map(|entry| entry.file_name().into_string().ok()).collect()
        };
        let class = self.sys.join("class/net");
        let shown = entries(class.clone());
        // The listing of /proc always belongs to the reader's own namespace.
        let devices = fs::read_to_string(self.proc.join("net/dev")).ok()?;
        let own: BTreeSet<String> = devices
            .lines()
            .filter_map(|line| line.split_once(':'))
            .map(|(name, _)| name.trim().to_owned())
            .collect();
        // /sys also lists files that are no interface, such as bonding_masters.
        let shown: BTreeSet<String> =
            shown.into_iter().filter(|name| class.join(name).join("ifindex").exists()).collect();
        if shown != own {
            return None;
        }
        let bridges = own.into_iter().filter(|name| class.join(name).join("bridge").exists());
        let ports = |name: &str| entries(class.join(name).join("brif")).len();
        Some(bridges.map(|name| Bridge { ports: ports(&name), name }).collect())
    }
}

/// What iproute2 says, for where /sys cannot tell. `None`: neither can it.
async fn bridges_by_ip() -> Option<Vec<Bridge>> {
    let list = async |kind: &str| {
        let mut command = Command::new("ip");
        command.args(["-oneline", "link", "show", "type", kind]).env("LC_ALL", "C");
        let output = process::run(command, "", LIMIT).await.ok()?;
        output.status.success().then_some(output.stdout)
    };
    Some(parse_bridges(&list("bridge").await?, &list("bridge_slave").await?))
}

/// From iproute2's one-line listings of bridges and of their ports.
fn parse_bridges(bridges: &str, ports: &str) -> Vec<Bridge> {
    let masters: Vec<&str> = ports
        .lines()
        .filter_map(|line| line.split_whitespace().skip_while(|word| *word != "master").nth(1))
        .collect();
    bridges
        .lines()
        .filter_map(|line| line.split(": ").nth(1))
        .map(|name| {
            let ports = masters.iter().filter(|master| **master == name).count();
            Bridge { name: name.to_owned(), ports }
        })
        .collect()
}

#[cfg(test)]
mod tests;
