//! Every scenario file at every level, each as a test of its own.

mod trial;

use std::path::Path;
use std::process::ExitCode;

use libtest_mimic::{Failed, Trial};
use palisade_e2e::levels::Level;
use palisade_e2e::report;
use palisade_e2e::runner::{Choice, run_one};
use palisade_e2e::scenario::Scenario;

fn main() -> ExitCode {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let scenarios = match Scenario::load(&directory) {
        Ok(scenarios) => scenarios,
        Err(error) => {
            eprintln!("error: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    let mut trials = Vec::new();
    for scenario in scenarios {
        for level in Choice::default().levels(&scenario) {
            let needs_root = matches!(level, Level::Packets(..));
            let name = format!("{level}::{}", scenario.name);
            let scenario = scenario.clone();
            let trial = Trial::test(name, move || test(&scenario, level));
            trials.push(trial.with_ignored_flag(needs_root && trial::skips_packets()));
        }
    }
    trial::run(trials)
}

fn test(scenario: &Scenario, level: Level) -> Result<(), Failed> {
    if matches!(level, Level::Packets(..)) {
        trial::check()?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let (report, _) = runtime.block_on(run_one(scenario, level));
    if report.is_good() { Ok(()) } else { Err(report::details(&report).into()) }
}
