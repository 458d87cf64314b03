//! One request to a resource, understood.

use std::sync::Arc;

use axum::http::{HeaderMap, Method, header};
use bytes::Bytes;
use serde_json::Value;

use super::error::{ApiError, What};
use super::form::Form;
use super::params::Params;
use super::path::ResourcePath;
use crate::auth::User;
use crate::patch::{Manager, Operation};
use crate::registry::Resource;
use crate::requests::RequestKind;
use crate::store::Key;

/// See the module.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) resource: Arc<Resource>,
    pub(super) path: ResourcePath,
    pub(super) params: Params,
    pub(super) form: Form,
    pub(super) user: User,
    pub(super) kind: RequestKind,
    pub(super) content_type: String,
    pub(super) body: Bytes,
}

impl Call {
    /// What errors are about.
    pub(super) fn what(&self) -> What {
        self.what_of(self.path.name.as_deref().unwrap_or_default())
    }

    /// What errors are about that concern another name than the path's.
    pub(super) fn what_of(&self, name: &str) -> What {
        What {
            group: self.resource.group.clone(),
            resource: self.resource.plural.clone(),
            name: name.to_owned(),
        }
    }

    /// Where an object of that name is.
    pub(super) fn key(&self, name: &str) -> Key {
        (self.path.namespace.clone().unwrap_or_default(), name.to_owned())
    }

    /// The path's name; the dispatcher has seen to it that there is one where it is asked for.
    pub(super) fn name(&self) -> &str {
        self.path.name.as_deref().unwrap_or_default()
    }

    pub(super) fn subresource(&self) -> &str {
        self.path.subresource.as_deref().unwrap_or_default()
    }

    /// As what the fields that it writes are owned.
    pub(super) fn manager(&self, operation: Operation) -> Manager {
        let name = self.params.get("fieldManager").unwrap_or(&self.kind.user_agent);
        Manager {
            name: name.to_owned(),
            operation,
            api_version: self.resource.api_version(),
            subresource: self.subresource().to_owned(),
        }
    }

    /// The body, as the client says that it is written.
    pub(super) fn decoded(&self) -> Result<Value, ApiError> {
        decode(&self.content_type, &self.body)
    }
}

/// Reads JSON, YAML or protobuf.
pub(super) fn decode(content_type: &str, body: &[u8]) -> Result<Value, ApiError> {
    let malformed =
        |error: String| ApiError::bad_request(format!("the body of the request cannot be read: {error}"));
    let media = content_type.split(';').next().unwrap_or_default().trim();
    match media {
        "application/vnd.kubernetes.protobuf" => {
            crate::protobuf::decode(body).map_err(|error| malformed(error.to_string()))
        }
        "application/cbor" => Err(ApiError::unsupported_media_type(
            "application/json, application/yaml, application/vnd.kubernetes.protobuf",
        )),
        _ if media.ends_with("yaml") => {
            let text = std::str::from_utf8(body).map_err(|error| malformed(error.to_string()))?;
            serde_saphyr::from_str(text).map_err(|error| malformed(error.to_string()))
        }
        _ => serde_json::from_slice(body).map_err(|error| malformed(error.to_string())),
    }
}

/// The verb of a method at a path, as Kubernetes names it; `None`: there is no such.
pub(super) fn verb(method: &Method, has_name: bool, is_watch: bool) -> Option<&'static str> {
    Some(match (method.as_str(), has_name) {
        ("GET" | "HEAD", _) if is_watch => "watch",
        ("GET" | "HEAD", true) => "get",
        ("GET" | "HEAD", false) => "list",
        // With a name: a part of an object that is only created, such as a token.
        ("POST", _) => "create",
        ("PUT", true) => "update",
        ("PATCH", true) => "patch",
        ("DELETE", true) => "delete",
        ("DELETE", false) => "deletecollection",
        _ => return None,
    })
}

/// The client's first name.
pub(super) fn user_agent(headers: &HeaderMap) -> String {
    let whole = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or("unknown");
    whole.split(['/', ' ']).next().filter(|name| !name.is_empty()).unwrap_or("unknown").to_owned()
}
