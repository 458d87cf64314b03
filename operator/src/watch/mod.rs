//! The Kubernetes API as a source of objects: one watch a kind, folded into batches. Owns what of the API is in force;
//! knows nothing of what becomes of it.
//!
//! What is in force only changes by what the API says: while it cannot be asked, everything stays. What goes with the
//! definition of its kind stays for a time of grace.

mod backoff;
mod definition;
mod fold;
mod follow;
mod heard;
mod lineage;
mod pending;
mod pulse;
mod resource;
mod shelf;
mod slim;
#[cfg(test)]
mod tests;
mod trouble;

use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use palisade_compiler::model::Kind;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tracing::{error, info, warn};

use crate::batch::Batch;
use crate::hub::Hub;
use crate::state::SourceState;
use fold::Fold;
use follow::{Words, follow};
use pending::Note;
use shelf::Moment;
use slim::{NamespaceShape, NodeShape, PodShape, PolicyShape};

/// How long changes are collected after one that came soon after others.
const QUIET: Duration = Duration::from_millis(2);

/// How long changes are collected at most. One that comes after nothing for this long is not held back at all.
const LONGEST_QUIET: Duration = Duration::from_millis(50);

/// Lists of changes that may wait to be folded; a kind that is faster waits itself.
const WAITING_WORDS: usize = 64;

/// How the API is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The most objects that are asked for at once.
    pub page_size: u32,
    /// How long policies stay in force whose `CustomResourceDefinition` was deleted.
    pub crd_grace: Duration,
    /// How long a watch lasts before it is taken up anew; a connection that has died unnoticed is given up five
    /// seconds later. In whole seconds, and made longer by up to a tenth by chance, so that kinds do not keep step.
    pub watch_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { page_size: 500, crd_grace: Duration::from_mins(5), watch_timeout: Duration::from_mins(1) }
    }
}

/// The API cannot be watched any more.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The engine is gone.
    #[error("nobody takes the changes any more")]
    Closed,
    /// A task broke down: a bug.
    #[error("a watch of the Kubernetes API broke down")]
    Broken,
}

/// Reads every kind and follows it: one batch once all have been read, then one for each change. Tells the hub where
/// each kind stands. Does not end by itself, whatever becomes of the API server.
///
/// # Errors
/// The receiver is gone, or a part of this broke down.
pub async fn run(
    client: Client,
    settings: Settings,
    hub: Arc<Hub>,
    batches: mpsc::Sender<Batch>,
) -> Result<(), SourceError> {
    let (words, mut heard) = mpsc::channel::<Words>(WAITING_WORDS);
    let mut followers = JoinSet::new();
    for kind in Kind::ALL {
        let (client, words) = (client.clone(), words.clone());
        match kind {
            Kind::Namespace => followers.spawn(follow::<NamespaceShape>(kind, client, settings, words)),
            Kind::Node => followers.spawn(follow::<NodeShape>(kind, client, settings, words)),
            Kind::Pod => followers.spawn(follow::<PodShape>(kind, client, settings, words)),
            _ => followers.spawn(follow::<PolicyShape>(kind, client, settings, words)),
        };
    }
    drop(words);
    let mut fold = Fold::new(settings.crd_grace);
    let mut pace = Pace::default();
    loop {
        tell(&mut fold, &hub);
        let deadline = fold.deadline().map(Instant::from_std);
        let permit = tokio::select! {
            biased;
            permit = batches.reserve(), if pace.is_overdue() => permit,
            // What has come belongs into one batch.
            words = heard.recv() => {
                let Some((kind, words)) = words else { return Err(SourceError::Broken) };
                let now = Moment::now();
                for word in words {
                    fold.hear(kind, word, now);
                }
                pace.heard(fold.is_due());
                continue;
            }
            () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                fold.tick(Moment::now());
                pace.heard(fold.is_due());
                continue;
            }
            permit = batches.reserve(), if pace.is_due() => permit,
            () = pace.wait(), if pace.is_waiting() => continue,
            () = batches.closed() => return Err(SourceError::Closed),
            _ = followers.join_next() => return Err(SourceError::Broken),
        };
        permit.map_err(|_| SourceError::Closed)?.send(fold.batch());
        pace.sent();
    }
}

/// When a batch is sent: at once after a pause, else when nothing has come for a moment.
#[derive(Debug, Default)]
struct Pace {
    /// The first and the last change that wait.
    waiting: Option<(Instant, Instant)>,
    sent: Option<Instant>,
}

impl Pace {
    fn heard(&mut self, is_change: bool) {
        let now = Instant::now();
        self.waiting = is_change.then(|| (self.waiting.map_or(now, |(first, _)| first), now));
    }

    fn sent(&mut self) {
        (self.waiting, self.sent) = (None, Some(Instant::now()));
    }

    fn due(&self) -> Option<Instant> {
        let (first, last) = self.waiting?;
        let is_isolated = self.sent.is_none_or(|sent| first.duration_since(sent) >= LONGEST_QUIET);
        Some(if is_isolated { first } else { (last + QUIET).min(first + LONGEST_QUIET) })
    }

    fn is_due(&self) -> bool {
        self.due().is_some_and(|due| due <= Instant::now())
    }

    fn is_waiting(&self) -> bool {
        self.due().is_some_and(|due| due > Instant::now())
    }

    fn is_overdue(&self) -> bool {
        self.waiting.is_some_and(|(first, _)| first.elapsed() >= LONGEST_QUIET)
    }

    async fn wait(&self) {
        sleep_until(self.due().unwrap_or_else(Instant::now)).await;
    }
}

/// Tells the hub and the log what is new.
fn tell(fold: &mut Fold, hub: &Hub) {
    for note in fold.notes() {
        match note {
            Note::Found(finding) => warn!("{finding}"),
            Note::Vanished { kind, grace } => error!(
                %kind,
                grace_seconds = grace.as_secs(),
                "the CustomResourceDefinition {} was deleted, and its policies with it: what they closed stays closed \
                 for the time of grace; install the definition and apply the policies again if that was not meant",
                resource::full_name(kind)
            ),
            Note::Dropped { kind, policies } => {
                hub.metrics().dropped(policies);
                error!(%kind, policies, "dropping the policies whose CustomResourceDefinition was deleted");
            }
        }
    }
    for (kind, state) in fold.states() {
        match &state {
            SourceState::Syncing | SourceState::Vanished { .. } => {}
            SourceState::Synced => info!(%kind, "following"),
            SourceState::Missing => info!(
                %kind,
                "the API server has no CustomResourceDefinition {}: it is waited for",
                resource::full_name(kind)
            ),
            SourceState::Failing { message } => warn!(%kind, "{message}"),
        }
        hub.source_is(kind.name(), state);
    }
}
