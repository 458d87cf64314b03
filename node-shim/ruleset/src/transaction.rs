//! A transaction: the typed commands of one atomic batch and their JSON form for nft. Knows the table's name, not
//! what its sets mean.

use nftables::schema::{Chain, Rule};
use serde::Serialize;

use crate::element::{Element, FieldType, SetDecl};
use crate::names::{FAMILY, TABLE};

/// Elements in one command. nft cuts commands into netlink messages itself; this only bounds how much of a batch
/// one error message points at.
const CHUNK: usize = 4096;

/// One command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Adds the table; nothing happens if it exists.
    AddTable,
    /// Deletes the table with everything in it; fails if it does not exist.
    DeleteTable,
    /// Adds a set or map.
    AddSet(SetDecl),
    /// Adds a chain.
    AddChain(Chain<'static>),
    /// Appends a rule to its chain.
    AddRule(Rule<'static>),
    /// Adds elements to the named set or map.
    AddElements(&'static str, Vec<Element>),
    /// Deletes elements from the named set or map; a range must be given as it was added.
    DeleteElements(&'static str, Vec<Element>),
    /// Deletes all elements of the given set or map.
    Flush(SetDecl),
}

/// Commands that the kernel carries out all at once or not at all.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Transaction {
    ops: Vec<Op>,
}

impl Transaction {
    /// The commands in order.
    pub fn ops(&self) -> &[Op] {
        &self.ops
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// How many elements are added and deleted, flushes aside.
    pub fn elements(&self) -> usize {
        self.ops
            .iter()
            .map(|op| match op {
                Op::AddElements(_, elements) | Op::DeleteElements(_, elements) => elements.len(),
                _ => 0,
            })
            .sum()
    }

    /// Removes the table, whether it exists or not.
    pub fn delete_table() -> Self {
        Self { ops: vec![Op::AddTable, Op::DeleteTable] }
    }

    /// Appends a command.
    pub fn push(&mut self, op: Op) {
        self.ops.push(op);
    }

    /// Appends another transaction's commands.
    pub fn append(&mut self, other: Self) {
        self.ops.extend(other.ops);
    }

    /// Appends the addition of elements, in as many commands as it takes.
    pub fn add(&mut self, set: &'static str, elements: Vec<Element>) {
        self.chunks(elements, |chunk| Op::AddElements(set, chunk));
    }

    /// Appends the deletion of elements, in as many commands as it takes.
    pub fn delete(&mut self, set: &'static str, elements: Vec<Element>) {
        self.chunks(elements, |chunk| Op::DeleteElements(set, chunk));
    }

    fn chunks(&mut self, elements: Vec<Element>, op: impl Fn(Vec<Element>) -> Op) {
        let mut rest = elements.into_iter();
        loop {
            let chunk: Vec<Element> = rest.by_ref().take(CHUNK).collect();
            if chunk.is_empty() {
                break;
            }
            self.ops.push(op(chunk));
        }
    }

    /// What `nft -j -f -` reads. Equal transactions give equal text.
    pub fn to_json(&self) -> String {
        let document = Document { nftables: self.ops.iter().map(Command::of).collect() };
        // Only strings, integers and sequences: nothing in it can fail to serialise.
        serde_json::to_string(&document).unwrap_or_default()
    }
}

#[derive(Serialize)]
struct Document<'a> {
    nftables: Vec<Command<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Command<'a> {
    Add(Object<'a>),
    Delete(Object<'a>),
    Flush(Object<'a>),
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Object<'a> {
    Table { family: &'static str, name: &'static str },
    Set(SetForm<'a>),
    Map(SetForm<'a>),
    Chain(&'a Chain<'static>),
    Rule(&'a Rule<'static>),
    Element { family: &'static str, table: &'static str, name: &'a str, elem: &'a [Element] },
}

#[derive(Serialize)]
struct SetForm<'a> {
    family: &'static str,
    table: &'static str,
    name: &'a str,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    key: Option<TypeForm<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    map: Option<FieldType>,
    #[serde(skip_serializing_if = "Option::is_none")]
    flags: Option<[&'static str; 1]>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum TypeForm<'a> {
    Single(FieldType),
    Concatenation(&'a [FieldType]),
}

impl<'a> SetForm<'a> {
    fn reference(decl: &'a SetDecl) -> Self {
        Self { family: FAMILY, table: TABLE, name: decl.name, key: None, map: None, flags: None }
    }

    fn declaration(decl: &'a SetDecl) -> Self {
        let key = match decl.key.as_slice() {
            [single] => TypeForm::Single(*single),
            fields => TypeForm::Concatenation(fields),
        };
        Self {
            key: Some(key),
            map: decl.value,
            flags: decl.interval.then_some(["interval"]),
            ..Self::reference(decl)
        }
    }

    fn object(self, decl: &SetDecl) -> Object<'a> {
        if decl.value.is_some() { Object::Map(self) } else { Object::Set(self) }
    }
}

impl<'a> Command<'a> {
    fn of(op: &'a Op) -> Self {
        let table = Object::Table { family: FAMILY, name: TABLE };
        let element = |name: &'a str, elem| Object::Element { family: FAMILY, table: TABLE, name, elem };
        match op {
            Op::AddTable => Self::Add(table),
            Op::DeleteTable => Self::Delete(table),
            Op::AddSet(decl) => Self::Add(SetForm::declaration(decl).object(decl)),
            Op::AddChain(chain) => Self::Add(Object::Chain(chain)),
            Op::AddRule(rule) => Self::Add(Object::Rule(rule)),
            Op::AddElements(name, elements) => Self::Add(element(name, elements)),
            Op::DeleteElements(name, elements) => Self::Delete(element(name, elements)),
            Op::Flush(decl) => Self::Flush(SetForm::reference(decl).object(decl)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::element::{Datum, Field};

    #[test]
    fn large_additions_are_cut_and_keep_their_order() {
        let element = |n: u32| Element { key: vec![Field::Exact(Datum::ClassId(n))], value: None };
        let count = u32::try_from(CHUNK).unwrap() * 2 + 1;
        let mut transaction = Transaction::default();
        transaction.add("a", (0..count).map(element).collect());
        transaction.delete("a", Vec::new());
        assert_eq!(transaction.ops().len(), 3);
        assert_eq!(transaction.elements(), CHUNK * 2 + 1);
        let Op::AddElements("a", last) = &transaction.ops()[2] else { panic!("not an addition") };
        assert_eq!(last, &[element(count - 1)]);
    }

    #[test]
    fn commands_take_the_form_that_nft_reads() {
        let map = SetDecl {
            name: "m",
            key: vec![FieldType::ClassId, FieldType::Ipv4Addr],
            value: Some(FieldType::ClassId),
            interval: false,
        };
        let set = SetDecl { name: "s", key: vec![FieldType::Ipv4Addr], value: None, interval: true };
        let address = Field::Exact(Datum::Ipv4(Ipv4Addr::LOCALHOST));
        let mut transaction = Transaction::delete_table();
        transaction.push(Op::AddSet(map.clone()));
        transaction.push(Op::AddSet(set));
        transaction.push(Op::Flush(map));
        transaction.delete("s", vec![Element { key: vec![address], value: None }]);
        let expected = concat!(
            r#"{"nftables":[{"add":{"table":{"family":"inet","name":"palisade"}}},"#,
            r#"{"delete":{"table":{"family":"inet","name":"palisade"}}},"#,
            r#"{"add":{"map":{"family":"inet","table":"palisade","name":"m","type":["classid","ipv4_addr"],"map":"classid"}}},"#,
            r#"{"add":{"set":{"family":"inet","table":"palisade","name":"s","type":"ipv4_addr","flags":["interval"]}}},"#,
            r#"{"flush":{"map":{"family":"inet","table":"palisade","name":"m"}}},"#,
            r#"{"delete":{"element":{"family":"inet","table":"palisade","name":"s","elem":["127.0.0.1"]}}}]}"#,
        );
        assert_eq!(transaction.to_json(), expected);
    }
}
