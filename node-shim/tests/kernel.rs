//! The real kernel behind the real nft, in a network namespace of this process alone. Needs root and nft; without
//! them every case is reported as ignored, with the reason.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use std::path::Path;
use std::process::{Command, ExitCode, Output, Stdio};
use std::time::{Duration, Instant};

use common::{PATIENCE, update, view};
use libtest_mimic::{Arguments, Failed, Trial};
use palisade_node::apply::{Kernel, KernelError, NftBinary};
use palisade_node::args::{CleanupArgs, LogFormat};
use palisade_node::cleanup::cleanup;
use palisade_node::enforce::{Enforcer, Handle, Pace};
use palisade_node::health::Health;
use palisade_node::probe::{Status, Surroundings, probe};
use palisade_node::state::Store;
use palisade_ruleset::{Datum, Element, Field, Markers, Transaction, skeleton};
use palisade_view::{NodeView, Root};
use tokio::task::JoinHandle;

/// Enters a network namespace of its own; the reason where that cannot be.
fn enter() -> Result<(), String> {
    let nft = Command::new("nft").arg("--version").stdout(Stdio::null()).status();
    nft.map_err(|error| format!("nft cannot be run: {error}"))?;
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET)
        .map_err(|error| format!("no network namespace of its own (root is needed): {error}"))
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // All share one table.
    arguments.test_threads = Some(1);
    // Before there is a second thread, so that all of them are inside.
    let ready = enter();
    if let Err(reason) = &ready {
        eprintln!("every case is ignored: {reason}");
    }
    let trial = |name: &str, run: fn()| {
        let body = move || -> Result<(), Failed> {
            nft(&["flush", "ruleset"]);
            run();
            Ok(())
        };
        Trial::test(name, body).with_ignored_flag(ready.is_err())
    };
    let trials = vec![
        trial("markers_of_no_table", markers_of_no_table),
        trial("a_view_is_loaded_changed_and_taken_up_again", a_view_is_loaded_changed_and_taken_up_again),
        trial("a_large_view_is_loaded_in_one_transaction", a_large_view_is_loaded_in_one_transaction),
        trial("a_flushed_ruleset_is_put_back", a_flushed_ruleset_is_put_back),
        trial("a_refusal_says_what_nft_said", a_refusal_says_what_nft_said),
        trial("cleanup_removes_table_and_state", cleanup_removes_table_and_state),
        trial("the_probe_finds_what_is_needed", the_probe_finds_what_is_needed),
        trial("the_daemon_loads_its_state_and_leaves_it", the_daemon_loads_its_state_and_leaves_it),
        trial("the_daemon_without_nft_says_so", the_daemon_without_nft_says_so),
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn nft(arguments: &[&str]) -> Output {
    Command::new("nft").args(arguments).output().unwrap()
}

fn has_table() -> bool {
    nft(&["list", "table", "inet", "palisade"]).status.success()
}

fn in_runtime(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}

async fn revision() -> Option<Root> {
    NftBinary::new("nft").markers().await.unwrap().revision.map(Root)
}

async fn until_revision(view: &NodeView) {
    let started = Instant::now();
    while revision().await != Some(view.root()) {
        assert!(started.elapsed() < PATIENCE, "revision {} is not in force", view.root());
    }
}

fn shim(directory: &Path, verify: Duration) -> (Handle, JoinHandle<()>) {
    let pace = Pace { verify, leftovers: Duration::from_millis(20), ..Pace::default() };
    let store = Store::open(directory).unwrap();
    Enforcer::new(NftBinary::new("nft"), store, Health::default(), pace).spawn()
}

fn markers_of_no_table() {
    in_runtime(async {
        assert_eq!(NftBinary::new("nft").markers().await.unwrap(), Markers::default());
        NftBinary::new("nft").apply(&skeleton::build()).await.unwrap();
        assert_eq!(NftBinary::new("nft").markers().await.unwrap(), Markers::default());
    });
}

fn a_view_is_loaded_changed_and_taken_up_again() {
    in_runtime(async {
        let directory = tempfile::tempdir().unwrap();
        let (handle, task) = shim(directory.path(), Duration::from_hours(1));
        let views = [view(3, 80, 5), view(3, 443, 5), view(4, 443, 9), view(3, 80, 5), view(0, 1, 0)];
        let mut before = None;
        for after in &views {
            assert_eq!(handle.put(update(before, after)).await.unwrap(), Ok(after.root()));
            assert_eq!(revision().await, Some(after.root()));
            before = Some(after);
        }
        assert_eq!(handle.put(update(before, &views[0])).await.unwrap(), Ok(views[0].root()));
        drop(handle);
        task.await.unwrap();
        assert_eq!(revision().await, Some(views[0].root()));

        let (handle, _task) = shim(directory.path(), Duration::from_hours(1));
        assert_eq!(handle.holding().await.unwrap().root, Some(views[0].root()));
        assert_eq!(handle.put(update(Some(&views[0]), &views[1])).await.unwrap(), Ok(views[1].root()));
        assert_eq!(revision().await, Some(views[1].root()));
    });
}

fn a_large_view_is_loaded_in_one_transaction() {
    in_runtime(async {
        let directory = tempfile::tempdir().unwrap();
        let (handle, _task) = shim(directory.path(), Duration::from_hours(1));
        let (first, second) = (view(500, 80, 60_000), view(500, 80, 60_001));
        handle.put(update(None, &first)).await.unwrap().unwrap();
        assert_eq!(revision().await, Some(first.root()));
        handle.put(update(Some(&first), &second)).await.unwrap().unwrap();
        assert_eq!(revision().await, Some(second.root()));
    });
}

fn a_flushed_ruleset_is_put_back() {
    in_runtime(async {
        let directory = tempfile::tempdir().unwrap();
        let (handle, _task) = shim(directory.path(), Duration::from_millis(50));
        let first = view(3, 80, 5);
        handle.put(update(None, &first)).await.unwrap().unwrap();
        assert!(nft(&["flush", "ruleset"]).status.success());
        until_revision(&first).await;
    });
}

fn a_refusal_says_what_nft_said() {
    in_runtime(async {
        let mut kernel = NftBinary::new("nft");
        kernel.apply(&skeleton::build()).await.unwrap();
        let address = Field::Exact(Datum::Ipv4([10, 0, 0, 1].into()));
        let mut transaction = Transaction::default();
        transaction.delete("out4", vec![Element { key: vec![address], value: None }]);
        let error = kernel.apply(&transaction).await.unwrap_err();
        let KernelError::Refused { status, stderr } = error else { panic!("{error}") };
        assert_eq!(status.code(), Some(1));
        assert!(stderr.contains("Could not process rule: No such file or directory"), "{stderr}");
    });
}

fn cleanup_removes_table_and_state() {
    in_runtime(async {
        let directory = tempfile::tempdir().unwrap();
        let arguments = CleanupArgs {
            state_dir: directory.path().to_owned(),
            nft: "nft".into(),
            log_format: LogFormat::Text,
        };
        assert!(nft(&["add", "table", "inet", "foreign"]).status.success());
        let (handle, task) = shim(directory.path(), Duration::from_hours(1));
        handle.put(update(None, &view(3, 80, 5))).await.unwrap().unwrap();

        let error = format!("{:#}", cleanup(&arguments).await.unwrap_err());
        assert!(error.contains("in use by another palisade-node"), "{error}");
        assert!(has_table(), "a running shim keeps its table");

        drop(handle);
        task.await.unwrap();
        assert!(directory.path().join("state").exists());
        for state in ["removed", "there was none"] {
            let done = cleanup(&arguments).await.unwrap();
            assert!(done.ends_with(state) && done.contains("table inet palisade: gone"), "{done}");
            assert!(!has_table());
            assert!(!directory.path().join("state").exists());
        }
        assert!(nft(&["list", "table", "inet", "foreign"]).status.success(), "others' tables stay");
        let nowhere = CleanupArgs { state_dir: directory.path().join("nowhere"), ..arguments };
        cleanup(&nowhere).await.unwrap();
        assert!(!nowhere.state_dir.exists());
    });
}

fn the_probe_finds_what_is_needed() {
    in_runtime(async {
        let report = probe(Path::new("nft"), &Surroundings::default()).await;
        let status = |need: &str| {
            let found = report.findings.iter().find(|finding| finding.need == need);
            found.unwrap_or_else(|| panic!("{need} is not in\n{report}")).status
        };
        for need in ["nft 0.9.9 or later", "root or CAP_NET_ADMIN", "the table inet palisade", "ranged maps"]
        {
            assert_eq!(status(need), Status::Ok, "{report}");
        }
        assert!(report.capabilities.iter().any(|capability| capability.starts_with("nft-")), "{report:?}");
        assert!(nft(&["list", "ruleset"]).stdout.is_empty(), "the probe leaves nothing behind");

        let absent = probe(Path::new("/nonexistent/nft"), &Surroundings::default()).await;
        assert_eq!(absent.findings[0].status, Status::Missing);
        assert!(absent.findings[0].remedy.contains("apt-get install nftables"), "{absent}");
        assert!(absent.problems() >= 3, "what could not be looked at does not pass\n{absent}");
    });
}

/// The daemon with an operator that is not there. Its log goes to the named file.
fn daemon(directory: &Path, nft: &str) -> std::process::Child {
    let log = std::fs::File::create(directory.join("log")).unwrap();
    Command::new(env!("CARGO_BIN_EXE_palisade-node"))
        .args(["--operator", "https://127.0.0.1:9", "--nft", nft])
        .arg("--ca")
        .arg(directory.join("ca.crt"))
        .arg("--token-file")
        .arg(directory.join("token"))
        .arg("--state-dir")
        .arg(directory)
        .env_remove("RUST_LOG")
        .stderr(log)
        .spawn()
        .unwrap()
}

fn until_logged(directory: &Path, words: &str) -> String {
    let started = Instant::now();
    loop {
        let log = std::fs::read_to_string(directory.join("log")).unwrap();
        if log.contains(words) {
            return log;
        }
        assert!(started.elapsed() < PATIENCE, "`{words}` is not in\n{log}");
        std::thread::yield_now();
    }
}

fn terminate(mut daemon: std::process::Child) {
    let pid = nix::unistd::Pid::from_raw(daemon.id().try_into().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert!(daemon.wait().unwrap().success());
}

fn the_daemon_loads_its_state_and_leaves_it() {
    let directory = tempfile::tempdir().unwrap();
    let held = view(3, 80, 5);
    in_runtime(async {
        let (handle, task) = shim(directory.path(), Duration::from_hours(1));
        handle.put(update(None, &held)).await.unwrap().unwrap();
        drop(handle);
        task.await.unwrap();
    });
    // As after a reboot, with the operator away.
    nft(&["flush", "ruleset"]);
    let daemon = daemon(directory.path(), "nft");
    in_runtime(until_revision(&held));
    let log = until_logged(directory.path(), "no link to the operator");
    assert!(log.contains("token"), "{log}");
    terminate(daemon);
    in_runtime(async { assert_eq!(revision().await, Some(held.root()), "the rules stay") });
}

fn the_daemon_without_nft_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = daemon(directory.path(), "/nonexistent/nft");
    let log = until_logged(directory.path(), "needed: nft");
    assert!(log.contains("apt-get install nftables"), "{log}");
    until_logged(directory.path(), "policies are not known to be in force: /nonexistent/nft is not there");
    terminate(daemon);
}
