//! From the policies that select a subject to its profile. Pods that the same policies select share the work.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;
use std::sync::Arc;

use palisade_view::{Direction, Family, Function, FunctionBuilder, Profile, Program};

use super::fold::{Outcome, fold};
use super::peers::{EntityId, Peers, PodId};
use super::steps::{Effect, Sections, Step, admin_selects, network_selects};
use super::vocabulary::{Region, Vocabulary};
use crate::model::{Cluster, NamedPort};

/// What a region that the draft does not know gets; it knows them all.
static DENY: Program = Program::NONE;

/// A subject's verdicts before what goes without saying is left out.
#[derive(Clone, Debug)]
struct Draft {
    /// For bare addresses, by region; every region there is.
    bare: BTreeMap<Region, Outcome>,
    /// For identities (by index) that some rule singles out.
    identities: BTreeMap<usize, Outcome>,
}

/// Indices of the Admin, NetworkPolicy and Baseline sections that select a pod.
type SelectedBy = (Vec<usize>, Vec<usize>, Vec<usize>);

/// Compiles profiles of one direction.
pub(super) struct Profiles<'a> {
    cluster: &'a Cluster,
    vocabulary: &'a Vocabulary,
    peers: &'a Peers,
    direction: Direction,
    sections: Sections<'a>,
    drafts: HashMap<(SelectedBy, BTreeSet<NamedPort>), Option<Rc<Draft>>>,
    finished: HashMap<BTreeSet<PodId>, Option<Arc<Profile>>>,
}

impl<'a> Profiles<'a> {
    pub(super) fn new(
        cluster: &'a Cluster,
        vocabulary: &'a Vocabulary,
        peers: &'a Peers,
        direction: Direction,
        sections: Sections<'a>,
    ) -> Self {
        let (drafts, finished) = (HashMap::new(), HashMap::new());
        Self { cluster, vocabulary, peers, direction, sections, drafts, finished }
    }

    /// The profile of an address that is subject to the policies of all these pods (one, but for contested
    /// addresses). `None`: unrestricted.
    pub(super) fn of(&mut self, pods: &BTreeSet<PodId>) -> Option<Arc<Profile>> {
        if let Some(known) = self.finished.get(pods) {
            return known.clone();
        }
        let drafts: Vec<Rc<Draft>> = pods.iter().filter_map(|&pod| self.draft(pod)).collect();
        let profile = match drafts.as_slice() {
            [] => None,
            [one] => self.finish(one),
            several => self.finish(&self.all_of(several)),
        };
        self.finished.insert(pods.clone(), profile.clone());
        profile
    }

    /// The draft of one pod; `None` where no policy has a say.
    fn draft(&mut self, pod: PodId) -> Option<Rc<Draft>> {
        let facts = &self.peers.pods[pod as usize];
        let sections = &self.sections;
        let isolating = sections
            .network_in
            .get(facts.namespace.as_str())
            .into_iter()
            .flatten()
            .copied()
            .filter(|&index| network_selects(sections.network[index].policy, facts))
            .collect();
        let by = (
            selected(&sections.admin, |s| admin_selects(self.cluster, s.policy, facts)),
            isolating,
            selected(&sections.baseline, |s| admin_selects(self.cluster, s.policy, facts)),
        );
        // Only on ingress do the subject's own ports make a difference.
        let own_ports = match self.direction {
            Direction::Ingress => facts.named_ports.clone(),
            Direction::Egress => BTreeSet::new(),
        };
        let key = (by, own_ports);
        if let Some(known) = self.drafts.get(&key) {
            return known.clone();
        }
        let draft = self.compile(&key.0, &key.1).map(Rc::new);
        self.drafts.insert(key, draft.clone());
        draft
    }

    fn compile(&self, by: &SelectedBy, own_ports: &BTreeSet<NamedPort>) -> Option<Draft> {
        let (admin, network, baseline) = by;
        if admin.is_empty() && network.is_empty() && baseline.is_empty() {
            return None;
        }
        let steps: Vec<(&Step, Program)> = admin
            .iter()
            .map(|&index| &self.sections.admin[index].steps)
            .chain(network.iter().map(|&index| &self.sections.network[index].steps))
            .chain(baseline.iter().map(|&index| &self.sections.baseline[index].steps))
            .flat_map(|steps| steps.iter())
            .map(|step| {
                let own = match self.direction {
                    Direction::Ingress => step.numbered.union(&step.resolve(own_ports)),
                    Direction::Egress => step.numbered.clone(),
                };
                (step, own)
            })
            .collect();
        let outcomes = Outcomes::of(self.peers, &steps, !network.is_empty());

        let bare: BTreeMap<Region, Outcome> = self
            .peers
            .bare
            .iter()
            .map(|(region, &entity)| (*region, outcomes.get(entity, region.family)))
            .collect();
        let singled: BTreeSet<usize> = outcomes
            .singled
            .keys()
            .flat_map(|&entity| &self.peers.identities_of_entity[entity as usize])
            .copied()
            .collect();
        let identities = singled
            .into_iter()
            .filter_map(|index| {
                let identity = &self.peers.identities[index];
                let outcomes =
                    identity.entities.iter().map(|&entity| outcomes.get(entity, identity.region.family));
                Some((index, outcomes.reduce(|all, one| all.intersection(&one))?))
            })
            .collect();
        Some(Draft { bare, identities })
    }

