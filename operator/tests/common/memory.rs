//! An API server in memory, of which just enough is there for objects that are known by name: get, list, watch, create,
//! replace with resourceVersion, delete, and the review of tokens. It counts requests and fails as it is told to.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own part")]
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body as Answer, Bytes};
use axum::http::{Method, Request, Response};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::watch;

/// Far above what anything here takes: only a test that fails waits this long.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for something that is due.
pub async fn due<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"))
}

/// What the server does instead of answering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// It answers.
    Willing,
    /// It says 500.
    Broken,
    /// It says nothing.
    Silent,
    /// It says 403.
    Strict,
}

type Review = Box<dyn Fn(&str) -> Value + Send>;

struct State {
    objects: BTreeMap<String, Value>,
    log: Vec<(u64, &'static str, String, Value)>,
    version: u64,
    mood: Mood,
    requests: BTreeMap<String, usize>,
    review: Review,
    review_takes: Duration,
    reviews_at_once: (usize, usize),
}

/// See the module.
#[derive(Clone)]
pub struct Memory {
    state: Arc<Mutex<State>>,
    changed: watch::Sender<u64>,
}

impl Memory {
    pub fn new() -> Self {
        let state = State {
            objects: BTreeMap::new(),
            log: Vec::new(),
            version: 0,
            mood: Mood::Willing,
            requests: BTreeMap::new(),
            review: Box::new(|_| json!({"authenticated": false})),
            review_takes: Duration::ZERO,
            reviews_at_once: (0, 0),
        };
        Self { state: Arc::new(Mutex::new(state)), changed: watch::Sender::new(0) }
    }

