//! The simulated kernels held against reference data: the upstream conformance suites of both API generations, every
//! stage a live change of one system, and the cyclonus cases. Where the data is absent, every test is shown as ignored.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a panic is how a test fails")]
#![allow(dead_code, reason = "of what the tests against reference data share, only the data is of use here")]

#[path = "../../operator/compiler/tests/common/mod.rs"]
mod common;
mod system;

use std::collections::BTreeMap;
use std::path::Path;

use common::{Step, Tally, conformance, cyclonus, reference};
use libtest_mimic::{Arguments, Failed, Trial};
use palisade_ruleset::judge;
use palisade_ruleset::kernel::TracePacket;
use palisade_view::Packet;
use serde_json::Value;
use system::System;

/// Name, file, loader, and how many probes it has: a loader that loses some must not pass.
type Suite = (&'static str, &'static str, fn(&Value) -> Vec<Step>, usize);

const SUITES: [Suite; 3] = [
    ("conformance v1alpha2", "conformance/main-0eec1b0-v1alpha2/scenarios.json", conformance::steps, 301),
    (
        "conformance v1alpha1",
        "conformance/release-0.1-e80807c-v1alpha1/scenarios.json",
        conformance::steps,
        289,
    ),
    ("cyclonus", "cyclonus/cases-with-expected.json", cyclonus::steps, 111_036),
];

fn run((name, file, load, count): Suite, data: &Path) -> Result<(), Failed> {
    let steps = load(&reference::load(data, file));
    let mut tally = Tally::default();
    let (mut system, mut before) = (System::default(), &BTreeMap::new());
    for step in &steps {
        system.apply(step.events_from(before));
        before = &step.objects;
        for probe in &step.probes {
            let flow = &probe.flow;
            let (Some(from), Some(to)) = (system.end(flow.source), system.end(flow.destination)) else {
                return Err(format!("{}: {}: an end that cannot be placed", step.name, probe.name).into());
            };
            let packet = Packet { source: flow.source, destination: flow.destination, l4: flow.l4 };
            let judgement = judge(from, to, &TracePacket::new(packet).with_scratch(6));
            // A trace ends where a packet is dropped, so it tells the whole way only.
            let (egress, ingress) = probe.directions.unwrap_or_default();
            let verdicts = (egress, ingress, judgement.allows());
            tally.count(step, probe, verdicts, || format!("{:?}", judgement.traces));
        }
    }
    let wrong = tally.disagreements.len();
    println!("{name}: fake kernel: {} of {} probes agree", tally.probes - wrong, tally.probes);
    if tally.probes != count {
        return Err(format!("the data has {count} probes, {} were judged", tally.probes).into());
    }
    if wrong > 0 {
        let listed = tally.disagreements.iter().take(50).map(|line| format!("\n  {line}"));
        return Err(format!("{wrong} disagreements:{}", listed.collect::<String>()).into());
    }
    Ok(())
}

fn main() {
    let data = reference::directory();
    if data.is_none() {
        println!(
            "skipped: reference data not present (set PALISADE_SHARED to the directory that holds `data`)"
        );
    }
    let trials = SUITES.map(|suite| {
        let given = data.clone();
        let test = move || run(suite, given.as_deref().ok_or("reference data not present")?);
        Trial::test(format!("fake kernel agrees with {}", suite.0), test).with_ignored_flag(data.is_none())
    });
    libtest_mimic::run(&Arguments::from_args(), trials.into()).exit();
}
