//! The admin server: health, metrics, and what is known. Reads the hub; changes nothing.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State as Shared};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use tokio::net::TcpListener;

use crate::hub::{Awaited, Hub};
use crate::state::State;

/// The longest a caller may wait for /debug/settled, in milliseconds.
const LONGEST_WAIT_MS: u64 = 120_000;

/// Serves until it fails.
///
/// # Errors
/// The listener fails.
pub async fn serve(listener: TcpListener, hub: Arc<Hub>) -> std::io::Result<()> {
    axum::serve(listener, router(hub)).await
}

fn router(hub: Arc<Hub>) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/debug/state", get(state))
        .route("/debug/settled", get(settled))
        .with_state(hub)
}

async fn ready(Shared(hub): Shared<Arc<Hub>>) -> Response {
    if hub.is_ready() {
        "ok\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not every source of objects has been read yet: see /debug/state\n")
            .into_response()
    }
}

async fn metrics(Shared(hub): Shared<Arc<Hub>>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], hub.metrics().render(hub.node_states())).into_response()
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
