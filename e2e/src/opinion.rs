//! A second opinion: every step of the scenarios, and in it every pod to every other and to the world and back, judged
//! by programs that nobody of this project wrote (`e2e/opinion`), held against the oracle. Where they differ, a file has
//! to say why; it knows nothing of how they judge.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::net::IpAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use palisade_compiler::oracle::Flow;
use palisade_view::{Family, L4, Protocol};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::levels::oracle::OracleJudge;
use crate::manifests;
use crate::scenario::state::{State, WORLD};
use crate::scenario::{Scenario, Traffic};

/// Ports judged beside those that the scenario probes.
const PORTS: [(Protocol, u16); 3] = [(Protocol::Tcp, 80), (Protocol::Udp, 80), (Protocol::Sctp, 80)];

/// A cluster at one moment, as the programs read it.
#[derive(Debug, Serialize)]
struct Snapshot {
    objects: Vec<Value>,
    flows: Vec<Asked>,
}

#[derive(Debug, Serialize)]
struct Asked {
    source: IpAddr,
    destination: IpAddr,
    protocol: &'static str,
    port: u16,
}

/// A snapshot, where it is from and what the oracle says.
#[derive(Debug)]
struct Case {
    scenario: String,
    step: String,
    snapshot: Snapshot,
    oracle: Vec<(bool, String)>,
}

/// What a program makes of a snapshot: a verdict for each flow, or why it has none.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Opinion {
    #[serde(default)]
    allowed: Vec<bool>,
    without: Option<String>,
}

/// Scenarios in which a program is known to judge otherwise, and why.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Difference {
    program: String,
    scenarios: BTreeSet<String>,
    because: String,
}

/// Asks a built `e2e/opinion` about every scenario below a directory and prints what differs. Gives whether every
/// difference is explained in a file, and each explanation still needed.
pub fn run(program: &Path, scenarios: &Path, differences: &Path) -> Result<bool> {
    let text = std::fs::read_to_string(differences).with_context(|| differences.display().to_string())?;
    let known: Vec<Difference> =
        serde_saphyr::from_str(&text).with_context(|| differences.display().to_string())?;
    let mut cases = Vec::new();
    for scenario in Scenario::load(scenarios)? {
        cases.extend(steps(&scenario)?);
    }
    let opinions = ask(program, &cases)?;
    let mut is_good = true;
    for (name, opinions) in &opinions {
        ensure!(
            opinions.len() == cases.len(),
            "{name} looked at {} of {} cases",
            opinions.len(),
            cases.len()
        );
        is_good &= compare(name, &cases, opinions, &known)?;
    }
    Ok(is_good)
}

fn steps(scenario: &Scenario) -> Result<Vec<Case>> {
    let mut state = State::of(scenario).with_context(|| scenario.path.display().to_string())?;
    let mut oracle = OracleJudge::default();
    oracle.take_in(&state)?;
    let probed =
        scenario.steps.iter().flat_map(|step| &step.probes).filter_map(|probe| match probe.traffic {
            Traffic::Port(protocol, port) => Some((protocol, port)),
            Traffic::Echo => None,
        });
    let ports: BTreeSet<(Protocol, u16)> = probed.chain(PORTS).collect();
    let mut cases = Vec::new();
    for step in &scenario.steps {
        state = state.after(step).with_context(|| scenario.path.display().to_string())?;
        oracle.take_in(&state)?;
        let (mut flows, mut verdicts) = (Vec::new(), Vec::new());
        for (source, destination) in ends(&state) {
            for &(protocol, port) in &ports {
                let l4 = L4::Port(protocol, port);
                let flow = Flow { source, destination, l4, source_node: None, destination_node: None };
                let judgement = oracle.judgement(&flow);
                flows.push(Asked { source, destination, protocol: protocol.name(), port });
                verdicts.push((judgement.allowed(), judgement.to_string()));
            }
        }
        cases.push(Case {
            scenario: scenario.name.clone(),
            step: step.say.clone(),
            snapshot: Snapshot {
                objects: manifests::files(&state)?.into_values().flatten().collect(),
                flows,
            },
            oracle: verdicts,
        });
    }
    Ok(cases)
}

