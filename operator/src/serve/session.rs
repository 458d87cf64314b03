//! One stream of one node: what it holds, what it should hold, and at most one update between the two.

use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use palisade_proto::v1::{FromNode, Hello, Nack, Update, from_node, nack};
use palisade_proto::{SCHEMA_VERSION, encode_operation, optional_root, parts, root};
use palisade_view::{HASH_VERSION, NodeView, Operation, Root};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_stream::StreamExt;
use tonic::Status;
use tracing::{debug, info, warn};

use super::{Phase, over};
use crate::hub::{Attachment, Hub, Published, Shim};

/// How long a stream may stay without its Hello.
const HELLO_WITHIN: Duration = Duration::from_secs(10);

/// How long a node that refused twice is left alone, at first and at most. A new view is tried at once.
const BACK_OFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));

/// How long a session may last, and in whose name.
#[derive(Clone, Debug)]
pub struct Tenure {
    /// Term of its updates.
    pub term: u64,
    /// When the token ends that opened it.
    pub until: Option<Instant>,
    /// Whether the port goes on being served.
    pub phase: watch::Receiver<Phase>,
}

/// Runs a session to its end.
pub async fn run(
    node: String,
    mut incoming: impl Stream<Item = Result<FromNode, Status>> + Unpin,
    outgoing: mpsc::Sender<Result<Update, Status>>,
    hub: Arc<Hub>,
    mut tenure: Tenure,
) {
    let greeted = tokio::select! {
        farewell = over(&mut tenure.phase) => Err(farewell),
        greeted = hello(&mut incoming, tenure.term) => greeted,
    };
    let hello = match greeted {
        Ok(hello) => hello,
        Err(status) => {
            warn!(reason = status.message(), "refused a stream");
            hub.turned_away(&node, status.message());
            let _ = outgoing.send(Err(status)).await;
            return;
        }
    };
    let attachment = hub.attach(&node, hello.shim);
    info!(held = hello.held.map(tracing::field::display), "the node's shim is connected");
    let number = attachment.session;
    let session = Session {
        node: &node,
        hub: &hub,
        term: tenure.term,
        number,
        held: hello.held.map_or(Held::Nothing, Held::Root),
        is_confirmed: false,
        in_flight: None,
        refusals: 0,
        retry_at: None,
    };
    let status = session.follow(incoming, &outgoing, attachment, &mut tenure).await;
    info!(reason = status.message(), "the node's stream ended");
    hub.detach(&node, number, status.message());
    let _ = outgoing.send(Err(status)).await;
}

struct Greeting {
    held: Option<Root>,
    shim: Shim,
}

async fn hello(
    incoming: &mut (impl Stream<Item = Result<FromNode, Status>> + Unpin),
    term: u64,
) -> Result<Greeting, Status> {
    let first = tokio::time::timeout(HELLO_WITHIN, incoming.next())
        .await
        .map_err(|_| Status::deadline_exceeded("no Hello within 10 seconds"))?
        .ok_or_else(|| Status::invalid_argument("the stream ended before its Hello"))??;
    let Some(from_node::Message::Hello(hello)) = first.message else {
        return Err(Status::invalid_argument("the first message of a stream is a Hello"));
    };
    check(&hello, term)?;
    let held = optional_root("hello.held_root", &hello.held_root)
        .map_err(|error| Status::invalid_argument(error.to_string()))?;
    Ok(Greeting { held, shim: Shim { version: hello.version, capabilities: hello.capabilities } })
}

fn check(hello: &Hello, term: u64) -> Result<(), Status> {
    if hello.schema != SCHEMA_VERSION {
        return Err(Status::failed_precondition(format!(
            "the shim speaks version {} of the contract, the operator {SCHEMA_VERSION}: bring both to one release",
            hello.schema
        )));
    }
    if hello.hash_version != HASH_VERSION {
        return Err(Status::failed_precondition(format!(
            "the shim computes version {} of the content hashes, the operator {HASH_VERSION}: bring both to one release",
            hello.hash_version
        )));
    }
    if hello.term > term {
        return Err(Status::failed_precondition(format!(
            "the node has seen term {}, this operator is of term {term}: a newer operator has been in charge; if that one \
             is gone for good, delete the operators' Lease (they make another, of a higher term), or with --manifests \
             raise --term",
            hello.term
        )));
    }
    Ok(())
}

