//! A server and clients of it.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test stops where its world breaks"
)]

use std::future::Future;
use std::time::Duration;

use axum::http::{Request, header};
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use palisade_apiserver::{Options, Server};
use serde_json::{Value, json};

pub(crate) struct World {
    pub(crate) server: Server,
    pub(crate) client: Client,
}

/// An answer as it came.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) body: Value,
    pub(crate) warnings: Vec<String>,
    pub(crate) retry_after: Option<String>,
}

pub(crate) const JSON: &str = "application/json";
pub(crate) const MERGE: &str = "application/merge-patch+json";
pub(crate) const JSON_PATCH: &str = "application/json-patch+json";
pub(crate) const STRATEGIC: &str = "application/strategic-merge-patch+json";
pub(crate) const APPLY: &str = "application/apply-patch+yaml";

pub(crate) const THINGS: &str = "/apis/stable.example.com/v1/namespaces/default/things";

impl World {
    pub(crate) async fn start() -> Self {
        Self::with(Options::default()).await
    }

    pub(crate) async fn with(options: Options) -> Self {
        let server = Server::start(options).await.expect("server");
        let client = client(&server.kubeconfig()).await;
        Self { server, client }
    }

    /// With the kind that most tests use.
    pub(crate) async fn with_things() -> Self {
        let world = Self::start().await;
        world.define_things().await;
        world
    }

    pub(crate) async fn define_things(&self) {
        let answer =
            self.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", &definition()).await;
        assert_eq!(answer.code, 201, "{answer:?}");
    }

    pub(crate) async fn send(&self, method: &str, path: &str, content_type: &str, body: &Value) -> Answer {
        send(&self.client, method, path, &[("content-type", content_type)], body).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, JSON, &Value::Null).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send("POST", path, JSON, body).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Answer {
        self.send("PUT", path, JSON, body).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, JSON, &Value::Null).await
    }

    /// Server-side apply by a manager.
    pub(crate) async fn apply(&self, path: &str, manager: &str, force: bool, body: &Value) -> Answer {
        let joint = if path.contains('?') { '&' } else { '?' };
        self.send("PATCH", &format!("{path}{joint}fieldManager={manager}&force={force}"), APPLY, body).await
    }
}

pub(crate) async fn config(kubeconfig: &str) -> Config {
    let kubeconfig = Kubeconfig::from_yaml(kubeconfig).expect("kubeconfig");
    let mut config =
        Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.expect("config");
    // Tests count requests.
    config.default_retry = false;
    config
}

pub(crate) async fn client(kubeconfig: &str) -> Client {
    Client::try_from(config(kubeconfig).await).expect("client")
}

pub(crate) async fn try_send(
    client: &Client,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &Value,
) -> Result<Answer, String> {
    let body = if body.is_null() { Vec::new() } else { serde_json::to_vec(body).expect("json") };
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = client
        .send(request.body(Body::from(body)).expect("request"))
        .await
        .map_err(|error| error.to_string())?;
    let code = response.status().as_u16();
    let texts = |name: header::HeaderName| -> Vec<String> {
        let all = response.headers().get_all(name).into_iter();
        all.map(|value| value.to_str().expect("text").to_owned()).collect()
    };
    let (warnings, retry_after) = (texts(header::WARNING), texts(header::RETRY_AFTER).pop());
    let bytes = response.into_body().collect_bytes().await.map_err(|error| error.to_string())?;
    let body = serde_json::from_slice(&bytes).unwrap_or_else(|_| json!(String::from_utf8_lossy(&bytes)));
    Ok(Answer { code, body, warnings, retry_after })
}

pub(crate) async fn send(
    client: &Client,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &Value,
) -> Answer {
    try_send(client, method, path, headers, body).await.expect("an answer")
}

/// Waits for what has to come; the limit is for what never does.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_mins(1), what).await.expect("within a minute")
}

pub(crate) fn config_map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "1"}})
}

pub(crate) fn thing(name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "stable.example.com/v1", "kind": "Thing", "metadata": {"name": name}, "spec": spec})
}

pub(crate) fn definition() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.stable.example.com"},
        "spec": {
            "group": "stable.example.com", "scope": "Namespaced",
            "names": {"plural": "things", "kind": "Thing", "shortNames": ["th"]},
            "versions": [{
                "name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                    "spec": {"type": "object", "properties": {
                        "size": {"type": "integer", "minimum": 0, "default": 1},
                        "note": {"type": "string"},
                        "tags": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
                        "list": {"type": "array", "items": {"type": "integer"}},
                    }},
                    "status": {"type": "object", "properties": {
                        "phase": {"type": "string"},
                        "conditions": {
                            "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"],
                            "items": {"type": "object", "required": ["type"], "properties": {
                                "type": {"type": "string"}, "status": {"type": "string"}, "reason": {"type": "string"},
                            }},
                        },
                    }},
                }}},
            }],
        },
    })
}
