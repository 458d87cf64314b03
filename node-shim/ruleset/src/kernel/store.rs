//! The fake kernel's sets and maps: what can be added and deleted, and what a lookup finds.

use std::collections::BTreeMap;

use super::Errno;
use crate::element::{Datum, Element, Field, FieldType, SetDecl};

type Span = (Datum, Datum);

/// A set or map with its elements.
#[derive(Clone, Debug)]
pub(super) struct Set {
    pub(super) decl: SetDecl,
    /// Elements of a set without ranges.
    exact: BTreeMap<Vec<Datum>, Option<u32>>,
    /// Elements of a set with ranges.
    ranged: BTreeMap<Vec<Span>, Option<u32>>,
}

impl Set {
    pub(super) fn new(decl: SetDecl) -> Self {
        Self { decl, exact: BTreeMap::new(), ranged: BTreeMap::new() }
    }

    pub(super) fn flush(&mut self) {
        self.exact.clear();
        self.ranged.clear();
    }

    pub(super) fn elements(&self) -> Vec<Element> {
        let field = |&(start, end): &Span| Field::span(start, end);
        let exact = self.exact.iter().map(|(key, value)| Element {
            key: key.iter().map(|&datum| Field::Exact(datum)).collect(),
            value: *value,
        });
        let ranged = self
            .ranged
            .iter()
            .map(|(key, value)| Element { key: key.iter().map(field).collect(), value: *value });
        exact.chain(ranged).collect()
    }

    pub(super) fn add(&mut self, element: &Element) -> Result<(), Errno> {
        let key = self.key(element)?;
        let fits = match (self.decl.value, element.value) {
            (None, None) => true,
            (Some(kind), Some(_)) => kind == FieldType::ClassId,
            _ => false,
        };
        if !fits {
            return Err(Errno::Einval);
        }
        if !self.decl.interval {
            let key: Vec<Datum> = key.into_iter().map(|span| span.0).collect();
            return match self.exact.insert(key, element.value) {
                // Adding what is there is no error; a map cannot hold two values for a key.
                Some(old) if old != element.value => Err(Errno::Eexist),
                _ => Ok(()),
            };
        }
        match self.ranged.get(&key) {
            Some(value) if *value == element.value => Ok(()),
            Some(_) => Err(Errno::Eexist),
            None if self.ranged.keys().any(|other| overlap(&key, other)) => Err(Errno::Eexist),
            None => {
                self.ranged.insert(key, element.value);
                Ok(())
            }
        }
    }

    pub(super) fn delete(&mut self, element: &Element) -> Result<(), Errno> {
        let key = self.key(element)?;
        let found = if self.decl.interval {
            self.ranged.remove(&key).is_some()
        } else {
            let key: Vec<Datum> = key.into_iter().map(|span| span.0).collect();
            self.exact.remove(&key).is_some()
        };
        if found { Ok(()) } else { Err(Errno::Enoent) }
    }

    /// The value of the element that holds the key; 0 in a set.
    pub(super) fn lookup(&self, key: &[Datum]) -> Option<u32> {
        if !self.decl.interval {
            return self.exact.get(key).map(|value| value.unwrap_or_default());
        }
        let holds = |spans: &Vec<Span>| {
            spans.iter().zip(key).all(|(&(start, end), datum)| (start..=end).contains(datum))
        };
        self.ranged.iter().find(|(spans, _)| holds(spans)).map(|(_, value)| value.unwrap_or_default())
    }

    fn key(&self, element: &Element) -> Result<Vec<Span>, Errno> {
        let key: Vec<Span> = element.key.iter().map(|field| field.bounds()).collect();
        let typed = key.len() == self.decl.key.len()
            && key.iter().zip(&self.decl.key).all(|(&(start, end), &kind)| {
                start.field_type() == kind && end.field_type() == kind && start <= end
            });
        let ranges = element.key.iter().any(|field| matches!(field, Field::Range(..)));
        if typed && (self.decl.interval || !ranges) { Ok(key) } else { Err(Errno::Einval) }
    }
}

fn overlap(left: &[Span], right: &[Span]) -> bool {
    left.iter().zip(right).all(|(left, right)| left.0 <= right.1 && right.0 <= left.1)
}