    /// What all drafts allow.
    fn all_of(&self, drafts: &[Rc<Draft>]) -> Draft {
        let meet = |outcomes: &mut dyn Iterator<Item = &Outcome>| {
            outcomes.cloned().reduce(|all, one| all.intersection(&one))
        };
        let bare = self
            .peers
            .bare
            .keys()
            .filter_map(|region| {
                Some((*region, meet(&mut drafts.iter().filter_map(|draft| draft.bare.get(region)))?))
            })
            .collect();
        let singled: BTreeSet<usize> =
            drafts.iter().flat_map(|draft| draft.identities.keys().copied()).collect();
        let identities = singled
            .into_iter()
            .filter_map(|index| {
                let region = self.peers.identities[index].region;
                let of = |draft: &'_ Rc<Draft>| -> Option<Outcome> {
                    draft.identities.get(&index).or_else(|| draft.bare.get(&region)).cloned()
                };
                let outcomes: Vec<Outcome> = drafts.iter().filter_map(of).collect();
                Some((index, meet(&mut outcomes.iter())?))
            })
            .collect();
        Draft { bare, identities }
    }

    /// Leaves out what goes without saying.
    fn finish(&self, draft: &Draft) -> Option<Arc<Profile>> {
        let main = self.function(draft, |outcome| &outcome.main);
        let exempt = self.function(draft, |outcome| &outcome.exempt);
        if main.is_allow_all() && exempt.is_allow_all() {
            return None;
        }
        Some(Arc::new(Profile::new(main, exempt)))
    }

    fn function(&self, draft: &Draft, program: impl Fn(&Outcome) -> &Program) -> Function {
        let at = |region: &Region| draft.bare.get(region).map_or(&DENY, &program);
        let default = |family| at(&Region { family, prefix: None }).clone();
        let mut builder = FunctionBuilder::new(default(Family::V4), default(Family::V6));
        for (region, outcome) in &draft.bare {
            if let Some(network) = region.prefix
                && program(outcome) != at(&self.vocabulary.parent(network))
            {
                builder = builder.masked(network, program(outcome).clone());
            }
        }
        for (&index, outcome) in &draft.identities {
            let identity = &self.peers.identities[index];
            if program(outcome) != at(&identity.region) {
                builder = builder.identity(identity.key, program(outcome).clone());
            }
        }
        builder.build()
    }
}

/// What a list of steps comes to for each entity: each distinct list of matching steps is folded once.
struct Outcomes<'a> {
    peers: &'a Peers,
    steps: &'a [(&'a Step, Program)],
    isolated: bool,
    /// Positions of steps that match every entity of IPv4, of IPv6.
    every: [Vec<u32>; 2],
    /// Positions of steps that single an entity out, with whether its named ports count.
    singled: HashMap<EntityId, Vec<(u32, bool)>>,
    folded: std::cell::RefCell<HashMap<FoldKey, Outcome>>,
}

/// Family, steps that single the entity out, and its ports where they count.
type FoldKey = (Family, Vec<(u32, bool)>, Option<BTreeSet<NamedPort>>);

impl<'a> Outcomes<'a> {
    fn of(peers: &'a Peers, steps: &'a [(&'a Step, Program)], isolated: bool) -> Self {
        let mut every = [Vec::new(), Vec::new()];
        let mut singled: HashMap<EntityId, Vec<(u32, bool)>> = HashMap::new();
        for (position, (step, _)) in (0_u32..).zip(steps) {
            for (positions, matches) in every.iter_mut().zip(step.every) {
                if matches {
                    positions.push(position);
                }
            }
            for &(entity, named) in &step.entities {
                singled.entry(entity).or_default().push((position, named));
            }
        }
        Self { peers, steps, isolated, every, singled, folded: std::cell::RefCell::default() }
    }

    fn get(&self, entity: EntityId, family: Family) -> Outcome {
        let singled = self.singled.get(&entity).cloned().unwrap_or_default();
        let pod = self.peers.entities[entity as usize].pod;
        let ports = pod
            .filter(|_| singled.iter().any(|(_, named)| *named))
            .map(|pod| self.peers.pods[pod as usize].named_ports.clone());
        let key = (family, singled, ports);
        if let Some(known) = self.folded.borrow().get(&key) {
            return known.clone();
        }
        let outcome = self.fold(&key);
        self.folded.borrow_mut().insert(key, outcome.clone());
        outcome
    }

    fn fold(&self, (family, singled, ports): &FoldKey) -> Outcome {
        let mut positions: BTreeMap<u32, bool> = self.every[usize::from(*family == Family::V6)]
            .iter()
            .map(|&position| (position, false))
            .collect();
        for &(position, named) in singled {
            *positions.entry(position).or_default() |= named;
        }
        let matching = positions.into_iter().map(|(position, named)| -> (Effect, Program) {
            let (step, numbered) = &self.steps[position as usize];
            match ports {
                Some(ports) if named => (step.effect, numbered.union(&step.resolve(ports))),
                _ => (step.effect, numbered.clone()),
            }
        });
        fold(matching, self.isolated)
    }
}

fn selected<T>(all: &[T], selects: impl Fn(&T) -> bool) -> Vec<usize> {
    all.iter().enumerate().filter(|(_, one)| selects(one)).map(|(index, _)| index).collect()
}
