//! nft and the kernel behind it: every expression the table uses is really loaded, into a network namespace that
//! nobody sees. Knows nothing of bridges and sysctls.

use std::path::Path;
use std::time::Duration;

use palisade_ruleset::skeleton;
use tokio::process::Command;

use super::report::{Report, Status};
use super::surroundings::Surroundings;
use crate::process::{self, Output, RunError};

/// The oldest nft that is accepted. Whether this one and the kernel really take the table is the next lines' matter.
pub const MINIMUM_NFT: (u32, u32, u32) = (0, 9, 9);

const INSTALL: &str = "apt-get install nftables";
const KERNEL: &str = "use a kernel of 5.10 or later with CONFIG_NF_TABLES_INET and its nft_* modules";
const LIMIT: Duration = Duration::from_secs(10);

/// A kernel feature and a rule or set that needs it.
struct Feature {
    need: &'static str,
    remedy: &'static str,
    body: &'static str,
}

/// What the table is made of, one by one: looked at only if the table as a whole does not load, to tell why.
const PARTS: [Feature; 5] = [
    Feature {
        need: "connection tracking (ct state)",
        remedy: "modprobe nf_conntrack nft_ct",
        body: "chain c {\n type filter hook forward priority -5\n ct state established accept\n }",
    },
    Feature {
        need: "concatenated maps",
        remedy: KERNEL,
        body: "map m {\n type classid . ipv4_addr : classid\n }\n chain c {\n meta priority set meta priority . ip saddr map @m accept\n }",
    },
    Feature {
        need: "ranged sets",
        remedy: KERNEL,
        body: "set s {\n type classid . inet_service\n flags interval\n }\n chain c {\n meta l4proto 6 meta priority . th dport @s accept\n }",
    },
    Feature {
        need: "ranged maps",
        remedy: KERNEL,
        body: "map m {\n type ipv6_addr : classid\n flags interval\n }\n chain c {\n meta priority set ip6 daddr map @m accept\n }",
    },
    Feature {
        need: "meta priority set from a map",
        remedy: KERNEL,
        body: "map m {\n type ipv4_addr : classid\n }\n chain d {\n }\n chain c {\n meta priority set ip saddr map @m goto d\n }",
    },
];

/// What later parts of Palisade use where it is there.
const EXTRAS: [(&str, Feature); 3] = [
    (
        "ct-label",
        Feature {
            need: "ct label (cutting living flows)",
            remedy: "modprobe nf_conntrack with CONFIG_NF_CONNTRACK_LABELS",
            body: "chain c {\n ct label set 127\n }",
        },
    ),
    (
        "fib",
        Feature {
            need: "fib (kube-proxy in ipvs mode)",
            remedy: "modprobe nft_fib_inet",
            body: "chain c {\n type filter hook output priority -5\n fib saddr type local accept\n }",
        },
    ),
    (
        "queue-native",
        Feature {
            need: "nft queue expression",
            remedy: "modprobe nft_queue",
            body: "chain c {\n type filter hook forward priority -5\n queue num 100\n }",
        },
    ),
];

pub(super) async fn look(nft: &Path, surroundings: &Surroundings, report: &mut Report) {
    let version = version(nft, report).await;
    let Some(sandbox) = Sandbox::find(nft, version.is_some(), report).await else {
        let unseen = "not looked at: nft cannot be run here";
        report.add("the table inet palisade", unseen, Status::Unknown, "see the lines above");
        return;
    };
    let skeleton = skeleton::build().to_json();
    // At once: a starting shim has policies to fetch.
    let [first, second, third] = &EXTRAS;
    let (table, first, second, third) = tokio::join!(
        sandbox.loads(&["-j", "-f", "-"], &skeleton),
        sandbox.has(&first.1),
        sandbox.has(&second.1),
        sandbox.has(&third.1),
    );
    let (found, status) = match &table {
        Ok(()) => (format!("loads ({})", sandbox.name()), Status::Ok),
        Err(error) => (error.clone(), Status::Missing),
    };
    let remedy = if table.is_ok() { "" } else { "see the lines below for what the kernel lacks" };
    report.add("the table inet palisade", found, status, remedy);
    for feature in PARTS {
        // The whole loaded, so each part is there.
        let part = if table.is_ok() { Ok(()) } else { sandbox.has(&feature).await };
        match part {
            Ok(()) => report.add(feature.need, "yes", Status::Ok, ""),
            Err(error) => report.add(feature.need, error, Status::Missing, feature.remedy),
        }
    }
    for ((name, feature), answer) in EXTRAS.into_iter().zip([first, second, third]) {
        if answer.is_ok() {
            report.capabilities.push(name.to_owned());
        }
        match answer {
            Ok(()) => report.add(feature.need, "yes", Status::Info, ""),
            Err(_) if name == "queue-native" => {
                let xt = surroundings.has_xt_queue();
                if xt {
                    report.capabilities.push("queue-xt".to_owned());
                }
                let found = if xt { "none; the xt target NFQUEUE is there" } else { "none" };
                report.add(feature.need, found, Status::Info, feature.remedy);
            }
            Err(_) => report.add(feature.need, "none", Status::Info, feature.remedy),
        }
    }
}

