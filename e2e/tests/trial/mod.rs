//! Tests that need namespaces: they fail with a clear message without root, and show as ignored with
//! `PALISADE_SKIP_PACKETS=1`.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use futures::future::LocalBoxFuture;
use libtest_mimic::{Arguments, Failed, Trial};
use palisade_e2e::namespaces;
use palisade_e2e::rundir::RunDir;

/// Whether packets are left out.
pub(crate) fn skips_packets() -> bool {
    std::env::var_os("PALISADE_SKIP_PACKETS").is_some_and(|value| value == "1")
}

/// Checks for what packets need.
pub(crate) fn check() -> Result<(), Failed> {
    namespaces::check()
        .map_err(|error| format!("{error:#}; or set PALISADE_SKIP_PACKETS=1 to leave packets out").into())
}

/// A test that needs namespaces, and a directory whose logs are kept if it fails.
#[allow(dead_code, reason = "shared by test programs, not all of which have such tests")]
pub(crate) fn packets(
    name: &str,
    test: impl FnOnce(Arc<RunDir>) -> LocalBoxFuture<'static, Result<()>> + Send + 'static,
) -> Trial {
    let owned = name.to_owned();
    let trial = Trial::test(name, move || {
        check()?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let directory = Arc::new(RunDir::new().map_err(|error| format!("{error:#}"))?);
        runtime.block_on(test(Arc::clone(&directory))).map_err(|error| {
            let logs = directory
                .keep_logs(&owned)
                .map_or_else(|error| error.to_string(), |path| path.display().to_string());
            format!("{error:#}\nlogs: {logs}").into()
        })
    });
    trial.with_ignored_flag(skips_packets())
}

/// Runs tests. Each has a cluster of its own and mostly waits for silence: four at once fill two processors.
pub(crate) fn run(trials: Vec<Trial>) -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(4);
    libtest_mimic::run(&arguments, trials).exit_code()
}
