//! Who is who to the functions in use: peers with equal columns are one class. Knows programs by identifier, and
//! nothing of the identifiers of classes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use ipnet::IpNet;
use palisade_view::{Family, Function, Key, NodeView, Program};

use crate::numbers::{Column, FunctionId};
use crate::regions::{Regions, to_address, to_number};

/// A position in [`Peers::classes`].
pub(crate) type Class = usize;

/// The peers of one address family.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    /// Functions in use, sorted, with the identifier of their default program.
    pub(crate) functions: Vec<(FunctionId, u32)>,
    /// Distinct columns, in order of first appearance.
    pub(crate) classes: Vec<Column>,
    /// Addresses with an identity that a function mentions, and intervals of one address.
    pub(crate) addresses: BTreeMap<IpAddr, Class>,
    /// Disjoint, sorted intervals of two addresses at least (first, last address as numbers), where a function gives
    /// other than its default.
    pub(crate) intervals: Vec<(u128, u128, Class)>,
}

impl Peers {
    /// Groups a family's peers. `functions` are those in use by the family's subjects; `programs` numbers at least
    /// all of their programs.
    pub(crate) fn of(
        family: Family,
        view: &NodeView,
        functions: &BTreeMap<FunctionId, &Function>,
        programs: &BTreeMap<Program, u32>,
    ) -> Self {
        let id = |program: &Program| programs.get(program).copied().unwrap_or_default();
        let mut cells = Cells::default();
        for (position, function) in functions.values().enumerate() {
            let position = u32::try_from(position).unwrap_or(u32::MAX);
            cells.defaults.push(id(function.default_of(family)));
            for (key, program) in function.identities() {
                cells.identities.entry(key).or_default().push((position, id(program)));
            }
            for (network, program) in function.networks() {
                if Family::of(network.network()) == family {
                    cells.networks.entry(network).or_default().push((position, id(program)));
                }
            }
        }

        let networks: Vec<IpNet> = cells.networks.keys().copied().collect();
        let cut = Regions::of(&networks);
        // A network's column is its parent's with the cells that name it: parents come first in the order.
        let mut columns: Vec<Column> = Vec::with_capacity(networks.len());
        for (network, parent) in networks.iter().zip(&cut.parents) {
            let base = parent.map_or(&[][..], |parent| columns[parent].as_slice());
            columns.push(cells.over(base, &cells.networks[network]));
        }

        let mut peers = Self {
            functions: functions.keys().copied().zip(cells.defaults.iter().copied()).collect(),
            ..Self::default()
        };
        let mut classes = Classes::default();
        for region in &cut.regions {
            let column = &columns[region.network];
            if column.is_empty() {
                continue;
            }
            let class = classes.of(column.clone());
            if region.start == region.end {
                // A hash finds one address sooner than a tree does, and nft 1.0.6 cannot delete the interval that
                // is the last address alone: it reports success and leaves it.
                peers.addresses.insert(to_address(family, region.start), class);
            } else {
                peers.intervals.push((region.start, region.end, class));
            }
        }
        // Members of an identity normally share their longest network; where they do not, each is looked up by its
        // own, as the view does.
        let mut known: HashMap<(Key, Option<usize>), Class> = HashMap::new();
        for (&address, &identity) in view.members() {
            if Family::of(address) != family {
                continue;
            }
            let Some(mentions) = cells.identities.get(&identity) else { continue };
            let network = cut.network_of(to_number(address));
            let class = *known.entry((identity, network)).or_insert_with(|| {
                let base = network.map_or(&[][..], |network| columns[network].as_slice());
                classes.of(cells.over(base, mentions))
            });
            peers.addresses.insert(address, class);
        }
        peers.classes = classes.columns;
        peers
    }

    /// The class of an address, whether it is known by itself or by interval.
    pub(crate) fn class_of(&self, family: Family, address: IpAddr) -> Option<Class> {
        debug_assert_eq!(Family::of(address), family);
        self.addresses.get(&address).copied().or_else(|| self.interval_class(to_number(address)))
    }

    /// The class of the interval that holds an address.
    pub(crate) fn interval_class(&self, address: u128) -> Option<Class> {
        let after = self.intervals.partition_point(|&(start, ..)| start <= address);
        let &(_, end, class) = self.intervals[..after].last()?;
        (address <= end).then_some(class)
    }
}

/// What the functions say, by what they say it of.
#[derive(Default)]
struct Cells {
    defaults: Vec<u32>,
    identities: HashMap<Key, Vec<(u32, u32)>>,
    networks: BTreeMap<IpNet, Vec<(u32, u32)>>,
}

impl Cells {
    /// A column with other cells on top. Both are sorted by function.
    fn over(&self, base: &[(u32, u32)], top: &[(u32, u32)]) -> Column {
        let mut column = Column::with_capacity(base.len() + top.len());
        let mut base = base.iter().copied().peekable();
        for &(function, program) in top {
            while let Some(cell) = base.next_if(|cell| cell.0 < function) {
                column.push(cell);
            }
            base.next_if(|cell| cell.0 == function);
            if self.defaults[function as usize] != program {
                column.push((function, program));
            }
        }
        column.extend(base);
        column
    }
}

#[derive(Default)]
struct Classes {
    columns: Vec<Column>,
    known: HashMap<Column, Class>,
}

impl Classes {
    fn of(&mut self, column: Column) -> Class {
        let columns = &mut self.columns;
        *self.known.entry(column).or_insert_with_key(|column| {
            columns.push(column.clone());
            columns.len() - 1
        })
    }
}

/// The functions that the subjects of a family are judged by: both of an egress profile, and the main one of an
/// ingress profile (its other one serves hairpin alone, which asks for no class).
pub(crate) fn functions_in_use(family: Family, view: &NodeView) -> BTreeMap<FunctionId, &Function> {
    let mut used: BTreeSet<(Key, bool)> = BTreeSet::new();
    for (_, local) in view.locals().iter().filter(|(address, _)| Family::of(**address) == family) {
        used.extend(local.egress.map(|key| (key, true)));
        used.extend(local.ingress.map(|key| (key, false)));
    }
    let mut functions = BTreeMap::new();
    for (key, egress) in used {
        let Some(profile) = view.profiles().get(&key) else { continue };
        functions.insert(FunctionId { profile: key, exempt: false }, profile.main());
        if egress && profile.has_exempt() {
            functions.insert(FunctionId { profile: key, exempt: true }, profile.exempt());
        }
    }
    functions
}
