//! From the policies that select a subject to its profile. Pods that the same policies select share the work.

use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;
use std::sync::Arc;

use palisade_view::{Direction, Family, Function, FunctionBuilder, Profile, Program};

use super::fold::{Outcome, fold};
use super::peers::{EntityId, Peers, PodFacts, PodId};
use super::steps::{Effect, Group, Match, Sections, Step, is_about};
use super::vocabulary::{Region, Vocabulary};
use crate::model::{AdminSubject, Cluster, NamedPort, Selector};

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

/// Indices of the groups of Admin, NetworkPolicy and Baseline policies that select a pod.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct SelectedBy {
    admin: Vec<usize>,
    namespace: String,
    network: Vec<usize>,
    baseline: Vec<usize>,
}

/// Where in [`Sections`] the policies are that select a pod, in the order of judgement.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(super) struct Places {
    pub(super) admin: Vec<usize>,
    pub(super) network: Vec<usize>,
    pub(super) baseline: Vec<usize>,
}

/// A draft with the profile that comes of it where it stands alone.
#[derive(Debug)]
struct Drafted {
    draft: Draft,
    profile: OnceCell<Option<Arc<Profile>>>,
}

/// Compiles profiles of one direction.
pub(super) struct Profiles<'a> {
    cluster: &'a Cluster,
    vocabulary: &'a Vocabulary,
    peers: &'a Peers,
    direction: Direction,
    sections: Sections<'a>,
    drafts: HashMap<(SelectedBy, BTreeSet<NamedPort>), Option<Rc<Drafted>>>,
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
        let drafts: Vec<Rc<Drafted>> = pods.iter().filter_map(|&pod| self.draft(pod)).collect();
        let profile = match drafts.as_slice() {
            [] => None,
            [one] => one.profile.get_or_init(|| self.finish(&one.draft)).clone(),
            several => self.finish(&self.all_of(several)),
        };
        self.finished.insert(pods.clone(), profile.clone());
        profile
    }

    /// The policies that select a pod; `None` where none has a say.
    fn selected_by(&self, facts: &PodFacts) -> Option<SelectedBy> {
        let sections = &self.sections;
        let admin = |group: &Group<'_, AdminSubject>| {
            is_about(self.cluster, group.subject, &facts.namespace, &facts.labels)
        };
        let in_namespace = sections.network_groups.get(facts.namespace.as_str());
        let network = |group: &Group<'_, Selector>| group.subject.matches(&facts.labels);
        let network = selected(in_namespace.map_or(&[], Vec::as_slice), network);
        if network.is_empty() && sections.admin.is_empty() && sections.baseline.is_empty() {
            return None;
        }
        Some(SelectedBy {
            admin: selected(&sections.admin_groups, admin),
            // Groups are counted within a namespace.
            namespace: if network.is_empty() { String::new() } else { facts.namespace.clone() },
            network,
            baseline: selected(&sections.baseline_groups, admin),
        })
    }

    /// The draft of one pod; `None` where no policy has a say.
    fn draft(&mut self, pod: PodId) -> Option<Rc<Drafted>> {
        let facts = &self.peers.pods[pod as usize];
        let by = self.selected_by(facts)?;
        // Only on ingress do the subject's own ports make a difference.
        let own_ports = match self.direction {
            Direction::Ingress => facts.named_ports.clone(),
            Direction::Egress => BTreeSet::new(),
        };
        let key = (by, own_ports);
        if let Some(known) = self.drafts.get(&key) {
            return known.clone();
        }
        let draft =
            self.compile(&key.0, &key.1).map(|draft| Rc::new(Drafted { draft, profile: OnceCell::new() }));
        self.drafts.insert(key, draft.clone());
        draft
    }

    fn compile(&self, by: &SelectedBy, own_ports: &BTreeSet<NamedPort>) -> Option<Draft> {
        if by.admin.is_empty() && by.network.is_empty() && by.baseline.is_empty() {
            return None;
        }
        let places = self.places(by);
        let steps = self.steps(&places, own_ports);
        let outcomes = Outcomes::of(self.peers, &steps, !places.network.is_empty());

        let bare: BTreeMap<Region, Outcome> = self
            .peers
            .bare
            .iter()
            .map(|(region, &entity)| (*region, outcomes.get(entity, region.family)))
            .collect();
        let singled: BTreeSet<usize> = outcomes
            .matched_by
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

    /// The policies that select a pod.
    pub(super) fn places_of(&self, pod: PodId) -> Places {
        let by = self.selected_by(&self.peers.pods[pod as usize]);
        by.map_or_else(Places::default, |by| self.places(&by))
    }

    /// The policies that there are in this direction.
    pub(super) fn sections(&self) -> &Sections<'a> {
        &self.sections
    }

    fn places(&self, by: &SelectedBy) -> Places {
        let sections = &self.sections;
        let in_namespace = sections.network_groups.get(by.namespace.as_str()).map_or(&[][..], Vec::as_slice);
        Places {
            admin: places(&by.admin, &sections.admin_groups),
            network: places(&by.network, in_namespace),
            baseline: places(&by.baseline, &sections.baseline_groups),
        }
    }

    /// The steps at these places, in the order of judgement, each with the traffic that it is about whatever the peer.
    pub(super) fn steps(&self, places: &Places, own_ports: &BTreeSet<NamedPort>) -> Vec<(&Step, Program)> {
        let sections = &self.sections;
        let admin = places.admin.iter().map(|&place| &sections.admin[place].steps);
        let network = places.network.iter().map(|&place| &sections.network[place].steps);
        let baseline = places.baseline.iter().map(|&place| &sections.baseline[place].steps);
        let steps = admin.chain(network).chain(baseline).flatten();
        let with_traffic = steps.map(|step| match self.direction {
            Direction::Ingress => (step, step.numbered.union(&step.resolve(own_ports))),
            Direction::Egress => (step, step.numbered.clone()),
        });
        with_traffic.collect()
    }

    /// What all drafts allow.
    fn all_of(&self, drafts: &[Rc<Drafted>]) -> Draft {
        let drafts: Vec<&Draft> = drafts.iter().map(|drafted| &drafted.draft).collect();
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
                let of = |draft: &&Draft| -> Option<Outcome> {
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

/// What a list of steps comes to for each entity: each distinct set of matches is folded once.
pub(super) struct Outcomes<'a> {
    peers: &'a Peers,
    steps: &'a [(&'a Step, Program)],
    isolated: bool,
    /// Positions of steps that match every entity of IPv4, of IPv6.
    every: [Vec<u32>; 2],
    /// Positions of the steps that share a match, with whether named ports count.
    sharing: Vec<(Vec<u32>, bool)>,
    /// The matches, by index into `sharing`, that single an entity out.
    matched_by: HashMap<EntityId, Vec<u32>>,
    folded: RefCell<HashMap<FoldKey, Outcome>>,
}

