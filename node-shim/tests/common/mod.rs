//! What the tests share: views, and a kernel that is a table in memory and does as it is told.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own part")]
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use palisade_node::apply::{Kernel, KernelError};
use palisade_node::collect::Collected;
use palisade_ruleset::{Datum, Element, FakeKernel, Field, Markers, Transaction, marker};
use palisade_view::{
    Function, FunctionBuilder, Intervals, Key, KeyHasher, Local, NodeView, Operation, Profile, Program,
    Protocol, Root,
};
use tokio::sync::watch;
use tokio::time::timeout;

/// Far above what anything here takes: only a test that fails waits this long.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for something that is due.
pub async fn due<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"))
}

fn key(n: u8) -> Key {
    KeyHasher::new("test").u64(n.into()).finish()
}

/// The local pod `n`.
pub fn pod(n: u16) -> IpAddr {
    let [high, low] = n.to_be_bytes();
    Ipv4Addr::new(10, 1, high, low).into()
}

/// The remote pod `n`.
pub fn member(n: u16) -> IpAddr {
    let [high, low] = n.to_be_bytes();
    Ipv4Addr::new(10, 2, high, low).into()
}

/// A view: local pods 1 to `pods`, which accept TCP on `port` from the first `members` remote
/// pods, which share an identity.
pub fn view(pods: u16, port: u16, members: u16) -> NodeView {
    let tcp = Program::ports(Protocol::Tcp, Intervals::range(port, port));
    let main = FunctionBuilder::new(Program::NONE, Program::NONE).identity(key(1), tcp).build();
    let profile = Arc::new(Profile::new(main, Function::allow_all()));
    let mut operations = vec![Operation::PutProfile(Arc::clone(&profile))];
    let remote = (1..=members).map(member).collect();
    operations.push(Operation::AddMembers(key(1), remote));
    for n in 1..=pods {
        let local = Local { identity: key(2), egress: None, ingress: Some(profile.key()) };
        operations.push(Operation::PutLocal(pod(n), local));
    }
    let mut view = NodeView::default();
    view.apply_all(&operations).unwrap();
    view
}

/// The update from one view to another; from nothing, the snapshot.
pub fn update(from: Option<&NodeView>, to: &NodeView) -> Collected {
    Collected {
        term: 1,
        from: from.map(NodeView::root),
        to: to.root(),
        operations: from.unwrap_or(&NodeView::default()).diff(to),
    }
}

/// What the kernel answers next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// Whatever the table says.
    Willing,
    /// Refuses everything.
    Refuses,
    /// Takes the next transaction, but claims to know nothing of its fate.
    ForgetsNext,
}

/// A table that several shims see one after the other.
#[derive(Clone)]
pub struct TestKernel {
    inner: Arc<Mutex<Inner>>,
    applied: watch::Sender<usize>,
}

struct Inner {
    table: FakeKernel,
    mood: Mood,
    /// Elements of each transaction that was taken.
    taken: Vec<usize>,
}

impl TestKernel {
    pub fn new() -> Self {
        let inner = Inner { table: FakeKernel::new(), mood: Mood::Willing, taken: Vec::new() };
        Self { inner: Arc::new(Mutex::new(inner)), applied: watch::Sender::new(0) }
    }

    pub fn mood(&self, mood: Mood) {
        self.inner.lock().unwrap().mood = mood;
    }

    /// Somebody else changes the table.
    pub fn meddle(&self, with: impl FnOnce(&mut FakeKernel)) {
        with(&mut self.inner.lock().unwrap().table);
    }

    /// Elements of each transaction that was taken so far.
    pub fn taken(&self) -> Vec<usize> {
        self.inner.lock().unwrap().taken.clone()
    }

    pub fn table(&self) -> FakeKernel {
        self.inner.lock().unwrap().table.clone()
    }

    /// The revision in force.
    pub fn revision(&self) -> Option<Root> {
        read(&self.inner.lock().unwrap().table, marker::REVISION).map(Root)
    }

    /// Waits until a condition holds, looking again after each transaction.
    pub async fn until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let mut applied = self.applied.subscribe();
        due(what, async {
            while !condition(self) {
                applied.changed().await.unwrap();
            }
        })
        .await;
    }
}

fn read(table: &FakeKernel, set: &str) -> Option<u128> {
    match table.elements(set)?.as_slice() {
        [Element { key, .. }] => match key.as_slice() {
            [Field::Exact(Datum::Ipv6(address))] => Some(u128::from(*address)),
            other => panic!("marker {set} is {other:?}"),
        },
        [] => None,
        several => panic!("marker {set} is {several:?}"),
    }
}

impl Kernel for TestKernel {
    async fn apply(&mut self, transaction: &Transaction) -> Result<(), KernelError> {
        let refused = |stderr: String| KernelError::Refused { status: ExitStatus::from_raw(1 << 8), stderr };
        let outcome = {
            let mut inner = self.inner.lock().unwrap();
            let mood = inner.mood;
            if mood == Mood::Refuses {
                return Err(refused("Error: Could not process rule: Invalid argument".to_owned()));
            }
            inner.table.apply(transaction).map_err(|error| refused(error.to_string()))?;
            inner.taken.push(transaction.elements());
            if mood == Mood::ForgetsNext {
                inner.mood = Mood::Willing;
                Err(KernelError::TimedOut { limit: Duration::from_secs(30), stderr: String::new() })
            } else {
                Ok(())
            }
        };
        self.applied.send_modify(|count| *count += 1);
        outcome
    }

    async fn markers(&mut self) -> Result<Markers, KernelError> {
        let inner = self.inner.lock().unwrap();
        Ok(Markers {
            revision: read(&inner.table, marker::REVISION),
            skeleton: read(&inner.table, marker::SKELETON),
            generation: read(&inner.table, marker::GENERATION),
        })
    }
}
