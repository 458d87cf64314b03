//! What a label selector can match at all: for each key the values it leaves open. By it selectors are compared without
//! looking at any object.
//!
//! Keys are independent of each other and a label can have endlessly many values, so comparing key by key is exact.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{NamespaceMatch, Operator, Selector};

/// The label that every namespace has, with its name as the value.
pub(super) const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// What may be the case with one label.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Domain {
    /// The label may be absent.
    absent: bool,
    /// The label may be there with one of these values; or, if `is_complement`, with any value but these.
    values: BTreeSet<String>,
    is_complement: bool,
}

impl Domain {
    fn anything() -> Self {
        Self { absent: true, values: BTreeSet::new(), is_complement: true }
    }

    fn of(operator: &Operator) -> Self {
        match operator {
            Operator::In(values) => Self { absent: false, values: values.clone(), is_complement: false },
            Operator::NotIn(values) => Self { absent: true, values: values.clone(), is_complement: true },
            Operator::Exists => Self { absent: false, ..Self::anything() },
            Operator::DoesNotExist => Self { absent: true, values: BTreeSet::new(), is_complement: false },
        }
    }

    fn is_empty(&self) -> bool {
        !self.absent && !self.is_complement && self.values.is_empty()
    }

    fn intersection(&self, other: &Self) -> Self {
        let (values, is_complement) = match (self.is_complement, other.is_complement) {
            (true, true) => (&self.values | &other.values, true),
            (false, false) => (&self.values & &other.values, false),
            (false, true) => (&self.values - &other.values, false),
            (true, false) => (&other.values - &self.values, false),
        };
        Self { absent: self.absent && other.absent, values, is_complement }
    }

    fn contains(&self, other: &Self) -> bool {
        let values = match (self.is_complement, other.is_complement) {
            (true, true) => self.values.is_subset(&other.values),
            (true, false) => self.values.is_disjoint(&other.values),
            (false, true) => false,
            (false, false) => other.values.is_subset(&self.values),
        };
        values && (self.absent || !other.absent)
    }
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(super) struct Shape(BTreeMap<String, Domain>);

impl Shape {
    /// Of a selector of pods or nodes.
    pub(super) fn of(selector: &Selector) -> Self {
        let mut shape = Self::default();
        for requirement in selector.requirements() {
            shape.narrow(&requirement.key, &Domain::of(&requirement.operator));
        }
        shape
    }

    /// Of a selector of namespaces: every one of them has its name as a label.
    pub(super) fn of_namespaces(selector: &Selector) -> Self {
        let mut shape = Self::of(selector);
        shape.narrow(NAME_LABEL, &Domain::of(&Operator::Exists));
        shape
    }

    /// Of the namespaces that a peer means.
    pub(super) fn of_match(namespaces: &NamespaceMatch) -> Self {
        match namespaces {
            NamespaceMatch::Name(name) => Self::of_name(name),
            NamespaceMatch::Labels(selector) => Self::of_namespaces(selector),
        }
    }

    /// Of the namespace with that name.
    pub(super) fn of_name(name: &str) -> Self {
        Self::of_namespaces(&Selector::match_labels([(NAME_LABEL, name)]))
    }

    fn narrow(&mut self, key: &str, domain: &Domain) {
        let known = self.0.entry(key.to_owned()).or_insert_with(Domain::anything);
        *known = known.intersection(domain);
    }

    /// A key whose requirements no object can meet together.
    pub(super) fn contradiction(&self) -> Option<&str> {
        self.0.iter().find(|(_, domain)| domain.is_empty()).map(|(key, _)| key.as_str())
    }

    /// Whether whatever the other one matches is matched by this one.
    pub(super) fn contains(&self, other: &Self) -> bool {
        self.0.iter().all(|(key, domain)| match other.0.get(key) {
            Some(narrower) => domain.contains(narrower),
            None => domain.contains(&Domain::anything()),
        })
    }

    /// Whether nothing can be matched by both.
    pub(super) fn is_disjoint(&self, other: &Self) -> bool {
        self.contradiction().is_some()
            || other.contradiction().is_some()
            || self.0.iter().any(|(key, domain)| {
                other.0.get(key).is_some_and(|known| domain.intersection(known).is_empty())
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Labels, Requirement};

    /// Every selector of at most two requirements over two keys and two values.
    fn selectors() -> Vec<Selector> {
        let sets = [["x"].as_slice(), &["y"], &["x", "y"]];
        let sets = sets.map(|set| set.iter().map(|&value| value.to_owned()).collect::<BTreeSet<_>>());
        let mut all = Vec::new();
        for key in ["a", "b"] {
            let mut operators = vec![Operator::Exists, Operator::DoesNotExist];
            operators.extend(sets.iter().cloned().map(Operator::In));
            operators.extend(sets.iter().cloned().map(Operator::NotIn));
            all.extend(operators.into_iter().map(|operator| Requirement { key: key.to_owned(), operator }));
        }
        let mut selectors = vec![Selector::EVERYTHING];
        for one in &all {
            selectors.extend(all.iter().map(|other| Selector::new([one.clone(), other.clone()])));
        }
        selectors
    }

    /// Every set of labels that those can tell apart: `z` stands for all other values.
    fn worlds() -> Vec<Labels> {
        let choices = [None, Some("x"), Some("y"), Some("z")];
        let mut worlds = Vec::new();
        for a in choices {
            for b in choices {
                let pairs = [("a", a), ("b", b)];
                let present =
                    pairs.iter().filter_map(|&(key, value)| Some((key.to_owned(), value?.to_owned())));
                worlds.push(present.collect());
            }
        }
        worlds
    }

    #[test]
    fn shapes_say_what_trying_every_label_says() {
        let worlds = worlds();
        let selectors: Vec<_> = selectors().into_iter().map(|one| (Shape::of(&one), one)).collect();
        for (shape, selector) in &selectors {
            let is_met = worlds.iter().any(|labels| selector.matches(labels));
            assert_eq!(shape.contradiction().is_none(), is_met, "{selector:?}");
            for (other_shape, other) in selectors.iter().filter(|_| is_met) {
                let both = |labels: &&Labels| selector.matches(labels) && other.matches(labels);
                assert_eq!(shape.is_disjoint(other_shape), !worlds.iter().any(|l| both(&l)));
                let is_within = worlds.iter().filter(|l| other.matches(l)).all(|l| selector.matches(l));
                if other_shape.contradiction().is_none() {
                    assert_eq!(shape.contains(other_shape), is_within, "{selector:?} {other:?}");
                }
            }
        }
    }

    #[test]
    fn every_namespace_has_its_name() {
        let nameless = Requirement { key: NAME_LABEL.to_owned(), operator: Operator::DoesNotExist };
        assert_eq!(Shape::of_namespaces(&Selector::new([nameless])).contradiction(), Some(NAME_LABEL));
        assert!(Shape::of_namespaces(&Selector::EVERYTHING).contains(&Shape::of_name("shop")));
        assert!(!Shape::of_name("shop").contains(&Shape::of_name("bank")));
    }
}