/// Pairs of ends. Nodes are left out: what a node and its own pods are to each other is not in the programs. So are
/// addresses that several pods claim, which the API knows nothing of.
fn ends(state: &State) -> Vec<(IpAddr, IpAddr)> {
    let mut pods: BTreeMap<IpAddr, usize> = BTreeMap::new();
    for pod in state.pods.values().filter(|pod| pod.has_stack()) {
        for &address in &pod.addresses {
            *pods.entry(address).or_default() += 1;
        }
    }
    let pods = pods.into_iter().filter(|(_, claims)| *claims == 1).map(|(address, _)| address);
    let world = WORLD.into_iter().filter(|&address| state.families.contains(&Family::of(address)));
    let all: Vec<IpAddr> = pods.chain(world).collect();
    let pairs = all.iter().flat_map(|&source| all.iter().map(move |&destination| (source, destination)));
    pairs
        .filter(|(source, destination)| {
            source != destination && Family::of(*source) == Family::of(*destination)
        })
        .collect()
}

fn ask(program: &Path, cases: &[Case]) -> Result<BTreeMap<String, Vec<Opinion>>> {
    let snapshots: Vec<&Snapshot> = cases.iter().map(|case| &case.snapshot).collect();
    let question = serde_json::to_vec(&snapshots)?;
    let mut child = Command::new(program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| program.display().to_string())?;
    let mut stdin = child.stdin.take().context("its standard input")?;
    // It reads everything before it writes anything.
    stdin.write_all(&question)?;
    drop(stdin);
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "{} ended with {}", program.display(), output.status);
    serde_json::from_slice(&output.stdout).context("what it said")
}

fn compare(program: &str, cases: &[Case], opinions: &[Opinion], known: &[Difference]) -> Result<bool> {
    let known: BTreeMap<&str, &str> = known
        .iter()
        .filter(|difference| difference.program == program)
        .flat_map(|difference| {
            difference.scenarios.iter().map(|name| (name.as_str(), difference.because.as_str()))
        })
        .collect();
    let (mut flows, mut steps, mut without) = (0, 0, BTreeMap::<&str, usize>::new());
    let (mut explained, mut surprising) = (0, 0);
    let mut differing = BTreeSet::new();
    for (case, opinion) in cases.iter().zip(opinions) {
        if let Some(why) = &opinion.without {
            *without.entry(why.as_str()).or_default() += 1;
            continue;
        }
        ensure!(
            opinion.allowed.len() == case.oracle.len(),
            "{program} judged {} of {} flows",
            opinion.allowed.len(),
            case.oracle.len()
        );
        steps += 1;
        flows += case.oracle.len();
        for ((asked, theirs), (ours, why)) in
            case.snapshot.flows.iter().zip(&opinion.allowed).zip(&case.oracle)
        {
            if theirs == ours {
                continue;
            }
            differing.insert(case.scenario.as_str());
            if known.contains_key(case.scenario.as_str()) {
                explained += 1;
                continue;
            }
            surprising += 1;
            let verdict = if *theirs { "allows" } else { "denies" };
            let Asked { source, destination, protocol, port } = asked;
            println!(
                "{}: {}: {program} {verdict} {source} -> {destination} {protocol}/{port}; here: {why}",
                case.scenario, case.step
            );
        }
    }
    println!(
        "{program}: {flows} flows of {steps} steps judged, {explained} differ for a reason that is written down, {surprising} for none"
    );
    for (why, steps) in without {
        println!("  {steps} steps without an opinion: {why}");
    }
    let mut is_good = surprising == 0;
    for (scenario, because) in known {
        if differing.contains(scenario) {
            println!("  {scenario}: {because}");
        } else {
            println!("{scenario}: {program} is said to differ there, and does not");
            is_good = false;
        }
    }
    Ok(is_good)
}
