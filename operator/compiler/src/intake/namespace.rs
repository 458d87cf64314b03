//! Namespaces.

use super::cursor::{Cursor, Refused};
use super::selector::labels;
use crate::model::Namespace;

/// The label that the API server gives every namespace, its name.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// A namespace of that name.
pub(super) fn namespace(root: &Cursor<'_>, name: &str) -> Result<Namespace, Refused> {
    let metadata = root.child("metadata");
    let mut labels = labels(&metadata)?;
    if labels.insert(NAME_LABEL.to_owned(), name.to_owned()).is_some_and(|old| old != name) {
        metadata.child("labels").child(NAME_LABEL).warn(
            format!("the label is always the namespace's name: it is read as `{name}`"),
            "remove it: the API server adds it",
        );
    }
    Ok(Namespace { name: name.to_owned(), labels })
}
