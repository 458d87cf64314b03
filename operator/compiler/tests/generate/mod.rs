//! Random clusters as raw Kubernetes objects: a universe small enough that selectors, networks and addresses meet
//! often, with malformed parts strewn in. Property tests and fuzz targets make theirs here.
#![allow(dead_code, unused_imports, reason = "every test program uses a part of it")]

mod choices;
pub(crate) mod json;
mod packet;
mod policy;
mod workload;

use palisade_compiler::intake;
use palisade_compiler::model::{Event, Object};
use serde_json::Value;

pub(crate) use choices::Choices;
pub(crate) use packet::{ADDRESSES, Ends, PACKET_BYTES};

/// The most objects and deletions of one history.
const LONGEST: usize = 26;

/// Bytes that make a history of about that length.
pub(crate) const HISTORY_BYTES: usize = 1400;

/// One object of that kind.
fn of_kind(choices: &mut Choices<'_>, kind: usize) -> Value {
    match kind {
        0 => workload::pod(choices),
        1 => workload::namespace(choices),
        2 => workload::node(choices),
        3 => policy::network_policy(choices),
        4 => policy::v1alpha1(choices),
        _ => policy::v1alpha2(choices),
    }
}

/// Bytes that make an object, with some to spare.
pub(crate) const OBJECT_BYTES: usize = 120;

/// One object of any kind.
pub(crate) fn object(bytes: &[u8]) -> Value {
    let mut choices = Choices::new(bytes);
    let kind = choices.weighted(&[8, 2, 2, 5, 4, 4]);
    of_kind(&mut choices, kind)
}

/// Objects as the engine takes them. What intake cannot make a model of is left out, as the operator would.
pub(crate) fn events(objects: &[Value]) -> Vec<Event> {
    objects.iter().filter_map(|raw| intake::decode(raw).ok()?.model).map(Event::Apply).collect()
}

/// Objects as the engine takes them, and deletions of some, until the bytes end. What intake cannot make a model of is
/// left out, as the operator would.
pub(crate) fn history(bytes: &[u8]) -> Vec<Event> {
    let mut choices = Choices::new(bytes);
    let mut events = Vec::new();
    while !choices.is_empty() && events.len() < LONGEST {
        let kind = choices.weighted(&[8, 2, 2, 5, 4, 4, 2]);
        if kind == 6 {
            let index = usize::from(choices.byte());
            let at = |event: &Event| match event {
                Event::Apply(object) => Event::Delete(Object::object(object)),
                deletion @ Event::Delete(_) => deletion.clone(),
            };
            if !events.is_empty() {
                events.push(at(&events[index % events.len()]));
            }
        } else if let Some(model) =
            intake::decode(&of_kind(&mut choices, kind)).ok().and_then(|decoded| decoded.model)
        {
            events.push(Event::Apply(model));
        }
    }
    events
}