/// What the node has in force, as far as this session knows.
enum Held {
    Nothing,
    /// By its name only, from before this session.
    Root(Root),
    View(Arc<NodeView>),
}

impl Held {
    fn root(&self) -> Option<Root> {
        match self {
            Self::Nothing => None,
            Self::Root(root) => Some(*root),
            Self::View(view) => Some(view.root()),
        }
    }
}

struct Session<'a> {
    node: &'a str,
    hub: &'a Hub,
    term: u64,
    number: u64,
    held: Held,
    /// Whether the node has confirmed in this session what it holds.
    is_confirmed: bool,
    in_flight: Option<Arc<NodeView>>,
    /// In a row.
    refusals: u32,
    /// Set while the node is parked.
    retry_at: Option<Instant>,
}

impl Session<'_> {
    async fn follow(
        mut self,
        mut incoming: impl Stream<Item = Result<FromNode, Status>> + Unpin,
        outgoing: &mpsc::Sender<Result<Update, Status>>,
        attachment: Attachment,
        tenure: &mut Tenure,
    ) -> Status {
        let Attachment { mut views, mut superseded, .. } = attachment;
        loop {
            if self.in_flight.is_none() && self.retry_at.is_none() {
                let target = views.borrow_and_update().clone();
                if let Some(update) = target.and_then(|target| self.update(&target)) {
                    for part in update {
                        let sent = tokio::select! {
                            biased;
                            // A node that takes nothing must not keep its stream from ending.
                            farewell = over(&mut tenure.phase) => return farewell,
                            sent = outgoing.send(Ok(part)) => sent,
                        };
                        if sent.is_err() {
                            return Status::cancelled("the node closed the stream");
                        }
                    }
                }
            }
            let retry_at = self.retry_at;
            tokio::select! {
                farewell = over(&mut tenure.phase) => return farewell,
                () = sleep_until(tenure.until) => {
                    return Status::unavailable("the stream's token has ended: come back with its successor");
                }
                _ = superseded.wait_for(|superseded| *superseded) => {
                    return Status::aborted("a newer stream of this node has taken over");
                }
                message = incoming.next() => match message {
                    None => return Status::cancelled("the node closed the stream"),
                    Some(Err(status)) => return Status::cancelled(format!("the stream broke: {}", status.message())),
                    Some(Ok(message)) => if let Err(status) = self.answer(message) {
                        return status;
                    },
                },
                changed = views.changed(), if self.in_flight.is_none() => {
                    if changed.is_err() {
                        return Status::unavailable("the operator is stopping");
                    }
                    // A new view is worth another try.
                    self.retry_at = None;
                }
                () = sleep_until(retry_at), if retry_at.is_some() => self.retry_at = None,
            }
        }
    }

    /// The update that leads to the target, if one is due.
    fn update(&mut self, target: &Published) -> Option<impl Iterator<Item = Update> + use<>> {
        let to = target.view.root();
        let held = self.held.root();
        let metrics = self.hub.metrics();
        let (kind, from, operations): (_, _, Arc<[Operation]>) = match (&self.held, &target.change) {
            _ if held == Some(to) && self.is_confirmed => {
                self.refusals = 0;
                return None;
            }
            _ if held == Some(to) && self.refusals == 0 => ("confirm", held, Arc::new([])),
            (Held::View(view), change) if self.refusals == 0 => match change {
                Some(change) if change.from == view.root() => ("delta", held, Arc::clone(&change.operations)),
                _ => ("delta", held, view.diff(&target.view).into()),
            },
            _ => ("snapshot", None, NodeView::default().diff(&target.view).into()),
        };
        // What has been published since is seen next: the watch has changed.
        if !self.hub.sending(self.node, self.number, to) {
            return None;
        }
        let encoded: Vec<_> = operations.iter().map(encode_operation).collect();
        let bytes: usize = encoded.iter().map(bytes::Bytes::len).sum();
        metrics.updates.get_or_create(&[("kind", kind)]).inc();
        metrics.update_bytes.inc_by(bytes as u64);
        debug!(kind, to = %to, operations = operations.len(), bytes, "sending an update");
        self.in_flight = Some(Arc::clone(&target.view));
        Some(parts(self.term, from, to, &encoded))
    }

    fn answer(&mut self, message: FromNode) -> Result<(), Status> {
        let unexpected = |what: &str| Err(Status::invalid_argument(what.to_owned()));
        match message.message {
            Some(from_node::Message::Ack(ack)) => {
                let acked =
                    root("ack.root", &ack.root).map_err(|e| Status::invalid_argument(e.to_string()))?;
                match self.in_flight.take() {
                    Some(view) if view.root() == acked => self.held = Held::View(view),
                    _ => return unexpected("an Ack of an update that is not in flight"),
                }
                (self.is_confirmed, self.refusals) = (true, 0);
                self.hub.confirmed(self.node, self.number, acked);
                debug!(root = %acked, "the node has confirmed");
                Ok(())
            }
            Some(from_node::Message::Nack(nack)) => self.refused(&nack),
            Some(from_node::Message::Hello(_)) => unexpected("a second Hello"),
            None => unexpected("an empty message"),
        }
    }

    fn refused(&mut self, refusal: &Nack) -> Result<(), Status> {
        let refused =
            root("nack.root", &refusal.root).map_err(|e| Status::invalid_argument(e.to_string()))?;
        match self.in_flight.take() {
            Some(view) if view.root() == refused => {}
            _ => return Err(Status::invalid_argument("a Nack of an update that is not in flight")),
        }
        self.refusals += 1;
        let reason = match refusal.reason() {
            nack::Reason::Unspecified => "unspecified",
            nack::Reason::RootMismatch => "root_mismatch",
            nack::Reason::Invalid => "invalid",
            nack::Reason::Kernel => "kernel",
            nack::Reason::StaleTerm => "stale_term",
            nack::Reason::TooLarge => "too_large",
        };
        self.hub.metrics().nacks.get_or_create(&[("reason", reason)]).inc();
        let message = format!("refused ({reason}): {}", refusal.message);
        // The first refusal is answered with a snapshot at once, later ones after a pause.
        let is_parked = self.refusals > 1;
        if is_parked {
            let pause = pause(self.node, self.refusals - 2);
            self.retry_at = Some(Instant::now() + pause);
            warn!(pause_seconds = pause.as_secs(), "the node {message}; what it held stays in force there");
        } else {
            warn!("the node {message}; sending a snapshot");
        }
        let held = if self.is_confirmed { self.held.root() } else { None };
        self.hub.refused(self.node, self.number, held, &message, is_parked);
        Ok(())
    }
}

/// How long a node is left alone after so many pauses: twice as long each time, and less by up to a quarter that
/// depends on its name, so that nodes that refused together do not come back together.
fn pause(node: &str, pauses: u32) -> Duration {
    let full = BACK_OFF.0.saturating_mul(1 << pauses.min(16)).min(BACK_OFF.1);
    let hash = blake3::hash(format!("{node} {pauses}").as_bytes());
    full.saturating_sub(full / 4 * u32::from(hash.as_bytes()[0]) / 255)
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn pauses_grow_to_a_minute_and_differ_between_nodes() {
        for pauses in 0..40 {
            let full = Duration::from_secs(1 << pauses.min(6)).min(Duration::from_mins(1));
            let all: BTreeSet<_> = (0..20).map(|node| pause(&format!("node-{node}"), pauses)).collect();
            assert!(all.len() > 10, "{all:?}");
            assert!(all.iter().all(|&pause| full * 3 / 4 <= pause && pause <= full), "{pauses}: {all:?}");
        }
    }
}
