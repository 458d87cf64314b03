//! Paths that are no resources: health, version, discovery, OpenAPI, and the server's own `/_faults` and `/_requests`.

use axum::http::{HeaderMap, Method, header};
use serde_json::{Value, json};

use super::answer::Answer;
use super::error::ApiError;
use super::text;
use crate::core::Core;
use crate::faults::Command;
use crate::{discovery, openapi};

/// What clients up to 1.26 want of `/openapi/v2`.
const SWAGGER_PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";

/// How it is called in answers: the name above is no media type to some clients' parsers.
const SWAGGER_ANSWER: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// What anybody may ask.
pub(super) fn open(path: &str) -> Option<Answer> {
    match path {
        "/healthz" | "/livez" | "/readyz" => Some(Answer::bytes(200, "text/plain", "ok")),
        "/version" => Some(Answer::json(200, &version())),
        _ => None,
    }
}

fn version() -> Value {
    json!({
        "major": "1", "minor": "33", "gitVersion": "v1.33.0-palisade-dev", "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "2025-04-23T00:00:00Z", "goVersion": "none", "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
    })
}

/// What only those may ask who are known.
pub(super) fn answer(
    core: &Core,
    method: &Method,
    path: &str,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Answer, ApiError> {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    if let ["_faults"] = parts.as_slice() {
        return faults(core, method, body);
    }
    if method != Method::GET && method != Method::HEAD {
        return Err(ApiError::method_not_allowed());
    }
    let accept = text(headers, header::ACCEPT);
    let found = |document: Option<serde_json::Value>| {
        document.map(|document| Answer::json(200, &document)).ok_or_else(ApiError::no_such_path)
    };
    match parts.as_slice() {
        ["_requests"] => {
            let counts = core.requests.counts();
            let shown = |(kind, count): (&crate::requests::RequestKind, &u64)| {
                json!({"verb": kind.verb, "resource": kind.resource, "subresource": kind.subresource,
                       "userAgent": kind.user_agent, "user": kind.user, "count": count})
            };
            Ok(Answer::json(200, &counts.0.iter().map(shown).collect::<Vec<_>>()))
        }
        [root @ ("api" | "apis")] => {
            let is_core = *root == "api";
            if let Some((version, media)) =
                discovery::AGGREGATED.iter().find(|(_, media)| accept.contains(media))
            {
                let document = discovery::aggregated(&core.registry, is_core, version).to_string();
                return Ok(Answer::bytes(200, media, document));
            }
            let address = text(headers, header::HOST);
            found(Some(if is_core {
                discovery::api_versions(address)
            } else {
                discovery::api_groups(&core.registry)
            }))
        }
        ["apis", group] => found(discovery::api_group(&core.registry, group)),
        ["api", version] => found(discovery::resource_list(&core.registry, "", version)),
        ["apis", group, version] => found(discovery::resource_list(&core.registry, group, version)),
        ["openapi", "v2"] if accept.contains(SWAGGER_PROTOBUF) => {
            Ok(Answer::bytes(200, SWAGGER_ANSWER, openapi::protobuf(&core.registry)))
        }
        ["openapi", "v2"] => found(Some(openapi::swagger(&core.registry))),
        ["openapi", "v3"] => found(Some(openapi::index(&core.registry))),
        ["openapi", "v3", path @ ..] => found(openapi::v3(&core.registry, &path.join("/"))),
        _ => Err(ApiError::no_such_path()),
    }
}

/// GET shows the rules, POST does what it is asked, DELETE takes all back.
fn faults(core: &Core, method: &Method, body: &[u8]) -> Result<Answer, ApiError> {
    match *method {
        Method::GET => {}
        Method::DELETE => core.faults.clear(),
        Method::POST => {
            let command: Command = serde_json::from_slice(body)
                .map_err(|error| ApiError::bad_request(format!("the body is no fault: {error}")))?;
            core.faults.run(command);
        }
        _ => return Err(ApiError::method_not_allowed()),
    }
    let (hits, left) = core.faults.hits();
    Ok(Answer::json(200, &json!({"rules": core.faults.list(), "hits": hits, "left": left})))
}
