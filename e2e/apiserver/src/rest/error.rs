//! What a request that fails is answered: a `Status` object, with the reasons and messages of kube-apiserver.

use serde_json::{Value, json};

/// The resource of a request, as `Status` names it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct What {
    /// API group, empty for the core group.
    pub(super) group: String,
    /// Plural name.
    pub(super) resource: String,
    /// Object name; empty: none.
    pub(super) name: String,
}

impl What {
    fn qualified(&self) -> String {
        if self.group.is_empty() {
            self.resource.clone()
        } else {
            format!("{}.{}", self.resource, self.group)
        }
    }
}

/// A `Status` with `status: Failure`.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message}")]
pub(super) struct ApiError {
    /// HTTP code.
    pub(super) code: u16,
    /// Machine-readable, such as `NotFound`.
    pub(super) reason: &'static str,
    /// For people.
    pub(super) message: String,
    /// `details`, or null.
    pub(super) details: Value,
    /// `metadata.continue`: from where a list that expired may go on.
    pub(super) proceed: Option<String>,
    /// Seconds, for `Retry-After` and `details.retryAfterSeconds`.
    pub(super) retry_after: Option<u64>,
    /// A line for people instead of a `Status`.
    pub(super) is_plain: bool,
}

impl ApiError {
    /// An error with a message of its own.
    pub(super) fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            code,
            reason,
            message,
            details: Value::Null,
            proceed: None,
            retry_after: None,
            is_plain: false,
        }
    }

    fn about(mut self, what: &What) -> Self {
        let mut details = json!({"kind": what.resource});
        if !what.name.is_empty() {
            details["name"] = json!(what.name);
        }
        if !what.group.is_empty() {
            details["group"] = json!(what.group);
        }
        self.details = details;
        self
    }

    /// 400.
    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// 401.
    pub(super) fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }

    /// 403, as admission and RBAC say it.
    pub(super) fn forbidden(what: &What, because: &str) -> Self {
        let message = format!("{} \"{}\" is forbidden: {because}", what.qualified(), what.name);
        Self::new(403, "Forbidden", message).about(what)
    }

    /// 404: no such object.
    pub(super) fn not_found(what: &What) -> Self {
        Self::new(404, "NotFound", format!("{} \"{}\" not found", what.qualified(), what.name)).about(what)
    }

    /// 404: no such path.
    pub(super) fn no_such_path() -> Self {
        let mut error = Self::new(404, "NotFound", "the server could not find the requested resource");
        error.details = json!({});
        error
    }

    /// 404: no such group or version.
    pub(super) fn no_such_page() -> Self {
        Self { is_plain: true, ..Self::new(404, "NotFound", "404 page not found") }
    }

    /// 405.
    pub(super) fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self::new(405, "MethodNotAllowed", message)
    }

    /// 406.
    pub(super) fn not_acceptable(supported: &str) -> Self {
        let message = format!("only the following media types are accepted: {supported}");
        Self::new(406, "NotAcceptable", message)
    }

    /// 409: create of what exists.
    pub(super) fn already_exists(what: &What) -> Self {
        let message = format!("{} \"{}\" already exists", what.qualified(), what.name);
        Self::new(409, "AlreadyExists", message).about(what)
    }

    /// 409, said in own words.
    pub(super) fn conflict(what: &What, because: &str) -> Self {
        let message =
            format!("Operation cannot be fulfilled on {} \"{}\": {because}", what.qualified(), what.name);
        Self::new(409, "Conflict", message).about(what)
    }

    /// 409: another writer was faster.
    pub(super) fn modified(what: &What) -> Self {
        let because =
            "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(what, because)
    }

    /// 410: the history does not reach back that far.
    pub(super) fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    /// 415.
    pub(super) fn unsupported_media_type(supported: &str) -> Self {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {supported}"
        );
        Self::new(415, "UnsupportedMediaType", message)
    }

    /// 422: `causes` are (field, reason, message); the message is the whole sentence.
    pub(super) fn invalid(kind: &str, group: &str, name: &str, message: &str, causes: &[Value]) -> Self {
        let qualified = if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") };
        let message = format!("{qualified} \"{name}\" is invalid: {message}");
        let mut error = Self::new(422, "Invalid", message);
        error.details = json!({"name": name, "kind": kind, "causes": causes});
        if !group.is_empty() {
            error.details["group"] = json!(group);
        }
        error
    }

    /// 500.
    pub(super) fn internal(message: impl Into<String>) -> Self {
        Self::new(500, "InternalError", message)
    }

    /// 504, as it is answered to a revision that is none yet.
    pub(super) fn too_large_revision(message: impl Into<String>) -> Self {
        let mut error = Self::new(504, "Timeout", message);
        error.details = json!({"causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
                   "retryAfterSeconds": 1});
        error
    }

    /// The `Status` object.
    pub(super) fn status(&self) -> Value {
        let mut metadata = json!({});
        if let Some(proceed) = &self.proceed {
            metadata["continue"] = json!(proceed);
        }
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": metadata, "status": "Failure",
            "message": self.message, "reason": self.reason, "code": self.code,
        });
        let mut details = self.details.clone();
        if let Some(seconds) = self.retry_after {
            if details.is_null() {
                details = json!({});
            }
            details["retryAfterSeconds"] = json!(seconds);
        }
        if !details.is_null() {
            status["details"] = details;
        }
        status
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_reads_as_kube_apiservers_does() {
        let what = What { group: "g.io".into(), resource: "things".into(), name: "x".into() };
        let expected = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": "things.g.io \"x\" not found", "reason": "NotFound",
            "details": {"name": "x", "group": "g.io", "kind": "things"}, "code": 404,
        });
        assert_eq!(ApiError::not_found(&what).status(), expected);
    }

    #[test]
    fn a_retry_is_in_the_details_even_without_others() {
        let mut error = ApiError::new(429, "TooManyRequests", "slow down");
        error.retry_after = Some(3);
        assert_eq!(error.status()["details"], json!({"retryAfterSeconds": 3}));
    }
}
