//! Reference data in the ruleset's simulated kernel: one system lives through all steps.

use std::collections::BTreeMap;
use std::path::Path;

use libtest_mimic::Failed;
use palisade_ruleset::judge;
use palisade_ruleset::kernel::TracePacket;
use palisade_view::Packet;

use crate::Suite;
use crate::common::{Tally, reference};
use crate::system::System;

/// Holds the simulated kernels against a suite.
pub(crate) fn run(suite: &Suite, data: &Path) -> Result<(), Failed> {
    let steps = (suite.steps)(&reference::load(data, suite.file));
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
    println!("{}: fake kernel: {} of {} probes agree", suite.name, tally.probes - wrong, tally.probes);
    if tally.probes != suite.probes {
        return Err(format!("the data has {} probes, {} were judged", suite.probes, tally.probes).into());
    }
    if wrong > 0 {
        let listed = tally.disagreements.iter().take(50).map(|line| format!("\n  {line}"));
        return Err(format!("{wrong} disagreements:{}", listed.collect::<String>()).into());
    }
    Ok(())
}
