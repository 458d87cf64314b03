//! Keeps the held view in force: takes one order at a time, and looks after the kernel and the disk in between,
//! link or no link. Owns the held view, its numbers and their state file; knows nothing of where orders come from.
//!
//! What a start does with the rules of an earlier run:
//!
//! | the kernel's table | the state file | what happens |
//! |---|---|---|
//! | absent, or another skeleton | a view | the view is loaded |
//! | the state's revision and generation | a view | nothing; changes are incremental from there |
//! | the state's revision, another generation | a view | refilled: the numbers on disk are not those in the kernel |
//! | another revision | a view | left alone until the operator's first update, which refills |
//! | any | none | left alone until the operator's first update |
//!
//! The fourth line is a crash between the kernel's commit and the state file, which is written later: the kernel
//! then holds the newer rules, whole, and must not be taken back in time while the operator is away.

mod handle;

use std::sync::Arc;
use std::time::Duration;

use palisade_ruleset::{Planner, Transaction, skeleton};
use palisade_view::{NodeView, Root};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, error, info, warn};

pub use handle::{Ended, Handle, Holding};

use handle::Order;

use crate::apply::{Kernel, KernelError};
use crate::collect::{Collected, Reason, Refusal};
use crate::health::Health;
use crate::hold;
use crate::state::{State, StateError, Store};

/// How often the enforcer looks after things on its own.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// From a commit to the removal of what packets in flight may still have read.
    pub leftovers: Duration,
    /// From a change to the state file that holds it: changes in between share one write.
    pub save: Duration,
    /// Between two looks at whether the table is still ours.
    pub verify: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            leftovers: Duration::from_millis(500),
            save: Duration::from_millis(50),
            verify: Duration::from_secs(10),
        }
    }
}

/// How far the planner's idea of the table can be relied on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Nothing was put in force yet; what is held comes from the disk.
    Started,
    /// The table is exactly what the planner thinks.
    InForce,
    /// A transaction failed, or the table was changed by others: fill it anew.
    Doubtful,
}

/// Keeps a view in force in a kernel.
pub struct Enforcer<K> {
    kernel: K,
    store: Arc<Store>,
    health: Health,
    pace: Pace,
    planner: Planner,
    held: Option<Arc<NodeView>>,
    term: u64,
    standing: Standing,
    /// Whether the held view is one that this process put in force: then no other can be newer.
    confirmed: bool,
    /// Whether it was said that the kernel's rules are left alone.
    deferred: bool,
    save_due: Option<Instant>,
    saving: Option<JoinHandle<Result<(), StateError>>>,
    leftovers_due: Option<Instant>,
    verify_due: Instant,
}

enum Chore {
    Saved(Result<(), StateError>),
    Due,
}

impl<K: Kernel> Enforcer<K> {
    /// Takes up the state on disk. A state that cannot be read is reported and ignored: the operator has it all.
    pub fn new(kernel: K, store: Store, health: Health, pace: Pace) -> Self {
        let state = store.load().unwrap_or_else(|error| {
            warn!("{error}; it is ignored, the operator's first update replaces it");
            None
        });
        let (planner, held, term) = match state {
            Some(state) => (Planner::new(state.numbers), Some(state.view), state.term),
            None => (Planner::new(palisade_ruleset::Numbers::default()), None, 0),
        };
        Self {
            kernel,
            store: Arc::new(store),
            health,
            pace,
            planner,
            held,
            term,
            standing: Standing::Started,
            confirmed: false,
            deferred: false,
            save_due: None,
            saving: None,
            leftovers_due: None,
            verify_due: Instant::now(),
        }
    }

    /// Starts enforcing. The task ends once every handle is gone.
    pub fn spawn(self) -> (Handle, JoinHandle<()>)
    where
        K: 'static,
    {
        let (sender, orders) = mpsc::channel(1);
        (Handle::new(sender), tokio::spawn(self.run(orders)))
    }

