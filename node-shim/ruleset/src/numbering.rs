//! Chooses identifiers for a view's programs and classes, as sticky as is safe.
//!
//! # Why an identifier is not simply kept
//! The kernel takes a transaction as a whole, but a packet may read one map before it and the next map after it.
//! Reads never go back, so a packet under way holds a class that the old revision gave it and finds the rows of the
//! new one. What it then meets must be what the old or the new revision says, never a third thing. So a class keeps
//! its identifier only
//! - if every subject that stays grants it what it granted before (the rows it meets are the old ones), or
//! - if everything that was in it before is in it now (the rows it meets are the new ones).
//!
//! Otherwise the class gets a fresh identifier, and the rows of the one it had stay in the table, unchanged, until
//! the next revision. So do programs that are no longer in use; and an address that is no subject any more has a
//! default that allows everything, which is what the new revision says of it. All these are leftovers, which nothing
//! but a packet under way can reach. An identifier is never given to something else while anything of it is in the
//! kernel.
//!
//! Two cases are left open, each for as long as a packet takes from one lookup that misses to the next lookup:
//! - an address that becomes known (by itself, or by a network) in the same transaction in which strangers come to be
//!   judged otherwise may be judged as a stranger of the new revision;
//! - a peer that was judged by the subject's default may be judged by the subject's new default, although the new
//!   revision has a row for it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use palisade_view::{Family, Program};

use crate::elements::Elements;
use crate::numbers::{FIRST, FamilyNumbers, LAST, Numbers, Subject};
use crate::peers::{Class, Peers};
use crate::regions::{to_address, to_number};

/// Every identifier there is (over four billion) is in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no identifier is left")]
pub struct OutOfIdentifiers;

/// Hands out identifiers that nothing in the kernel uses.
pub(crate) struct Allocator {
    pub(crate) next: u32,
    used: BTreeSet<u32>,
}

impl Allocator {
    pub(crate) fn new(numbers: &Numbers) -> Self {
        Self { next: numbers.next, used: numbers.in_use() }
    }

    pub(crate) fn fresh(&mut self) -> Result<u32, OutOfIdentifiers> {
        for _ in 0..=self.used.len() {
            let id = self.next;
            self.next = if id >= LAST { FIRST } else { id + 1 };
            if self.used.insert(id) {
                return Ok(id);
            }
        }
        Err(OutOfIdentifiers)
    }
}

/// Numbers programs: the same program, the same identifier.
pub(crate) fn programs(
    wanted: impl IntoIterator<Item = Program>,
    old: &Numbers,
    allocator: &mut Allocator,
) -> Result<BTreeMap<Program, u32>, OutOfIdentifiers> {
    let wanted: BTreeSet<Program> = wanted.into_iter().collect();
    wanted
        .into_iter()
        .map(|program| {
            let id = match old.programs.get(&program) {
                Some(&id) => id,
                None => allocator.fresh()?,
            };
            Ok((program, id))
        })
        .collect()
}

/// Numbers classes. `before` is what is in the kernel, where that is known. The identifiers are in the order of
/// [`Peers::classes`].
pub(crate) fn classes(
    family: Family,
    peers: &Peers,
    subjects: &BTreeMap<IpAddr, Subject>,
    old: &Numbers,
    before: Option<&Elements>,
    allocator: &mut Allocator,
) -> Result<Vec<u32>, OutOfIdentifiers> {
    let grants = Grants::of(family, peers, subjects, old);
    let moves = before.map(|before| moves(family, peers, before)).unwrap_or_default();
    let mut chosen = Chosen { ids: vec![None; peers.classes.len()], taken: BTreeSet::new() };

    // Nobody else's verdict changes if the grants are equal; most members first, to move the fewest.
    let mut candidates = Vec::new();
    for (&id, destinations) in &moves {
        for (&class, &weight) in
            destinations.iter().filter_map(|(class, weight)| Some((class.as_ref()?, weight)))
        {
            let equal = grants.old.get(&id) == Some(&grants.new[class]);
            if equal || destinations.len() == 1 {
                candidates.push((!equal, std::cmp::Reverse(weight), id, class));
            }
        }
    }
    candidates.sort_unstable();
    for (_, _, id, class) in candidates {
        chosen.take(id, class);
    }
    // A class that lost all its members and gained others: its rows need not be written again.
    let mut spare: HashMap<&[u32], Vec<u32>> = HashMap::new();
    for (&id, grant) in grants.old.iter().rev() {
        if !chosen.taken.contains(&id) {
            spare.entry(grant).or_default().push(id);
        }
    }
    for (class, grant) in grants.new.iter().enumerate() {
        if chosen.ids[class].is_none()
            && let Some(id) = spare.get_mut(grant.as_slice()).and_then(Vec::pop)
        {
            chosen.take(id, class);
        }
    }
    chosen.ids.into_iter().map(|id| id.map_or_else(|| allocator.fresh(), Ok)).collect()
}

