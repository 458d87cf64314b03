//! Which Events to make, and when to count one up instead. Pure: no client, no clock.
//!
//! An Event that says the same again within the hour is the same Event, counted up. Its name is made of what it says,
//! so that an operator that takes over, or starts again, finds it instead of making another.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use jiff::Timestamp;
use palisade_compiler::model::ObjectRef;

use super::Moment;
use super::conditions::shortened;

/// An Event is forgotten by the API after an hour; a little before, it counts as forgotten.
const FORGOTTEN: Duration = Duration::from_mins(58);

/// An Event that is told again sooner than this waits until then.
const SAME_AGAIN: Duration = Duration::from_secs(30);

/// How many Events are kept in mind. Beyond that, new ones are dropped and counted.
const MOST: usize = 5_000;

/// The longest note, in bytes; the API takes no longer one.
const LONGEST_NOTE: usize = 1024;

/// How often making one Event is tried.
const ATTEMPTS: u32 = 5;

/// What an Event is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum About {
    /// A policy, and its UID.
    Policy(ObjectRef, String),
    /// A node.
    Node(String),
}

/// Tells one Event from another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) about: About,
    pub(super) reason: &'static str,
    /// What makes it another one although it is about the same: a policy's generation and note; nothing for a node.
    pub(super) occasion: String,
}

/// What an Event says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Notice {
    pub(super) key: Key,
    pub(super) is_warning: bool,
    pub(super) action: &'static str,
    pub(super) note: String,
}

/// A request to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Post {
    /// A new Event.
    Create { name: String, notice: Notice, at: Timestamp },
    /// One more of the same.
    Repeat { name: String, key: Key, count: i32, at: Timestamp },
}

impl Post {
    pub(super) fn key(&self) -> &Key {
        match self {
            Self::Create { notice, .. } => &notice.key,
            Self::Repeat { key, .. } => key,
        }
    }
}

#[derive(Clone, Debug)]
struct Record {
    notice: Notice,
    name: String,
    /// First seen.
    at: Timestamp,
    /// Last told to the API, or about to be.
    told_at: Duration,
    last_seen: Timestamp,
    count: i32,
    is_created: bool,
    is_waiting: bool,
    is_in_flight: bool,
    attempts: u32,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Notices {
    records: BTreeMap<Key, Record>,
    waiting: VecDeque<Key>,
    dropped: u64,
}

impl Notices {
    /// Has something to say.
    pub(super) fn tell(&mut self, notice: Notice, now: Moment) {
        let is_forgotten = |record: &Record| now.elapsed.saturating_sub(record.told_at) >= FORGOTTEN;
        if let Some(record) = self.records.get_mut(&notice.key)
            && (record.is_in_flight || !is_forgotten(record))
        {
            record.last_seen = now.wall;
            if record.is_created || record.is_in_flight {
                record.count = record.count.saturating_add(1);
                // What repeats quickly is counted when it is told next.
                if now.elapsed.saturating_sub(record.told_at) < SAME_AGAIN {
                    return;
                }
            }
            if !std::mem::replace(&mut record.is_waiting, true) {
                self.waiting.push_back(notice.key);
            }
            return;
        }
        if self.records.len() >= MOST {
            self.records
                .retain(|_, record| record.is_waiting || record.is_in_flight || !is_forgotten(record));
        }
        if self.records.len() >= MOST {
            self.dropped += 1;
            return;
        }
        let record = Record {
            name: name(&notice, now.wall),
            at: now.wall,
            told_at: now.elapsed,
            last_seen: now.wall,
            count: 1,
            is_created: false,
            is_waiting: true,
            is_in_flight: false,
            attempts: 0,
            notice: Notice { note: shortened(&notice.note, LONGEST_NOTE), ..notice.clone() },
        };
        self.records.insert(notice.key.clone(), record);
        self.waiting.push_back(notice.key);
    }

    /// The next request.
    pub(super) fn next(&mut self, now: Moment) -> Option<Post> {
        while let Some(key) = self.waiting.pop_front() {
            let Some(record) = self.records.get_mut(&key) else { continue };
            if record.is_in_flight {
                // Afterwards.
                continue;
            }
            (record.is_waiting, record.is_in_flight, record.told_at) = (false, true, now.elapsed);
            let name = record.name.clone();
            return Some(if record.is_created {
                Post::Repeat { name, key, count: record.count.max(2), at: record.last_seen }
            } else {
                Post::Create { name, notice: record.notice.clone(), at: record.at }
            });
        }
        None
    }

    /// Whether there is a next request.
    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// It is there.
    pub(super) fn done(&mut self, key: &Key) {
        self.ended(key, |record| record.is_created = true);
    }

    /// There is no such Event to count up: it is made anew.
    pub(super) fn forgotten(&mut self, key: &Key, now: Moment) {
        self.ended(key, |record| {
            (record.is_created, record.count, record.at) = (false, 1, now.wall);
            record.is_waiting = true;
        });
    }

    /// To be tried again. Whether it will be.
    pub(super) fn failed(&mut self, key: &Key) -> bool {
        let attempts = self.records.get(key).map_or(ATTEMPTS, |record| record.attempts + 1);
        if attempts >= ATTEMPTS {
            self.records.remove(key);
            self.dropped += 1;
            return false;
        }
        self.ended(key, |record| (record.attempts, record.is_waiting) = (attempts, true));
        true
    }

    /// It cannot be made.
    pub(super) fn refused(&mut self, key: &Key) {
        self.records.remove(key);
        self.dropped += 1;
    }

    fn ended(&mut self, key: &Key, change: impl FnOnce(&mut Record)) {
        let Some(record) = self.records.get_mut(key) else { return };
        record.is_in_flight = false;
        change(record);
        if record.is_waiting {
            self.waiting.push_back(key.clone());
        } else {
            record.attempts = 0;
        }
    }

    /// How many were given up since it was last asked.
    pub(super) fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }
}

/// The name of an Event: of what it is about, and a hash of what it says.
fn name(notice: &Notice, now: Timestamp) -> String {
    let Key { about, reason, occasion } = &notice.key;
    let (object, identity) = match about {
        About::Policy(object, uid) => (&object.name, format!("{}\n{uid}", object.kind)),
        // An outage is told from the one before by when it began to be told.
        About::Node(name) => (name, now.to_string()),
    };
    let hash = blake3::hash(format!("{identity}\n{reason}\n{occasion}").as_bytes()).to_hex();
    // 253 bytes at most, and no dot or hyphen before the dot.
    let start = object.get(..object.len().min(230)).unwrap_or_default().trim_end_matches(['.', '-']);
    format!("{start}.{}", hash.get(..16).unwrap_or_default())
}
