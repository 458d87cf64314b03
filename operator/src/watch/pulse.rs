//! Whether the API server answers. Sits between a watcher and its client, because a watcher says nothing when a broken
//! watch has been taken up again, waits for ever for an answer that never begins, and gives a whole list up for one
//! page that failed.

use std::time::Duration;

use axum::http::{Request, Response};
use kube::Client;
use kube::client::Body;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tower::BoxError;

use super::backoff::Backoff;

/// How long an answer may take to begin. An API server ends any request but a watch after a minute itself.
const ANSWER: Duration = Duration::from_secs(30);

/// Least time between two watches: a server or proxy that ends each watch at once must not be asked in a loop.
const BETWEEN_WATCHES: Duration = Duration::from_millis(500);

/// How often one page of a list is asked for: a list of hundreds of pages would else never come to its end while every
/// hundredth answer fails.
const TRIES: usize = 5;

/// Where a watcher's last request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pulse {
    /// It has been answered, or there was none yet.
    Quiet,
    /// It was sent then and has no answer.
    Asked(Instant),
    /// It was a watch, and that is open.
    Open,
}

/// A client like the given one, and what it is doing.
pub(super) fn observed(client: &Client) -> (Client, watch::Receiver<Pulse>) {
    let (pulse, told) = watch::channel(Pulse::Quiet);
    let namespace = client.default_namespace().to_owned();
    let client = client.clone();
    let mut last_watch: Option<Instant> = None;
    let service = tower::service_fn(move |request: Request<Body>| {
        let is_watch = has(&request, "watch=true");
        let not_before = last_watch.filter(|_| is_watch).map(|last| last + BETWEEN_WATCHES);
        if is_watch {
            last_watch = Some(not_before.map_or_else(Instant::now, |moment| moment.max(Instant::now())));
        }
        let (client, pulse) = (client.clone(), pulse.clone());
        async move {
            if let Some(moment) = not_before {
                sleep_until(moment).await;
            }
            pulse.send_replace(Pulse::Asked(Instant::now()));
            let answer = if has(&request, "continue=") {
                insist(&client, request).await
            } else {
                ask(&client, request).await
            };
            let is_open = is_watch && answer.as_ref().is_ok_and(|answer| answer.status().is_success());
            pulse.send_replace(if is_open { Pulse::Open } else { Pulse::Quiet });
            answer
        }
    });
    (Client::new(service, namespace), told)
}

/// Whether a parameter of the query begins like this.
fn has(request: &Request<Body>, what: &str) -> bool {
    request.uri().query().is_some_and(|query| query.split('&').any(|pair| pair.starts_with(what)))
}

async fn ask(client: &Client, request: Request<Body>) -> Result<Response<Body>, BoxError> {
    match timeout(ANSWER, client.send(request)).await {
        Ok(answer) => answer.map_err(BoxError::from),
        Err(_) => Err(format!("no answer from the API server within {} s", ANSWER.as_secs()).into()),
    }
}

/// Asks several times for what can be asked for again.
async fn insist(client: &Client, request: Request<Body>) -> Result<Response<Body>, BoxError> {
    let (parts, _) = request.into_parts();
    let mut wait = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
    for _ in 1..TRIES {
        match ask(client, Request::from_parts(parts.clone(), Body::empty())).await {
            Ok(answer) if !answer.status().is_server_error() && answer.status() != 429 => return Ok(answer),
            Ok(_) | Err(_) => sleep(wait.next()).await,
        }
    }
    ask(client, Request::from_parts(parts, Body::empty())).await
}