async fn version(nft: &Path, report: &mut Report) -> Option<(u32, u32, u32)> {
    let need = format!("nft {}.{}.{} or later", MINIMUM_NFT.0, MINIMUM_NFT.1, MINIMUM_NFT.2);
    let mut command = Command::new(nft);
    command.arg("--version").env("LC_ALL", "C");
    let output = match process::run(command, "", LIMIT).await {
        Ok(output) => output,
        Err(failure) => {
            let remedy = format!("{INSTALL}, or name the binary with --nft");
            report.add(&need, format!("{}: {}", nft.display(), failed(&failure)), Status::Missing, remedy);
            return None;
        }
    };
    let Some(version) = parse_version(&output.stdout) else {
        let said = if output.stdout.is_empty() { &output.stderr } else { &output.stdout };
        report.add(&need, format!("a version that reads `{}`", first_line(said)), Status::Unknown, INSTALL);
        return None;
    };
    let found = format!("{}.{}.{}", version.0, version.1, version.2);
    report.capabilities.push(format!("nft-{found}"));
    let enough = version >= MINIMUM_NFT;
    let (status, remedy) = if enough { (Status::Ok, "") } else { (Status::Missing, INSTALL) };
    report.add(&need, found, status, remedy);
    Some(version)
}

/// `nftables v1.0.6 (Lester Gooch #5)`
fn parse_version(text: &str) -> Option<(u32, u32, u32)> {
    let word = text.split_whitespace().find_map(|word| word.strip_prefix('v'))?;
    let mut numbers = word.split('.').map(str::parse);
    let mut next = || numbers.next()?.ok();
    Some((next()?, next()?, next().unwrap_or(0)))
}

/// Where rules are tried.
struct Sandbox<'a> {
    nft: &'a Path,
    namespace: bool,
}

impl<'a> Sandbox<'a> {
    /// The best place there is, which also tells whether the process may change rules at all.
    async fn find(nft: &'a Path, runs: bool, report: &mut Report) -> Option<Self> {
        const NEED: &str = "root or CAP_NET_ADMIN";
        const RULES: &str = "table inet palisade_probe {\n}\n";
        if !runs {
            report.add(NEED, "not looked at: nft cannot be run", Status::Unknown, INSTALL);
            return None;
        }
        let here = Self { nft, namespace: false };
        let apart = Self { nft, namespace: true };
        let (permitted, works) =
            tokio::join!(here.loads(&["-f", "-"], RULES), apart.loads(&["-f", "-"], RULES));
        // Asking for something harmless in our own namespace needs the very permission that changing it does.
        if let Err(error) = permitted {
            let remedy = "run as root, or with CAP_NET_ADMIN in the node's network namespace";
            report.add(NEED, error, Status::Missing, remedy);
            return None;
        }
        report.add(NEED, "yes", Status::Ok, "");
        Some(if works.is_ok() { apart } else { here })
    }

    fn name(&self) -> &'static str {
        if self.namespace { "tried in a network namespace of its own" } else { "by nft --check" }
    }

    async fn has(&self, feature: &Feature) -> Result<(), String> {
        self.loads(&["-f", "-"], &format!("table inet palisade_probe {{\n{}\n}}\n", feature.body)).await
    }

    async fn loads(&self, arguments: &[&str], rules: &str) -> Result<(), String> {
        let mut command = if self.namespace {
            let mut command = Command::new("unshare");
            command.arg("--net").arg("--").arg(self.nft);
            command
        } else {
            let mut command = Command::new(self.nft);
            command.arg("--check");
            command
        };
        command.args(arguments).env("LC_ALL", "C");
        match process::run(command, rules, LIMIT).await {
            Ok(Output { status, .. }) if status.success() => Ok(()),
            Ok(output) => Err(first_line(&output.stderr).to_owned()),
            Err(failure) => Err(failed(&failure)),
        }
    }
}

fn failed(failure: &RunError) -> String {
    match failure {
        RunError::Start(error) if error.kind() == std::io::ErrorKind::NotFound => "not there".to_owned(),
        RunError::Start(error) | RunError::Io(error) => error.to_string(),
        RunError::TimedOut { .. } => format!("did not end within {} s", LIMIT.as_secs()),
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        assert_eq!(parse_version("nftables v1.0.6 (Lester Gooch #5)"), Some((1, 0, 6)));
        assert_eq!(parse_version("nftables v1.1 (x)"), Some((1, 1, 0)));
        assert_eq!(parse_version("nftables one (very old)"), None);
        assert_eq!(parse_version(""), None);
    }
}
