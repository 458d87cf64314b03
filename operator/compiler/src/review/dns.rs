//! Pods that NetworkPolicy isolates for egress and leaves without DNS.
//!
//! Nothing says where a pod's resolver is, so whatever may be one counts: cluster DNS, any pod of `kube-system`, a node, a
//! link-local address (node-local DNS), any address that is no pod's. A resolver's port is judged behind DNAT: it is the
//! pod's own, and 53 only by custom.

use std::collections::{BTreeMap, BTreeSet};

use palisade_view::{Direction, Program, Protocol};

use super::addresses::Addresses;
use super::ground::{Class, ClassId, DNS_LABEL};
use super::meter::{Exhausted, Meter};
use super::remark::{Matter, Remark};
use super::shape::NAME_LABEL;
use super::sheet::{Extent, Rule, Sheet, Stage};
use super::survey::Survey;
use super::traffic::Traffic;
use crate::diagnostic::Severity;
use crate::model::{Action, NamedPort, ObjectRef, Peer};

/// The port of DNS.
const PORT: u16 = 53;
/// The namespace that cluster DNS usually is in.
const SYSTEM: &str = "kube-system";

/// Where pods may ask for names.
struct Resolvers<'s, 'a> {
    survey: &'s Survey<'a>,
    /// Cluster DNS, and the pods of `kube-system`.
    pods: BTreeSet<ClassId>,
    /// Cluster DNS.
    cluster: Vec<ClassId>,
}

/// What an isolated pod lacks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Lack {
    Everything,
    Tcp,
}

/// Looks at the NetworkPolicies of all namespaces. Those of which it could not be told are added to `unreviewed`.
pub(super) fn look(
    survey: &Survey<'_>,
    meter: &mut Meter,
    found: &mut Vec<Remark>,
    unreviewed: &mut BTreeSet<ObjectRef>,
) {
    let resolvers = Resolvers::of(survey);
    let isolating = survey.sheets.iter().filter(|sheet| sheet.isolates(Direction::Egress));
    let mut by_namespace: BTreeMap<&Option<String>, Vec<&Sheet<'_>>> = BTreeMap::new();
    for sheet in isolating {
        by_namespace.entry(&sheet.object.namespace).or_default().push(sheet);
    }
    for sheets in by_namespace.values() {
        meter.next_policy();
        match resolvers.namespace(sheets, meter) {
            Ok(remarks) => found.extend(remarks),
            Err(Exhausted) => unreviewed.extend(sheets.iter().map(|sheet| sheet.object.clone())),
        }
    }
}

impl<'s, 'a> Resolvers<'s, 'a> {
    fn of(survey: &'s Survey<'a>) -> Self {
        let class = |id: &ClassId| survey.ground.class(*id);
        let is_dns = |id: &ClassId| class(id).is_some_and(Class::is_dns);
        let is_system = |id: &ClassId| class(id).is_some_and(|class| class.namespace == SYSTEM);
        let cluster = survey.ground.networked().filter(is_dns).collect();
        let pods = survey.ground.networked().filter(|id| is_dns(id) || is_system(id)).collect();
        Self { survey, pods, cluster }
    }

