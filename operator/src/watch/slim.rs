//! Objects as they come from the API, without what policy cannot see.
//!
//! Trimmed while they are decoded, so a page of pods is never in memory as the large objects it is. Nothing but broken
//! JSON fails here: what is malformed is kept as it is, for intake to name.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use kube::Resource;
use kube::api::{ApiResource, ObjectMeta};
use kube::core::DynamicResourceScope;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};
use serde_json::{Map, Value};

/// What is kept of a value.
#[derive(Debug)]
pub(super) enum Keep {
    /// All of it.
    All,
    /// These fields of an object.
    Only(&'static [(&'static str, Keep)]),
    /// All fields of an object, of these a part.
    AllBut(&'static [(&'static str, Keep)]),
    /// This much of every item of a list.
    Each(&'static Keep),
}

/// A kind of object, by what is kept of it.
pub(super) trait Shape: Clone + fmt::Debug + Send + Sync + 'static {
    /// What is kept.
    const KEEP: &'static Keep;
}

const METADATA: Keep = Keep::Only(&[
    ("name", Keep::All),
    ("namespace", Keep::All),
    ("uid", Keep::All),
    ("resourceVersion", Keep::All),
    ("labels", Keep::All),
]);

const CONTAINERS: Keep = Keep::Each(&Keep::Only(&[("ports", Keep::All), ("restartPolicy", Keep::All)]));

/// Pods.
#[derive(Clone, Debug)]
pub(super) struct PodShape;
impl Shape for PodShape {
    const KEEP: &'static Keep = &Keep::Only(&[
        ("metadata", METADATA),
        (
            "spec",
            Keep::Only(&[
                ("nodeName", Keep::All),
                ("hostNetwork", Keep::All),
                ("containers", CONTAINERS),
                ("initContainers", CONTAINERS),
            ]),
        ),
        ("status", Keep::Only(&[("phase", Keep::All), ("podIP", Keep::All), ("podIPs", Keep::All)])),
    ]);
}

/// Nodes.
#[derive(Clone, Debug)]
pub(super) struct NodeShape;
impl Shape for NodeShape {
    const KEEP: &'static Keep = &Keep::Only(&[
        ("metadata", METADATA),
        ("spec", Keep::Only(&[("podCIDR", Keep::All), ("podCIDRs", Keep::All)])),
        ("status", Keep::Only(&[("addresses", Keep::All)])),
    ]);
}

/// Namespaces.
#[derive(Clone, Debug)]
pub(super) struct NamespaceShape;
impl Shape for NamespaceShape {
    const KEEP: &'static Keep = &Keep::Only(&[("metadata", METADATA)]);
}

/// Policies: everything that intake could know or not know.
#[derive(Clone, Debug)]
pub(super) struct PolicyShape;
impl Shape for PolicyShape {
    const KEEP: &'static Keep = &Keep::AllBut(&[
        (
            "metadata",
            Keep::Only(&[
                ("name", Keep::All),
                ("namespace", Keep::All),
                ("uid", Keep::All),
                ("resourceVersion", Keep::All),
                ("generation", Keep::All),
            ]),
        ),
        ("status", Keep::Only(&[("conditions", Keep::All)])),
    ]);
}

/// Definitions of kinds: whether they are there, and which versions they serve.
#[derive(Clone, Debug)]
pub(super) struct DefinitionShape;
impl Shape for DefinitionShape {
    const KEEP: &'static Keep = &Keep::Only(&[
        (
            "metadata",
            Keep::Only(&[
                ("name", Keep::All),
                ("uid", Keep::All),
                ("resourceVersion", Keep::All),
                ("deletionTimestamp", Keep::All),
            ]),
        ),
        (
            "spec",
            Keep::Only(&[(
                "versions",
                Keep::Each(&Keep::Only(&[("name", Keep::All), ("served", Keep::All)])),
            )]),
        ),
    ]);
}

/// An object without what policy cannot see.
#[derive(Clone, Debug)]
pub(super) struct Slim<S> {
    /// Names and versions only, for the watcher.
    meta: ObjectMeta,
    /// The object.
    pub(super) raw: Value,
    shape: PhantomData<S>,
}

impl<S> Slim<S> {
    /// A string in `metadata`.
    pub(super) fn metadata(&self, field: &str) -> Option<&str> {
        self.raw.get("metadata")?.get(field)?.as_str()
    }
}

impl<S: Shape> Resource for Slim<S> {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(api: &ApiResource) -> Cow<'_, str> {
        api.kind.as_str().into()
    }

    fn group(api: &ApiResource) -> Cow<'_, str> {
        api.group.as_str().into()
    }

    fn version(api: &ApiResource) -> Cow<'_, str> {
        api.version.as_str().into()
    }

    fn api_version(api: &ApiResource) -> Cow<'_, str> {
        api.api_version.as_str().into()
    }

    fn plural(api: &ApiResource) -> Cow<'_, str> {
        api.plural.as_str().into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.meta
    }
}

impl<'de, S: Shape> Deserialize<'de> for Slim<S> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = S::KEEP.deserialize(deserializer)?;
        let mut slim = Self { meta: ObjectMeta::default(), raw, shape: PhantomData };
        slim.meta.name = slim.metadata("name").map(str::to_owned);
        slim.meta.namespace = slim.metadata("namespace").map(str::to_owned);
        slim.meta.resource_version = slim.metadata("resourceVersion").map(str::to_owned);
        Ok(slim)
    }
}

impl<'de> DeserializeSeed<'de> for &Keep {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        match self {
            Keep::All => Value::deserialize(deserializer),
            _ => deserializer.deserialize_any(self),
        }
    }
}

impl<'de> Visitor<'de> for &Keep {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        // A list where an object belongs is kept, for intake to say so.
        let keep = if let Keep::Each(keep) = self { *keep } else { &Keep::All };
        let mut items = Vec::new();
        while let Some(item) = list.next_element_seed(keep)? {
            items.push(item);
        }
        Ok(items.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some(name) = object.next_key::<Cow<'_, str>>()? {
            let keep = match self {
                Keep::All | Keep::Each(_) => Some(&Keep::All),
                Keep::Only(known) => part(known, &name),
                Keep::AllBut(known) => Some(part(known, &name).unwrap_or(&Keep::All)),
            };
            match keep {
                Some(keep) => {
                    let value = object.next_value_seed(keep)?;
                    fields.insert(name.into_owned(), value);
                }
                None => drop(object.next_value::<IgnoredAny>()?),
            }
        }
        Ok(Value::Object(fields))
    }
}

fn part(known: &'static [(&'static str, Keep)], name: &str) -> Option<&'static Keep> {
    known.iter().find(|(field, _)| *field == name).map(|(_, keep)| keep)
}
