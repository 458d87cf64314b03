//! Simulated and real kernels held against reference data: the upstream conformance suites of both API generations,
//! every stage a live change of one system, and for the simulated kernels the cyclonus cases. Where the data is absent,
//! every test is shown as ignored.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a panic is how a test fails")]
#![allow(dead_code, reason = "of what the tests against reference data share, only the data is of use here")]

mod as_scenario;
#[path = "../../../operator/compiler/tests/common/mod.rs"]
mod common;
mod fake;
mod packets;
#[path = "../system/mod.rs"]
mod system;
#[path = "../trial/mod.rs"]
mod trial;

use std::process::ExitCode;

use common::{Step, conformance, cyclonus, reference};
use libtest_mimic::Trial;
use packets::Form;
use serde_json::Value;

/// A set of reference data.
#[derive(Clone, Copy)]
struct Suite {
    name: &'static str,
    file: &'static str,
    steps: fn(&Value) -> Vec<Step>,
    /// How many probes it has: a loader that loses some must not pass.
    probes: usize,
}

const CONFORMANCE: [Suite; 2] = [
    Suite {
        name: "conformance v1alpha2",
        file: "conformance/main-0eec1b0-v1alpha2/scenarios.json",
        steps: conformance::steps,
        probes: 301,
    },
    Suite {
        name: "conformance v1alpha1",
        file: "conformance/release-0.1-e80807c-v1alpha1/scenarios.json",
        steps: conformance::steps,
        probes: 289,
    },
];

const CYCLONUS: Suite = Suite {
    name: "cyclonus",
    file: "cyclonus/cases-with-expected.json",
    steps: cyclonus::steps,
    probes: 111_036,
};

fn main() -> ExitCode {
    let data = reference::directory();
    if data.is_none() {
        println!(
            "skipped: reference data not present (set PALISADE_SHARED to the directory that holds `data`)"
        );
    }
    let mut trials = Vec::new();
    // Those that take longest first.
    for suite in CONFORMANCE {
        for form in Form::ALL {
            let given = data.clone();
            let test =
                move || packets::run(&suite, form, given.as_deref().ok_or("reference data not present")?);
            let trial = Trial::test(format!("{form} agree with {}", suite.name), test);
            trials.push(trial.with_ignored_flag(data.is_none() || trial::skips_packets()));
        }
    }
    for suite in [CONFORMANCE[0], CONFORMANCE[1], CYCLONUS] {
        let given = data.clone();
        let test = move || fake::run(&suite, given.as_deref().ok_or("reference data not present")?);
        let trial = Trial::test(format!("fake kernel agrees with {}", suite.name), test);
        trials.push(trial.with_ignored_flag(data.is_none()));
    }
    trial::run(trials)
}
