//! Raw Kubernetes objects to the model.
//!
//! Objects are decoded untyped, field by field, because a typed decoder drops what it does not know: a rule that a
//! newer API has narrowed would widen unnoticed. What is not known fails closed, and says so.

mod admin_policy;
mod admin_rule;
mod cursor;
mod dialect;
mod namespace;
mod network;
mod network_policy;
mod node;
mod peer;
mod pod;
mod port;
mod selector;
mod subject;
mod syntax;
#[cfg(test)]
mod tests;

use serde_json::Value;

use self::cursor::{Cursor, Refused, Sink, shown};
use self::dialect::Dialect;
use crate::diagnostic::{Diagnostic, Severity};
use crate::model::{Kind, Object, ObjectRef, Policy};

/// What intake makes of one raw object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// The object's name.
    pub object: ObjectRef,
    /// The model, with every part that is not understood failing closed. `None` where the object cannot be
    /// represented at all (a pod, namespace or node whose fields are malformed): its last good state stays.
    pub model: Option<Object>,
    /// Findings, sorted.
    pub diagnostics: Vec<Diagnostic>,
}

/// A raw value that is no object of a kind Palisade reads.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IntakeError {
    /// The kind is not one of ours: ignore it.
    #[error("{api_version} {kind} is not a kind that matters to network policy")]
    UnknownKind {
        /// `apiVersion` as given.
        api_version: String,
        /// `kind` as given.
        kind: String,
    },
    /// A field needed to name the object is missing or malformed. A policy of one of our kinds in a version that
    /// is not read is here too: ignoring it would leave open what it closes.
    #[error("{field}: {message}")]
    Unnamed {
        /// The field's path.
        field: String,
        /// What is wrong and what to do.
        message: String,
    },
}

/// Decodes one raw object, field by field.
///
/// # Errors
/// The value is no object of a known kind, or has no name.
pub fn decode(raw: &Value) -> Result<Decoded, IntakeError> {
    let object = identify(raw)?;
    let sink = Sink::new(object.clone());
    let model = model(&Cursor::root(raw, &sink), &object);
    Ok(Decoded { object, model, diagnostics: sink.into_findings() })
}

fn model(root: &Cursor<'_>, object: &ObjectRef) -> Option<Object> {
    if object.kind.is_policy() {
        root.ignore_others(&["apiVersion", "kind", "metadata", "spec", "status"]);
    }
    if !object.kind.is_namespaced()
        && let Some(namespace) = root.child("metadata").get("namespace")
    {
        namespace.warn(format!("objects of kind {} are in no namespace: ignored", object.kind), "remove it");
    }
    let (name, namespace) = (object.name.as_str(), object.namespace.as_deref().unwrap_or_default());
    let admin = |dialect| Ok(Object::Policy(Policy::Admin(admin_policy::admin_policy(root, name, dialect))));
    let model = match object.kind {
        Kind::Namespace => namespace::namespace(root, name).map(Object::Namespace),
        Kind::Node => node::node(root, name).map(Object::Node),
        Kind::Pod => pod::pod(root, namespace, name).map(Object::Pod),
        Kind::ClusterNetworkPolicy => admin(&Dialect::CLUSTER),
        Kind::AdminNetworkPolicy => admin(&Dialect::ADMIN),
        Kind::BaselineAdminNetworkPolicy => admin(&Dialect::BASELINE),
        Kind::NetworkPolicy => {
            Ok(Object::Policy(Policy::Network(network_policy::network_policy(root, namespace, name))))
        }
    };
    model.map_err(|refused: Refused| forget(root, object, &refused)).ok()
}

/// Says what becomes of an object that cannot be represented. The refusal is proof that its cause is reported.
fn forget(root: &Cursor<'_>, object: &ObjectRef, _: &Refused) {
    root.report(
        Severity::Error,
        format!("the {} is not understood: its last good state stays, if there was one", object.kind),
        "correct what else is reported about it",
    );
}

fn identify(raw: &Value) -> Result<ObjectRef, IntakeError> {
    let kind = kind(text(raw, &["apiVersion"])?, text(raw, &["kind"])?)?;
    let name = text(raw, &["metadata", "name"])?;
    let is_name = if kind == Kind::Namespace { syntax::is_dns_label } else { syntax::is_dns_subdomain };
    if !is_name(name) {
        return Err(malformed("metadata.name", name));
    }
    let namespace = if kind.is_namespaced() {
        let namespace = text(raw, &["metadata", "namespace"])?;
        if !syntax::is_dns_label(namespace) {
            return Err(malformed("metadata.namespace", namespace));
        }
        Some(namespace.to_owned())
    } else {
        None
    };
    Ok(ObjectRef { kind, namespace, name: name.to_owned() })
}

fn kind(api_version: &str, name: &str) -> Result<Kind, IntakeError> {
    let unknown = || IntakeError::UnknownKind { api_version: api_version.to_owned(), kind: name.to_owned() };
    let kind = Kind::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(unknown)?;
    if kind.api_version() == api_version {
        return Ok(kind);
    }
    // Other projects have kinds of these names in groups of their own; in the same group it is another version.
    let group = |api_version: &str| api_version.split_once('/').map(|(group, _)| group.to_owned());
    let was = kind == Kind::NetworkPolicy && api_version == "extensions/v1beta1";
    if was || (kind.is_policy() && group(api_version) == group(kind.api_version())) {
        return Err(IntakeError::Unnamed {
            field: "apiVersion".to_owned(),
            message: format!(
                "{} is not a version of {kind} that is read; write `{}`",
                shown(api_version),
                kind.api_version()
            ),
        });
    }
    Err(unknown())
}

/// A string that an object cannot be named without.
fn text<'v>(raw: &'v Value, path: &[&str]) -> Result<&'v str, IntakeError> {
    let unnamed =
        |message: &str| Err(IntakeError::Unnamed { field: path.join("."), message: message.to_owned() });
    let value = path.iter().try_fold(raw, |value, field| value.get(field)).unwrap_or(&Value::Null);
    match value {
        Value::Null => unnamed("missing; add it"),
        Value::String(text) if text.is_empty() => unnamed("empty; write it"),
        Value::String(text) => Ok(text),
        _ => unnamed("not a string; put it in quotes"),
    }
}

fn malformed(field: &str, name: &str) -> IntakeError {
    IntakeError::Unnamed {
        field: field.to_owned(),
        message: format!(
            "{} is not a name; write lower-case letters, digits and `-`, at both ends a letter or digit",
            shown(name)
        ),
    }
}
