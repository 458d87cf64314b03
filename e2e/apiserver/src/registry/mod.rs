//! The kinds that are served: Kubernetes' own, and those that definitions bring. Knows no objects but definitions.

mod built_in;
mod definition;
mod lists;
mod network_policy;
mod rules;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use serde_json::Value;

use crate::patch::{Lists, Shape, StrategicKey};
use crate::schema::{Cause, FieldValidation, Refusal, Schema};

pub use built_in::definitions;

/// A column of `kubectl get`, from a definition's `additionalPrinterColumns`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its head.
    pub name: String,
    /// Its type, as OpenAPI has it, or `date`.
    pub kind: String,
    /// How its values are to be read; may be empty.
    pub format: String,
    /// What it shows.
    pub description: String,
    /// Above 0: only in wide output.
    pub priority: i64,
    /// Where it is in the object.
    pub path: String,
}

/// What may be done with a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verbs {
    /// Everything.
    All,
    /// Only create: an answer comes back, nothing is kept.
    Create,
}

/// A kind in a version.
#[derive(Debug)]
pub struct Resource {
    /// Its API group; empty for the core.
    pub group: String,
    /// Its version.
    pub version: String,
    /// Its kind.
    pub kind: String,
    /// The kind of its lists.
    pub list_kind: String,
    /// Its name in paths.
    pub plural: String,
    /// Its name for people.
    pub singular: String,
    /// Further names for people.
    pub short_names: Vec<String>,
    /// Names of groups of kinds that it is in, such as `all`.
    pub categories: Vec<String>,
    /// Whether its objects are in namespaces.
    pub namespaced: bool,
    /// Whether it has a status of its own, with a path of its own.
    pub has_status: bool,
    /// Whether a definition brought it. Such a kind takes no strategic merge patches.
    pub is_custom: bool,
    /// What may be done with it.
    pub verbs: Verbs,
    /// Where its objects are kept. Versions of one kind share it, and so do the two kinds of events.
    pub storage: String,
    /// Columns, of a custom kind; built-in kinds have theirs elsewhere.
    pub columns: Vec<Column>,
    /// The name of its schema among the definitions of OpenAPI.
    pub schema_name: String,
    /// Fields beside `metadata.name` and `metadata.namespace` that field selectors may name.
    pub selectable: Vec<String>,
    /// What its users are warned of, if they should use another version.
    pub deprecation: Option<String>,
    schema: Schema,
}

impl Resource {
    /// `v1` or `group/version`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// `plural` or `plural.group`.
    pub fn qualified(&self) -> String {
        if self.group.is_empty() { self.plural.clone() } else { format!("{}.{}", self.plural, self.group) }
    }

    /// The schema of its objects, as OpenAPI has it; a built-in kind's is a reference.
    pub fn schema(&self) -> &Value {
        self.schema.root()
    }

    /// Takes an object in: drops what its kind does not have, fills in what goes without saying, and says what is
    /// wrong. `old` is the object as it was before, where there was one. What the caller is to be warned of comes
    /// back.
    ///
    /// # Errors
    /// The object cannot be taken.
    pub fn admit(
        &self,
        object: &mut Value,
        old: Option<&Value>,
        fields: FieldValidation,
    ) -> Result<Vec<String>, Refusal> {
        if self.is_definition() {
            definition::complete(object);
        }
        if self.is_custom {
            definition::whole_numbers(object);
        }
        let mut unknown = self.schema.prune(object);
        // Metadata is decoded first.
        unknown.sort_by_key(|path| !path.starts_with("metadata."));
        let unknown: Vec<String> =
            unknown.into_iter().map(|path| format!("unknown field \"{path}\"")).collect();
        if fields == FieldValidation::Strict && !unknown.is_empty() {
            return Err(Refusal::Strict(unknown));
        }
        self.schema.default(object);
        rules::default(self, object);
        let mut causes = crate::qualified::metadata(object);
        causes.extend(self.schema.check(object, old));
        causes.extend(rules::check(self, object, old));
        if self.is_definition() && causes.is_empty() {
            causes.extend(definition::check(object));
        }
        if !causes.is_empty() {
            return Err(Refusal::Invalid(causes));
        }
        Ok(if fields == FieldValidation::Ignore { Vec::new() } else { unknown })
    }

    /// Whether its objects define kinds.
    pub fn is_definition(&self) -> bool {
        self.group == "apiextensions.k8s.io" && self.kind == "CustomResourceDefinition"
    }
}

impl Shape for Resource {
    fn list(&self, path: &[&str]) -> Lists {
        lists::list(&self.schema, self.is_custom, path)
    }

    fn is_atomic_map(&self, path: &[&str]) -> bool {
        lists::is_atomic_map(&self.schema, self.is_custom, path)
    }

    fn strategic_key(&self, path: &[&str]) -> Option<StrategicKey> {
        lists::strategic_key(path)
    }
}

/// Group, version and plural.
type Name = (String, String, String);

/// Every kind that is served.
#[derive(Debug)]
pub struct Registry {
    resources: RwLock<BTreeMap<Name, Arc<Resource>>>,
}

impl Default for Registry {
    fn default() -> Self {
        let resources =
            built_in::resources().into_iter().map(|resource| (name(&resource), Arc::new(resource)));
        Self { resources: RwLock::new(resources.collect()) }
    }
}

fn name(resource: &Resource) -> Name {
    (resource.group.clone(), resource.version.clone(), resource.plural.clone())
}

impl Registry {
    fn read(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<Name, Arc<Resource>>> {
        self.resources.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// A kind by its path.
    pub fn find(&self, group: &str, version: &str, plural: &str) -> Option<Arc<Resource>> {
        self.read().get(&(group.to_owned(), version.to_owned(), plural.to_owned())).cloned()
    }

    /// Whether a version of a group is Kubernetes' own.
    pub fn is_built_in(&self, group: &str, version: &str) -> bool {
        let is = |resource: &Arc<Resource>| {
            !resource.is_custom && resource.group == group && resource.version == version
        };
        self.read().values().any(is)
    }

    /// A kind as objects name it.
    pub fn by_kind(&self, api_version: &str, kind: &str) -> Option<Arc<Resource>> {
        let is = |resource: &&Arc<Resource>| resource.kind == kind && resource.api_version() == api_version;
        self.read().values().find(is).cloned()
    }

    /// All of them, by group, version and plural.
    pub fn resources(&self) -> Vec<Arc<Resource>> {
        self.read().values().cloned().collect()
    }

    /// Takes in a definition that has passed [`Resource::admit`], in place of what it brought before.
    ///
    /// # Errors
    /// Its schema does not compile.
    pub fn install(&self, definition: &Value) -> Result<(), Vec<Cause>> {
        let new = definition::resources(definition)?;
        let storage = definition::storage(definition);
        let mut resources = self.resources.write().unwrap_or_else(PoisonError::into_inner);
        resources.retain(|_, resource| !resource.is_custom || resource.storage != storage);
        resources.extend(new.into_iter().map(|resource| (name(&resource), Arc::new(resource))));
        Ok(())
    }

    /// Takes out what a definition of that name brought.
    pub fn remove(&self, definition: &str) {
        let mut resources = self.resources.write().unwrap_or_else(PoisonError::into_inner);
        resources.retain(|_, resource| !resource.is_custom || resource.storage != definition);
    }
}
