//! The numbers in force: which program and which class has which identifier. Owns their state file form; how they
//! are chosen is in `numbering`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use palisade_view::{Family, Intervals, Key, Program};
use serde::{Deserialize, Serialize};

/// The first identifier. TOS sets the scratch value to at most 6, and traffic control's own class identifiers of
/// major number 0 mean nothing: everything up to here is never ours.
pub(crate) const FIRST: u32 = 0x1_0001;
/// The last identifier: 0xffffffff is traffic control's root.
pub(crate) const LAST: u32 = 0xffff_fffe;

/// A function in use: of which profile, and for which traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct FunctionId {
    pub(crate) profile: Key,
    /// Whether it is the one for the own node and for hairpin; only where that is a function of its own.
    pub(crate) exempt: bool,
}

/// What a class is, seen by every function in use: (position of the function, program), sorted, only where the
/// program is not the function's default.
pub(crate) type Column = Vec<(u32, u32)>;

/// The profiles of a local address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Subject {
    pub(crate) egress: Option<Key>,
    pub(crate) ingress: Option<Key>,
}

/// The numbers of one address family.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct FamilyNumbers {
    /// Functions in use, sorted, with the identifier of their default program.
    pub(crate) functions: Vec<(FunctionId, u32)>,
    pub(crate) classes: BTreeMap<u32, Column>,
}

impl FamilyNumbers {
    /// The position of a profile's function; of the main one where there is no exempt one.
    pub(crate) fn function(&self, profile: Key, exempt: bool) -> Option<u32> {
        let find =
            |exempt| self.functions.binary_search_by_key(&FunctionId { profile, exempt }, |(id, _)| *id).ok();
        let position = if exempt { find(true).or_else(|| find(false)) } else { find(false) };
        position.and_then(|position| u32::try_from(position).ok())
    }

    /// The program of a class seen by a function.
    pub(crate) fn program(&self, column: &Column, function: u32) -> u32 {
        match column.binary_search_by_key(&function, |cell| cell.0) {
            Ok(position) => column[position].1,
            Err(_) => self.functions[function as usize].1,
        }
    }
}

/// The numbers of everything in the table. To be kept in the state file beside the view that they belong to, so
/// that a restarted shim finds the kernel's elements to be its own. Opaque: [`Planner`](crate::Planner) reads it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct Numbers {
    /// Where the search for the next free identifier starts. Never goes back, except round the end.
    pub(crate) next: u32,
    /// Counts transactions: the marker that ties the kernel's elements to these numbers.
    pub(crate) generation: u64,
    /// Whether the table holds more than the view asks for.
    pub(crate) leftovers: bool,
    /// Identifiers in the table that mean nothing to the view any more.
    pub(crate) retired: BTreeSet<u32>,
    pub(crate) programs: BTreeMap<Program, u32>,
    pub(crate) subjects: BTreeMap<IpAddr, Subject>,
    /// IPv4, IPv6.
    pub(crate) families: [FamilyNumbers; 2],
}

impl Default for Numbers {
    fn default() -> Self {
        Self {
            next: FIRST,
            generation: 0,
            leftovers: false,
            retired: BTreeSet::new(),
            programs: BTreeMap::new(),
            subjects: BTreeMap::new(),
            families: Default::default(),
        }
    }
}

impl Numbers {
    pub(crate) fn family(&self, family: Family) -> &FamilyNumbers {
        &self.families[usize::from(family == Family::V6)]
    }

    /// Identifiers in the kernel.
    pub(crate) fn in_use(&self) -> BTreeSet<u32> {
        let classes = self.families.iter().flat_map(|family| family.classes.keys());
        self.programs.values().chain(classes).chain(&self.retired).copied().collect()
    }
}

/// Stored numbers that cannot be: the file is damaged or of another version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoredNumbersError {
    /// The form is that of another build.
    #[error("numbers are stored in form {0}, this build reads form {FORM}")]
    Form(u32),
    /// An identifier is out of range or means two things.
    #[error("identifier {0:#x} is reserved or given twice")]
    Identifier(u32),
    /// A class or subject refers to something that is not there, or a list is out of order.
    #[error("{0} is out of order or refers to nothing")]
    Order(&'static str),
}

const FORM: u32 = 1;

type Ports = Vec<(u16, u16)>;

#[derive(Serialize, Deserialize)]
struct Stored {
    form: u32,
    next: u32,
    generation: u64,
    leftovers: bool,
    retired: BTreeSet<u32>,
    /// Identifier, TCP, UDP, SCTP, other.
    programs: Vec<(u32, Ports, Ports, Ports, bool)>,
    /// Address, egress, ingress.
    subjects: Vec<(IpAddr, Option<String>, Option<String>)>,
    families: [StoredFamily; 2],
}

#[derive(Serialize, Deserialize)]
struct StoredFamily {
    /// Profile, whether exempt, default program.
    functions: Vec<(String, bool, u32)>,
    classes: BTreeMap<u32, Column>,
}

impl From<Numbers> for Stored {
    fn from(numbers: Numbers) -> Self {
        let ports = |intervals: &Intervals| intervals.as_slice().to_vec();
        Self {
            form: FORM,
            next: numbers.next,
            generation: numbers.generation,
            leftovers: numbers.leftovers,
            retired: numbers.retired,
            programs: numbers
                .programs
                .iter()
                .map(|(program, id)| {
                    (*id, ports(&program.tcp), ports(&program.udp), ports(&program.sctp), program.other)
                })
                .collect(),
            subjects: numbers
                .subjects
                .iter()
                .map(|(address, subject)| {
                    let text = |key: Option<Key>| key.map(|key| key.to_string());
                    (*address, text(subject.egress), text(subject.ingress))
                })
                .collect(),
            families: numbers.families.map(|family| StoredFamily {
                functions: family
                    .functions
                    .iter()
                    .map(|(id, default)| (id.profile.to_string(), id.exempt, *default))
                    .collect(),
                classes: family.classes,
            }),
        }
    }
}

