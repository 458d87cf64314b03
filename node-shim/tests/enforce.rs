//! What is held is what the kernel has, whatever happens in between: refusals, restarts, crashes, meddling.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use std::path::Path;
use std::time::Duration;

use common::{Mood, TestKernel, due, update, view};
use palisade_node::collect::{Collected, Reason};
use palisade_node::enforce::{Enforcer, Handle, Holding, Pace};
use palisade_node::health::Health;
use palisade_node::state::Store;
use palisade_ruleset::{Op, Planner, Transaction, marker};
use palisade_view::NodeView;
use tokio::task::JoinHandle;

/// Nothing happens by itself.
const STILL: Pace = Pace {
    leftovers: Duration::from_hours(1),
    save: Duration::from_millis(1),
    verify: Duration::from_hours(1),
};

struct Shim {
    handle: Handle,
    task: JoinHandle<()>,
    health: Health,
}

impl Shim {
    fn start(kernel: &TestKernel, directory: &Path, pace: Pace) -> Self {
        let health = Health::default();
        let store = Store::open(directory).unwrap();
        let (handle, task) = Enforcer::new(kernel.clone(), store, health.clone(), pace).spawn();
        Self { handle, task, health }
    }

    async fn put(&self, update: Collected) -> Result<palisade_view::Root, palisade_node::collect::Refusal> {
        due("an answer", self.handle.put(update)).await.unwrap()
    }

    /// Also tells that the look at the kernel at start is over.
    async fn holding(&self) -> Holding {
        due("an answer", self.handle.holding()).await.unwrap()
    }

    /// As SIGTERM does.
    async fn stop(self) {
        drop(self.handle);
        due("the end", self.task).await.unwrap();
    }
}

fn directory() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// Elements of a table that is loaded with the view and nothing else.
fn fresh_size(view: &NodeView) -> usize {
    Planner::new(palisade_ruleset::Numbers::default()).load(view).unwrap().elements()
}

fn size(kernel: &TestKernel) -> usize {
    let table = kernel.table();
    table.sets().filter_map(|set| table.elements(set.name)).map(|elements| elements.len()).sum()
}

#[tokio::test]
async fn a_snapshot_loads_and_a_delta_changes_little() {
    let (kernel, directory) = (TestKernel::new(), directory());
    let shim = Shim::start(&kernel, directory.path(), STILL);
    assert_eq!(shim.holding().await, Holding { root: None, term: 0 });
    assert!(!shim.health.is_ready());
    assert!(kernel.taken().is_empty());

    let (first, second) = (view(20, 80, 100), view(20, 80, 101));
    assert_eq!(shim.put(update(None, &first)).await, Ok(first.root()));
    assert_eq!(kernel.revision(), Some(first.root()));
    assert!(shim.health.is_ready());
    assert_eq!(shim.put(update(Some(&first), &second)).await, Ok(second.root()));
    assert_eq!(kernel.revision(), Some(second.root()));
    assert_eq!(shim.holding().await, Holding { root: Some(second.root()), term: 1 });
    // One address, and two markers out and in.
    assert_eq!(kernel.taken(), [fresh_size(&first), 5]);

    // What is in force already asks nothing of the kernel.
    assert_eq!(shim.put(update(Some(&second), &second)).await, Ok(second.root()));
    assert_eq!(kernel.taken().len(), 2);
}

#[tokio::test]
async fn a_refused_transaction_leaves_what_was_in_force() {
    let (kernel, directory) = (TestKernel::new(), directory());
    let shim = Shim::start(&kernel, directory.path(), STILL);
    let (first, second) = (view(2, 80, 3), view(2, 443, 3));
    shim.put(update(None, &first)).await.unwrap();

    kernel.mood(Mood::Refuses);
    let refusal = shim.put(update(Some(&first), &second)).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::Kernel);
    assert!(refusal.message.contains("Could not process rule: Invalid argument"), "{}", refusal.message);
    assert_eq!(shim.holding().await.root, Some(first.root()));
    assert_eq!(kernel.revision(), Some(first.root()));

    kernel.mood(Mood::Willing);
    assert_eq!(shim.put(update(Some(&first), &second)).await, Ok(second.root()));
    assert_eq!(kernel.revision(), Some(second.root()));
}

#[tokio::test]
async fn an_invalid_update_never_reaches_the_kernel() {
    let (kernel, directory) = (TestKernel::new(), directory());
    let shim = Shim::start(&kernel, directory.path(), STILL);
    let (first, second) = (view(2, 80, 3), view(2, 443, 3));
    shim.put(update(None, &first)).await.unwrap();
    let wrong_root = Collected { to: palisade_view::Root(1), ..update(Some(&first), &second) };
    assert_eq!(shim.put(wrong_root).await.unwrap_err().reason, Reason::Invalid);
    assert_eq!(shim.put(update(Some(&second), &first)).await.unwrap_err().reason, Reason::RootMismatch);
    assert_eq!(kernel.taken().len(), 1);
    assert_eq!(shim.holding().await.root, Some(first.root()));
}

