//! The requests: what is sent, and what an answer means.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use palisade_compiler::model::Kind;
use serde_json::json;

use super::index::Write;
use super::notices::{About, Key, Notice, Post};
use crate::said::api_error;

/// Who writes, as `metadata.managedFields` and Events name it.
pub(super) const MANAGER: &str = "palisade";

/// A request without an answer after this long has failed.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Where Events about objects without a namespace are.
const DEFAULT_NAMESPACE: &str = "default";

/// Why a request was not granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// There is no such object.
    Gone,
    /// There is one of that name already.
    Exists,
    /// Something else happened to the object at the same time.
    Conflict,
    /// It will never be granted as it is.
    Refused(String),
    /// There was no answer: it may have been granted.
    Lost(String),
    /// The server cannot serve now, or not us, and perhaps says for how long.
    Later { after: Option<Duration>, message: String },
}

impl From<kube::Error> for Failure {
    fn from(error: kube::Error) -> Self {
        let message = api_error(&error);
        let kube::Error::Api(status) = &error else { return Self::Lost(message) };
        match status.code {
            404 | 410 => Self::Gone,
            403 if is_namespace_going(status) => Self::Gone,
            409 if status.is_already_exists() => Self::Exists,
            409 => Self::Conflict,
            400 | 405 | 406 | 413 | 415 | 422 => Self::Refused(message),
            403 => Self::Later {
                after: None,
                message: format!("{message}; the operator's ServiceAccount needs the rights in config/rbac"),
            },
            _ => {
                let seconds = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
                let after = (seconds > 0).then(|| Duration::from_secs(u64::from(seconds)));
                Self::Later { after, message }
            }
        }
    }
}

/// Nothing is made in a namespace that is being deleted.
fn is_namespace_going(status: &kube::core::Status) -> bool {
    let mut causes = status.details.iter().flat_map(|details| &details.causes);
    causes.any(|cause| cause.reason == "NamespaceTerminating")
}

async fn answered<T>(request: impl Future<Output = kube::Result<T>>) -> Result<T, Failure> {
    if let Ok(answer) = tokio::time::timeout(ANSWER_WITHIN, request).await {
        return answer.map_err(Failure::from);
    }
    Err(Failure::Lost(format!("no answer within {} s", ANSWER_WITHIN.as_secs())))
}

fn resource(kind: Kind) -> ApiResource {
    let (group, version) = kind.api_version().split_once('/').unwrap_or(("", kind.api_version()));
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind.name()))
}

/// Writes a status. Returns the UID of the object that has it now: another one of the same name may have taken the place
/// of the one meant, and the API server looks at no UID in a patch of a status.
pub(super) async fn write(client: Client, write: &Write) -> Result<String, Failure> {
    let kind = write.object.kind;
    let api: Api<DynamicObject> = Api::all_with(client, &resource(kind));
    let patch = json!({
        "apiVersion": kind.api_version(),
        "kind": kind.name(),
        "metadata": {"name": write.object.name},
        "status": {"conditions": write.conditions},
    });
    // Forced: the types of condition are ours, whoever wrote them last. Those of others are not in the patch.
    let parameters = PatchParams::apply(MANAGER).force();
    let written = answered(api.patch_status(&write.object.name, &parameters, &Patch::Apply(&patch))).await?;
    Ok(written.metadata.uid.unwrap_or_default())
}

/// Makes an Event, or counts one up.
pub(super) async fn post(client: Client, instance: &str, post: &Post) -> Result<(), Failure> {
    let api: Api<Event> = Api::namespaced(client, namespace(post.key()));
    match post {
        Post::Create { name, notice, at } => {
            let parameters = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
            answered(api.create(&parameters, &event(name, notice, instance, *at))).await?;
        }
        Post::Repeat { name, count, at, .. } => {
            let parameters =
                PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
            let patch = json!({"series": {"count": count, "lastObservedTime": MicroTime(*at)}});
            answered(api.patch(name, &parameters, &Patch::Merge(&patch))).await?;
        }
    }
    Ok(())
}

fn namespace(key: &Key) -> &str {
    match &key.about {
        About::Policy(object, _) => object.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE),
        About::Node(_) => DEFAULT_NAMESPACE,
    }
}

fn event(name: &str, notice: &Notice, instance: &str, at: Timestamp) -> Event {
    let regarding = match &notice.key.about {
        About::Policy(object, uid) => ObjectReference {
            api_version: Some(object.kind.api_version().to_owned()),
            kind: Some(object.kind.name().to_owned()),
            name: Some(object.name.clone()),
            namespace: object.namespace.clone(),
            uid: Some(uid.clone()),
            ..ObjectReference::default()
        },
        About::Node(name) => ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Node".to_owned()),
            name: Some(name.clone()),
            // As the kubelet does it; `kubectl describe node` looks for the name, too.
            uid: Some(name.clone()),
            ..ObjectReference::default()
        },
    };
    Event {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(namespace(&notice.key).to_owned()),
            ..ObjectMeta::default()
        },
        event_time: Some(MicroTime(at)),
        type_: Some(if notice.is_warning { "Warning" } else { "Normal" }.to_owned()),
        reason: Some(notice.key.reason.to_owned()),
        action: Some(notice.action.to_owned()),
        note: Some(notice.note.clone()),
        regarding: Some(regarding),
        reporting_controller: Some(MANAGER.to_owned()),
        reporting_instance: Some(instance.to_owned()),
        ..Event::default()
    }
}
