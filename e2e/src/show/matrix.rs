//! Who reaches whom, as the policies say and as packets do, and the network that they cross.

use std::collections::BTreeMap;
use std::fmt::Write;

use anyhow::Result;
use palisade_compiler::oracle;
use palisade_view::Protocol;

use super::{Expected, Stage};
use crate::levels::{Check, packets};
use crate::report::Paint;
use crate::scenario::{End, Probe, State, Traffic};

/// What the matrix asks for, with the letter it shows.
const TRAFFIC: [(char, Traffic); 4] = [
    ('w', Traffic::Port(Protocol::Tcp, 80)),
    ('a', Traffic::Port(Protocol::Tcp, 8080)),
    ('s', Traffic::Port(Protocol::Tcp, 5432)),
    ('d', Traffic::Port(Protocol::Udp, 53)),
];

/// The network as a person would draw it.
pub fn topology(state: &State, paint: Paint) -> Result<String> {
    let mut text = String::new();
    for (name, node) in &state.nodes {
        let address = node.address(palisade_view::Family::V4)?;
        let _ = write!(text, "  {}  {}  ", paint.head(name), paint.dim(&address.to_string()));
        let here = state.pods.iter().filter(|(_, pod)| pod.node == *name);
        let pods: Vec<String> = here
            .map(|(name, pod)| {
                let address = pod.addresses.first().map(ToString::to_string).unwrap_or_default();
                format!("{name} {}", paint.dim(&address))
            })
            .collect();
        let _ = writeln!(text, "{}", pods.join("  "));
    }
    let _ = writeln!(text, "  {}   {}  outside the cluster", paint.head("world"), paint.dim("192.0.2.10"));
    let _ =
        writeln!(text, "  {}", paint.dim("every pod has an IPv6 address as well; both families are probed"));
    Ok(text)
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
    /// Who reaches whom: what the policies say beside what packets do.
    pub async fn observe(stage: &Stage, expected: Expected) -> Result<Self> {
        let Expected { model, findings } = expected;
        let pods: Vec<End> = stage.state.pods.keys().cloned().map(End::Pod).collect();
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
                    for route in stage.state.routes(&probe)? {
                        probe.allowed = oracle::judge(&model, &route.flow).allowed();
                        checks.push(Check { probe: probe.clone(), route });
                    }
                }
            }
        }
        let observed = packets::observe(&stage.cluster, &checks).await?;
        let mut matrix = Self { pods, sources, cells: BTreeMap::new(), differences: Vec::new(), findings };
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
