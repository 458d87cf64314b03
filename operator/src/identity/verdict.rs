//! What a reviewed token means: the rules, on the API's own answer. Asks nobody.

use k8s_openapi::api::authentication::v1::{TokenReviewStatus, UserInfo};
use k8s_openapi::api::core::v1::Pod;

use super::Settings;

/// Keys that the API server adds to what it knows of a token that is bound to a pod.
const NODE: &str = "authentication.kubernetes.io/node-name";
const POD: &str = "authentication.kubernetes.io/pod-name";
const POD_UID: &str = "authentication.kubernetes.io/pod-uid";

/// Whose token it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Bearer {
    /// This node's (Kubernetes from 1.30 on says so).
    Node(String),
    /// The node's on which this pod is.
    Pod { name: String, uid: String },
}

/// Whose token was reviewed; else what is wrong with it, and what would be right.
pub(super) fn bearer(status: &TokenReviewStatus, settings: &Settings) -> Result<Bearer, String> {
    let wanted = settings.wanted();
    if status.authenticated != Some(true) {
        let why = status.error.as_deref().filter(|error| !error.is_empty()).unwrap_or("it gives no reason");
        return Err(format!("the API server does not accept the bearer token: {why}; {wanted}"));
    }
    // An API server that does not know audiences leaves them out: then the token is one for the API server itself.
    if !status.audiences.iter().flatten().any(|audience| *audience == settings.audience) {
        return Err(format!("the bearer token is for another audience; {wanted}"));
    }
    let user = status.user.clone().unwrap_or_default();
    let name = user.username.as_deref().unwrap_or_default();
    if name != settings.user() {
        return Err(format!("the bearer token is of user `{name}`; {wanted}"));
    }
    if let Some(node) = extra(&user, NODE) {
        return Ok(Bearer::Node(node));
    }
    match (extra(&user, POD), extra(&user, POD_UID)) {
        (Some(name), Some(uid)) => Ok(Bearer::Pod { name, uid }),
        _ => Err(format!("the bearer token is not bound to a pod, so it names no node; {wanted}")),
    }
}

/// The node of the pod a token is bound to.
pub(super) fn node_of(pod: &Pod, uid: &str, settings: &Settings) -> Result<String, String> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    if pod.metadata.uid.as_deref() != Some(uid) {
        return Err(format!("the bearer token is of an earlier pod {name}; {}", settings.wanted()));
    }
    let spec = pod.spec.as_ref();
    if spec.and_then(|spec| spec.service_account_name.as_deref()) != Some(&*settings.service_account) {
        return Err(format!(
            "pod {name} does not run as the ServiceAccount of its token; {}",
            settings.wanted()
        ));
    }
    spec.and_then(|spec| spec.node_name.clone())
        .filter(|node| !node.is_empty())
        .ok_or_else(|| format!("pod {name} is on no node yet; {}", settings.wanted()))
}

fn extra(user: &UserInfo, key: &str) -> Option<String> {
    let values = user.extra.as_ref()?.get(key)?;
    // One value is what the API server writes; of several nobody can say which counts.
    match values.as_slice() {
        [value] if !value.is_empty() => Some(value.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn settings() -> Settings {
        Settings {
            audience: "palisade".into(),
            namespace: "palisade-system".into(),
            service_account: "palisade-node".into(),
        }
    }

    fn good() -> Value {
        json!({
            "authenticated": true,
            "audiences": ["palisade"],
            "user": {
                "username": "system:serviceaccount:palisade-system:palisade-node",
                "extra": {(NODE): ["n-1"], (POD): ["node-x"], (POD_UID): ["u-1"]},
            },
        })
    }

    fn judged(change: impl FnOnce(&mut Value)) -> Result<Bearer, String> {
        let mut status = good();
        change(&mut status);
        bearer(&serde_json::from_value(status).unwrap(), &settings())
    }

    #[test]
    fn a_nodes_token_names_its_node_or_its_pod() {
        assert_eq!(judged(|_| ()), Ok(Bearer::Node("n-1".into())));
        let pod = Bearer::Pod { name: "node-x".into(), uid: "u-1".into() };
        let older = judged(|status| drop(status["user"]["extra"].as_object_mut().unwrap().remove(NODE)));
        assert_eq!(older, Ok(pod.clone()));
        assert_eq!(judged(|status| status["user"]["extra"][NODE] = json!([])), Ok(pod));
    }

    #[test]
    fn every_other_token_is_refused_with_what_would_be_right() {
        type Case = (&'static str, fn(&mut Value));
        let cases: [Case; 12] = [
            ("does not accept", |s| s["authenticated"] = json!(false)),
            ("it gives no reason", |s| s["authenticated"] = Value::Null),
            ("token has been invalidated", |s| {
                *s = json!({"authenticated": false, "error": "token has been invalidated"});
            }),
            ("another audience", |s| s["audiences"] = json!(["other"])),
            ("another audience", |s| s["audiences"] = json!([])),
            ("another audience", |s| s["audiences"] = Value::Null),
            ("of user ``", |s| s["user"] = Value::Null),
            ("palisade-operator`", |s| {
                s["user"]["username"] = json!("system:serviceaccount:palisade-system:palisade-operator");
            }),
            ("elsewhere:palisade-node`", |s| {
                s["user"]["username"] = json!("system:serviceaccount:elsewhere:palisade-node");
            }),
            ("names no node", |s| s["user"]["extra"] = Value::Null),
            ("names no node", |s| s["user"]["extra"] = json!({(POD): ["node-x"]})),
            ("names no node", |s| s["user"]["extra"] = json!({(NODE): ["n-1", "n-2"]})),
        ];
        for (expected, change) in cases {
            let refused = judged(change).unwrap_err();
            assert!(refused.contains(expected), "{expected}: {refused}");
            assert!(refused.contains("`palisade-node`") && refused.contains("`palisade`"), "{refused}");
        }
    }

    #[test]
    fn a_pod_must_be_the_very_one_and_be_on_a_node() {
        let pod = |uid: &str, spec: Value| -> Pod {
            serde_json::from_value(json!({"metadata": {"name": "node-x", "uid": uid}, "spec": spec})).unwrap()
        };
        let spec = |account: &str, node: &str| json!({"serviceAccountName": account, "nodeName": node, "containers": []});
        let node = |pod: &Pod| node_of(pod, "u-1", &settings());
        assert_eq!(node(&pod("u-1", spec("palisade-node", "n-1"))), Ok("n-1".into()));
        let refused = |pod: &Pod, why: &str| {
            let said = node(pod).unwrap_err();
            assert!(said.contains(why) && said.contains("pod node-x"), "{said}");
        };
        refused(&pod("u-2", spec("palisade-node", "n-1")), "an earlier pod");
        refused(&pod("u-1", spec("default", "n-1")), "does not run as");
        refused(&pod("u-1", spec("palisade-node", "")), "on no node yet");
    }
}
