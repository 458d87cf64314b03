//! When an authority is made, announced, put in force and forgotten: the rules, with times as arguments.
//!
//! A successor is made well before its predecessor ends, and trusted before it signs: it signs only once the bundle that
//! holds it has been out for so long that everybody who trusts the bundle has read it again. The predecessor stays in the
//! bundle until its own end.

use std::time::Duration;

use jiff::Timestamp;

use super::ca::{Anchor, Ca};

/// The times of an authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How long an authority is valid.
    pub lifetime: Duration,
    /// How long before its end its successor is made.
    pub renew_before: Duration,
    /// How long a successor is trusted before it signs: until every shim has surely read the bundle again.
    pub announce: Duration,
    /// How long a serving certificate is valid. It is issued anew after half of that.
    pub leaf: Duration,
    /// How often the kept authority is looked at without being told of a change.
    pub look: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        let day = Duration::from_hours(24);
        Self {
            lifetime: 365 * day,
            renew_before: 120 * day,
            announce: day,
            leaf: 14 * day,
            look: Duration::from_secs(30),
        }
    }
}

/// What is kept in the Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    /// Signs.
    pub(super) current: Ca,
    /// Will sign.
    pub(super) next: Option<Ca>,
    /// Have signed, oldest first.
    pub(super) previous: Vec<Anchor>,
}

/// What is out in the `ConfigMap`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Bundle {
    pub(super) text: String,
    /// Since when it has been the same.
    pub(super) since: Option<Timestamp>,
}

/// What is to be done first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Put a new authority beside the one in force.
    Succeed,
    /// Keep this instead: a successor takes over, or what has ended goes.
    Keep(Box<Kept>),
    /// Put this bundle out.
    Publish(String),
    /// Nothing, before then.
    Rest(Timestamp),
}

/// See the module.
pub(super) fn plan(kept: &Kept, bundle: &Bundle, now: Timestamp, timing: Timing) -> Step {
    let ended = |anchor: &Anchor| anchor.not_after <= now;
    if kept.previous.iter().any(ended) {
        let previous = kept.previous.iter().filter(|anchor| !ended(anchor)).cloned().collect();
        return Step::Keep(Box::new(Kept { previous, ..kept.clone() }));
    }
    let end = kept.current.anchor.not_after;
    let renewal = before(end, timing.renew_before);
    let Some(next) = &kept.next else {
        if renewal <= now {
            return Step::Succeed;
        }
        return published(kept, bundle, now).unwrap_or(Step::Rest(renewal));
    };
    // With the end of the old one near there is nothing to lose.
    let last_call = before(end, timing.leaf.min(timing.announce) / 2);
    let announced = bundle.since.map_or(Timestamp::MAX, |since| after(since, timing.announce));
    let takeover = announced.min(last_call);
    if let Some(publish) = published(kept, bundle, now) {
        return publish;
    }
    if takeover <= now {
        let mut previous = kept.previous.clone();
        previous.push(kept.current.anchor.clone());
        return Step::Keep(Box::new(Kept { current: next.clone(), next: None, previous }));
    }
    Step::Rest(takeover)
}

/// The bundle must be out before anything is signed that needs it, and since when must be known while that counts.
fn published(kept: &Kept, bundle: &Bundle, now: Timestamp) -> Option<Step> {
    let text = text(kept);
    let is_dated = bundle.since.is_some_and(|since| since <= now);
    (bundle.text != text || kept.next.is_some() && !is_dated).then_some(Step::Publish(text))
}

/// Everything that is to be trusted, by age: a change of who signs is no change of the bundle.
pub(super) fn text(kept: &Kept) -> String {
    let signing = [Some(&kept.current), kept.next.as_ref()].into_iter().flatten().map(|ca| &ca.anchor);
    let mut anchors: Vec<&Anchor> = signing.chain(&kept.previous).collect();
    anchors.sort_by_key(|anchor| (anchor.not_before, &anchor.pem));
    anchors.dedup();
    anchors.into_iter().map(|anchor| anchor.pem.as_str()).collect()
}

/// When a serving certificate that lasts until `end` is to be issued anew.
pub(super) fn leaf_renewal(end: Timestamp, timing: Timing) -> Timestamp {
    before(end, timing.leaf / 2)
}

pub(super) fn before(time: Timestamp, by: Duration) -> Timestamp {
    time.checked_sub(by).unwrap_or(Timestamp::MIN)
}

fn after(time: Timestamp, by: Duration) -> Timestamp {
    time.checked_add(by).unwrap_or(Timestamp::MAX)
}