/// Family, matches that single the entity out, and its ports where they count.
pub(super) type FoldKey = (Family, Vec<u32>, Option<BTreeSet<NamedPort>>);

impl<'a> Outcomes<'a> {
    pub(super) fn of(peers: &'a Peers, steps: &'a [(&'a Step, Program)], isolated: bool) -> Self {
        let mut every = [Vec::new(), Vec::new()];
        let mut sharing: Vec<(Vec<u32>, bool)> = Vec::new();
        let mut matches: Vec<&Match> = Vec::new();
        // By place in memory: equal peers share one match.
        let mut known: HashMap<(*const Match, bool), usize> = HashMap::new();
        for (position, (step, _)) in (0_u32..).zip(steps) {
            for (positions, matches) in every.iter_mut().zip(step.every) {
                if matches {
                    positions.push(position);
                }
            }
            for (matched, named) in &step.matches {
                let index = *known.entry((Rc::as_ptr(matched), *named)).or_insert_with(|| {
                    sharing.push((Vec::new(), *named));
                    matches.push(matched);
                    sharing.len() - 1
                });
                sharing[index].0.push(position);
            }
        }
        let mut matched_by: HashMap<EntityId, Vec<u32>> = HashMap::new();
        for (index, matched) in (0_u32..).zip(matches) {
            for &entity in &matched.entities {
                matched_by.entry(entity).or_default().push(index);
            }
        }
        Self { peers, steps, isolated, every, sharing, matched_by, folded: RefCell::default() }
    }

    fn get(&self, entity: EntityId, family: Family) -> Outcome {
        let key = self.key(entity, family);
        if let Some(known) = self.folded.borrow().get(&key) {
            return known.clone();
        }
        let outcome = fold(self.matching(&key).map(|(_, step)| step), self.isolated);
        self.folded.borrow_mut().insert(key, outcome.clone());
        outcome
    }

    pub(super) fn key(&self, entity: EntityId, family: Family) -> FoldKey {
        let matched_by = self.matched_by.get(&entity).cloned().unwrap_or_default();
        let pod = self.peers.entities[entity as usize].pod;
        let ports = pod
            .filter(|_| matched_by.iter().any(|&index| self.sharing[index as usize].1))
            .map(|pod| self.peers.pods[pod as usize].named_ports.clone());
        (family, matched_by, ports)
    }

    /// The steps that match, in order: their positions, what they do, and the traffic they are about.
    pub(super) fn matching(
        &self,
        (family, matched_by, ports): &FoldKey,
    ) -> impl Iterator<Item = (u32, (Effect, Program))> {
        let every = &self.every[usize::from(*family == Family::V6)];
        let mut positions: BTreeMap<u32, bool> = every.iter().map(|&position| (position, false)).collect();
        for &index in matched_by {
            let (sharing, named) = &self.sharing[index as usize];
            for &position in sharing {
                *positions.entry(position).or_default() |= named;
            }
        }
        positions.into_iter().map(move |(position, named)| {
            let (step, numbered) = &self.steps[position as usize];
            let traffic = match ports {
                Some(ports) if named => numbered.union(&step.resolve(ports)),
                _ => numbered.clone(),
            };
            (position, (step.effect, traffic))
        })
    }
}

fn selected<T>(all: &[T], selects: impl Fn(&T) -> bool) -> Vec<usize> {
    all.iter().enumerate().filter(|(_, one)| selects(one)).map(|(index, _)| index).collect()
}

/// The places of the policies in some groups, in the order of judgement.
fn places<S>(chosen: &[usize], groups: &[Group<'_, S>]) -> Vec<usize> {
    let mut places: Vec<usize> =
        chosen.iter().flat_map(|&group| groups[group].sections.iter().copied()).collect();
    places.sort_unstable();
    places
}
