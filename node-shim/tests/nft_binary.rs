//! The runner of nft, with scripts in nft's place.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use common::{due, view};
use palisade_node::apply::{Kernel, KernelError, NftBinary};
use palisade_ruleset::{Numbers, Planner, Transaction};

/// A place of its own for a script, which leaves files beside itself.
fn script(name: &str) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("nft");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/nft").join(name);
    std::os::unix::fs::symlink(source, &program).unwrap();
    (directory, program)
}

async fn pid(directory: &Path) -> String {
    due("the script's process", async {
        loop {
            if let Ok(pid) = std::fs::read_to_string(directory.join("pid")) {
                return pid.trim().to_owned();
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

async fn gone(pid: &str) {
    let process = Path::new("/proc").join(pid).join("cmdline");
    due("the end of the process", async {
        // A process that is dead and not yet waited for has no command line.
        while std::fs::read(&process).is_ok_and(|line| !line.is_empty()) {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_missing_nft_names_the_remedy() {
    let error = NftBinary::new("/nonexistent/nft").apply(&Transaction::delete_table()).await.unwrap_err();
    assert!(matches!(error, KernelError::Missing(_)));
    let text = error.to_string();
    assert!(text.contains("/nonexistent/nft") && text.contains("apt-get install nftables"), "{text}");
}

#[tokio::test]
async fn what_nft_says_is_kept() {
    let (_directory, program) = script("refuses");
    // More than a pipe holds, to a process that reads nothing.
    let transaction = Planner::new(Numbers::default()).load(&view(1000, 80, 1000)).unwrap();
    assert!(transaction.to_json().len() > 65536);
    let error = NftBinary::new(&program).apply(&transaction).await.unwrap_err();
    let KernelError::Refused { status, stderr } = error else { panic!("{error}") };
    assert_eq!(status.code(), Some(1));
    assert!(stderr.starts_with("internal:0:0-0: Error: Could not process rule"), "{}", &stderr[..100]);
    assert!(stderr.len() <= 16 * 1024, "{} bytes kept", stderr.len());
}

#[tokio::test]
async fn a_missing_set_is_no_marker() {
    let (_directory, program) = script("refuses");
    assert_eq!(NftBinary::new(&program).markers().await.unwrap(), palisade_ruleset::Markers::default());
}

#[tokio::test]
async fn input_and_output_flow_at_once() {
    let (directory, program) = script("echoes");
    let transaction = Planner::new(Numbers::default()).load(&view(1000, 80, 1000)).unwrap();
    due("the end", NftBinary::new(&program).apply(&transaction)).await.unwrap();
    let input = std::fs::read_to_string(directory.path().join("input")).unwrap();
    assert_eq!(input, transaction.to_json());
}

#[tokio::test]
async fn an_nft_that_does_not_end_is_killed() {
    let (directory, program) = script("sleeps");
    let started = Instant::now();
    let limit = Duration::from_millis(300);
    let error =
        NftBinary::new(&program).with_limit(limit).apply(&Transaction::delete_table()).await.unwrap_err();
    assert!(started.elapsed() >= limit);
    let text = error.to_string();
    let KernelError::TimedOut { stderr, .. } = error else { panic!("{text}") };
    assert_eq!(stderr, "half a word");
    assert!(text.contains("0.3 s"), "{text}");
    gone(&pid(directory.path()).await).await;
}

#[tokio::test]
async fn an_nft_that_nobody_waits_for_is_killed() {
    let (directory, program) = script("sleeps");
    let running =
        tokio::spawn(async move { NftBinary::new(&program).apply(&Transaction::delete_table()).await });
    let pid = pid(directory.path()).await;
    running.abort();
    assert!(running.await.unwrap_err().is_cancelled());
    gone(&pid).await;
}