impl TryFrom<Stored> for Numbers {
    type Error = StoredNumbersError;

    fn try_from(stored: Stored) -> Result<Self, Self::Error> {
        if stored.form != FORM {
            return Err(StoredNumbersError::Form(stored.form));
        }
        let key = |text: &str| text.parse::<Key>().map_err(|_| StoredNumbersError::Order("a profile's key"));
        let optional = |text: Option<String>| text.map(|text| key(&text)).transpose();
        let mut programs = BTreeMap::new();
        for (id, tcp, udp, sctp, other) in stored.programs {
            let ports = |ranges: Ports| ranges.into_iter().collect::<Intervals>();
            let program = Program { tcp: ports(tcp), udp: ports(udp), sctp: ports(sctp), other };
            if programs.insert(program, id).is_some() {
                return Err(StoredNumbersError::Order("a program"));
            }
        }
        let mut subjects = BTreeMap::new();
        for (address, egress, ingress) in stored.subjects {
            subjects.insert(address, Subject { egress: optional(egress)?, ingress: optional(ingress)? });
        }
        let [v4, v6] = stored.families;
        let family = |stored: StoredFamily| {
            let functions = stored
                .functions
                .iter()
                .map(|(profile, exempt, default)| {
                    Ok((FunctionId { profile: key(profile)?, exempt: *exempt }, *default))
                })
                .collect::<Result<Vec<_>, StoredNumbersError>>()?;
            Ok(FamilyNumbers { functions, classes: stored.classes })
        };
        let numbers = Self {
            next: stored.next,
            generation: stored.generation,
            leftovers: stored.leftovers,
            retired: stored.retired,
            programs,
            subjects,
            families: [family(v4)?, family(v6)?],
        };
        numbers.validate()?;
        Ok(numbers)
    }
}

impl Numbers {
    fn validate(&self) -> Result<(), StoredNumbersError> {
        let classes = self.families.iter().flat_map(|family| family.classes.keys());
        let mut seen = BTreeSet::new();
        for &id in self.programs.values().chain(classes).chain(&self.retired) {
            if !(FIRST..=LAST).contains(&id) || !seen.insert(id) {
                return Err(StoredNumbersError::Identifier(id));
            }
        }
        if !(FIRST..=LAST).contains(&self.next) {
            return Err(StoredNumbersError::Identifier(self.next));
        }
        for family in &self.families {
            if !family.functions.is_sorted_by(|a, b| a.0 < b.0) {
                return Err(StoredNumbersError::Order("the list of functions"));
            }
            for column in family.classes.values() {
                let known = column.last().is_none_or(|cell| (cell.0 as usize) < family.functions.len());
                if !known || !column.is_sorted_by(|a, b| a.0 < b.0) {
                    return Err(StoredNumbersError::Order("a class"));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use palisade_view::KeyHasher;

    use super::*;

    fn sample() -> Numbers {
        let profile = KeyHasher::new("t").finish();
        let mut numbers = Numbers { next: FIRST + 9, generation: 3, ..Numbers::default() };
        numbers.programs.insert(Program::NONE, FIRST);
        numbers.programs.insert(Program { tcp: Intervals::range(5, 9), ..Program::NONE }, FIRST + 1);
        numbers
            .subjects
            .insert("10.0.0.1".parse().unwrap(), Subject { egress: Some(profile), ingress: None });
        numbers.families[0] = FamilyNumbers {
            functions: vec![(FunctionId { profile, exempt: false }, FIRST)],
            classes: BTreeMap::from([(FIRST + 2, vec![(0, FIRST + 1)])]),
        };
        numbers
    }

    fn reread(text: &str) -> Result<Numbers, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn numbers_survive_their_file() {
        let numbers = sample();
        let text = serde_json::to_string(&numbers).unwrap();
        assert_eq!(reread(&text), Ok(numbers));
    }

    #[test]
    fn damaged_numbers_are_refused() {
        let damaged = |change: fn(&mut Numbers)| {
            let mut numbers = sample();
            change(&mut numbers);
            reread(&serde_json::to_string(&numbers).unwrap()).unwrap_err()
        };
        assert!(damaged(|n| n.next = 6).contains("0x6"));
        assert!(damaged(|n| n.retired = BTreeSet::from([FIRST + 2])).contains("0x10003"));
        assert!(damaged(|n| n.families[0].functions.clear()).contains("a class"));
        let other = serde_json::to_string(&sample()).unwrap().replace(r#""form":1"#, r#""form":9"#);
        assert!(reread(&other).unwrap_err().contains("form 9"));
    }

    #[test]
    fn an_exempt_function_of_its_own_is_preferred_and_the_main_one_stands_in() {
        let profile = KeyHasher::new("t").finish();
        let mut family = sample().families[0].clone();
        assert_eq!(family.function(profile, true), Some(0));
        family.functions.push((FunctionId { profile, exempt: true }, FIRST + 1));
        assert_eq!(family.function(profile, true), Some(1));
        assert_eq!(family.program(&vec![(1, 7)], 1), 7);
        assert_eq!(family.program(&vec![(1, 7)], 0), FIRST);
    }
}
