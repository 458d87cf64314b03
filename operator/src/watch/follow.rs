//! Follows one kind: lists it, watches it, and says what it hears in order. Knows the API's failures; nothing of what
//! is in force.

use std::pin::pin;
use std::time::Duration;

use futures::{FutureExt, Stream, StreamExt};
use kube::{Api, Client};
use kube_runtime::watcher::{self, watcher};
use palisade_compiler::model::Kind;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{debug, warn};

use super::Settings;
use super::backoff::{Backoff, spread};
use super::definition::{Definition, Definitions};
use super::heard::{Absence, Heard, Seen, name, read};
use super::lineage::{Lineage, Verdict};
use super::pulse::{Pulse, observed};
use super::resource;
use super::slim::{Shape, Slim};
use super::trouble::{Trouble, of_watcher};

/// What one task has heard, in order.
pub(super) type Words = (Kind, Vec<Heard>);

/// The most events that are handed on together.
const CHUNK: usize = 1024;

/// How long errors may last before they are said: a restart of the API server behind a load balancer is none.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long the objects of a list may be on their way.
const LONGEST_PAGE: Duration = Duration::from_mins(1);

/// Waits after an error.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Waits for a definition that is not there. It is noticed in less than five seconds.
const ABSENT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(4));

/// How often it is asked whether a definition that is being deleted is gone.
const GOING: Duration = Duration::from_secs(2);

/// How often it is asked whether a kind is served in our version again.
const FOREIGN: Duration = Duration::from_secs(30);

/// Nobody listens any more.
#[derive(Debug)]
pub(super) struct Closed;

/// Follows a kind for as long as somebody listens.
pub(super) async fn follow<S: Shape>(
    kind: Kind,
    client: Client,
    settings: Settings,
    words: mpsc::Sender<Words>,
) {
    let mut follower = Follower {
        kind,
        settings,
        definitions: Definitions::of(kind, client.clone()),
        lineage: Lineage::default(),
        words,
        retry: Backoff::new(RETRY.0, RETRY.1),
        absent: Backoff::new(ABSENT.0, ABSENT.1),
        trouble: None,
        foreign: None,
    };
    while let Ok(version) = follower.find().await {
        let (client, pulse) = observed(&client);
        let api = Api::<Slim<S>>::all_with(client, &resource::api(kind, &version));
        if follower.listen(api, pulse).await.is_err() {
            return;
        }
    }
}

/// What is wrong since when.
#[derive(Debug)]
struct Wrong {
    since: Instant,
    message: String,
    is_said: bool,
}

struct Follower {
    kind: Kind,
    settings: Settings,
    /// Of a kind that is not built in.
    definitions: Option<Definitions>,
    lineage: Lineage,
    words: mpsc::Sender<Words>,
    retry: Backoff,
    absent: Backoff,
    trouble: Option<Wrong>,
    foreign: Option<String>,
}

impl Follower {
    async fn say(&self, heard: Vec<Heard>) -> Result<(), Closed> {
        if heard.is_empty() {
            return Ok(());
        }
        self.words.send((self.kind, heard)).await.map_err(|_| Closed)
    }

    /// Something is wrong. It is said at once if it lasts, else if it does not go away.
    async fn fails(&mut self, message: String, is_lasting: bool) -> Result<(), Closed> {
        let now = Instant::now();
        let wrong =
            self.trouble.get_or_insert_with(|| Wrong { since: now, message: String::new(), is_said: false });
        let is_due = is_lasting || now.duration_since(wrong.since) >= PATIENCE;
        let is_news = wrong.message != message || !wrong.is_said;
        debug!(kind = %self.kind, "{message}");
        wrong.message.clone_from(&message);
        if is_due && is_news {
            wrong.is_said = true;
            self.say(vec![Heard::Failing(Some(message))]).await?;
        }
        Ok(())
    }

    async fn is_well(&mut self) -> Result<(), Closed> {
        self.retry.reset();
        match self.trouble.take() {
            Some(wrong) if wrong.is_said => self.say(vec![Heard::Failing(None)]).await,
            _ => Ok(()),
        }
    }

