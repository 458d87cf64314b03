//! A place inside a raw object: the value there, the way to it, and where findings about it go.
//!
//! Every refusal leaves a finding: a [`Refused`] can only be had by reporting one. Knows nothing of any kind.

use std::cell::RefCell;
use std::fmt;

use serde_json::{Map, Value};

use crate::diagnostic::{Diagnostic, Severity};
use crate::model::ObjectRef;

/// A part that is not understood. What is wrong with it has been reported; what that means is for the caller to say.
#[derive(Debug)]
#[must_use = "what a refusal means is to be decided"]
pub(super) struct Refused(());

/// Collects the findings about one object.
#[derive(Debug)]
pub(super) struct Sink {
    object: ObjectRef,
    findings: RefCell<Vec<Diagnostic>>,
}

impl Sink {
    pub(super) fn new(object: ObjectRef) -> Self {
        Self { object, findings: RefCell::default() }
    }

    /// The findings, sorted and without repetition.
    pub(super) fn into_findings(self) -> Vec<Diagnostic> {
        let mut findings = self.findings.into_inner();
        findings.sort_unstable();
        findings.dedup();
        findings
    }
}

#[derive(Clone, Copy, Debug)]
enum Step<'c> {
    Root,
    Field(&'c str),
    Item(usize),
}

/// A place inside a raw object. An explicit `null` counts as an absent field, as it does for Kubernetes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'c> {
    value: &'c Value,
    parent: Option<&'c Cursor<'c>>,
    step: Step<'c>,
    sink: &'c Sink,
}

/// What an absent field holds.
static ABSENT: Value = Value::Null;

impl<'c> Cursor<'c> {
    pub(super) fn root(value: &'c Value, sink: &'c Sink) -> Self {
        Self { value, parent: None, step: Step::Root, sink }
    }

    /// The field of that name, absent or not.
    pub(super) fn child(&'c self, name: &'c str) -> Self {
        let value = self.value.get(name).unwrap_or(&ABSENT);
        Self { value, parent: Some(self), step: Step::Field(name), sink: self.sink }
    }

    /// The field of that name, if it is there.
    pub(super) fn get(&'c self, name: &'c str) -> Option<Self> {
        Some(self.child(name)).filter(|child| !child.is_absent())
    }

    pub(super) fn is_absent(&self) -> bool {
        self.value.is_null()
    }

    /// Whether it is a list with nothing in it.
    pub(super) fn is_empty_list(&self) -> bool {
        self.value.as_array().is_some_and(Vec::is_empty)
    }

    /// Whether it is a string with nothing in it.
    pub(super) fn is_empty_string(&self) -> bool {
        self.value.as_str().is_some_and(str::is_empty)
    }

    pub(super) fn report(&self, severity: Severity, message: impl Into<String>, remedy: impl Into<String>) {
        self.sink.findings.borrow_mut().push(Diagnostic {
            object: self.sink.object.clone(),
            field: self.to_string(),
            severity,
            message: message.into(),
            remedy: remedy.into(),
        });
    }

    /// Reports what breaks the schema.
    pub(super) fn error(&self, message: impl Into<String>, remedy: impl Into<String>) -> Refused {
        self.report(Severity::Error, message, remedy);
        Refused(())
    }

    /// Reports what may be right but is not known here.
    pub(super) fn unknown(&self, message: impl Into<String>, remedy: impl Into<String>) -> Refused {
        self.report(Severity::FailClosed, message, remedy);
        Refused(())
    }

    pub(super) fn warn(&self, message: impl Into<String>, remedy: impl Into<String>) {
        self.report(Severity::Warning, message, remedy);
    }