    /// A client of it that does not try again by itself.
    pub fn client(&self) -> Client {
        let this = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let this = this.clone();
            async move { Ok::<_, Infallible>(this.serve(request).await) }
        });
        Client::new(service, "palisade-system")
    }

    pub fn mood(&self, mood: Mood) {
        self.state.lock().unwrap().mood = mood;
    }

    /// How tokens are judged: what becomes the review's status, and how long that takes.
    pub fn reviews(&self, takes: Duration, review: impl Fn(&str) -> Value + Send + 'static) {
        let mut state = self.state.lock().unwrap();
        state.review = Box::new(review);
        state.review_takes = takes;
    }

    /// How many requests there were of a method and a resource, such as `POST tokenreviews`.
    pub fn requests(&self, what: &str) -> usize {
        self.state.lock().unwrap().requests.get(what).copied().unwrap_or_default()
    }

    /// The most reviews that were under way at once.
    pub fn most_reviews_at_once(&self) -> usize {
        self.state.lock().unwrap().reviews_at_once.1
    }

    async fn serve(&self, request: Request<Body>) -> Response<Answer> {
        let (parts, body) = request.into_parts();
        let body = body.collect_bytes().await.unwrap_or_default();
        let path = parts.uri.path().to_owned();
        let query = parts.uri.query().unwrap_or_default().to_owned();
        let segments: Vec<_> = path.split('/').collect();
        let is_named = !["leases", "secrets", "configmaps", "pods", "tokenreviews"]
            .contains(segments.last().unwrap_or(&""));
        let resource = segments[segments.len() - 1 - usize::from(is_named)].to_owned();
        let mood = {
            let mut state = self.state.lock().unwrap();
            *state.requests.entry(format!("{} {resource}", parts.method)).or_default() += 1;
            state.mood
        };
        match mood {
            Mood::Willing => {}
            Mood::Broken => return failure(500, "InternalError", "it is broken"),
            Mood::Strict => return failure(403, "Forbidden", "it is forbidden"),
            Mood::Silent => std::future::pending().await,
        }
        if resource == "tokenreviews" {
            return self.review(&serde_json::from_slice(&body).unwrap()).await;
        }
        if parts.method == Method::GET && query.contains("watch=true") {
            return self.watch(&path, &query);
        }
        let answer = self.change(&parts.method, &path, &query, &body, is_named);
        self.changed.send_replace(self.state.lock().unwrap().version);
        answer
    }

    fn change(
        &self,
        method: &Method,
        path: &str,
        query: &str,
        body: &Bytes,
        is_named: bool,
    ) -> Response<Answer> {
        let mut state = self.state.lock().unwrap();
        let missing = || failure(404, "NotFound", &format!("{path} not found"));
        match (method, is_named) {
            (&Method::GET, true) => state.objects.get(path).map_or_else(missing, success),
            (&Method::GET, false) => {
                let name = named(query);
                let items: Vec<_> = state
                    .objects
                    .iter()
                    .filter(|(key, _)| key.rsplit_once('/').is_some_and(|(parent, _)| parent == path))
                    .map(|(_, object)| object)
                    .filter(|object| name.as_deref().is_none_or(|name| object["metadata"]["name"] == name))
                    .collect();
                let version = state.version.to_string();
                success(
                    &json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": version}, "items": items}),
                )
            }
            (&Method::POST, _) => {
                let mut object: Value = serde_json::from_slice(body).unwrap();
                let path = format!("{path}/{}", object["metadata"]["name"].as_str().unwrap());
                if state.objects.contains_key(&path) {
                    return failure(409, "AlreadyExists", "it is there already");
                }
                object["metadata"]["uid"] = json!(format!("uid-{}", state.version));
                object["metadata"]["creationTimestamp"] = json!(now());
                state.store(&path, object, "ADDED")
            }
            (&Method::PUT, _) => {
                let mut object: Value = serde_json::from_slice(body).unwrap();
                let Some(stored) = state.objects.get(path) else { return missing() };
                if object["metadata"]["resourceVersion"] != stored["metadata"]["resourceVersion"] {
                    return failure(409, "Conflict", "it has been changed");
                }
                for kept in ["uid", "creationTimestamp"] {
                    object["metadata"][kept] = stored["metadata"][kept].clone();
                }
                state.store(path, object, "MODIFIED")
            }
            (&Method::DELETE, _) => {
                let Some(object) = state.objects.get(path).cloned() else { return missing() };
                let answer = state.store(path, object, "DELETED");
                state.objects.remove(path);
                answer
            }
            _ => failure(405, "MethodNotAllowed", "it does not do that"),
        }
    }

    fn watch(&self, path: &str, query: &str) -> Response<Answer> {
        let from =
            parameter(query, "resourceVersion").and_then(|version| version.parse().ok()).unwrap_or(0_u64);
        let (name, prefix) = (named(query), format!("{path}/"));
        let (this, changed) = (self.clone(), self.changed.subscribe());
        let lines = futures::stream::unfold((from, changed), move |(from, mut changed)| {
            let (this, name, prefix) = (this.clone(), name.clone(), prefix.clone());
            async move {
                loop {
                    changed.mark_unchanged();
                    let (lines, version) = {
                        let state = this.state.lock().unwrap();
                        let new = state.log.iter().filter(|(version, ..)| *version > from);
                        let here = new.filter(|(_, _, path, object)| {
                            path.starts_with(&prefix)
                                && name.as_deref().is_none_or(|name| object["metadata"]["name"] == name)
                        });
                        let lines = here.fold(String::new(), |lines, (_, kind, _, object)| {
                            lines + &json!({"type": kind, "object": object}).to_string() + "\n"
                        });
                        (lines, state.version)
                    };
                    if !lines.is_empty() {
                        return Some((Ok::<_, Infallible>(Bytes::from(lines)), (version, changed)));
                    }
                    changed.changed().await.ok()?;
                }
            }
        });
        Response::new(Answer::from_stream(lines))
    }

    async fn review(&self, review: &Value) -> Response<Answer> {
        let token = review["spec"]["token"].as_str().unwrap().to_owned();
        assert_eq!(review["spec"]["audiences"], json!(["palisade"]));
        let takes = {
            let mut state = self.state.lock().unwrap();
            state.reviews_at_once.0 += 1;
            state.reviews_at_once.1 = state.reviews_at_once.1.max(state.reviews_at_once.0);
            state.review_takes
        };
        tokio::time::sleep(takes).await;
        let mut state = self.state.lock().unwrap();
        state.reviews_at_once.0 -= 1;
        let status = (state.review)(&token);
        success(&json!({
            "kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1",
            "metadata": {}, "spec": review["spec"], "status": status,
        }))
    }
}

impl State {
    fn store(&mut self, path: &str, mut object: Value, kind: &'static str) -> Response<Answer> {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.log.push((self.version, kind, path.to_owned(), object.clone()));
        self.objects.insert(path.to_owned(), object.clone());
        success(&object)
    }
}

fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn parameter(query: &str, name: &str) -> Option<String> {
    query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')).map(str::to_owned)
}

fn named(query: &str) -> Option<String> {
    let selector = parameter(query, "fieldSelector")?;
    selector.strip_prefix("metadata.name%3D").map(str::to_owned)
}

fn success(object: &Value) -> Response<Answer> {
    Response::new(Answer::from(object.to_string().into_bytes()))
}

fn failure(code: u16, reason: &str, message: &str) -> Response<Answer> {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code,
    });
    Response::builder().status(code).body(Answer::from(status.to_string().into_bytes())).unwrap()
}
