//! The demo's cluster: started with its daemons, its policies taken from files as a person writes them, and looked
//! at as a matrix of who reaches whom.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use palisade_compiler::intake;
use palisade_compiler::model::{self, Event};
use palisade_compiler::oracle;
use palisade_view::Protocol;
use serde_json::Value;

use crate::cluster::Cluster;
use crate::daemons::Deployment;
use crate::levels::{Check, packets};
use crate::manifests::{ManifestDir, Written};
use crate::namespaces::Stack;
use crate::report::Paint;
use crate::scenario::{Cni, End, Place, Probe, Scenario, State, Traffic};
use crate::traffic::{Flood, Ports};

const CLUSTER: &str = include_str!("../demo.yaml");

/// What the matrix asks for, with the letter it shows.
const TRAFFIC: [(char, Traffic); 4] = [
    ('w', Traffic::Port(Protocol::Tcp, 80)),
    ('a', Traffic::Port(Protocol::Tcp, 8080)),
    ('s', Traffic::Port(Protocol::Tcp, 5432)),
    ('d', Traffic::Port(Protocol::Udp, 53)),
];

/// The demo's cluster, running.
#[derive(Debug)]
pub struct Show {
    /// The cluster's namespaces.
    pub cluster: Cluster,
    /// Its daemons.
    pub deployment: Deployment,
    /// Its manifests.
    pub manifests: ManifestDir,
    /// What the manifests said at the start, policies apart.
    pub state: State,
    /// The cluster as data, with the verdicts worth explaining.
    pub scenario: Scenario,
}

impl Show {
    /// What the cluster is to be.
    pub fn plan() -> Result<(Scenario, State)> {
        let scenario = Scenario::parse("demo", Path::new("demo.yaml"), CLUSTER)?;
        let state = State::of(&scenario)?;
        Ok((scenario, state))
    }

    /// Starts the cluster without policies; its files live below a directory.
    pub async fn start(directory: &Path) -> Result<Self> {
        let (scenario, state) = Self::plan()?;
        let cluster = Cluster::build(&state, Cni::Routed, &Ports::default()).await?;
        let manifests = ManifestDir::new(&directory.join("manifests"))?;
        let written = manifests.change(None, &state)?;
        let nodes: Vec<String> = state.nodes.keys().cloned().collect();
        let mut deployment = Deployment::new(&cluster, &nodes, directory, manifests.path())?;
        deployment.start().await?;
        deployment.settled(&written).await?;
        Ok(Self { cluster, deployment, manifests, state, scenario })
    }

    /// A pod's stack and its first address.
    pub fn pod(&self, name: &str) -> Result<(&Arc<Stack>, IpAddr)> {
        let pod = self.state.pods.get(name).with_context(|| format!("there is no pod {name}"))?;
        let address = pod.addresses.first().copied().with_context(|| format!("{name} has no address"))?;
        Ok((self.cluster.stack(&Place::Pod(name.to_owned()))?, address))
    }

    /// A stream of datagrams from one pod to a port of another.
    pub async fn flood(&self, source: &str, destination: &str, port: u16) -> Result<Flood> {
        let (source, from) = self.pod(source)?;
        let (destination, to) = self.pod(destination)?;
        Flood::start(source, from, destination, SocketAddr::new(to, port)).await
    }