    /// The NetworkPolicies of one namespace that isolate for egress.
    fn namespace(&self, sheets: &[&Sheet<'_>], meter: &mut Meter) -> Result<Vec<Remark>, Exhausted> {
        // Pods with the same policies have the same to say, and the same to be said of.
        let mut isolated_by: BTreeMap<ClassId, Vec<usize>> = BTreeMap::new();
        for (index, sheet) in sheets.iter().enumerate() {
            let Some(scope) = &sheet.scope else { continue };
            let subjects = self.survey.subjects(scope, meter)?;
            meter.spend(subjects.len())?;
            for &id in subjects.iter() {
                isolated_by.entry(id).or_default().push(index);
            }
        }
        let mut known: BTreeMap<(Vec<usize>, Vec<usize>), Option<Lack>> = BTreeMap::new();
        let mut told: BTreeMap<usize, (Lack, ClassId)> = BTreeMap::new();
        for (id, policies) in isolated_by {
            let admin = self.admin(id, meter)?;
            let key = (policies, admin);
            let lack = if let Some(lack) = known.get(&key) {
                *lack
            } else {
                let lack = self.lack(sheets, &key.0, &key.1, meter)?;
                known.insert(key.clone(), lack);
                lack
            };
            // Of several policies that isolate the pod the first is told of.
            if let (Some(lack), Some(&first)) = (lack, key.0.first()) {
                let worst = told.entry(first).or_insert((lack, id));
                *worst = (*worst).min((lack, id));
            }
        }
        Ok(told
            .into_iter()
            .filter_map(|(index, (lack, id))| self.remark(sheets.get(index)?, lack, id))
            .collect())
    }

    /// The policies of the Admin tier, by position, that are about a class and allow some egress.
    fn admin(&self, id: ClassId, meter: &mut Meter) -> Result<Vec<usize>, Exhausted> {
        let mut about = Vec::new();
        let sheets = self.survey.sheets.iter().take_while(|sheet| sheet.stage == Stage::Admin);
        for (position, sheet) in sheets.enumerate() {
            let is_allowing = sheet.rules(Direction::Egress).iter().any(|rule| rule.action == Action::Allow);
            if is_allowing && self.survey.is_about(sheet, id, meter)? {
                about.push(position);
            }
        }
        Ok(about)
    }

    fn lack(
        &self,
        sheets: &[&Sheet<'_>],
        network: &[usize],
        admin: &[usize],
        meter: &mut Meter,
    ) -> Result<Option<Lack>, Exhausted> {
        let network = network.iter().filter_map(|&index| sheets.get(index).copied());
        let admin = admin.iter().filter_map(|&position| self.survey.sheets.get(position));
        let rules: Vec<&Rule<'_>> = network
            .chain(admin)
            .flat_map(|sheet| sheet.rules(Direction::Egress))
            .filter(|rule| rule.action == Action::Allow)
            .collect();
        let mut lets = [false; 2];
        for (slot, protocol) in lets.iter_mut().zip([Protocol::Udp, Protocol::Tcp]) {
            for rule in &rules {
                *slot = *slot || self.lets(rule, protocol, meter)?;
            }
        }
        Ok(match lets {
            [false, _] => Some(Lack::Everything),
            [true, false] => Some(Lack::Tcp),
            [true, true] => None,
        })
    }

    /// Whether a rule lets its subjects ask something that may be a resolver.
    fn lets(&self, rule: &Rule<'_>, protocol: Protocol, meter: &mut Meter) -> Result<bool, Exhausted> {
        let is_dns = |program: &Program| program.of(protocol).contains(PORT);
        let numbered = is_dns(&rule.traffic.numbered);
        // Without cluster DNS in sight, whoever may be asked at that port may be it.
        if self.cluster.is_empty() {
            let is_named = rule
                .traffic
                .named
                .iter()
                .any(|(name, of)| name.starts_with("dns") && of.is_none_or(|of| of == protocol));
            return Ok((numbered || is_named) && !rule.sides.is_empty());
        }
        for side in &rule.sides {
            meter.spend(1 + self.pods.len())?;
            let answers = |id: &ClassId, traffic: &Traffic| {
                self.survey.ground.class(*id).is_some_and(|class| answers(class, traffic, protocol))
            };
            let traffic = side.limited(&rule.traffic);
            let is_let = match (side.peer, &side.extent) {
                (_, Extent::Everything) => self.pods.iter().any(|id| answers(id, &traffic)) || numbered,
                (Peer::Pods { .. }, _) => {
                    let selected = self.survey.selected(side, meter)?;
                    let may = |id: &ClassId| selected.binary_search(id).is_ok() && answers(id, &traffic);
                    self.pods.iter().any(may)
                }
                (_, Extent::Networks(networks)) => {
                    let inside =
                        |class: &Class<'_>| class.addresses.iter().any(|&address| networks.has(address));
                    let is_in = |id: &&ClassId| self.survey.ground.class(**id).is_some_and(inside);
                    (numbered && self.is_beyond(networks, meter)?)
                        || self.pods.iter().filter(is_in).any(|id| answers(id, &traffic))
                }
                (Peer::Nodes(_), _) => numbered,
                _ => false,
            };
            if is_let {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether networks hold more than pods: something that is none, be it the world, a node or a link-local address.
    fn is_beyond(&self, networks: &Addresses, meter: &mut Meter) -> Result<bool, Exhausted> {
        let pods = &self.survey.ground.owner_of;
        if networks.count() > pods.len() as u128 {
            return Ok(true);
        }
        meter.spend(pods.len())?;
        let inside = pods.keys().filter(|&&address| networks.has(address));
        Ok(networks.count() > inside.count() as u128)
    }

    fn remark(&self, sheet: &Sheet<'_>, lack: Lack, id: ClassId) -> Option<Remark> {
        let class = self.survey.ground.class(id)?;
        let pod = format!("{}/{}", class.namespace, class.example.name);
        let remedy = format!("if they need names, add to `spec.egress`: {}", self.rule());
        let field = "spec.egress";
        Some(match lack {
            Lack::Everything => {
                let message = format!(
                    "the policy isolates pods for egress, and nothing lets them ask DNS: {pod}, for one, cannot resolve names"
                );
                Remark::present(&sheet.object, field, Matter::NoDns, message, remedy)
            }
            Lack::Tcp => {
                let message = format!(
                    "the policy isolates pods for egress, and they may ask DNS by UDP alone: {pod}, for one, does not get long answers"
                );
                Remark::present(&sheet.object, field, Matter::NoDnsOverTcp, message, remedy)
                    .graded(Severity::Advice)
            }
        })
    }

    /// A rule that lets pods ask cluster DNS, in one line of YAML.
    fn rule(&self) -> String {
        let dns = self.cluster.first().and_then(|&id| self.survey.ground.class(id));
        let namespace = dns.map_or(SYSTEM, |class| class.namespace);
        let app = dns.and_then(|class| class.example.labels.get(DNS_LABEL));
        let app = app.map_or("kube-dns", String::as_str);
        let port = |protocol| dns.and_then(|class| own_port(class, protocol)).unwrap_or(PORT);
        format!(
            "`- {{to: [{{namespaceSelector: {{matchLabels: {{{NAME_LABEL}: {namespace}}}}}, podSelector: {{matchLabels: \
             {{k8s-app: {app}}}}}}}], ports: [{{protocol: UDP, port: {}}}, {{protocol: TCP, port: {}}}]}}`",
            port(Protocol::Udp),
            port(Protocol::Tcp)
        )
    }
}

/// Whether traffic reaches a port at which a class may answer questions.
fn answers(class: &Class<'_>, traffic: &Traffic, protocol: Protocol) -> bool {
    let reached = traffic.at(class.named_ports);
    let reached = reached.of(protocol);
    let mut own = class.named_ports.iter().filter(|port| is_dns_port(port) && port.protocol == protocol);
    reached.contains(PORT) || own.any(|port| reached.contains(port.port))
}

/// The port at which a class says that it answers questions.
fn own_port(class: &Class<'_>, protocol: Protocol) -> Option<u16> {
    let mut own = class.named_ports.iter().filter(|port| is_dns_port(port) && port.protocol == protocol);
    own.next().map(|port| port.port)
}

fn is_dns_port(port: &NamedPort) -> bool {
    port.name.starts_with("dns")
}
