//! A kernel that applies transactions and judges packets by nothing but what they put into the table.
//!
//! It knows nothing of the planner: it reads the same commands as nft, with the kernel's own refusals, and walks
//! chains as the kernel does. It models what went wrong elsewhere: a lookup that misses ends its rule and leaves the
//! scratch value (`meta priority`) alone, and that value starts as whatever the packet brought. A rule shape that it
//! does not know is refused.
//!
//! Where the kernel leaves a choice, it takes the stricter one; it has no time-outs, counters or limits.

mod packet;
mod rule;
mod store;
mod walk;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use nftables::schema::{Chain, Rule};
use nftables::types::{NfChainPolicy, NfHook};

use crate::element::{Element, SetDecl};
use crate::transaction::{Op, Transaction};

pub use packet::{CtState, Hook, TracePacket};
pub use rule::UnknownShape;
pub use walk::{Trace, TraceStep, Verdict};

use rule::{Source, Step};
use store::Set;

/// A kernel's error number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errno {
    /// What is named does not exist.
    Enoent,
    /// It exists with other content, or overlaps something that exists.
    Eexist,
    /// It does not fit where it is put.
    Einval,
    /// Chains call each other in a circle, or too deep.
    Eloop,
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Enoent => "ENOENT",
            Self::Eexist => "EEXIST",
            Self::Einval => "EINVAL",
            Self::Eloop => "ELOOP",
        })
    }
}

/// A transaction that was refused. The table is as before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// As the kernel would.
    #[error("command {command}: {errno}: {what}")]
    Kernel {
        /// Position of the command in the transaction.
        command: usize,
        /// The kernel's reason.
        errno: Errno,
        /// The object concerned.
        what: String,
    },
    /// A rule of a shape that is not known here.
    #[error("command {command}: {shape}")]
    Shape {
        /// Position of the command in the transaction.
        command: usize,
        /// The rule.
        shape: UnknownShape,
    },
}

/// The table as a kernel holds it.
#[derive(Clone, Debug, Default)]
pub struct FakeKernel {
    table: Option<Table>,
}

#[derive(Clone, Debug, Default)]
struct Table {
    sets: BTreeMap<String, Set>,
    chains: BTreeMap<String, ChainState>,
}

#[derive(Clone, Debug)]
struct ChainState {
    declared: Chain<'static>,
    rules: Vec<Vec<Step>>,
}

/// How deep chains may call each other, as in the kernel.
const JUMPS: usize = 16;

type Failure = (Errno, String);

impl FakeKernel {
    /// A kernel without the table.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the table exists.
    pub fn has_table(&self) -> bool {
        self.table.is_some()
    }

    /// Carries out a transaction whole, or not at all.
    ///
    /// # Errors
    /// The first command that the kernel would refuse.
    pub fn apply(&mut self, transaction: &Transaction) -> Result<(), Refusal> {
        let mut next = self.table.clone();
        for (command, op) in transaction.ops().iter().enumerate() {
            if let Op::AddRule(rule) = op {
                let steps = rule::parse(rule).map_err(|shape| Refusal::Shape { command, shape })?;
                add_rule(&mut next, rule, steps)
            } else {
                carry_out(&mut next, op)
            }
            .map_err(|(errno, what)| Refusal::Kernel { command, errno, what })?;
        }
        if let Some(table) = &next {
            table.check_depth().map_err(|(errno, what)| Refusal::Kernel {
                command: transaction.ops().len(),
                errno,
                what,
            })?;
        }
        self.table = next;
        Ok(())
    }

    /// The elements of a set or map, sorted. `None`: there is none of that name.
    pub fn elements(&self, set: &str) -> Option<Vec<Element>> {
        self.table.as_ref()?.sets.get(set).map(Set::elements)
    }

    /// The declarations of all sets and maps, by name.
    pub fn sets(&self) -> impl Iterator<Item = &SetDecl> {
        self.table.iter().flat_map(|table| table.sets.values().map(|set| &set.decl))
    }
}

fn there<T>(thing: Option<T>, what: &str) -> Result<T, Failure> {
    thing.ok_or_else(|| (Errno::Enoent, what.to_owned()))
}

