//! Parts to a whole update: order, size and term are checked, then the payload is decoded. Knows neither the held
//! view nor the link.

use palisade_proto::{DecodeError, UPDATE_BYTES, decode_operations, optional_root, root, v1};
use palisade_view::{Operation, Root};

pub use v1::nack::Reason;

/// Longest message of a refusal, in bytes.
const MESSAGE_BYTES: usize = 1024;

/// A whole update, decoded and not yet believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collected {
    /// The sender's term.
    pub term: u64,
    /// What the operations start from; `None`: from an empty view.
    pub from: Option<Root>,
    /// What they lead to.
    pub to: Root,
    /// The operations in order.
    pub operations: Vec<Operation>,
}

/// Why an update is not taken. What was in force stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// For the operator.
    pub reason: Reason,
    /// Position of the operation at fault, where one is.
    pub operation: Option<u32>,
    /// For people.
    pub message: String,
}

impl Refusal {
    /// A refusal that no single operation is to blame for.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, operation: None, message: message.into() }
    }

    /// The operations do not decode or do not fit.
    pub fn invalid(operation: Option<usize>, error: &(dyn std::error::Error + 'static)) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            message = format!("{message}: {cause}");
            source = cause.source();
        }
        let operation = operation.and_then(|position| u32::try_from(position).ok());
        Self { reason: Reason::Invalid, operation, message }
    }

    /// As it travels, naming the root that the update would have led to; the message is shortened to 1 KiB.
    pub fn to_wire(&self, root: &[u8]) -> v1::Nack {
        v1::Nack {
            root: root.to_vec(),
            reason: self.reason.into(),
            operation: self.operation,
            message: shortened(&self.message).to_owned(),
        }
    }
}

/// The text's beginning, cut at a character and not longer than a refusal's message may be.
fn shortened(text: &str) -> &str {
    &text[..text.floor_char_boundary(MESSAGE_BYTES)]
}

/// Collects the parts of one update at a time.
#[derive(Debug)]
pub struct Collector {
    highest_term: u64,
    /// Largest payload, in bytes.
    most: usize,
    /// The head of the first part and the payload so far; `None` between updates, and while the rest of a refused
    /// update passes by.
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    term: u64,
    from: Option<Root>,
    to: Root,
    next: u32,
    payload: Vec<u8>,
}

impl Collector {
    /// A collector that refuses terms lower than the given one.
    pub fn new(highest_term: u64) -> Self {
        Self { highest_term, most: UPDATE_BYTES, open: None }
    }

    /// Takes one part. `None`: more are due, or it belongs to an update that was already refused.
    ///
    /// # Errors
    /// The whole update is refused. The error is given once; its remaining parts are passed over.
    pub fn push(&mut self, part: &v1::Update) -> Result<Option<Collected>, Refusal> {
        if part.part == 0 {
            // A sender that starts over has given up what it sent before.
            self.open = Some(self.begin(part)?);
        }
        let Some(mut open) = self.open.take() else { return Ok(None) };
        open.take(part, self.most)?;
        if !part.last {
            self.open = Some(open);
            return Ok(None);
        }
        let operations = decode_operations(&open.payload)
            .map_err(|(position, error)| Refusal::invalid(position, &error))?;
        Ok(Some(Collected { term: open.term, from: open.from, to: open.to, operations }))
    }

    fn begin(&mut self, part: &v1::Update) -> Result<Open, Refusal> {
        self.open = None;
        let invalid = |error: DecodeError| Refusal::invalid(None, &error);
        if part.term < self.highest_term {
            let message = format!(
                "the update's term is {}, this node has seen {}: an operator of the past is not followed",
                part.term, self.highest_term
            );
            return Err(Refusal::new(Reason::StaleTerm, message));
        }
        self.highest_term = part.term;
        Ok(Open {
            term: part.term,
            from: optional_root("from_root", &part.from_root).map_err(invalid)?,
            to: root("to_root", &part.to_root).map_err(invalid)?,
            next: 0,
            payload: Vec::new(),
        })
    }
}

impl Open {
    fn take(&mut self, part: &v1::Update, most: usize) -> Result<(), Refusal> {
        if part.part != self.next {
            let message = format!("part {} arrived where part {} was due", part.part, self.next);
            return Err(Refusal::new(Reason::Invalid, message));
        }
        let from = self.from.map(Root::to_bytes);
        let from = from.as_ref().map_or(&[][..], |bytes| &bytes[..]);
        if part.term != self.term || part.from_root != from || part.to_root != self.to.to_bytes() {
            let message = format!("part {} belongs to another update than the parts before it", part.part);
            return Err(Refusal::new(Reason::Invalid, message));
        }
        if self.payload.len().saturating_add(part.operations.len()) > most {
            let message = format!("the update is larger than {most} bytes");
            return Err(Refusal::new(Reason::TooLarge, message));
        }
        self.payload.extend_from_slice(&part.operations);
        self.next = self.next.saturating_add(1);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
