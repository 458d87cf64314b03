//! Watches: the history of a kind, line by line, in the form that a client wants.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::{BufMut as _, Bytes, BytesMut};
use futures::stream;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::answer::Answer;
use super::call::Call;
use super::error::ApiError;
use super::form::{Form, metadata_only, present};
use super::read::{Selection, expired, table_of};
use crate::core::Core;
use crate::faults::Disturbance;
use crate::store::{Change, ChangeKind, Encoding, Range};

/// When the client does not say how long. kube-apiserver takes half an hour to an hour.
const DEFAULT_TIME: Duration = Duration::from_mins(30);

/// One line.
#[derive(Serialize)]
struct Event<'a> {
    r#type: &'a str,
    object: &'a Value,
}

fn line(kind: &str, object: &Value) -> Bytes {
    let mut line = BytesMut::new().writer();
    // Writing to memory cannot fail, and all keys are texts.
    if serde_json::to_writer(&mut line, &Event { r#type: kind, object }).is_err() {
        return Bytes::new();
    }
    let mut line = line.into_inner();
    line.put_u8(b'\n');
    line.freeze()
}

struct Watch {
    core: Arc<Core>,
    call: Call,
    selection: Selection,
    encoding: Encoding,
    connection: CancellationToken,
    news: watch::Receiver<u64>,
    disturbance: watch::Receiver<Disturbance>,
    drops: u64,
    /// Everything up to here has been told.
    revision: u64,
    ready: BytesMut,
    takes_bookmarks: bool,
    is_bookmark_due: bool,
    next_bookmark: Instant,
    deadline: Instant,
    is_over: bool,
}

/// Opens a watch.
pub(super) fn open(core: &Arc<Core>, call: Call, connection: CancellationToken) -> Result<Answer, ApiError> {
    let mut selection = Selection::of(&call)?;
    if let Some(name) = &call.path.name {
        let one = crate::select::FieldSelector::parse(&format!("metadata.name={name}"));
        selection.fields = one.map_err(|error| ApiError::bad_request(error.to_string()))?;
    }
    let storage = call.resource.storage.clone();
    let sends_initial = call.params.is_set("sendInitialEvents");
    let takes_bookmarks = call.params.is_set("allowWatchBookmarks");
    if sends_initial && (call.params.get("resourceVersionMatch") != Some("NotOlderThan") || !takes_bookmarks)
    {
        let message = "sendInitialEvents: Forbidden: sendInitialEvents requires setting resourceVersionMatch to \
                       NotOlderThan and allowWatchBookmarks to true";
        return Err(ApiError::invalid("ListOptions", "meta.k8s.io", "", message, &[]));
    }
    let asked = call.params.revision()?;
    let news = core.store.subscribe(&storage);
    let disturbance = core.faults.disturbance();
    let drops = disturbance.borrow().drops(&call.kind.resource);
    let now = Instant::now();
    let time = call.params.timeout()?.unwrap_or(DEFAULT_TIME);
    let encoding =
        Encoding { api_version: call.resource.api_version(), form: call.form.name(include_name(&call)) };
    let mut watch = Watch {
        core: core.clone(),
        selection,
        encoding,
        connection,
        news,
        disturbance,
        drops,
        revision: asked.unwrap_or_default(),
        ready: BytesMut::new(),
        takes_bookmarks,
        is_bookmark_due: false,
        next_bookmark: now + core.bookmark_interval,
        deadline: now + time,
        is_over: false,
        call,
    };
    if sends_initial || asked.is_none() {
        watch.begin_with_all(asked, sends_initial)?;
    }
    let body = stream::unfold(watch, |mut watch| async move { Some((watch.next().await?, watch)) });
    Ok(Answer::lines(Body::from_stream(body)))
}

fn include_name(call: &Call) -> &str {
    call.params.get("includeObject").unwrap_or_default()
}

impl Watch {
    /// All objects as if they were new, and where the list has said it wants to know, that these were all.
    fn begin_with_all(&mut self, asked: Option<u64>, sends_initial: bool) -> Result<(), ApiError> {
        let range = Range { namespace: self.call.path.namespace.as_deref(), ..Range::default() };
        let page =
            self.core.store.list(&self.call.resource.storage, range).map_err(|error| expired(&error))?;
        if let Some(asked) = asked.filter(|asked| *asked > page.revision) {
            let error = crate::store::StoreError::Future { asked, current: page.revision };
            return Err(expired(&error));
        }
        for object in &page.objects {
            let shown = present(&self.call.resource, &object.value);
            if self.selection.matches(&shown) {
                let line = line(ChangeKind::Added.as_str(), &self.in_form(&shown));
                self.ready.extend_from_slice(&line);
            }
        }
        self.revision = page.revision;
        if sends_initial {
            self.bookmark(true);
        }
        Ok(())
    }

    fn in_form(&self, shown: &Value) -> Value {
        match self.call.form {
            Form::Whole => shown.clone(),
            Form::Metadata => metadata_only(shown),
            Form::Table => {
                let mut table = table_of(&self.call, &[shown]);
                table["metadata"] =
                    json!({"resourceVersion": shown.pointer("/metadata/resourceVersion").cloned()});
                table
            }
        }
    }

    fn bookmark(&mut self, is_end_of_initial: bool) {
        let mut metadata = json!({"resourceVersion": self.revision.to_string(), "creationTimestamp": null});
        if is_end_of_initial {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let resource = &self.call.resource;
        let object = match self.call.form {
            Form::Whole => {
                json!({"kind": resource.kind, "apiVersion": resource.api_version(), "metadata": metadata})
            }
            Form::Metadata => metadata_only(&json!({"metadata": metadata})),
            Form::Table => {
                let mut table = table_of(&self.call, &[]);
                table["metadata"] = metadata;
                table
            }
        };
        self.ready.extend_from_slice(&line("BOOKMARK", &object));
    }

    /// The next bytes; `None`: the watch is over.
    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        loop {
            let (drops, is_stalled) = {
                let disturbance = self.disturbance.borrow_and_update();
                let resource = &self.call.kind.resource;
                (disturbance.drops(resource), disturbance.is_stalled(resource))
            };
            if drops != self.drops {
                return self.fall().await;
            }
            if is_stalled {
                if self.disturbance.changed().await.is_err() {
                    return None;
                }
                continue;
            }
            if !self.ready.is_empty() {
                return Some(Ok(self.ready.split().freeze()));
            }
            if self.is_over {
                return None;
            }
            // Marked before it is read: what comes in between wakes again.
            self.news.mark_unchanged();
            self.read();
            if self.is_bookmark_due && !self.is_over {
                self.is_bookmark_due = false;
                self.next_bookmark = Instant::now() + self.core.bookmark_interval;
                self.bookmark(false);
            }
            if !self.ready.is_empty() || self.is_over {
                continue;
            }
            tokio::select! {
                changed = self.news.changed() => if changed.is_err() { return None },
                changed = self.disturbance.changed() => if changed.is_err() { return None },
                () = sleep_until(self.deadline) => {
                    self.is_over = true;
                    if self.takes_bookmarks {
                        self.read();
                        self.bookmark(false);
                    }
                }
                () = sleep_until(self.next_bookmark), if self.takes_bookmarks => self.is_bookmark_due = true,
            }
        }
    }

    /// Makes lines of what has happened.
    fn read(&mut self) {
        // What has happened until now is still told as the old definition has it.
        self.is_over |= self.is_redefined();
        loop {
            let news = match self.core.store.since(&self.call.resource.storage, self.revision) {
                Ok(news) => news,
                Err(error) => {
                    self.ready.extend_from_slice(&line("ERROR", &expired(&error).status()));
                    self.is_over = true;
                    return;
                }
            };
            for change in &news.changes {
                if let Some(line) = self.line_of(change) {
                    self.ready.extend_from_slice(&line);
                }
            }
            self.revision = news.revision;
            self.is_over |= news.is_over;
            // What is there goes out before more is read, so that a slow client holds up nothing but itself.
            if !news.is_partial || !self.ready.is_empty() {
                return;
            }
        }
    }

    /// Whether another definition has taken this kind's place. One that is gone ends its kind's history instead.
    fn is_redefined(&self) -> bool {
        let resource = &self.call.resource;
        let now = self.core.registry.find(&resource.group, &resource.version, &resource.plural);
        now.is_some_and(|now| !Arc::ptr_eq(&now, resource))
    }

    fn line_of(&self, change: &Change) -> Option<Bytes> {
        let namespace = self.call.path.namespace.as_deref();
        if namespace.is_some_and(|namespace| change.object.key.0 != namespace) {
            return None;
        }
        let resource = &self.call.resource;
        let is_in =
            |value: &Value| self.selection.is_empty() || self.selection.matches(&present(resource, value));
        let is = change.kind != ChangeKind::Deleted && is_in(&change.object.value);
        let was = change.previous.as_ref().is_some_and(|previous| is_in(&previous.value));
        let told_as = match (was, is) {
            (false, false) => return None,
            (false, true) => ChangeKind::Added,
            (true, true) => ChangeKind::Modified,
            (true, false) => ChangeKind::Deleted,
        };
        Some(change.line(told_as, &self.encoding, || {
            let object = match &change.previous {
                // The one that selects sees it as it last was in the selection, with the revision of the change.
                Some(previous) if told_as == ChangeKind::Deleted && change.kind != ChangeKind::Deleted => {
                    let mut last = previous.value.clone();
                    crate::meta::set(&mut last, "resourceVersion", json!(change.object.revision.to_string()));
                    std::borrow::Cow::Owned(last)
                }
                _ => std::borrow::Cow::Borrowed(&change.object.value),
            };
            let shown = present(resource, &object);
            if self.call.form == Form::Whole {
                line(told_as.as_str(), &shown)
            } else {
                line(told_as.as_str(), &self.in_form(&shown))
            }
        }))
    }

    /// Half a line, and the connection is reset.
    async fn fall(&mut self) -> Option<io::Result<Bytes>> {
        if !self.is_over {
            self.is_over = true;
            return Some(Ok(Bytes::from_static(b"{\"type\":\"MODIFIED\",\"object\":{\"kin")));
        }
        // Long enough for the half line to leave.
        sleep(Duration::from_millis(5)).await;
        self.connection.cancel();
        Some(Err(io::Error::from(io::ErrorKind::ConnectionReset)))
    }
}