    /// Waits until the kind is served, and says in which version it is to be read.
    async fn find(&mut self) -> Result<String, Closed> {
        let ours = resource::version(self.kind);
        loop {
            let Some(definitions) = &mut self.definitions else { return Ok(ours.to_owned()) };
            let (definition, served) = match definitions.look().await {
                Ok(looked) => looked,
                Err(trouble) => {
                    self.waits(trouble).await?;
                    continue;
                }
            };
            let Definition::There { uid, is_going } = definition else {
                self.lineage.lost();
                self.is_well().await?;
                let foreign = self.foreign.take().map(|_| Heard::Foreign(None));
                self.say(foreign.into_iter().chain([Heard::Absent]).collect()).await?;
                sleep(self.absent.next()).await;
                continue;
            };
            self.absent.reset();
            self.lineage.found(uid, is_going);
            let version = if served.iter().any(|version| version == ours) { Some(ours) } else { None };
            let Some(version) = version.or_else(|| served.first().map(String::as_str)) else {
                let message = format!(
                    "the CustomResourceDefinition {} serves no version: its policies stay as they were last read; \
                     serve {ours}",
                    resource::full_name(self.kind)
                );
                self.fails(message, true).await?;
                sleep(self.retry.next()).await;
                continue;
            };
            let foreign = (version != ours).then(|| version.to_owned());
            if foreign != self.foreign {
                self.foreign.clone_from(&foreign);
                self.say(vec![Heard::Foreign(foreign.map(|version| foreign_message(self.kind, &version)))])
                    .await?;
            }
            return Ok(version.to_owned());
        }
    }

    /// Takes an error in and waits as long as it demands.
    async fn waits(&mut self, trouble: Trouble) -> Result<(), Closed> {
        let mut least = Duration::ZERO;
        match trouble {
            Trouble::NotServed => {
                let name = resource::full_name(self.kind);
                let message = if self.definitions.is_some() {
                    format!("the API server has the definition of {name} and does not serve it (yet)")
                } else {
                    format!("the API server does not serve {name}: check its version and flags")
                };
                self.fails(message, false).await?;
            }
            Trouble::Outdated => {
                debug!(kind = %self.kind, "what the API server remembers does not go back far enough: listing");
            }
            Trouble::Failing { message, is_lasting, retry_after } => {
                self.fails(message, is_lasting).await?;
                least = retry_after.min(RETRY.1);
            }
        }
        let over = Instant::now() + self.retry.next().max(least);
        if let Some(wrong) = self.trouble.as_ref().filter(|wrong| !wrong.is_said) {
            let (due, message) = (wrong.since + PATIENCE, wrong.message.clone());
            if due < over {
                sleep_until(due).await;
                self.fails(message, true).await?;
            }
        }
        sleep_until(over).await;
        Ok(())
    }

    /// Hears what a watcher has to say, until the kind is to be looked for and listed anew.
    async fn listen<S: Shape>(
        &mut self,
        api: Api<Slim<S>>,
        mut pulse: watch::Receiver<Pulse>,
    ) -> Result<(), Closed> {
        let timeout = spread(self.settings.watch_timeout).as_secs();
        let config = watcher::Config::default()
            .page_size(self.settings.page_size)
            .timeout(u32::try_from(timeout).unwrap_or(u32::MAX));
        let mut events = pin!(watcher(api, config));
        let mut listing_until = Some(Instant::now() + LONGEST_PAGE);
        let look_again = if self.lineage.is_going() {
            Some(GOING)
        } else if self.foreign.is_some() {
            Some(FOREIGN)
        } else {
            None
        };
        let look_again = look_again.map(|wait| Instant::now() + spread(wait));
        loop {
            if pulse.has_changed().unwrap_or_default() && *pulse.borrow_and_update() == Pulse::Open {
                self.is_well().await?;
            }
            let is_said = self.trouble.as_ref().is_some_and(|wrong| wrong.is_said);
            let unanswered_at = match *pulse.borrow() {
                Pulse::Asked(at) if !is_said => Some(at + PATIENCE),
                _ => None,
            };
            let first = tokio::select! {
                first = events.next() => first,
                Ok(()) = pulse.changed() => {
                    pulse.mark_changed();
                    continue;
                }
                () = until(unanswered_at) => {
                    let (name, time) = (resource::full_name(self.kind), PATIENCE.as_secs());
                    let message = format!("the API server has not answered about {name} for {time} s");
                    self.fails(message, true).await?;
                    continue;
                }
                () = until(listing_until) => {
                    let name = resource::full_name(self.kind);
                    self.fails(format!("a list of {name} that the API server began did not go on"), true).await?;
                    return Ok(());
                }
                () = until(look_again) => return Ok(()),
            };
            let (chunk, error) = gather(first, events.as_mut());
            for event in &chunk {
                listing_until = match event {
                    watcher::Event::Init | watcher::Event::InitApply(_) => {
                        Some(Instant::now() + LONGEST_PAGE)
                    }
                    _ => None,
                };
            }
            let is_outdated = self.hear(chunk).await?;
            if let Some(error) = error {
                let trouble = of_watcher(self.kind, &error);
                // The watcher itself would ask for the same again.
                let is_over = matches!(trouble, Trouble::NotServed | Trouble::Outdated);
                self.waits(trouble).await?;
                if is_over {
                    return Ok(());
                }
            }
            if is_outdated {
                return Ok(());
            }
        }
    }

