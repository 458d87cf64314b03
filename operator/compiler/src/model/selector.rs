//! Label selectors in canonical form.

use std::collections::{BTreeMap, BTreeSet};

/// Labels of an object.
pub type Labels = BTreeMap<String, String>;

/// What a requirement asks of a label. The semantics are those of Kubernetes' `LabelSelectorRequirement`:
/// `NotIn` also matches where the label is absent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operator {
    /// The label is there with one of the values.
    In(BTreeSet<String>),
    /// The label is absent or has none of the values.
    NotIn(BTreeSet<String>),
    /// The label is there.
    Exists,
    /// The label is absent.
    DoesNotExist,
}

/// One requirement on one label.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Requirement {
    /// The label's key.
    pub key: String,
    /// What is asked of it.
    pub operator: Operator,
}

impl Requirement {
    /// Whether labels meet the requirement.
    pub fn matches(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.key);
        match &self.operator {
            Operator::In(values) => value.is_some_and(|value| values.contains(value)),
            Operator::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
        }
    }
}

/// A conjunction of requirements, sorted and without repetition, so that equal selectors are equal values.
/// The empty selector matches everything.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Selector(Vec<Requirement>);

impl Selector {
    /// The selector that matches everything.
    pub const EVERYTHING: Self = Self(Vec::new());

    /// A selector of the given requirements, in any order.
    pub fn new(requirements: impl IntoIterator<Item = Requirement>) -> Self {
        let sorted: BTreeSet<_> = requirements.into_iter().collect();
        Self(sorted.into_iter().collect())
    }

    /// The selector `matchLabels` stands for.
    pub fn match_labels<K: Into<String>, V: Into<String>>(labels: impl IntoIterator<Item = (K, V)>) -> Self {
        Self::new(labels.into_iter().map(|(key, value)| Requirement {
            key: key.into(),
            operator: Operator::In(BTreeSet::from([value.into()])),
        }))
    }

    /// The requirements, sorted.
    pub fn requirements(&self) -> &[Requirement] {
        &self.0
    }

    /// Whether labels meet every requirement.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.0.iter().all(|requirement| requirement.matches(labels))
    }
}