    /// Copies policy files into the manifests, in order of name. Gives what was written.
    pub fn add(&self, samples: &Path) -> Result<Vec<Written>> {
        let mut paths: Vec<_> = fs::read_dir(samples)
            .with_context(|| samples.display().to_string())?
            .collect::<Result<Vec<_>, _>>()?
            .into_iter()
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|suffix| suffix == "yaml"))
            .collect();
        paths.sort();
        let mut written = Vec::new();
        for path in paths {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            written.push(self.manifests.write(&name, &text)?);
        }
        Ok(written)
    }

    /// The cluster as the manifests describe it now, with what is wrong with them.
    pub fn model(&self) -> Result<(model::Cluster, Vec<String>)> {
        let mut cluster = model::Cluster::default();
        let mut findings = Vec::new();
        let mut paths: Vec<_> =
            fs::read_dir(self.manifests.path())?.filter_map(Result::ok).map(|entry| entry.path()).collect();
        paths.sort();
        for path in paths.iter().filter(|path| path.extension().is_some_and(|suffix| suffix == "yaml")) {
            let text = fs::read_to_string(path)?;
            let objects: Vec<Value> = match serde_saphyr::from_multiple(&text) {
                Ok(objects) => objects,
                Err(error) => {
                    findings.push(format!(
                        "{}: {error}; what it held before is in force, but not in what is expected here",
                        path.display()
                    ));
                    continue;
                }
            };
            for object in objects.iter().filter(|object| !object.is_null()) {
                match intake::decode(object) {
                    Ok(decoded) => {
                        findings.extend(decoded.diagnostics.iter().map(ToString::to_string));
                        if let Some(model) = decoded.model {
                            cluster.apply(Event::Apply(model));
                        }
                    }
                    Err(error) => findings.push(format!("{}: {error}", path.display())),
                }
            }
        }
        Ok((cluster, findings))
    }

    /// Who reaches whom: what the policies say beside what packets do.
    pub async fn matrix(&self) -> Result<Matrix> {
        let (model, findings) = self.model()?;
        let pods: Vec<End> = self.state.pods.keys().cloned().map(End::Pod).collect();
        let sources: Vec<End> = pods.iter().cloned().chain([End::World]).collect();
        let mut checks = Vec::new();
        for source in &sources {
            for destination in pods.iter().filter(|destination| *destination != source) {
                for (_, traffic) in TRAFFIC {
                    let mut probe = Probe {
                        source: source.clone(),
                        destination: destination.clone(),
                        traffic,
                        family: None,
                        tos_sweep: false,
                        allowed: true,
                        reason: None,
                    };
                    for route in self.state.routes(&probe)? {
                        probe.allowed = oracle::judge(&model, &route.flow).allowed();
                        checks.push(Check { probe: probe.clone(), route });
                    }
                }
            }
        }
        let observed = packets::observe(&self.cluster, &checks).await?;
        let mut matrix = Matrix { pods, sources, cells: BTreeMap::new(), differences: Vec::new(), findings };
        for (check, observed) in checks.iter().zip(observed) {
            let probe = &check.probe;
            if !observed.agrees {
                let verdict = if probe.allowed { "allow" } else { "deny" };
                let family = check.route.family;
                matrix
                    .differences
                    .push(format!("{probe} {family:?}: expected {verdict}, observed {}", observed.text));
            }
            let key = (probe.source.clone(), probe.destination.clone(), probe.traffic);
            let cell = matrix.cells.entry(key).or_default();
            cell.expected.push(probe.allowed);
            cell.observed.push(probe.allowed == observed.agrees);
        }
        Ok(matrix)
    }

    /// The network as a person would draw it.
    pub fn topology(&self, paint: Paint) -> Result<String> {
        let mut text = String::new();
        for (name, node) in &self.state.nodes {
            let address = node.address(palisade_view::Family::V4)?;
            let _ = write!(text, "  {}  {}  ", paint.head(name), paint.dim(&address.to_string()));
            let here = self.state.pods.iter().filter(|(_, pod)| pod.node == *name);
            let pods: Vec<String> = here
                .map(|(name, pod)| {
                    let address = pod.addresses.first().map(ToString::to_string).unwrap_or_default();
                    format!("{name} {}", paint.dim(&address))
                })
                .collect();
            let _ = writeln!(text, "{}", pods.join("  "));
        }
        let _ =
            writeln!(text, "  {}   {}  outside the cluster", paint.head("world"), paint.dim("192.0.2.10"));
        let _ = writeln!(
            text,
            "  {}",
            paint.dim("every pod has an IPv6 address as well; both families are probed")
        );
        Ok(text)
    }
}

