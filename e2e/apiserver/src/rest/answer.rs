//! What goes back to a client.

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use bytes::Bytes;
use serde::Serialize;

use super::error::ApiError;

/// See the module.
#[derive(Debug)]
pub(super) struct Answer {
    code: u16,
    content_type: &'static str,
    body: Body,
    warnings: Vec<String>,
    retry_after: Option<u64>,
}

impl Answer {
    /// JSON.
    pub(super) fn json<T: Serialize + ?Sized>(code: u16, value: &T) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => Self::bytes(code, "application/json", body),
            Err(error) => Self::bytes(500, "text/plain", error.to_string()),
        }
    }

    /// Anything.
    pub(super) fn bytes(code: u16, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self { code, content_type, body: Body::from(body.into()), warnings: Vec::new(), retry_after: None }
    }

    /// Lines of JSON, as they come.
    pub(super) fn lines(body: Body) -> Self {
        Self { code: 200, content_type: "application/json", body, warnings: Vec::new(), retry_after: None }
    }

    /// With `Warning` headers, which clients show.
    pub(super) fn with_warnings(mut self, warnings: Vec<String>) -> Self {
        self.warnings.extend(warnings);
        self
    }

    /// As HTTP.
    pub(super) fn into_response(self) -> Response<Body> {
        let mut response = Response::new(self.body);
        *response.status_mut() = StatusCode::from_u16(self.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        for warning in self.warnings {
            let quoted = warning.replace('\\', "\\\\").replace('"', "\\\"").replace(['\n', '\r'], " ");
            if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{quoted}\"")) {
                headers.append(header::WARNING, value);
            }
        }
        response
    }
}

impl From<ApiError> for Answer {
    fn from(error: ApiError) -> Self {
        if error.is_plain {
            return Self::bytes(error.code, "text/plain; charset=utf-8", format!("{}\n", error.message));
        }
        let mut answer = Self::json(error.code, &error.status());
        answer.retry_after = error.retry_after;
        answer
    }
}
