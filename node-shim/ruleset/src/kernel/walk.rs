//! How a packet walks the chains.

use std::fmt;

use super::packet::{Hook, TracePacket};
use super::rule::{self, Source, Step, Value};
use super::{FakeKernel, Table};
use crate::element::Datum;

/// What becomes of a packet at a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on.
    Accept,
    /// It is gone.
    Drop,
}

/// A rule that changed the scratch value or gave a verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceStep {
    /// The rule's chain.
    pub chain: String,
    /// The rule's position in its chain.
    pub rule: usize,
    /// The scratch value behind it.
    pub scratch: u32,
}

impl fmt::Display for TraceStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}] {}", self.chain, self.rule, Datum::ClassId(self.scratch))
    }
}

/// A packet's way through the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// What became of it.
    pub verdict: Verdict,
    /// The scratch value it left with.
    pub scratch: u32,
    /// The rules that did something, in order.
    pub steps: Vec<TraceStep>,
}

impl FakeKernel {
    /// Walks a packet through a hook. Without the table, or without a chain at the hook, it is accepted.
    pub fn trace(&self, hook: Hook, packet: &TracePacket) -> Trace {
        self.trace_across(self, usize::MAX, hook, packet)
    }

    /// Walks a packet through a hook while a transaction is committed: the first lookups read this kernel's sets and
    /// maps, all further ones the later one's. Rules do not change on the way: a kernel judges a packet by the rules
    /// that it met it with.
    pub fn trace_across(&self, later: &Self, lookups: usize, hook: Hook, packet: &TracePacket) -> Trace {
        let mut walk =
            Walk { packet, later: later.table.as_ref(), lookups, scratch: packet.scratch, steps: Vec::new() };
        let mut verdict = Verdict::Accept;
        if let Some(table) = &self.table {
            for chain in table.base_chains(hook) {
                let end = walk.chain(table, &chain.declared.name);
                let accepted = end == End::Accept || end == End::Through && chain.accepts_at_its_end();
                if !accepted {
                    verdict = Verdict::Drop;
                    break;
                }
            }
        }
        Trace { verdict, scratch: walk.scratch, steps: walk.steps }
    }
}

/// The chains that a step can go to.
pub(super) fn targets(step: &Step) -> Vec<&str> {
    match step {
        Step::Verdict(rule::Verdict::Jump(target) | rule::Verdict::Goto(target)) => vec![target],
        Step::VerdictMap(_, cases) => cases
            .iter()
            .filter_map(|(_, verdict)| match verdict {
                rule::Verdict::Jump(target) | rule::Verdict::Goto(target) => Some(target.as_str()),
                _ => None,
            })
            .collect(),
        _ => Vec::new(),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Accept,
    Drop,
    /// Ran off its end, or returned.
    Through,
}

struct Walk<'a> {
    packet: &'a TracePacket,
    /// The table behind the commit, and how many lookups come before it.
    later: Option<&'a Table>,
    lookups: usize,
    scratch: u32,
    steps: Vec<TraceStep>,
}

impl Walk<'_> {
    /// Ends: chains do not call each other in a circle.
    fn chain(&mut self, table: &Table, name: &str) -> End {
        let Some(chain) = table.chains.get(name) else { return End::Through };
        for (position, rule) in chain.rules.iter().enumerate() {
            let before = self.scratch;
            let verdict = self.rule(table, rule);
            if verdict.is_some() || self.scratch != before {
                self.steps.push(TraceStep { chain: name.to_owned(), rule: position, scratch: self.scratch });
            }
            match verdict {
                None => {}
                Some(rule::Verdict::Accept) => return End::Accept,
                Some(rule::Verdict::Drop) => return End::Drop,
                Some(rule::Verdict::Return) => return End::Through,
                Some(rule::Verdict::Goto(target)) => return self.chain(table, &target),
                Some(rule::Verdict::Jump(target)) => match self.chain(table, &target) {
                    End::Through => {}
                    end => return end,
                },
            }
        }
        End::Through
    }

    /// A rule's verdict, if it gets to one.
    fn rule(&mut self, table: &Table, steps: &[Step]) -> Option<rule::Verdict> {
        for step in steps {
            match step {
                Step::Compare { source, constants, equal } => {
                    let value = source.of(self.packet, self.scratch)?;
                    if constants.contains(&value) != *equal {
                        return None;
                    }
                }
                Step::Within(source, network) => {
                    let inside = match source.of(self.packet, self.scratch)? {
                        Value::Datum(Datum::Ipv4(v4)) => network.contains(&std::net::IpAddr::V4(v4)),
                        Value::Datum(Datum::Ipv6(v6)) => network.contains(&std::net::IpAddr::V6(v6)),
                        _ => false,
                    };
                    if !inside {
                        return None;
                    }
                }
                Step::Lookup(key, set) => {
                    self.lookup(table, key, set)?;
                }
                Step::SetScratchFrom(key, map) => self.scratch = self.lookup(table, key, map)?,
                Step::SetScratch(value) => self.scratch = *value,
                Step::Count => {}
                Step::VerdictMap(source, cases) => {
                    let value = source.of(self.packet, self.scratch)?;
                    return cases.iter().find(|(case, _)| *case == value).map(|(_, verdict)| verdict.clone());
                }
                Step::Verdict(verdict) => return Some(verdict.clone()),
            }
        }
        None
    }

    fn lookup(&mut self, table: &Table, key: &[Source], set: &str) -> Option<u32> {
        let key: Vec<Datum> = key
            .iter()
            .map(|source| match source.of(self.packet, self.scratch)? {
                Value::Datum(datum) => Some(datum),
                _ => None,
            })
            .collect::<Option<_>>()?;
        let table = if self.lookups == 0 { self.later? } else { table };
        self.lookups = self.lookups.saturating_sub(1);
        table.sets.get(set)?.lookup(&key)
    }
}