struct Chosen {
    ids: Vec<Option<u32>>,
    taken: BTreeSet<u32>,
}

impl Chosen {
    fn take(&mut self, id: u32, class: Class) {
        if self.ids[class].is_none() && self.taken.insert(id) {
            self.ids[class] = Some(id);
        }
    }
}

/// What the subjects that stay grant to each class, old and new, in the same order of subjects' functions.
struct Grants {
    old: BTreeMap<u32, Vec<u32>>,
    new: Vec<Vec<u32>>,
}

impl Grants {
    fn of(family: Family, peers: &Peers, subjects: &BTreeMap<IpAddr, Subject>, old: &Numbers) -> Self {
        let new = FamilyNumbers { functions: peers.functions.clone(), classes: BTreeMap::new() };
        let old_family = old.family(family);
        let mut pairs: BTreeSet<(u32, u32)> = BTreeSet::new();
        for (address, now) in subjects.iter().filter(|(address, _)| Family::of(**address) == family) {
            let Some(then) = old.subjects.get(address) else { continue };
            let asked = [
                (then.egress, now.egress, false),
                (then.egress, now.egress, true),
                (then.ingress, now.ingress, false),
            ];
            for (then, now, exempt) in asked {
                if let (Some(then), Some(now)) = (then, now)
                    && let (Some(then), Some(now)) =
                        (old_family.function(then, exempt), new.function(now, exempt))
                {
                    pairs.insert((then, now));
                }
            }
        }
        let grants = |numbers: &FamilyNumbers, column, pick: fn(&(u32, u32)) -> u32| {
            pairs.iter().map(|pair| numbers.program(column, pick(pair))).collect::<Vec<u32>>()
        };
        Self {
            old: old_family
                .classes
                .iter()
                .map(|(&id, column)| (id, grants(old_family, column, |pair| pair.0)))
                .collect(),
            new: peers.classes.iter().map(|column| grants(&new, column, |pair| pair.1)).collect(),
        }
    }
}

/// For each identifier, where its addresses are now and how many were looked at: every address known by itself,
/// and of intervals each stretch whose class is the same throughout. `None`: no class.
fn moves(family: Family, peers: &Peers, before: &Elements) -> BTreeMap<u32, BTreeMap<Option<Class>, usize>> {
    let mut moves: BTreeMap<u32, BTreeMap<Option<Class>, usize>> = BTreeMap::new();
    let mut add = |old: Option<u32>, new: Option<Class>| {
        if let Some(old) = old {
            *moves.entry(old).or_default().entry(new).or_default() += 1;
        }
    };
    let of_family = |address: &&IpAddr| Family::of(**address) == family;
    for &address in before.peer.keys().filter(of_family) {
        add(before.peer.get(&address).copied(), peers.class_of(family, address));
    }
    for (&address, &class) in &peers.addresses {
        if !before.peer.contains_key(&address) {
            add(before.cidr_class(address), Some(class));
        }
    }
    let mut bounds: BTreeSet<u128> = BTreeSet::new();
    for &(start, end) in before.cidr.keys().filter(|key| Family::of(key.0) == family) {
        bounds.extend([Some(to_number(start)), to_number(end).checked_add(1)].into_iter().flatten());
    }
    for &(start, end, _) in &peers.intervals {
        bounds.extend([Some(start), end.checked_add(1)].into_iter().flatten());
    }
    let last = to_number(to_address(family, u128::MAX));
    for bound in bounds.into_iter().filter(|bound| *bound <= last) {
        add(before.cidr_class(to_address(family, bound)), peers.interval_class(bound));
    }
    moves
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counter_goes_round_and_skips_what_is_in_use() {
        let mut numbers = Numbers { next: LAST, ..Numbers::default() };
        numbers.programs.insert(Program::NONE, FIRST);
        numbers.retired.insert(FIRST + 1);
        let mut allocator = Allocator::new(&numbers);
        let got = [(); 3].map(|()| allocator.fresh().unwrap());
        assert_eq!(got, [LAST, FIRST + 2, FIRST + 3]);
        assert_eq!(allocator.next, FIRST + 4);
    }
}
