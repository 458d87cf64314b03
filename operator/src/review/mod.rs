//! Reviews the policies beside the engine and tells the hub what has stood long enough.
//!
//! The engine never waits for it: it hands over what it has taken in, and the review keeps a cluster of its own. That costs
//! the memory of the objects once more; a copy of the engine's made for each review would cost as much while it lasts, and
//! the engine's time besides. A review looks at everything: what one pod changes can be found in any policy. So it comes
//! seldom, takes a small part of one core, and is bounded in steps; what was too much is told as such.

mod standing;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use palisade_compiler::model::{Cluster, Event, Object, ObjectRef};
use palisade_compiler::review::{Limits, review};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, warn};

pub use self::standing::Patience;
use self::standing::Standing;
use crate::hub::Hub;
use crate::reviewed::Reviewed;

/// What the engine has taken in.
#[derive(Clone, Debug)]
pub struct TakenIn {
    /// Changes of objects.
    pub events: Vec<Event>,
    /// The epoch they are in force since.
    pub epoch: u64,
}

/// How often to review, and how patient to be with what is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// A change is left alone this long: others usually come with it.
    pub settle: Duration,
    /// The least time between two reviews.
    pub every: Duration,
    /// The time between two reviews is this many times as long as the last one took, at least: 20 is 5 percent of a core.
    pub share: u32,
    /// How long things must last before they are told.
    pub patience: Patience,
    /// How much a review may do.
    pub limits: Limits,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            settle: Duration::from_secs(1),
            every: Duration::from_secs(5),
            share: 20,
            patience: Patience::default(),
            limits: Limits::default(),
        }
    }
}

/// Reviews what is taken in until the engine has gone.
pub async fn run(mut taken_in: mpsc::UnboundedReceiver<TakenIn>, hub: Arc<Hub>, pace: Pace) {
    let origin = Instant::now();
    let mut cluster = Arc::new(Cluster::default());
    let mut standing = Standing::new(pace.patience);
    let (mut epoch, mut reviewed_epoch, mut edited) = (0, 0, BTreeSet::new());
    // When something has changed since the last review, and before when there shall be no other.
    let mut changed_at: Option<Instant> = None;
    let mut not_before = origin;
    loop {
        let review_at = changed_at.map(|at| (at + pace.settle).max(not_before));
        let tell_at = standing.wake_at().map(|at| origin + at);
        tokio::select! {
            next = taken_in.recv() => {
                let Some(next) = next else { return };
                epoch = next.epoch;
                if take_in(Arc::make_mut(&mut cluster), next.events, &mut edited) {
                    changed_at.get_or_insert_with(Instant::now);
                }
                if changed_at.is_none() {
                    // A new generation that says the same, for example.
                    hub.retold(epoch, standing.told(origin.elapsed()));
                }
            }
            () = until(review_at) => {
                changed_at = None;
                let start = Instant::now();
                let looked_at = Arc::clone(&cluster);
                let limits = pace.limits;
                let Ok(found) = tokio::task::spawn_blocking(move || review(&looked_at, limits)).await else {
                    // It broke down. What is enforced does not depend on it, so the operator goes on.
                    warn!("the policies could not be reviewed; what was found before stays, and it is tried again");
                    not_before = Instant::now() + pace.every.saturating_mul(pace.share);
                    changed_at = Some(start);
                    continue;
                };
                let took = start.elapsed();
                not_before = Instant::now() + pace.every.max(took.saturating_mul(pace.share));
                debug!(
                    remarks = found.remarks.len(),
                    unreviewed = found.unreviewed.len(),
                    milliseconds = took.as_secs_f64() * 1000.0,
                    "reviewed the policies"
                );
                let now = origin.elapsed();
                reviewed_epoch = epoch;
                standing.observe(&found, &std::mem::take(&mut edited), now);
                hub.reviewed(Reviewed { review: Arc::new(found), epoch, took }, standing.told(now));
            }
            () = until(tell_at) => hub.retold(reviewed_epoch, standing.told(origin.elapsed())),
        }
    }
}

/// Whether anything is different from before. Policies that are go to the edited ones.
fn take_in(cluster: &mut Cluster, events: Vec<Event>, edited: &mut BTreeSet<ObjectRef>) -> bool {
    let mut is_changed = false;
    for event in events {
        let policy = match &event {
            Event::Apply(object @ Object::Policy(_)) => Some(object.object()),
            Event::Delete(object) if object.kind.is_policy() => Some(object.clone()),
            _ => None,
        };
        if cluster.apply(event) {
            is_changed = true;
            edited.extend(policy);
        }
    }
    is_changed
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
