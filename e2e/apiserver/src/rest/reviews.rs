//! Requests that are answered and not kept: reviews of tokens and of access, and tokens of ServiceAccounts.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::answer::Answer;
use super::call::Call;
use super::error::{ApiError, What};
use crate::auth::{API_AUDIENCE, Claims, Kubernetes, Reference, User};
use crate::core::Core;
use crate::meta;

/// Bounds of a token's time, in seconds, as in kube-apiserver.
const TIME: std::ops::RangeInclusive<i64> = 600..=1 << 32;

/// Who a token stands for, for one of the audiences that it is asked for.
///
/// # Errors
/// Why it stands for nobody.
pub(crate) fn authenticate(
    core: &Core,
    token: &str,
    audiences: &[String],
) -> Result<(User, Vec<String>), String> {
    let own = [API_AUDIENCE.to_owned()];
    let audiences = if audiences.is_empty() { &own } else { audiences };
    let common = |of_token: &[String]| {
        let common: Vec<_> =
            audiences.iter().filter(|audience| of_token.contains(audience)).cloned().collect();
        if common.is_empty() {
            return Err(format!(
                "token audiences {of_token:?} is invalid for the target audiences {audiences:?}"
            ));
        }
        Ok(common)
    };
    if token == core.admin_token {
        return Ok((User::admin(&core.admin_name), common(&own)?));
    }
    let claims = core.tokens.verify(token).map_err(|error| error.to_string())?;
    let common = common(&claims.aud)?;
    let bound = &claims.kubernetes;
    let is_there = |storage: &str, reference: &Reference| {
        let key = (bound.namespace.clone(), reference.name.clone());
        let object = core.store.get(storage, &key);
        object.is_some_and(|object| meta::text(&object.value, "uid") == reference.uid)
    };
    if !is_there("serviceaccounts", &bound.serviceaccount) {
        return Err("service account token has been invalidated".to_owned());
    }
    if bound.pod.as_ref().is_some_and(|pod| !is_there("pods", pod)) {
        return Err("pod bound to the service account token is gone".to_owned());
    }
    Ok((claims.user(), common))
}

/// POST of a kind that is answered and not kept.
pub(super) fn review(core: &Core, call: &Call) -> Result<Answer, ApiError> {
    let mut review = call.decoded()?;
    if !review.is_object() {
        return Err(ApiError::bad_request("the body of the request is no object"));
    }
    review["apiVersion"] = json!(call.resource.api_version());
    review["kind"] = json!(call.resource.kind);
    if review.get("metadata").is_none_or(|metadata| !metadata.is_object()) {
        review["metadata"] = json!({});
    }
    review["status"] = match call.resource.kind.as_str() {
        "TokenReview" => token_review(core, &review)?,
        "SelfSubjectReview" => json!({"userInfo": call.user.shown()}),
        "SelfSubjectRulesReview" => json!({
            "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
            "incomplete": false,
        }),
        // Whoever is known may do everything.
        _ => json!({"allowed": true, "reason": "the development server allows everything"}),
    };
    Ok(Answer::json(201, &review))
}

fn token_review(core: &Core, review: &Value) -> Result<Value, ApiError> {
    let token = review.pointer("/spec/token").and_then(Value::as_str).unwrap_or_default();
    if token.is_empty() {
        let cause =
            json!({"reason": "FieldValueRequired", "field": "spec.token", "message": "Required value"});
        let message = "spec.token: Required value";
        return Err(ApiError::invalid("TokenReview", "authentication.k8s.io", "", message, &[cause]));
    }
    let audiences = review.pointer("/spec/audiences").and_then(Value::as_array).into_iter().flatten();
    let audiences: Vec<String> = audiences.filter_map(Value::as_str).map(str::to_owned).collect();
    Ok(match authenticate(core, token, &audiences) {
        Ok((user, audiences)) => {
            json!({"authenticated": true, "user": user.shown(), "audiences": audiences})
        }
        Err(error) => json!({"user": {}, "error": error}),
    })
}