    /// Decodes a field that must be there.
    pub(super) fn required<T>(
        &self,
        name: &str,
        decode: impl FnOnce(&Cursor<'_>) -> Result<T, Refused>,
    ) -> Result<T, Refused> {
        self.object()?;
        let child = self.child(name);
        if child.is_absent() {
            return Err(child.error("the field is missing", format!("add `{name}`")));
        }
        decode(&child)
    }

    /// Decodes a field that may be absent.
    pub(super) fn optional<T>(
        &self,
        name: &str,
        decode: impl FnOnce(&Cursor<'_>) -> Result<T, Refused>,
    ) -> Result<Option<T>, Refused> {
        self.get(name).map(|child| decode(&child)).transpose()
    }

    /// Decodes every item of a list; an item that is refused does not hide what is wrong with the next.
    pub(super) fn each<T>(
        &self,
        mut decode: impl FnMut(usize, &Cursor<'_>) -> Result<T, Refused>,
    ) -> Result<Vec<T>, Refused> {
        let Value::Array(items) = self.value else {
            return Err(self.mistyped("a list", "write a list: each item on its own line after a `-`"));
        };
        let mut decoded = Ok(Vec::with_capacity(items.len()));
        for (position, value) in items.iter().enumerate() {
            let item = Cursor { value, parent: Some(self), step: Step::Item(position), sink: self.sink };
            match (decode(position, &item), &mut decoded) {
                (Ok(item), Ok(all)) => all.push(item),
                (Err(refused), _) => decoded = Err(refused),
                (Ok(_), Err(_)) => {}
            }
        }
        decoded
    }

    /// Decodes every entry of an object, likewise.
    pub(super) fn each_entry<T>(
        &self,
        mut decode: impl FnMut(&str, &Cursor<'_>) -> Result<T, Refused>,
    ) -> Result<Vec<T>, Refused> {
        let mut decoded = Ok(Vec::new());
        for (key, value) in self.object()? {
            let entry = Cursor { value, parent: Some(self), step: Step::Field(key), sink: self.sink };
            match (decode(key, &entry), &mut decoded) {
                (Ok(entry), Ok(all)) => all.push(entry),
                (Err(refused), _) => decoded = Err(refused),
                (Ok(_), Err(_)) => {}
            }
        }
        decoded
    }

    pub(super) fn object(&self) -> Result<&'c Map<String, Value>, Refused> {
        self.value
            .as_object()
            .ok_or_else(|| self.mistyped("an object", "write an object: fields with their values"))
    }

    pub(super) fn string(&self) -> Result<&'c str, Refused> {
        self.value.as_str().ok_or_else(|| self.mistyped("a string", "put the value in quotes"))
    }

    pub(super) fn integer(&self) -> Result<i64, Refused> {
        self.value
            .as_i64()
            .ok_or_else(|| self.mistyped("a whole number", "write a whole number without quotes"))
    }

    /// Whether the value is a string.
    pub(super) fn is_string(&self) -> bool {
        self.value.is_string()
    }

    /// The fields that are set.
    pub(super) fn set_fields(&self) -> Result<Vec<&'c str>, Refused> {
        let fields = self.object()?;
        Ok(fields.iter().filter(|(_, value)| !value.is_null()).map(|(key, _)| key.as_str()).collect())
    }

    /// Refuses fields that are not known here: they may narrow or widen what the object means.
    pub(super) fn only(
        &self,
        known: &[&str],
        hint: impl Fn(&str) -> Option<&'static str>,
    ) -> Result<(), Refused> {
        let mut decoded = Ok(());
        for field in self.set_fields()?.into_iter().filter(|field| !known.contains(field)) {
            decoded = Err(self.child(field).unknown(
                "the field is not known",
                hint(field).map_or_else(|| unknown_remedy(known), str::to_owned),
            ));
        }
        decoded
    }

    /// Warns of fields that are not known here and cannot change what is known.
    pub(super) fn ignore_others(&self, known: &[&str]) {
        let Value::Object(fields) = self.value else { return };
        for (field, _) in
            fields.iter().filter(|(key, value)| !value.is_null() && !known.contains(&key.as_str()))
        {
            self.child(field).warn("unknown field, ignored", unknown_remedy(known));
        }
    }

    /// The one field that is set, of those that are known.
    pub(super) fn one_of<'k>(
        &self,
        known: &[&'k str],
        hint: impl Fn(&str) -> Option<&'static str>,
    ) -> Result<&'k str, Refused> {
        match self.set_fields()?.as_slice() {
            [] => Err(self.unknown("nothing is set in it", format!("set one of {}", quoted(known)))),
            [field] => match known.iter().find(|name| *name == field) {
                Some(name) => Ok(name),
                None => Err(self.child(field).unknown(
                    "the field is not known",
                    hint(field).map_or_else(|| unknown_remedy(known), str::to_owned),
                )),
            },
            several => Err(self.error(
                format!("{} are set together", quoted(several)),
                "set exactly one; write an entry of its own for each of the others",
            )),
        }
    }

    fn mistyped(&self, wanted: &str, remedy: &str) -> Refused {
        self.error(format!("found {}, not {wanted}", self.found()), remedy)
    }

    /// What stands there, for a message.
    fn found(&self) -> String {
        match self.value {
            Value::Null => "null".to_owned(),
            Value::Bool(value) => value.to_string(),
            Value::Number(value) => format!("the number {value}"),
            Value::String(value) => format!("the string {}", shown(value)),
            Value::Array(_) => "a list".to_owned(),
            Value::Object(_) => "an object".to_owned(),
        }
    }
}

/// True or false. Like [`port_number`] a function, because a method is not general enough over lifetimes to be passed.
pub(super) fn boolean(cursor: &Cursor<'_>) -> Result<bool, Refused> {
    let value = cursor.value.as_bool();
    value.ok_or_else(|| cursor.mistyped("true or false", "write `true` or `false` without quotes"))
}

/// A port number.
pub(super) fn port_number(cursor: &Cursor<'_>) -> Result<u16, Refused> {
    let number = cursor.integer()?;
    u16::try_from(number).ok().filter(|port| *port != 0).ok_or_else(|| {
        cursor.error(format!("{number} is not a port number"), "write a number from 1 to 65535")
    })
}

/// The field's path, such as `spec.egress[2].to[0]`.
impl fmt::Display for Cursor<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            write!(f, "{parent}")?;
        }
        let separator = if self.parent.is_some_and(|parent| parent.parent.is_some()) { "." } else { "" };
        match self.step {
            Step::Root => Ok(()),
            Step::Field(name) if is_plain(name) => write!(f, "{separator}{name}"),
            Step::Field(name) => write!(f, "[{}]", shown(name)),
            Step::Item(position) => write!(f, "[{position}]"),
        }
    }
}

fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

/// A string in quotes, escaped, and cut where it is long: whoever writes an object also writes what is shown of it.
pub(super) fn shown(text: &str) -> String {
    const LONGEST: usize = 80;
    if text.chars().nth(LONGEST).is_none() {
        return format!("{text:?}");
    }
    let start: String = text.chars().take(LONGEST).collect();
    format!("{start:?}...")
}

/// Names as they are listed in a message.
pub(super) fn quoted(names: &[&str]) -> String {
    let names: Vec<_> =
        names.iter().map(|name| if is_plain(name) { format!("`{name}`") } else { shown(name) }).collect();
    names.join(", ")
}

fn unknown_remedy(known: &[&str]) -> String {
    format!("remove it or correct its name: known here are {}", quoted(known))
}
