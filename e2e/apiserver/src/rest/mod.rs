//! HTTP: takes requests apart, lets faults have their way, and hands each to the one who answers it. Knows no
//! connections.

mod answer;
mod call;
mod definitions;
mod delete;
mod draft;
mod error;
mod fixed;
mod form;
mod namespaces;
mod params;
mod path;
mod read;
mod reviews;
mod watch;
mod write;

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, Request, Response, header};
use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use self::answer::Answer;
use self::call::Call;
use self::error::{ApiError, What};
use self::form::Form;
use self::params::Params;
use self::path::ResourcePath;
use crate::auth::User;
use crate::core::Core;
use crate::faults::Effect;
use crate::registry::Verbs;
use crate::requests::RequestKind;

pub(crate) use self::namespaces::begin;

/// What kube-apiserver takes, too.
const MOST: usize = 3 << 20;

/// Answers one request. Cancelling `connection` resets it.
pub(crate) async fn handle(
    core: Arc<Core>,
    connection: CancellationToken,
    request: Request<Body>,
) -> Response<Body> {
    match respond(&core, &connection, request).await {
        Ok(answer) => answer.into_response(),
        Err(error) => Answer::from(error).into_response(),
    }
}

async fn respond(
    core: &Arc<Core>,
    connection: &CancellationToken,
    request: Request<Body>,
) -> Result<Answer, ApiError> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path();
    if let Some(answer) = fixed::open(path) {
        return Ok(answer);
    }
    let user = user(core, &parts.headers)?;
    let body: Bytes = axum::body::to_bytes(body, MOST).await.map_err(|_| {
        ApiError::new(
            413,
            "RequestEntityTooLarge",
            format!("the body of the request exceeds {MOST} bytes, or broke off"),
        )
    })?;
    let params = Params::parse(parts.uri.query().unwrap_or_default());
    let Some(path) = ResourcePath::parse(path) else {
        return fixed::answer(core, &parts.method, path, &parts.headers, &body);
    };
    let is_watch = params.is_set("watch") && path.subresource.is_none();
    let verb =
        call::verb(&parts.method, path.name.is_some(), is_watch).ok_or_else(ApiError::method_not_allowed)?;
    let kind = RequestKind {
        verb: verb.to_owned(),
        resource: if path.group.is_empty() {
            path.resource.clone()
        } else {
            format!("{}.{}", path.resource, path.group)
        },
        subresource: path.subresource.clone().unwrap_or_default(),
        user_agent: call::user_agent(&parts.headers),
        user: user.name.clone(),
    };
    core.requests.count(kind.clone());
    let verdict = core.faults.judge(&kind);
    if !verdict.delay.is_zero() {
        tokio::time::sleep(verdict.delay).await;
    }
    let what = What {
        group: path.group.clone(),
        resource: path.resource.clone(),
        name: path.name.clone().unwrap_or_default(),
    };
    match verdict.effect {
        Some(Effect::Fail { code, retry_after }) => return Err(failure(code, retry_after)),
        Some(Effect::Conflict) => return Err(ApiError::modified(&what)),
        Some(Effect::Reset) => return reset(connection).await,
        Some(Effect::LoseAnswer | Effect::Delay { .. }) | None => {}
    }
    let resource = core.registry.find(&path.group, &path.version, &path.resource);
    let is_ours = || core.registry.is_built_in(&path.group, &path.version);
    let resource = resource
        .ok_or_else(|| if is_ours() { ApiError::no_such_path() } else { ApiError::no_such_page() })?;
    let content_type = text(&parts.headers, header::CONTENT_TYPE).to_owned();
    let form = Form::of(text(&parts.headers, header::ACCEPT))?;
    let call = Call { resource, path, params, form, user, kind, content_type, body };
    debug!(verb, resource = call.kind.resource, name = call.name(), user = call.user.name, "request");
    let deprecation = call.resource.deprecation.clone();
    let answer = dispatch(core, call, connection);
    let answer = answer.map(|answer| answer.with_warnings(deprecation.into_iter().collect()));
    if verdict.effect == Some(Effect::LoseAnswer) {
        return reset(connection).await;
    }
    answer
}

fn dispatch(core: &Arc<Core>, call: Call, connection: &CancellationToken) -> Result<Answer, ApiError> {
    let is_token = call.resource.storage == "serviceaccounts" && call.subresource() == "token";
    match call.subresource() {
        "" => {}
        "status" if call.resource.has_status => {}
        "token" if is_token && call.kind.verb == "create" => return reviews::token(core, &call),
        _ => return Err(ApiError::no_such_path()),
    }
    if call.resource.namespaced != call.path.namespace.is_some() {
        // Lists of all namespaces are the only exception.
        let is_wide = call.resource.namespaced && matches!(call.kind.verb.as_str(), "list" | "watch");
        if !is_wide || call.path.name.is_some() {
            return Err(ApiError::no_such_path());
        }
    }
    let is_part = !call.subresource().is_empty();
    match (call.resource.verbs, call.kind.verb.as_str()) {
        (Verbs::Create, "create") => reviews::review(core, &call),
        (Verbs::Create, _) => Err(ApiError::method_not_allowed()),
        (_, "get") => read::get(core, &call),
        (_, "list") => read::list(core, &call),
        (_, "watch") => watch::open(core, call, connection.clone()),
        (_, "create") if call.path.name.is_none() => write::create(core, &call),
        (_, "update") => write::replace(core, &call),
        (_, "patch") => write::patch(core, &call),
        (_, "delete") if !is_part => delete::delete(core, &call),
        (_, "deletecollection") => delete::delete_collection(core, &call),
        _ => Err(ApiError::method_not_allowed()),
    }
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> &str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn user(core: &Core, headers: &HeaderMap) -> Result<User, ApiError> {
    let token =
        text(headers, header::AUTHORIZATION).strip_prefix("Bearer ").ok_or_else(ApiError::unauthorized)?;
    match reviews::authenticate(core, token.trim(), &[]) {
        Ok((user, _)) => Ok(user),
        Err(_) => Err(ApiError::unauthorized()),
    }
}

fn failure(code: u16, retry_after: Option<u64>) -> ApiError {
    let reason = match code {
        429 => "TooManyRequests",
        500 => "InternalError",
        503 => "ServiceUnavailable",
        504 => "Timeout",
        _ => "Unknown",
    };
    let mut error = ApiError::new(code, reason, "a fault that was asked for");
    error.retry_after = retry_after;
    error
}

/// Resets the connection instead of answering. The connection's end drops this with it.
async fn reset(connection: &CancellationToken) -> Result<Answer, ApiError> {
    connection.cancel();
    std::future::pending().await
}