/// POST to `serviceaccounts/NAME/token`.
pub(super) fn token(core: &Core, call: &Call) -> Result<Answer, ApiError> {
    let mut request = call.decoded()?;
    if !request.get("spec").is_some_and(Value::is_object) {
        return Err(ApiError::bad_request("the body of the request is no TokenRequest with a spec"));
    }
    let namespace = call.path.namespace.clone().unwrap_or_default();
    let account = core.store.get("serviceaccounts", &call.key(call.name()));
    let account = account.ok_or_else(|| ApiError::not_found(&call.what()))?;
    let seconds = request.pointer("/spec/expirationSeconds").and_then(Value::as_i64).unwrap_or(3600);
    if !TIME.contains(&seconds) {
        let why = if seconds < *TIME.start() {
            "may not specify a duration less than 10 minutes"
        } else {
            "may not specify a duration larger than 2^32 seconds"
        };
        let message = format!("Invalid value: {seconds}: {why}");
        let cause =
            json!({"reason": "FieldValueInvalid", "field": "spec.expirationSeconds", "message": message});
        let message = format!("spec.expirationSeconds: {message}");
        return Err(ApiError::invalid("TokenRequest", "authentication.k8s.io", "", &message, &[cause]));
    }
    let (pod, node) = bound(core, &namespace, request.pointer("/spec/boundObjectRef"))?;
    let audiences = request.pointer("/spec/audiences").and_then(Value::as_array).into_iter().flatten();
    let mut audiences: Vec<String> = audiences.filter_map(Value::as_str).map(str::to_owned).collect();
    if audiences.is_empty() {
        audiences.push(API_AUDIENCE.to_owned());
    }
    let now = core.tokens.now();
    let claims = Claims {
        aud: audiences.clone(),
        exp: now + seconds,
        iat: now,
        iss: API_AUDIENCE.to_owned(),
        jti: meta::uid(),
        kubernetes: Kubernetes {
            namespace: namespace.clone(),
            node,
            pod,
            serviceaccount: Reference {
                name: call.name().to_owned(),
                uid: meta::text(&account.value, "uid").to_owned(),
            },
        },
        nbf: now,
        sub: format!("system:serviceaccount:{namespace}:{}", call.name()),
    };
    let token = core.tokens.issue(&claims).map_err(|error| ApiError::internal(error.to_string()))?;
    let until = Timestamp::from_second(claims.exp).map_err(|error| ApiError::internal(error.to_string()))?;
    request["apiVersion"] = json!("authentication.k8s.io/v1");
    request["kind"] = json!("TokenRequest");
    request["metadata"] =
        json!({"name": call.name(), "namespace": namespace, "creationTimestamp": meta::now()});
    request["spec"]["audiences"] = json!(audiences);
    request["spec"]["expirationSeconds"] = json!(seconds);
    let until = until.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    request["status"] = json!({"token": token, "expirationTimestamp": until});
    Ok(Answer::json(201, &request))
}

/// The pod that a token is to be bound to, and its node.
fn bound(
    core: &Core,
    namespace: &str,
    reference: Option<&Value>,
) -> Result<(Option<Reference>, Option<Reference>), ApiError> {
    let Some(reference) = reference.filter(|reference| !reference.is_null()) else { return Ok((None, None)) };
    let text = |field: &str| reference.get(field).and_then(Value::as_str).unwrap_or_default();
    if (text("kind"), text("apiVersion")) != ("Pod", "v1") {
        return Err(ApiError::bad_request(format!(
            "cannot bind token to object of type {}, Kind={}: this server binds tokens to pods only",
            text("apiVersion"),
            text("kind")
        )));
    }
    let name = text("name");
    let what = What { group: String::new(), resource: "pods".to_owned(), name: name.to_owned() };
    let pod = core.store.get("pods", &(namespace.to_owned(), name.to_owned()));
    let pod = pod.ok_or_else(|| ApiError::not_found(&what))?;
    let uid = meta::text(&pod.value, "uid");
    if !matches!(text("uid"), "" | "undefined") && text("uid") != uid {
        let because = format!(
            "the UID in the bound object reference ({}) does not match the UID in record. The object might have been deleted and then recreated",
            text("uid")
        );
        return Err(ApiError::conflict(&what, &because));
    }
    let node = pod.value.pointer("/spec/nodeName").and_then(Value::as_str).filter(|name| !name.is_empty());
    let node = node.map(|name| {
        let object = core.store.get("nodes", &(String::new(), name.to_owned()));
        let uid = object.map(|object| meta::text(&object.value, "uid").to_owned()).unwrap_or_default();
        Reference { name: name.to_owned(), uid }
    });
    Ok((Some(Reference { name: name.to_owned(), uid: uid.to_owned() }), node))
}
