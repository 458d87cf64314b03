//! The admin server: health, metrics, what is known, and why. Reads the hub and asks the engine; changes nothing.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State as Shared};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use palisade_compiler::explain::Question;
use serde::Deserialize;
use tokio::net::TcpListener;

use crate::explain::{Desk, Unanswered};
use crate::hub::{Awaited, Hub};
use crate::state::State;

/// The longest a caller may wait for /debug/settled, in milliseconds.
const LONGEST_WAIT_MS: u64 = 120_000;

const NOT_READY: &str = "not every source of objects has been read yet: see /debug/state\n";

/// Serves until it fails.
///
/// # Errors
/// The listener fails.
pub async fn serve(listener: TcpListener, hub: Arc<Hub>, desk: Desk) -> std::io::Result<()> {
    axum::serve(listener, router(hub, desk)).await
}

fn router(hub: Arc<Hub>, desk: Desk) -> Router {
    let explained = get(explain).with_state((Arc::clone(&hub), desk));
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/debug/findings", get(findings))
        .route("/debug/state", get(state))
        .route("/debug/settled", get(settled))
        .with_state(hub)
        .route("/debug/explain", explained)
}

async fn ready(Shared(hub): Shared<Arc<Hub>>) -> Response {
    if hub.is_ready() {
        "ok\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, NOT_READY).into_response()
    }
}

async fn metrics(Shared(hub): Shared<Arc<Hub>>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], hub.metrics().render(hub.node_states())).into_response()
}

async fn findings(Shared(hub): Shared<Arc<Hub>>) -> String {
    hub.findings()
}

async fn state(Shared(hub): Shared<Arc<Hub>>) -> Json<State> {
    Json(hub.state())
}

#[derive(Debug, Deserialize)]
struct Settled {
    file: Option<String>,
    digest: Option<String>,
    kind: Option<String>,
    resource_version: Option<u64>,
    #[serde(default)]
    nodes: String,
    #[serde(default)]
    timeout_ms: u64,
}

async fn settled(Shared(hub): Shared<Arc<Hub>>, Query(query): Query<Settled>) -> Response {
    let nodes: Vec<String> =
        query.nodes.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    let what = match (query.file, query.digest, query.kind, query.resource_version) {
        (None, None, None, None) => Awaited::Now,
        (Some(name), Some(digest), None, None) => {
            Awaited::File { name, digest: Some(digest).filter(|digest| digest != "absent") }
        }
        (None, None, Some(kind), Some(version)) => Awaited::Read { kind, version },
        _ => {
            let help = "give nothing, or `file` and `digest` (a BLAKE3 hash in hex, or `absent`), or `kind` (such as \
                        `Pod`) and `resource_version`\n";
            return (StatusCode::BAD_REQUEST, help).into_response();
        }
    };
    let limit = Duration::from_millis(query.timeout_ms.min(LONGEST_WAIT_MS));
    let status = match tokio::time::timeout(limit, hub.settled(&what, &nodes)).await {
        Ok(()) => StatusCode::OK,
        Err(_) => StatusCode::GATEWAY_TIMEOUT,
    };
    (status, Json(hub.state())).into_response()
}

/// Why a flow is allowed or denied, as text or, where `format=json` or the header `Accept` asks for it, as JSON.
async fn explain(
    Shared((hub, desk)): Shared<(Arc<Hub>, Desk)>,
    Query(mut query): Query<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Response {
    if !hub.is_ready() {
        return (StatusCode::SERVICE_UNAVAILABLE, NOT_READY).into_response();
    }
    let formats: Vec<String> =
        query.extract_if(.., |(name, _)| name == "format").map(|(_, format)| format).collect();
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let is_json = match formats.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => accept.contains("application/json"),
        ["json"] => true,
        ["text"] => false,
        _ => return (StatusCode::BAD_REQUEST, "`format`: give text or json, once\n").into_response(),
    };
    let question = Question::parse(query.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let answer = match question {
        Ok(question) => desk.ask(question).await,
        Err(error) => Err(error.into()),
    };
    match answer {
        Ok(answer) if is_json => Json(answer).into_response(),
        Ok(answer) => answer.to_string().into_response(),
        Err(error) => {
            let status = match error {
                Unanswered::Question(_) => StatusCode::BAD_REQUEST,
                Unanswered::Busy => StatusCode::SERVICE_UNAVAILABLE,
                Unanswered::Lost => StatusCode::INTERNAL_SERVER_ERROR,
            };
            (status, format!("{error}\n")).into_response()
        }
    }
}