    /// Hands events on. Whether the kind is to be listed again.
    async fn hear<S: Shape>(&mut self, events: Vec<watcher::Event<Slim<S>>>) -> Result<bool, Closed> {
        let mut heard = Vec::with_capacity(events.len());
        // Asked once: all events of a chunk are older than the answer.
        let mut definition = None;
        let mut is_outdated = false;
        for event in events {
            match event {
                watcher::Event::Init => heard.push(Heard::Began),
                watcher::Event::InitApply(slim) => heard.extend(self.read(slim).map(Heard::Listed)),
                watcher::Event::Apply(slim) => heard.extend(self.read(slim).map(Heard::Applied)),
                watcher::Event::InitDone | watcher::Event::Delete(_) => {
                    if definition.is_none() {
                        self.say(std::mem::take(&mut heard)).await?;
                        definition = Some(self.definition().await?);
                    }
                    let definition = definition.as_ref().and_then(Option::as_ref);
                    let deleted = Verdict { absence: Absence::Deleted, is_outdated: false };
                    let verdict;
                    if let watcher::Event::Delete(slim) = event {
                        verdict = definition.map_or(deleted, |definition| self.lineage.gone(definition));
                        heard.extend(gone(self.kind, &slim, verdict.absence));
                    } else {
                        verdict = definition.map_or(deleted, |definition| self.lineage.ended(definition));
                        heard.push(Heard::Ended(verdict.absence));
                    }
                    is_outdated |= verdict.is_outdated;
                }
            }
        }
        self.say(heard).await?;
        Ok(is_outdated)
    }

    fn read<S: Shape>(&self, slim: Slim<S>) -> Option<Seen> {
        match read(self.kind, slim, self.foreign.as_deref()) {
            Ok(seen) => Some(seen),
            Err(what) => {
                warn!(kind = %self.kind, "the API server sent {what}: it is not taken in");
                None
            }
        }
    }

    /// The definition now; `None` of a kind that is built in. Asks until there is an answer; till then what is known
    /// stays in force.
    async fn definition(&mut self) -> Result<Option<Definition>, Closed> {
        let mut has_waited = false;
        loop {
            let Some(definitions) = &mut self.definitions else { return Ok(None) };
            match definitions.identify().await {
                Ok(definition) => {
                    if has_waited {
                        self.is_well().await?;
                    }
                    return Ok(Some(definition));
                }
                Err(trouble) => self.waits(trouble).await?,
            }
            has_waited = true;
        }
    }
}

/// Events that are there already, and the error that ended them. After an error the watcher is not asked for more: it
/// would try again at once.
fn gather<S: Shape>(
    first: Option<watcher::Result<watcher::Event<Slim<S>>>>,
    mut events: std::pin::Pin<&mut impl Stream<Item = watcher::Result<watcher::Event<Slim<S>>>>>,
) -> (Vec<watcher::Event<Slim<S>>>, Option<watcher::Error>) {
    let mut chunk = Vec::new();
    let mut next = first;
    loop {
        match next {
            Some(Ok(event)) => chunk.push(event),
            Some(Err(error)) => return (chunk, Some(error)),
            None => return (chunk, None),
        }
        if chunk.len() == CHUNK {
            return (chunk, None);
        }
        next = events.next().now_or_never().flatten();
    }
}

fn gone<S: Shape>(kind: Kind, slim: &Slim<S>, absence: Absence) -> Option<Heard> {
    let version = slim.metadata("resourceVersion").and_then(|version| version.parse().ok());
    name(kind, slim).map(|object| Heard::Gone { object, version, absence })
}

fn foreign_message(kind: Kind, version: &str) -> String {
    let ours = resource::version(kind);
    format!(
        "the API serves {} as {version}, not as {ours}, which is what this release reads: policies keep their last \
         good content, new ones are in force as far as they are understood; serve {ours} again, or use a release that \
         reads {version}",
        resource::full_name(kind)
    )
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
