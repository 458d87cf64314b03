//! The query of a request.

use std::collections::BTreeMap;
use std::time::Duration;

use super::error::ApiError;
use crate::schema::FieldValidation;
use crate::select::{FieldSelector, LabelSelector};

/// What `resourceVersionMatch` says, with the version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Freshness {
    /// The latest state.
    Latest,
    /// The latest, provided that it is not older than this.
    NotOlderThan(u64),
    /// Exactly that state.
    Exact(u64),
}

/// What a list goes on from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Continuation {
    /// Of which state; `None`: of the latest, because the first page's is forgotten.
    pub(super) revision: Option<u64>,
    /// Namespace and name.
    pub(super) from: (String, String),
}

impl Continuation {
    /// As the client gives it back.
    pub(super) fn token(&self) -> String {
        let revision = self.revision.map_or(-1, u64::cast_signed);
        let (namespace, start) = &self.from;
        let token =
            serde_json::json!({"v": "meta.k8s.io/v1", "rv": revision, "ns": namespace, "start": start});
        crate::auth::encode(token.to_string())
    }

    fn parse(token: &str) -> Option<Self> {
        let token: serde_json::Value = serde_json::from_slice(&crate::auth::decode(token)?).ok()?;
        let text = |name: &str| token.get(name).and_then(serde_json::Value::as_str).map(str::to_owned);
        let revision = token.get("rv")?.as_i64()?;
        Some(Self { revision: u64::try_from(revision).ok(), from: (text("ns")?, text("start")?) })
    }
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Params {
    values: BTreeMap<String, String>,
}

impl Params {
    /// Takes a query apart; of a name that comes twice the first counts.
    pub(super) fn parse(query: &str) -> Self {
        let mut values = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            values.entry(name.into_owned()).or_insert_with(|| value.into_owned());
        }
        Self { values }
    }

    /// A value that is not empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// `true`, `1` or nothing but the name.
    pub(super) fn is_set(&self, name: &str) -> bool {
        self.values.get(name).is_some_and(|value| matches!(value.as_str(), "true" | "True" | "1" | ""))
    }

    fn number(&self, name: &str) -> Result<Option<u64>, ApiError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let malformed = || {
            ApiError::bad_request(format!(
                "parameter {name}: \"{value}\" is not a number; give one that is not negative"
            ))
        };
        value.parse().map(Some).map_err(|_| malformed())
    }

    /// `limit`; 0: no limit.
    pub(super) fn limit(&self) -> Result<usize, ApiError> {
        Ok(usize::try_from(self.number("limit")?.unwrap_or(0)).unwrap_or(usize::MAX))
    }

    /// `timeoutSeconds`.
    pub(super) fn timeout(&self) -> Result<Option<Duration>, ApiError> {
        Ok(self.number("timeoutSeconds")?.map(Duration::from_secs))
    }

    /// `resourceVersion`; `None` when it is missing or `0`, which both mean any.
    pub(super) fn revision(&self) -> Result<Option<u64>, ApiError> {
        Ok(self.number("resourceVersion")?.filter(|revision| *revision != 0))
    }

    /// Which state a list is of.
    pub(super) fn freshness(&self) -> Result<Freshness, ApiError> {
        let revision = self.revision()?;
        match self.get("resourceVersionMatch") {
            None if self.get("continue").is_none() && self.limit()? > 0 => {
                // The legacy rule: with a limit, a version is exact.
                Ok(revision.map_or(Freshness::Latest, Freshness::Exact))
            }
            None | Some("NotOlderThan") => Ok(revision.map_or(Freshness::Latest, Freshness::NotOlderThan)),
            Some("Exact") => revision.map(Freshness::Exact).ok_or_else(|| {
                ApiError::bad_request(
                    "resourceVersionMatch \"Exact\" is forbidden without a resourceVersion other than 0",
                )
            }),
            Some(other) => Err(ApiError::bad_request(format!(
                "resourceVersionMatch: \"{other}\" is neither Exact nor NotOlderThan"
            ))),
        }
    }

    /// `continue`.
    pub(super) fn continuation(&self) -> Result<Option<Continuation>, ApiError> {
        let Some(token) = self.get("continue") else { return Ok(None) };
        match Continuation::parse(token) {
            Some(continuation) => Ok(Some(continuation)),
            None => Err(ApiError::bad_request("continue key is not valid: start the list anew without it")),
        }
    }

    /// `labelSelector`.
    pub(super) fn labels(&self) -> Result<LabelSelector, ApiError> {
        LabelSelector::parse(self.get("labelSelector").unwrap_or_default())
            .map_err(|error| ApiError::bad_request(format!("unable to parse requirement: {error}")))
    }

    /// `fieldSelector`.
    pub(super) fn fields(&self) -> Result<FieldSelector, ApiError> {
        FieldSelector::parse(self.get("fieldSelector").unwrap_or_default())
            .map_err(|error| ApiError::bad_request(error.to_string()))
    }

    /// `dryRun=All`.
    pub(super) fn is_dry_run(&self) -> Result<bool, ApiError> {
        match self.get("dryRun") {
            None => Ok(false),
            Some("All") => Ok(true),
            Some(other) => Err(ApiError::bad_request(format!("dryRun: \"{other}\" is not All"))),
        }
    }

    /// `fieldValidation`; kube-apiserver warns when nothing is said.
    pub(super) fn field_validation(&self) -> Result<FieldValidation, ApiError> {
        match self.get("fieldValidation") {
            None | Some("Warn") => Ok(FieldValidation::Warn),
            Some("Ignore") => Ok(FieldValidation::Ignore),
            Some("Strict") => Ok(FieldValidation::Strict),
            Some(other) => {
                let message = format!(
                    "Unsupported value: \"{other}\": supported values: \"\", \"Ignore\", \"Strict\", \"Warn\""
                );
                let cause = serde_json::json!({"reason": "FieldValueNotSupported", "field": "fieldValidation",
                                               "message": message});
                let message = format!("fieldValidation: {message}");
                Err(ApiError::invalid("CreateOptions", "meta.k8s.io", "", &message, &[cause]))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_continuation_comes_back_as_it_was() {
        for revision in [Some(7), None] {
            let continuation = Continuation { revision, from: ("ns".into(), "na/me".into()) };
            let query = form_urlencoded::Serializer::new(String::new())
                .append_pair("continue", &continuation.token())
                .finish();
            assert_eq!(Params::parse(&query).continuation().expect("token"), Some(continuation));
        }
        let error = Params::parse("continue=zzz").continuation().expect_err("no token");
        assert_eq!(error.code, 400);
    }

    #[test]
    fn a_version_is_exact_with_a_limit_and_a_lower_bound_without() {
        let freshness = |query: &str| Params::parse(query).freshness().expect("freshness");
        assert_eq!(freshness("resourceVersion=5&limit=3"), Freshness::Exact(5));
        assert_eq!(freshness("resourceVersion=5"), Freshness::NotOlderThan(5));
        assert_eq!(freshness("resourceVersion=0&limit=3"), Freshness::Latest);
        assert_eq!(
            freshness("resourceVersion=5&limit=3&resourceVersionMatch=NotOlderThan"),
            Freshness::NotOlderThan(5)
        );
        assert!(Params::parse("resourceVersionMatch=Exact").freshness().is_err());
        assert!(Params::parse("resourceVersion=x").freshness().is_err());
    }
}