    async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        self.look_after_kernel().await;
        loop {
            let due = self.next_due();
            tokio::select! {
                biased;
                order = orders.recv() => match order {
                    None => break,
                    Some(Order::Holding(reply)) => drop(reply.send(self.holding())),
                    Some(Order::Update(update, reply)) => {
                        let outcome = self.update(&update).await;
                        self.report();
                        drop(reply.send(outcome));
                    }
                },
                chore = next_chore(self.saving.as_mut(), due) => self.look_after(chore).await,
            }
        }
        self.finish().await;
    }

    fn holding(&self) -> Holding {
        Holding { root: self.held.as_ref().map(|view| view.root()), term: self.term }
    }

    async fn update(&mut self, update: &Collected) -> Result<Root, Refusal> {
        if update.term > self.term {
            self.term = update.term;
            self.save_soon();
        }
        if self.standing == Standing::InForce
            && update.operations.is_empty()
            && update.from == Some(update.to)
            && update.from == self.holding().root
        {
            return Ok(update.to);
        }
        let next = Arc::new(hold::next(self.held.as_deref(), update)?);
        let started = Instant::now();
        let elements = self.put_in_force(&next).await.inspect_err(|refusal| {
            error!(root = %update.to, "the update is refused, what was in force stays: {}", refusal.message);
        })?;
        self.health.applied(started.elapsed());
        debug!(
            root = %update.to,
            term = update.term,
            operations = update.operations.len(),
            elements,
            milliseconds = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            "in force"
        );
        self.held = Some(next);
        self.confirmed = true;
        self.save_soon();
        Ok(update.to)
    }

    /// The number of elements it took.
    async fn put_in_force(&mut self, view: &NodeView) -> Result<usize, Refusal> {
        if self.standing == Standing::InForce {
            let transaction = self.planner.update(view).map_err(|error| self.unplanned(&error))?;
            match self.carry_out(transaction).await {
                Ok(elements) => return Ok(elements),
                Err(error @ (KernelError::Refused { .. } | KernelError::TimedOut { .. })) => {
                    warn!("an incremental change failed; the table is filled anew: {error}");
                }
                Err(error) => return Err(refused(&error)),
            }
        }
        let markers = self.kernel.markers().await.map_err(|error| refused(&error))?;
        let planned = if self.standing == Standing::Started {
            self.planner.open(view, &markers)
        } else if markers.skeleton == Some(skeleton::fingerprint()) {
            self.planner.refill(view)
        } else {
            self.planner.load(view)
        };
        let transaction = planned.map_err(|error| self.unplanned(&error))?;
        self.carry_out(transaction).await.map_err(|error| refused(&error))
    }

    fn unplanned(&mut self, error: &palisade_ruleset::PlanError) -> Refusal {
        self.planner.abort();
        Refusal::new(Reason::Kernel, format!("this revision cannot be expressed in the table: {error}"))
    }

    async fn carry_out(&mut self, transaction: Transaction) -> Result<usize, KernelError> {
        if !transaction.is_empty()
            && let Err(error) = self.kernel.apply(&transaction).await
        {
            self.planner.abort();
            self.standing = Standing::Doubtful;
            return Err(error);
        }
        self.planner.commit();
        self.standing = Standing::InForce;
        self.leftovers_due = self.planner.has_leftovers().then(|| Instant::now() + self.pace.leftovers);
        self.save_soon();
        Ok(transaction.elements())
    }

    /// Compares the kernel's table with what is held and puts it right; see the head of this file.
    async fn look_after_kernel(&mut self) {
        self.verify_due = Instant::now() + self.pace.verify;
        if let Err(error) = self.reconcile().await {
            error!("policies are not known to be in force: {error}");
        }
        self.report();
    }

    async fn reconcile(&mut self) -> Result<(), String> {
        let markers = self.kernel.markers().await.map_err(|error| error.to_string())?;
        let ours = markers.skeleton == Some(skeleton::fingerprint());
        let Some(view) = self.held.clone() else {
            if markers.skeleton.is_some() {
                self.defer("an earlier run left rules and no state");
            }
            return Ok(());
        };
        let current = ours && markers.revision == Some(view.root().0);
        if ours && !current && !self.confirmed {
            self.defer("the kernel holds newer rules than the state file");
            return Ok(());
        }
        if current && self.standing == Standing::InForce {
            return Ok(());
        }
        if self.standing == Standing::InForce {
            warn!("table inet palisade was removed or changed by something else; it is put back");
            self.standing = Standing::Doubtful;
        }
        let elements = self.put_in_force(&view).await.map_err(|refusal| refusal.message)?;
        self.confirmed = true;
        info!(root = %view.root(), elements, "the held policies are in force");
        Ok(())
    }

    fn defer(&mut self, why: &str) {
        if !std::mem::replace(&mut self.deferred, true) {
            info!("{why}; they stay until the operator's first update");
        }
    }

    async fn remove_leftovers(&mut self) {
        self.leftovers_due = None;
        let Some(view) = self.held.clone() else { return };
        if self.standing != Standing::InForce || !self.planner.has_leftovers() {
            return;
        }
        match self.put_in_force(&view).await {
            Ok(elements) => debug!(elements, "leftovers removed"),
            Err(refusal) => warn!("leftovers could not be removed: {}", refusal.message),
        }
        self.report();
    }

    fn next_due(&self) -> Instant {
        let save_due = if self.saving.is_some() { None } else { self.save_due };
        [save_due, self.leftovers_due].into_iter().flatten().fold(self.verify_due, Instant::min)
    }

    async fn look_after(&mut self, chore: Chore) {
        if let Chore::Saved(result) = chore {
            self.saving = None;
            if let Err(error) = result {
                self.unsaved(&error);
            }
            return;
        }
        let now = Instant::now();
        if self.saving.is_none() && self.save_due.is_some_and(|due| due <= now) {
            self.save_due = None;
            self.start_saving();
        }
        if self.leftovers_due.is_some_and(|due| due <= now) {
            self.remove_leftovers().await;
        }
        if self.verify_due <= now {
            self.look_after_kernel().await;
        }
    }

    fn save_soon(&mut self) {
        self.save_due.get_or_insert_with(|| Instant::now() + self.pace.save);
    }

    fn unsaved(&mut self, error: &StateError) {
        warn!(
            "the state is not on disk: {error}; policies are in force all the same, but a restart will wait for the operator"
        );
        // Not at once: a full disk stays full for a while.
        self.save_due = Some(Instant::now() + self.pace.verify);
    }

    fn state(&self) -> Option<State> {
        let view = Arc::clone(self.held.as_ref()?);
        Some(State { view, numbers: self.planner.numbers().clone(), term: self.term })
    }

    fn start_saving(&mut self) {
        let Some(state) = self.state() else { return };
        let store = Arc::clone(&self.store);
        self.saving = Some(tokio::task::spawn_blocking(move || store.save(&state)));
    }

    /// The last save. The rules stay in the kernel.
    async fn finish(mut self) {
        if let Some(saving) = self.saving.take() {
            self.look_after(Chore::Saved(joined(saving.await))).await;
        }
        if self.save_due.is_some() {
            self.start_saving();
        }
        if let Some(saving) = self.saving.take()
            && let Err(error) = joined(saving.await)
        {
            self.unsaved(&error);
        }
        info!("ended; the rules in force stay, `palisade-node cleanup` removes them");
    }

    fn report(&self) {
        let in_force = self.standing == Standing::InForce;
        self.health.in_force(self.held.as_deref().filter(|_| in_force));
    }
}

fn refused(error: &KernelError) -> Refusal {
    Refusal::new(Reason::Kernel, error.to_string())
}

fn joined(saved: Result<Result<(), StateError>, tokio::task::JoinError>) -> Result<(), StateError> {
    // A save that was cut short has not replaced the file.
    saved.unwrap_or(Err(StateError::Damaged("the write was cut short")))
}

/// Whatever comes first. Cancelling it loses nothing: the save goes on by itself.
async fn next_chore(saving: Option<&mut JoinHandle<Result<(), StateError>>>, due: Instant) -> Chore {
    let saved = async {
        match saving {
            Some(saving) => joined(saving.await),
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        saved = saved => Chore::Saved(saved),
        () = sleep_until(due) => Chore::Due,
    }
}