/// The verdicts of one cell's traffic, one a family.
#[derive(Debug, Default)]
struct Cell {
    expected: Vec<bool>,
    observed: Vec<bool>,
}

/// Who reaches whom.
#[derive(Debug)]
pub struct Matrix {
    pods: Vec<End>,
    sources: Vec<End>,
    cells: BTreeMap<(End, End, Traffic), Cell>,
    /// Probes that came out otherwise than the policies say.
    pub differences: Vec<String>,
    /// What is wrong with the manifests.
    pub findings: Vec<String>,
}

impl Matrix {
    /// How many packets' verdicts stand in it.
    pub fn probes(&self) -> usize {
        self.cells.values().map(|cell| cell.observed.len()).sum()
    }

    /// Every observed verdict, in a fixed order.
    pub fn observed(&self) -> Vec<(String, Vec<bool>)> {
        let cells = self.cells.iter();
        cells
            .map(|((from, to, what), cell)| (format!("{from} -> {to} {what}"), cell.observed.clone()))
            .collect()
    }

    /// The matrix as text: expected on the left, observed on the right.
    pub fn text(&self, paint: Paint) -> String {
        let names: Vec<String> = self.pods.iter().map(|pod| short(&pod.to_string())).collect();
        let from = self.sources.iter().map(|source| source.to_string().len()).max().unwrap_or(0);
        let wide = names.iter().map(String::len).max().unwrap_or(0).max(TRAFFIC.len());
        let half = names.len() * (wide + 1);
        let columns: String = names.iter().fold(String::new(), |line, name| format!("{line} {name:>wide$}"));
        let mut text = String::new();
        let title = format!("  {:<from$} {:^half$}   {:^half$}", "", "expected", "observed");
        let _ = writeln!(text, "{}", title.trim_end());
        let head = format!("  {:<from$} {columns}   {columns}", "from \\ to");
        let _ = writeln!(text, "{}", paint.dim(&head));
        for source in &self.sources {
            let _ = write!(text, "  {:<from$} ", source.to_string());
            for side in [|cell: &Cell| cell.expected.clone(), |cell: &Cell| cell.observed.clone()] {
                for pod in &self.pods {
                    let _ = write!(
                        text,
                        " {}{}",
                        " ".repeat(wide - TRAFFIC.len()),
                        self.cell(source, pod, side, paint)
                    );
                }
                text.push_str("   ");
            }
            while text.ends_with(' ') {
                text.pop();
            }
            text.push('\n');
        }
        let legend: Vec<String> =
            TRAFFIC.iter().map(|(letter, traffic)| format!("{letter} {traffic}")).collect();
        let _ = writeln!(
            text,
            "  {}",
            paint.dim(&format!("{}   . denied   ! not as expected", legend.join("   ")))
        );
        for finding in &self.findings {
            let _ = writeln!(text, "  {}", paint.bad(finding));
        }
        for difference in &self.differences {
            let _ = writeln!(text, "  {}", paint.bad(difference));
        }
        text
    }

    fn cell(&self, source: &End, pod: &End, side: fn(&Cell) -> Vec<bool>, paint: Paint) -> String {
        let mut text = String::new();
        for (letter, traffic) in TRAFFIC {
            let Some(cell) = self.cells.get(&(source.clone(), pod.clone(), traffic)) else {
                text.push(' ');
                continue;
            };
            let verdicts = side(cell);
            if verdicts != cell.expected {
                text.push_str(&paint.bad("!"));
            } else if verdicts.iter().all(|allowed| *allowed) {
                text.push_str(&paint.good(&letter.to_string()));
            } else if verdicts.iter().any(|allowed| *allowed) {
                text.push('?');
            } else {
                text.push_str(&paint.dim("."));
            }
        }
        text
    }
}

/// A pod's name without its namespace: the demo's are told apart by it.
fn short(name: &str) -> String {
    name.split_once('/').map_or(name, |(_, pod)| pod).to_owned()
}