#[tokio::test]
async fn a_restart_goes_on_where_the_last_run_ended() {
    let (kernel, directory) = (TestKernel::new(), directory());
    let (first, second) = (view(20, 80, 100), view(20, 80, 101));
    let shim = Shim::start(&kernel, directory.path(), STILL);
    shim.put(Collected { term: 7, ..update(None, &first) }).await.unwrap();
    shim.stop().await;
    assert_eq!(kernel.revision(), Some(first.root()));

    let shim = Shim::start(&kernel, directory.path(), STILL);
    assert_eq!(shim.holding().await, Holding { root: Some(first.root()), term: 7 });
    assert!(shim.health.is_ready());
    assert_eq!(kernel.taken().len(), 1, "a restart leaves the kernel alone");
    shim.put(update(Some(&first), &second)).await.unwrap();
    assert_eq!(kernel.taken().last(), Some(&5), "and changes are incremental");
}

#[tokio::test]
async fn the_state_reaches_the_disk_without_an_orderly_end() {
    let (kernel, directory) = (TestKernel::new(), directory());
    let shim = Shim::start(&kernel, directory.path(), STILL);
    let first = view(2, 80, 3);
    shim.put(update(None, &first)).await.unwrap();
    let file = directory.path().join("state");
    due("a state file", async {
        while !file.exists() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    shim.task.abort();
    shim.task.await.unwrap_err();
    due("the writer's end", async {
        while Store::open(directory.path()).is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let shim = Shim::start(&kernel, directory.path(), STILL);
    assert_eq!(shim.holding().await.root, Some(first.root()));
}

#[tokio::test]
async fn a_reboot_loads_what_was_held() {
    let (kernel, directory) = (TestKernel::new(), directory());
    let first = view(2, 80, 3);
    let shim = Shim::start(&kernel, directory.path(), STILL);
    shim.put(update(None, &first)).await.unwrap();
    shim.stop().await;

    let rebooted = TestKernel::new();
    let shim = Shim::start(&rebooted, directory.path(), STILL);
    shim.holding().await;
    assert_eq!(rebooted.revision(), Some(first.root()));
    assert!(shim.health.is_ready());
}

#[tokio::test]
async fn rules_of_another_build_are_replaced_at_start() {
    let (kernel, directory) = (TestKernel::new(), directory());
    let first = view(2, 80, 3);
    let shim = Shim::start(&kernel, directory.path(), STILL);
    shim.put(update(None, &first)).await.unwrap();
    shim.stop().await;

    kernel.meddle(|table| {
        let mut other = Transaction::default();
        other.delete(marker::SKELETON, table.elements(marker::SKELETON).unwrap());
        table.apply(&other).unwrap();
    });
    let shim = Shim::start(&kernel, directory.path(), STILL);
    shim.holding().await;
    assert_eq!(kernel.taken(), [fresh_size(&first), fresh_size(&first)]);
    assert_eq!(kernel.revision(), Some(first.root()));
}

#[tokio::test]
async fn a_state_older_than_the_kernel_does_not_take_it_back() {
    let (kernel, directory) = (TestKernel::new(), directory());
    let (first, second, third) = (view(2, 80, 3), view(2, 443, 3), view(2, 53, 3));
    let shim = Shim::start(&kernel, directory.path(), STILL);
    shim.put(update(None, &first)).await.unwrap();
    shim.stop().await;
    let file = directory.path().join("state");
    let old = std::fs::read(&file).unwrap();
    let shim = Shim::start(&kernel, directory.path(), STILL);
    shim.put(update(Some(&first), &second)).await.unwrap();
    shim.stop().await;
    std::fs::write(&file, &old).unwrap();

    // As after a crash between the kernel's commit and the disk.
    let pace = Pace { verify: Duration::from_millis(1), ..STILL };
    let shim = Shim::start(&kernel, directory.path(), pace);
    assert_eq!(
        shim.holding().await.root,
        Some(first.root()),
        "an operator can send a delta to what is on disk"
    );
    assert!(!shim.health.is_ready());
    assert_eq!(kernel.revision(), Some(second.root()));
    assert_eq!(shim.put(update(Some(&first), &third)).await, Ok(third.root()));
    assert_eq!(kernel.revision(), Some(third.root()));
    assert_eq!(size(&kernel), fresh_size(&third), "nothing of the unknown revision is left");
    shim.stop().await;

    // The operator may also want exactly what is on disk, while the kernel has something else.
    std::fs::write(&file, &old).unwrap();
    let shim = Shim::start(&kernel, directory.path(), STILL);
    assert_eq!(shim.put(update(Some(&first), &first)).await, Ok(first.root()));
    assert_eq!(kernel.revision(), Some(first.root()));
}

#[tokio::test]
async fn without_a_state_the_rules_stay_until_the_first_update() {
    let (kernel, one, two) = (TestKernel::new(), directory(), directory());
    let (first, second) = (view(2, 80, 3), view(2, 443, 3));
    let shim = Shim::start(&kernel, one.path(), STILL);
    shim.put(update(None, &first)).await.unwrap();
    shim.stop().await;

    for garbage in [None, Some(b"palisade-state 1 and then nothing of sense".as_slice())] {
        if let Some(garbage) = garbage {
            std::fs::write(two.path().join("state"), garbage).unwrap();
        }
        let shim = Shim::start(&kernel, two.path(), STILL);
        assert_eq!(shim.holding().await, Holding { root: None, term: 0 });
        assert_eq!(kernel.revision(), Some(first.root()));
        assert_eq!(kernel.taken().len(), 1);
        shim.stop().await;
    }
    let shim = Shim::start(&kernel, &two.path().join("new"), STILL);
    shim.put(update(None, &second)).await.unwrap();
    assert_eq!(kernel.revision(), Some(second.root()));
    assert_eq!(size(&kernel), fresh_size(&second));
}

#[tokio::test]
async fn a_table_that_others_changed_is_filled_anew() {
    let (kernel, directory) = (TestKernel::new(), directory());
    let shim = Shim::start(&kernel, directory.path(), STILL);
    let (first, second, third) = (view(2, 80, 3), view(2, 80, 4), view(2, 80, 5));
    shim.put(update(None, &first)).await.unwrap();
    // `nft flush ruleset`
    kernel.meddle(|table| table.apply(&Transaction::delete_table()).unwrap());
    assert_eq!(shim.put(update(Some(&first), &second)).await, Ok(second.root()));
    assert_eq!(size(&kernel), fresh_size(&second));
    // An element that is due already.
    kernel.meddle(|table| {
        let peers = |view: &NodeView| {
            let mut planner = Planner::new(palisade_ruleset::Numbers::default());
            let load = planner.load(view).unwrap();
            load.ops()
                .iter()
                .filter_map(
                    |op| if let Op::AddElements("peer4", peers) = op { Some(peers.clone()) } else { None },
                )
                .flatten()
                .collect::<Vec<_>>()
        };
        let mut stray = Transaction::default();
        let mut last = peers(&third).pop().unwrap();
        last.value = last.value.map(|value| value + 1000);
        stray.add("peer4", vec![last]);
        table.apply(&stray).unwrap();
    });
    assert_eq!(shim.put(update(Some(&second), &third)).await, Ok(third.root()));
    assert_eq!(size(&kernel), fresh_size(&third));
}

#[tokio::test]
async fn a_table_that_vanishes_is_put_back_without_being_asked() {
    let (kernel, directory) = (TestKernel::new(), directory());
    let pace = Pace { verify: Duration::from_millis(5), ..STILL };
    let shim = Shim::start(&kernel, directory.path(), pace);
    let first = view(2, 80, 3);
    shim.put(update(None, &first)).await.unwrap();
    kernel.meddle(|table| table.apply(&Transaction::delete_table()).unwrap());
    kernel.until("the table is back", |kernel| kernel.revision() == Some(first.root())).await;
}

#[tokio::test]
async fn an_unknown_outcome_is_made_known() {
    let (kernel, directory) = (TestKernel::new(), directory());
    let shim = Shim::start(&kernel, directory.path(), STILL);
    let (first, second) = (view(2, 80, 3), view(2, 443, 3));
    shim.put(update(None, &first)).await.unwrap();
    kernel.mood(Mood::ForgetsNext);
    assert_eq!(shim.put(update(Some(&first), &second)).await, Ok(second.root()));
    assert_eq!(kernel.taken().len(), 3, "the incremental change, and the refill that makes sure");
    assert_eq!(size(&kernel), fresh_size(&second));
}

#[tokio::test]
async fn leftovers_go_once_packets_have_passed() {
    let (kernel, directory) = (TestKernel::new(), directory());
    let pace = Pace { leftovers: Duration::from_millis(5), ..STILL };
    let shim = Shim::start(&kernel, directory.path(), pace);
    let (first, second) = (view(2, 80, 3), view(2, 443, 3));
    shim.put(update(None, &first)).await.unwrap();
    shim.put(update(Some(&first), &second)).await.unwrap();
    kernel.until("the old program's rows are gone", |kernel| size(kernel) == fresh_size(&second)).await;
    assert_eq!(kernel.revision(), Some(second.root()));
    shim.stop().await;
    let taken = kernel.taken().len();
    assert!(taken >= 3, "{taken} transactions: nothing was left over");
    let shim = Shim::start(&kernel, directory.path(), STILL);
    shim.holding().await;
    assert_eq!(kernel.taken().len(), taken, "the state on disk knows that they are gone");
}