fn carry_out(table: &mut Option<Table>, op: &Op) -> Result<(), Failure> {
    match op {
        Op::AddTable => {
            table.get_or_insert_default();
        }
        Op::DeleteTable => {
            there(table.take(), "the table")?;
        }
        Op::AddSet(decl) => {
            let sets = &mut there(table.as_mut(), "the table")?.sets;
            let set = sets.entry(decl.name.to_owned()).or_insert_with(|| Set::new(decl.clone()));
            if set.decl != *decl {
                return Err((Errno::Eexist, format!("set {}", decl.name)));
            }
        }
        Op::AddChain(chain) => {
            let chains = &mut there(table.as_mut(), "the table")?.chains;
            let state = chains
                .entry(chain.name.to_string())
                .or_insert_with(|| ChainState { declared: chain.clone(), rules: Vec::new() });
            if state.declared != *chain {
                return Err((Errno::Eexist, format!("chain {}", chain.name)));
            }
        }
        // Rules are read first; see `add_rule`.
        Op::AddRule(_) => {}
        Op::AddElements(name, elements) => {
            let set = there(there(table.as_mut(), "the table")?.sets.get_mut(*name), name)?;
            for element in elements {
                set.add(element).map_err(|errno| (errno, format!("{name}: {element}")))?;
            }
        }
        Op::DeleteElements(name, elements) => {
            let set = there(there(table.as_mut(), "the table")?.sets.get_mut(*name), name)?;
            for element in elements {
                set.delete(element).map_err(|errno| (errno, format!("{name}: {element}")))?;
            }
        }
        Op::Flush(decl) => {
            there(there(table.as_mut(), "the table")?.sets.get_mut(decl.name), decl.name)?.flush();
        }
    }
    Ok(())
}

fn add_rule(table: &mut Option<Table>, rule: &Rule<'_>, steps: Vec<Step>) -> Result<(), Failure> {
    let table = there(table.as_mut(), "the table")?;
    for step in &steps {
        match step {
            Step::Lookup(key, set) => table.check_key(key, set, false)?,
            Step::SetScratchFrom(key, map) => table.check_key(key, map, true)?,
            _ => {}
        }
    }
    for target in steps.iter().flat_map(walk::targets) {
        let target = there(table.chains.get(target), target)?;
        if target.declared.hook.is_some() {
            return Err((Errno::Einval, format!("chain {} is a base chain", target.declared.name)));
        }
    }
    there(table.chains.get_mut(rule.chain.as_ref()), &rule.chain)?.rules.push(steps);
    Ok(())
}

impl Table {
    fn check_key(&self, key: &[Source], set: &str, map: bool) -> Result<(), Failure> {
        let decl = &there(self.sets.get(set), set)?.decl;
        let fits = key.len() == decl.key.len()
            && key.iter().zip(&decl.key).all(|(source, kind)| source.field_type() == Some(*kind));
        if fits && decl.value.is_some() == map {
            Ok(())
        } else {
            Err((Errno::Einval, format!("a key that is not that of {set}")))
        }
    }

    /// No circle, and no more than [`JUMPS`] calls on top of each other.
    fn check_depth(&self) -> Result<(), Failure> {
        let mut level: BTreeSet<&str> = self
            .chains
            .values()
            .filter(|chain| chain.declared.hook.is_some())
            .map(|chain| chain.declared.name.as_ref())
            .collect();
        for _ in 0..=JUMPS {
            let steps = level.iter().filter_map(|name| self.chains.get(*name)).flat_map(|chain| &chain.rules);
            level = steps.flatten().flat_map(walk::targets).collect();
            if level.is_empty() {
                return Ok(());
            }
        }
        Err((Errno::Eloop, level.into_iter().collect::<Vec<_>>().join(", ")))
    }

    /// Base chains of a hook, in the order in which packets meet them.
    fn base_chains(&self, hook: Hook) -> Vec<&ChainState> {
        let hook = match hook {
            Hook::Forward => NfHook::Forward,
            Hook::Input => NfHook::Input,
            Hook::Output => NfHook::Output,
        };
        let mut chains: Vec<_> =
            self.chains.values().filter(|chain| chain.declared.hook == Some(hook)).collect();
        chains.sort_by_key(|chain| chain.declared.prio);
        chains
    }
}

impl ChainState {
    fn accepts_at_its_end(&self) -> bool {
        self.declared.policy != Some(NfChainPolicy::Drop)
    }
}

#[cfg(test)]
mod tests;
