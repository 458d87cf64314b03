//! One small cluster a rule of the specification.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use palisade_view::{L4, Protocol};

use super::{Flow, Judgement, Reason, judge};
use crate::model::{
    Action, AdminPolicy, AdminRule, AdminSubject, Cluster, DomainPattern, Kind, Labels, NamedPort, Namespace,
    NamespaceMatch, NetworkPolicy, NetworkPolicyRule, Node, Peer, Pod, PortMatch, Selector, Tier,
};

const WEB: &str = "10.244.1.10";
const DB: &str = "10.244.2.10";
const API: &str = "10.244.1.11";
const NODE_1: &str = "172.18.0.11";
const NODE_2: &str = "172.18.0.12";
const WORLD: &str = "192.0.2.10";
const TCP_80: L4 = L4::Port(Protocol::Tcp, 80);
const ICMP: L4 = L4::Other(1);

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn network(text: &str) -> IpNet {
    text.parse().unwrap()
}

/// Labels written `key=value,key=value`.
fn labels(text: &str) -> Labels {
    let pairs = text.split(',').filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').unwrap()).map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
}

fn selector(text: &str) -> Selector {
    Selector::match_labels(labels(text))
}

fn pod(namespace: &str, name: &str, node: &str, ip: &str) -> Pod {
    Pod {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        labels: labels(&format!("app={name}")),
        node: Some(node.to_owned()),
        addresses: BTreeSet::from([address(ip)]),
        host_network: false,
        named_ports: BTreeSet::new(),
        finished: false,
    }
}

fn node(name: &str, ip: &str, range: &str) -> Node {
    Node {
        name: name.to_owned(),
        labels: labels(&format!("name={name}")),
        addresses: BTreeSet::from([address(ip)]),
        pod_cidrs: BTreeSet::from([network(range)]),
    }
}

/// shop/web and shop/api on node-1, data/db on node-2, no policy.
fn cluster() -> Cluster {
    let mut cluster = Cluster::default();
    for (name, tier) in [("shop", "front"), ("data", "back")] {
        let labels = labels(&format!("tier={tier},kubernetes.io/metadata.name={name}"));
        cluster.namespaces.insert(name.to_owned(), Namespace { name: name.to_owned(), labels });
    }
    let nodes = [node("node-1", NODE_1, "10.244.1.0/24"), node("node-2", NODE_2, "10.244.2.0/24")];
    cluster.nodes = nodes.into_iter().map(|node| (node.name.clone(), node)).collect();
    with_pods(
        cluster,
        [
            pod("shop", "web", "node-1", WEB),
            pod("shop", "api", "node-1", API),
            pod("data", "db", "node-2", DB),
        ],
    )
}

fn with_pods(mut cluster: Cluster, pods: impl IntoIterator<Item = Pod>) -> Cluster {
    cluster.pods.extend(pods.into_iter().map(|pod| ((pod.namespace.clone(), pod.name.clone()), pod)));
    cluster
}

fn with_admin(mut cluster: Cluster, policies: impl IntoIterator<Item = AdminPolicy>) -> Cluster {
    cluster.admin_policies.extend(policies.into_iter().map(|p| ((p.kind, p.name.clone()), p)));
    cluster
}

fn with_network(mut cluster: Cluster, policies: impl IntoIterator<Item = NetworkPolicy>) -> Cluster {
    cluster.network_policies.extend(policies.into_iter().map(|p| ((p.namespace.clone(), p.name.clone()), p)));
    cluster
}

/// Rules without ports.
fn rules(rules: impl IntoIterator<Item = (Action, Peer)>) -> Vec<AdminRule> {
    let rule =
        |(index, (action, peer))| AdminRule { name: None, index, action, peers: vec![peer], ports: None };
    rules.into_iter().enumerate().map(rule).collect()
}

/// A policy about every pod, without rules.
fn admin(kind: Kind, name: &str, tier: Tier, priority: u32) -> AdminPolicy {
    let everyone = AdminSubject::Pods { namespaces: Selector::EVERYTHING, pods: Selector::EVERYTHING };
    AdminPolicy {
        kind,
        name: name.to_owned(),
        tier,
        priority,
        subject: everyone,
        ingress: Vec::new(),
        egress: Vec::new(),
    }
}

fn anp(name: &str, priority: u32, egress: impl IntoIterator<Item = (Action, Peer)>) -> AdminPolicy {
    AdminPolicy { egress: rules(egress), ..admin(Kind::AdminNetworkPolicy, name, Tier::Admin, priority) }
}

fn anp_ingress(name: &str, priority: u32, ingress: impl IntoIterator<Item = (Action, Peer)>) -> AdminPolicy {
    AdminPolicy { ingress: rules(ingress), ..admin(Kind::AdminNetworkPolicy, name, Tier::Admin, priority) }
}

fn baseline(name: &str, priority: u32, egress: impl IntoIterator<Item = (Action, Peer)>) -> AdminPolicy {
    AdminPolicy { egress: rules(egress), ..admin(Kind::ClusterNetworkPolicy, name, Tier::Baseline, priority) }
}

/// Rules of one peer each, without ports.
#[expect(clippy::unnecessary_wraps, reason = "what the field of a policy that isolates holds")]
fn allow(peers: impl IntoIterator<Item = Peer>) -> Option<Vec<NetworkPolicyRule>> {
    let rule = |(index, peer)| NetworkPolicyRule { index, peers: vec![peer], ports: None };
    Some(peers.into_iter().enumerate().map(rule).collect())
}

#[expect(clippy::unnecessary_wraps, reason = "what the field of a policy that isolates holds")]
fn allow_port(peer: Peer, port: PortMatch) -> Option<Vec<NetworkPolicyRule>> {
    Some(vec![NetworkPolicyRule { index: 0, peers: vec![peer], ports: Some(vec![port]) }])
}

/// A policy about every pod of the namespace.
fn np(
    namespace: &str,
    name: &str,
    ingress: Option<Vec<NetworkPolicyRule>>,
    egress: Option<Vec<NetworkPolicyRule>>,
) -> NetworkPolicy {
    let subject = Some(Selector::EVERYTHING);
    NetworkPolicy { namespace: namespace.to_owned(), name: name.to_owned(), subject, ingress, egress }
}

fn pods(namespaces: &str, pods: &str) -> Peer {
    Peer::Pods { namespaces: NamespaceMatch::Labels(selector(namespaces)), pods: selector(pods) }
}

fn networks(networks: &[&str], except: &[&str]) -> Peer {
    let parse = |texts: &[&str]| texts.iter().map(|text| network(text)).collect();
    Peer::Networks { networks: parse(networks), except: parse(except), named_ports: false }
}

fn flow(source: &str, destination: &str, l4: L4) -> Flow {
    let (source, destination) = (address(source), address(destination));
    Flow { source, destination, l4, source_node: None, destination_node: None }
}

fn judged(cluster: &Cluster, source: &str, destination: &str, l4: L4) -> Judgement {
    judge(cluster, &flow(source, destination, l4))
}

#[track_caller]
fn assert_judged(cluster: &Cluster, source: &str, destination: &str, l4: L4, expected: &str) {
    assert_eq!(judged(cluster, source, destination, l4).to_string(), expected);
}

/// The egress verdict alone.
#[track_caller]
fn assert_egress(cluster: &Cluster, source: &str, destination: &str, l4: L4, expected: &str) {
    assert_eq!(judged(cluster, source, destination, l4).egress.to_string(), expected);
}

/// The ingress verdict alone.
#[track_caller]
fn assert_ingress(cluster: &Cluster, source: &str, destination: &str, l4: L4, expected: &str) {
    assert_eq!(judged(cluster, source, destination, l4).ingress.to_string(), expected);
}

// ---- subjects

#[test]
fn without_policies_everything_is_allowed() {
    assert_judged(&cluster(), WEB, DB, TCP_80, "egress allowed: no rule; ingress allowed: no rule");
    assert!(judged(&cluster(), WEB, DB, TCP_80).allowed());
}

#[test]
fn only_pods_with_an_address_of_their_own_are_subjects() {
    let mut on_host = pod("shop", "agent", "node-1", NODE_1);
    on_host.host_network = true;
    let mut finished = pod("shop", "job", "node-1", "10.244.1.30");
    finished.finished = true;
    let cluster = with_pods(cluster(), [on_host, finished]);
    let deny = (Action::Deny, Peer::Everything);
    let cluster = with_admin(cluster, [anp("deny", 0, [deny.clone()]), anp_ingress("deny-in", 0, [deny])]);
    for source in [WORLD, NODE_1, "10.244.1.30"] {
        assert_judged(
            &cluster,
            source,
            DB,
            TCP_80,
            "egress allowed: not a subject; ingress denied: AdminNetworkPolicy/deny-in ingress[0]",
        );
        assert_judged(
            &cluster,
            DB,
            source,
            TCP_80,
            "egress denied: AdminNetworkPolicy/deny egress[0]; ingress allowed: not a subject",
        );
    }
}

#[test]
fn both_directions_are_judged_by_themselves() {
    let cluster = with_admin(
        cluster(),
        [
            anp("out", 0, [(Action::Allow, Peer::Everything)]),
            anp_ingress("in", 0, [(Action::Deny, Peer::Everything)]),
        ],
    );
    let judgement = judged(&cluster, WEB, DB, TCP_80);
    assert_eq!(
        judgement.to_string(),
        "egress allowed: AdminNetworkPolicy/out egress[0]; ingress denied: AdminNetworkPolicy/in ingress[0]"
    );
    assert!(!judgement.allowed());
}

#[test]
fn admin_subjects_are_chosen_by_namespace_and_pod_labels() {
    let mut policy = anp("deny", 0, [(Action::Deny, Peer::Everything)]);
    policy.subject = AdminSubject::Pods { namespaces: selector("tier=front"), pods: selector("app=web") };
    let narrow = with_admin(cluster(), [policy.clone()]);
    assert_egress(&narrow, WEB, DB, TCP_80, "denied: AdminNetworkPolicy/deny egress[0]");
    assert_egress(&narrow, API, DB, TCP_80, "allowed: no rule");
    assert_egress(&narrow, DB, WEB, TCP_80, "allowed: no rule");

    policy.subject = AdminSubject::Nothing;
    assert_egress(&with_admin(cluster(), [policy]), WEB, DB, TCP_80, "allowed: no rule");
}

#[test]
fn an_unknown_namespace_has_only_its_name_as_label() {
    let stray = pod("stray", "x", "node-1", "10.244.1.40");
    let mut by_name = anp("by-name", 1, [(Action::Deny, Peer::Everything)]);
    let namespaces = selector("kubernetes.io/metadata.name=stray");
    by_name.subject = AdminSubject::Pods { namespaces, pods: Selector::EVERYTHING };
    let mut by_label = anp("by-label", 0, [(Action::Deny, Peer::Everything)]);
    by_label.subject = AdminSubject::Pods { namespaces: selector("tier=front"), pods: Selector::EVERYTHING };
    let cluster = with_admin(with_pods(cluster(), [stray]), [by_name, by_label]);
    assert_egress(&cluster, "10.244.1.40", DB, TCP_80, "denied: AdminNetworkPolicy/by-name egress[0]");
}

// ---- order

#[test]
fn the_lower_priority_number_comes_first() {
    let deny = anp("a-deny", 20, [(Action::Deny, Peer::Everything)]);
    let allow = anp("z-allow", 10, [(Action::Allow, Peer::Everything)]);
    let cluster = with_admin(cluster(), [deny, allow]);
    assert_egress(&cluster, WEB, DB, TCP_80, "allowed: AdminNetworkPolicy/z-allow egress[0]");
}

#[test]
fn names_and_then_kinds_break_a_tie_of_priorities() {
    let deny = anp("b", 5, [(Action::Deny, Peer::Everything)]);
    let allow = anp("a", 5, [(Action::Allow, Peer::Everything)]);
    let by_name = with_admin(cluster(), [deny.clone(), allow]);
    assert_egress(&by_name, WEB, DB, TCP_80, "allowed: AdminNetworkPolicy/a egress[0]");

    let twin = AdminPolicy {
        egress: rules([(Action::Allow, Peer::Everything)]),
        ..admin(Kind::ClusterNetworkPolicy, "b", Tier::Admin, 5)
    };
    let by_kind = with_admin(cluster(), [deny, twin.clone()]);
    assert_egress(&by_kind, WEB, DB, TCP_80, "allowed: ClusterNetworkPolicy/b egress[0]");

    let earlier = anp("a", 5, [(Action::Deny, Peer::Everything)]);
    let name_before_kind = with_admin(cluster(), [twin, earlier]);
    assert_egress(&name_before_kind, WEB, DB, TCP_80, "denied: AdminNetworkPolicy/a egress[0]");
}

#[test]
fn policies_of_equal_priority_all_apply() {
    let elsewhere = anp("a", 5, [(Action::Allow, pods("tier=front", ""))]);
    let here = anp("b", 5, [(Action::Deny, pods("tier=back", ""))]);
    let cluster = with_admin(cluster(), [elsewhere, here]);
    assert_egress(&cluster, WEB, DB, TCP_80, "denied: AdminNetworkPolicy/b egress[0]");
}

#[test]
fn the_first_matching_rule_of_a_policy_decides() {
    let policy = anp(
        "p",
        0,
        [
            (Action::Deny, pods("tier=front", "")),
            (Action::Allow, pods("tier=back", "")),
            (Action::Deny, Peer::Everything),
        ],
    );
    let cluster = with_admin(cluster(), [policy]);
    assert_egress(&cluster, WEB, DB, TCP_80, "allowed: AdminNetworkPolicy/p egress[1]");
    assert_egress(&cluster, WEB, API, TCP_80, "denied: AdminNetworkPolicy/p egress[0]");
    assert_egress(&cluster, WEB, WORLD, TCP_80, "denied: AdminNetworkPolicy/p egress[2]");
}

#[test]
fn the_reason_names_the_rules_position_in_the_object() {
    let mut policy = anp("p", 0, [(Action::Deny, Peer::Everything)]);
    policy.egress[0].index = 7;
    policy.egress[0].name = Some("block".to_owned());
    let cluster = with_admin(cluster(), [policy]);
    let Reason::AdminRule { index, name, action, tier, .. } = judged(&cluster, WEB, DB, TCP_80).egress.reason
    else {
        panic!("an admin rule decides");
    };
    assert_eq!((index, name.as_deref(), action, tier), (7, Some("block"), Action::Deny, Tier::Admin));
}

// ---- tiers

#[test]
fn admin_allow_and_deny_override_network_policy() {
    let isolated = with_network(cluster(), [np("shop", "none", None, allow([]))]);
    let allowed = with_admin(isolated, [anp("p", 0, [(Action::Allow, pods("tier=back", ""))])]);
    assert_egress(&allowed, WEB, DB, TCP_80, "allowed: AdminNetworkPolicy/p egress[0]");
    assert_egress(&allowed, WEB, API, TCP_80, "denied: isolation egress NetworkPolicy/shop/none");

    let open = with_network(cluster(), [np("shop", "all", None, allow([Peer::Everything]))]);
    let denied = with_admin(open, [anp("p", 0, [(Action::Deny, pods("tier=back", ""))])]);
    assert_egress(&denied, WEB, DB, TCP_80, "denied: AdminNetworkPolicy/p egress[0]");
    assert_egress(&denied, WEB, API, TCP_80, "allowed: NetworkPolicy/shop/all egress[0]");
}

#[test]
fn admin_pass_skips_the_rest_of_its_tier() {
    let pass = anp("a", 0, [(Action::Pass, pods("tier=back", "")), (Action::Deny, Peer::Everything)]);
    let deny = anp("b", 1, [(Action::Deny, Peer::Everything)]);
    let cluster = with_admin(cluster(), [pass, deny]);
    assert_egress(&cluster, WEB, DB, TCP_80, "allowed: no rule");
    assert_egress(&cluster, WEB, API, TCP_80, "denied: AdminNetworkPolicy/a egress[1]");

    let isolated = with_network(cluster.clone(), [np("shop", "none", None, allow([]))]);
    assert_egress(&isolated, WEB, DB, TCP_80, "denied: isolation egress NetworkPolicy/shop/none");

    let with_baseline = with_admin(cluster, [baseline("z", 0, [(Action::Deny, Peer::Everything)])]);
    assert_egress(&with_baseline, WEB, DB, TCP_80, "denied: ClusterNetworkPolicy/z egress[0]");
}

#[test]
fn the_kinds_of_a_tier_share_it() {
    let both = |first: Kind, second: Kind, tier, first_priority, second_priority| {
        let pass = AdminPolicy {
            egress: rules([(Action::Pass, pods("tier=back", ""))]),
            ..admin(first, "default", tier, first_priority)
        };
        let deny = AdminPolicy {
            egress: rules([(Action::Deny, Peer::Everything)]),
            ..admin(second, "default", tier, second_priority)
        };
        with_admin(cluster(), [pass, deny])
    };
    let (anp, cnp) = (Kind::AdminNetworkPolicy, Kind::ClusterNetworkPolicy);
    for (first, second) in [(anp, cnp), (cnp, anp)] {
        let cluster = both(first, second, Tier::Admin, 1, 2);
        assert_egress(&cluster, WEB, DB, TCP_80, "allowed: no rule");
        assert!(!judged(&cluster, WEB, API, TCP_80).egress.allowed);
    }
    let cluster = both(cnp, Kind::BaselineAdminNetworkPolicy, Tier::Baseline, 1000, u32::MAX);
    assert_egress(&cluster, WEB, DB, TCP_80, "allowed: ClusterNetworkPolicy/default egress[0]");
    assert_egress(&cluster, WEB, API, TCP_80, "denied: BaselineAdminNetworkPolicy/default egress[0]");
}

#[test]
fn a_policy_isolates_nobody_by_itself() {
    let allow = anp("p", 0, [(Action::Allow, pods("tier=back", ""))]);
    let cluster = with_admin(cluster(), [allow, baseline("z", 0, [(Action::Allow, pods("tier=back", ""))])]);
    assert_egress(&cluster, WEB, API, TCP_80, "allowed: no rule");
    assert_ingress(&cluster, DB, WEB, TCP_80, "allowed: no rule");
}

#[test]
fn baseline_decides_only_for_pods_no_network_policy_selects() {
    let denied = with_admin(cluster(), [baseline("z", 0, [(Action::Deny, Peer::Everything)])]);
    assert_egress(&denied, WEB, DB, TCP_80, "denied: ClusterNetworkPolicy/z egress[0]");

    let open = with_network(denied.clone(), [np("shop", "all", None, allow([Peer::Everything]))]);
    assert_egress(&open, WEB, DB, TCP_80, "allowed: NetworkPolicy/shop/all egress[0]");

    let other_direction = with_network(denied.clone(), [np("shop", "in", allow([Peer::Everything]), None)]);
    assert_egress(&other_direction, WEB, DB, TCP_80, "denied: ClusterNetworkPolicy/z egress[0]");

    let allowing = with_admin(cluster(), [baseline("z", 0, [(Action::Allow, Peer::Everything)])]);
    let isolated = with_network(allowing, [np("shop", "none", None, allow([]))]);
    assert_egress(&isolated, WEB, DB, TCP_80, "denied: isolation egress NetworkPolicy/shop/none");
}

#[test]
fn baseline_pass_allows() {
    let pass = baseline("a", 0, [(Action::Pass, pods("tier=back", ""))]);
    let deny = baseline("b", 1, [(Action::Deny, Peer::Everything)]);
    let cluster = with_admin(cluster(), [pass, deny]);
    assert_egress(&cluster, WEB, DB, TCP_80, "allowed: ClusterNetworkPolicy/a egress[0]");
    assert_egress(&cluster, WEB, API, TCP_80, "denied: ClusterNetworkPolicy/b egress[0]");
}

#[test]
fn the_baseline_admin_network_policy_comes_last_in_its_tier() {
    let banp = AdminPolicy {
        egress: rules([(Action::Deny, Peer::Everything)]),
        ..admin(Kind::BaselineAdminNetworkPolicy, "default", Tier::Baseline, u32::MAX)
    };
    let cnp = baseline("z", 1000, [(Action::Allow, pods("tier=back", ""))]);
    let cluster = with_admin(cluster(), [banp, cnp]);
    assert_egress(&cluster, WEB, DB, TCP_80, "allowed: ClusterNetworkPolicy/z egress[0]");
    assert_egress(&cluster, WEB, API, TCP_80, "denied: BaselineAdminNetworkPolicy/default egress[0]");
}

// ---- NetworkPolicy

#[test]
fn network_policies_add_up_and_isolation_names_them_all() {
    let cluster = with_network(
        cluster(),
        [
            np("shop", "b", None, allow([pods("tier=back", ""), Peer::Everything])),
            np("shop", "a", None, allow([pods("tier=front", "")])),
            np("data", "x", allow([pods("", "app=nobody")]), None),
            np("data", "w", allow([]), None),
        ],
    );
    assert_judged(
        &cluster,
        WEB,
        DB,
        TCP_80,
        "egress allowed: NetworkPolicy/shop/b egress[0]; \
         ingress denied: isolation ingress NetworkPolicy/data/w, NetworkPolicy/data/x",
    );
    assert_egress(&cluster, WEB, API, TCP_80, "allowed: NetworkPolicy/shop/a egress[0]");
    assert_egress(&cluster, WEB, WORLD, TCP_80, "allowed: NetworkPolicy/shop/b egress[1]");
    assert_egress(&cluster, DB, WEB, TCP_80, "allowed: no rule");
}

#[test]
fn a_network_policy_selects_pods_of_its_own_namespace_by_label() {
    let mut policy = np("shop", "web", allow([]), None);
    policy.subject = Some(selector("app=web"));
    let narrow = with_network(cluster(), [policy.clone()]);
    assert_ingress(&narrow, DB, WEB, TCP_80, "denied: isolation ingress NetworkPolicy/shop/web");
    assert_ingress(&narrow, DB, API, TCP_80, "allowed: no rule");
    assert_ingress(&narrow, WEB, DB, TCP_80, "allowed: no rule");

    policy.subject = None;
    assert_ingress(&with_network(cluster(), [policy]), DB, WEB, TCP_80, "allowed: no rule");
}

// ---- the own node and the pod itself

#[test]
fn the_own_node_reaches_its_pods_whatever_the_policies_say() {
    let cluster = with_network(cluster(), [np("shop", "none", allow([]), None)]);
    let cluster = with_admin(cluster, [anp_ingress("deny", 0, [(Action::Deny, Peer::Everything)])]);
    assert_ingress(&cluster, NODE_1, WEB, TCP_80, "allowed: own node");
    assert_ingress(&cluster, NODE_2, WEB, TCP_80, "denied: AdminNetworkPolicy/deny ingress[0]");

    let mut from_gateway = flow("10.244.1.1", WEB, TCP_80);
    assert!(!judge(&cluster, &from_gateway).ingress.allowed);
    from_gateway.source_node = Some("node-1".to_owned());
    assert_eq!(
        judge(&cluster, &from_gateway).to_string(),
        "egress allowed: not a subject; ingress allowed: own node"
    );
    from_gateway.source_node = Some("node-2".to_owned());
    assert!(!judge(&cluster, &from_gateway).ingress.allowed);
}

#[test]
fn network_policy_never_keeps_a_pod_from_its_own_node() {
    let cluster = with_network(cluster(), [np("shop", "none", None, allow([]))]);
    assert_egress(&cluster, WEB, NODE_1, TCP_80, "allowed: own node");
    assert_egress(&cluster, WEB, NODE_2, TCP_80, "denied: isolation egress NetworkPolicy/shop/none");

    let mut to_gateway = flow(WEB, "10.244.1.1", TCP_80);
    assert!(!judge(&cluster, &to_gateway).allowed());
    to_gateway.destination_node = Some("node-1".to_owned());
    assert_eq!(
        judge(&cluster, &to_gateway).to_string(),
        "egress allowed: own node; ingress allowed: not a subject"
    );
}

#[test]
fn cluster_wide_policies_apply_towards_the_own_node() {
    let isolated = with_network(cluster(), [np("shop", "none", None, allow([]))]);
    let deny = (Action::Deny, Peer::Nodes(Selector::EVERYTHING));
    let admin_denies = with_admin(isolated.clone(), [anp("deny", 0, [deny.clone()])]);
    assert_egress(&admin_denies, WEB, NODE_1, TCP_80, "denied: AdminNetworkPolicy/deny egress[0]");

    // Isolation lifted: NetworkPolicy has decided, Baseline is not asked.
    let with_baseline = with_admin(isolated, [baseline("z", 0, [deny.clone()])]);
    assert_egress(&with_baseline, WEB, NODE_1, TCP_80, "allowed: own node");
    // Not isolated: it is.
    let with_baseline = with_admin(cluster(), [baseline("z", 0, [deny])]);
    assert_egress(&with_baseline, WEB, NODE_1, TCP_80, "denied: ClusterNetworkPolicy/z egress[0]");
    assert_egress(&cluster(), WEB, NODE_1, TCP_80, "allowed: no rule");
}

#[test]
fn a_pod_reaches_itself_through_a_service_unless_a_cluster_wide_policy_denies() {
    let isolated = with_network(cluster(), [np("shop", "none", allow([]), allow([]))]);
    assert_judged(&isolated, WEB, WEB, TCP_80, "egress allowed: itself; ingress allowed: itself");
    assert!(!judged(&isolated, WEB, API, TCP_80).allowed());

    let denied = with_admin(isolated, [anp_ingress("deny", 0, [(Action::Deny, pods("", "app=web"))])]);
    assert_judged(
        &denied,
        WEB,
        WEB,
        TCP_80,
        "egress allowed: itself; ingress denied: AdminNetworkPolicy/deny ingress[0]",
    );
    let with_baseline = with_admin(cluster(), [baseline("z", 0, [(Action::Deny, Peer::Everything)])]);
    assert_egress(&with_baseline, WEB, WEB, TCP_80, "denied: ClusterNetworkPolicy/z egress[0]");
}

// ---- peers

#[test]
fn pod_peers_match_by_namespace_name_or_labels_and_pod_labels() {
    let by_name =
        Peer::Pods { namespaces: NamespaceMatch::Name("data".to_owned()), pods: selector("app=db") };
    for peer in [by_name, pods("tier=back", "app=db"), pods("", "app=db"), pods("tier=back", "")] {
        let cluster = with_admin(cluster(), [anp("p", 0, [(Action::Deny, peer)])]);
        assert_egress(&cluster, WEB, DB, TCP_80, "denied: AdminNetworkPolicy/p egress[0]");
        assert_egress(&cluster, WEB, API, TCP_80, "allowed: no rule");
    }
    let elsewhere =
        Peer::Pods { namespaces: NamespaceMatch::Name("shop".to_owned()), pods: selector("app=db") };
    for peer in [elsewhere, pods("tier=back", "app=web"), pods("tier=front", "app=db")] {
        let cluster = with_admin(cluster(), [anp("p", 0, [(Action::Deny, peer)])]);
        assert_egress(&cluster, WEB, DB, TCP_80, "allowed: no rule");
    }
}

#[test]
fn pod_peers_match_neither_outsiders_nor_host_network_pods() {
    let mut on_host = pod("data", "agent", "node-2", NODE_2);
    on_host.host_network = true;
    let cluster = with_pods(cluster(), [on_host]);
    let cluster = with_admin(cluster, [anp("p", 0, [(Action::Deny, pods("", ""))])]);
    assert_egress(&cluster, WEB, DB, TCP_80, "denied: AdminNetworkPolicy/p egress[0]");
    assert_egress(&cluster, WEB, NODE_2, TCP_80, "allowed: no rule");
    assert_egress(&cluster, WEB, WORLD, TCP_80, "allowed: no rule");
}

#[test]
fn networks_match_pods_nodes_and_others_but_for_the_exceptions() {
    let peer =
        networks(&["10.244.2.0/24", "172.18.0.0/16", "192.0.2.0/24"], &["10.244.2.32/27", "192.0.2.10/32"]);
    let cluster = with_admin(cluster(), [anp("p", 0, [(Action::Deny, peer)])]);
    for inside in [DB, NODE_2, "192.0.2.11", "10.244.2.64"] {
        assert_egress(&cluster, WEB, inside, TCP_80, "denied: AdminNetworkPolicy/p egress[0]");
    }
    for outside in [API, WORLD, "10.244.2.40"] {
        assert_egress(&cluster, WEB, outside, TCP_80, "allowed: no rule");
    }
}

#[test]
fn a_network_is_of_one_family() {
    let mut web = pod("shop", "web", "node-1", WEB);
    web.addresses.insert(address("fd00:244:1::10"));
    let cluster = with_pods(cluster(), [web]);
    let cluster = with_admin(cluster, [anp("p", 0, [(Action::Deny, networks(&["0.0.0.0/0"], &[]))])]);
    assert_egress(&cluster, WEB, WORLD, ICMP, "denied: AdminNetworkPolicy/p egress[0]");
    assert_egress(&cluster, "fd00:244:1::10", "2001:db8:2::10", L4::Other(58), "allowed: no rule");
}

#[test]
fn node_peers_match_the_addresses_in_the_status_and_no_others() {
    let peer = Peer::Nodes(selector("name=node-2"));
    let cluster = with_admin(cluster(), [anp("p", 0, [(Action::Deny, peer)])]);
    assert_egress(&cluster, WEB, NODE_2, TCP_80, "denied: AdminNetworkPolicy/p egress[0]");
    assert_egress(&cluster, WEB, NODE_1, TCP_80, "allowed: no rule");
    assert_egress(&cluster, WEB, DB, TCP_80, "allowed: no rule");

    let mut to_gateway = flow(WEB, "10.244.2.1", TCP_80);
    assert!(judge(&cluster, &to_gateway).allowed());
    to_gateway.destination_node = Some("node-2".to_owned());
    assert!(judge(&cluster, &to_gateway).allowed());
}

#[test]
fn names_match_nothing_and_neither_does_a_rule_without_peers() {
    let name = Peer::Names(vec![DomainPattern("example.org".to_owned())]);
    let mut policy = anp("p", 0, [(Action::Deny, name), (Action::Deny, Peer::Everything)]);
    policy.egress[1].peers.clear();
    let cluster = with_admin(cluster(), [policy]);
    assert_egress(&cluster, WEB, WORLD, TCP_80, "allowed: no rule");
}

// ---- ports

#[test]
fn ports_are_destination_ports_of_a_protocol() {
    use Protocol::{Sctp, Tcp, Udp};
    let cases: &[(Option<PortMatch>, L4, bool)] = &[
        (None, TCP_80, true),
        (None, ICMP, true),
        (Some(PortMatch::Protocol(Tcp)), TCP_80, true),
        (Some(PortMatch::Protocol(Udp)), TCP_80, false),
        (Some(PortMatch::Protocol(Tcp)), ICMP, false),
        (Some(PortMatch::Range(Tcp, 80, 80)), TCP_80, true),
        (Some(PortMatch::Range(Sctp, 80, 80)), L4::Port(Sctp, 80), true),
        (Some(PortMatch::Range(Sctp, 80, 80)), TCP_80, false),
        (Some(PortMatch::Range(Tcp, 80, 90)), L4::Port(Tcp, 79), false),
        (Some(PortMatch::Range(Tcp, 80, 90)), L4::Port(Tcp, 90), true),
        (Some(PortMatch::Range(Tcp, 80, 90)), L4::Port(Tcp, 91), false),
        (Some(PortMatch::Range(Tcp, 90, 80)), L4::Port(Tcp, 85), false),
        (Some(PortMatch::Range(Tcp, 0, u16::MAX)), ICMP, false),
    ];
    for (port, l4, matches) in cases {
        let mut policy = anp("p", 0, [(Action::Deny, Peer::Everything)]);
        policy.egress[0].ports = port.clone().map(|port| vec![port]);
        let cluster = with_admin(cluster(), [policy]);
        assert_eq!(judged(&cluster, WEB, DB, *l4).allowed(), !matches, "{port:?} {l4}");
    }
}

#[test]
fn no_listed_port_matches_nothing() {
    let mut policy = anp("p", 0, [(Action::Deny, Peer::Everything)]);
    policy.egress[0].ports = Some(Vec::new());
    assert_egress(&with_admin(cluster(), [policy]), WEB, DB, TCP_80, "allowed: no rule");
}

fn named(name: &str, protocol: Option<Protocol>) -> PortMatch {
    PortMatch::Named { name: name.to_owned(), protocol }
}

/// The cluster with named ports on data/db alone: `http`, TCP 8080 in one container and UDP 80 in another, and
/// `other`, TCP 80.
fn with_named_ports() -> Cluster {
    let mut db = pod("data", "db", "node-2", DB);
    db.named_ports = BTreeSet::from([
        NamedPort { name: "http".to_owned(), protocol: Protocol::Tcp, port: 8080 },
        NamedPort { name: "http".to_owned(), protocol: Protocol::Udp, port: 80 },
        NamedPort { name: "other".to_owned(), protocol: Protocol::Tcp, port: 80 },
    ]);
    with_pods(cluster(), [db])
}

#[test]
fn named_ports_are_the_destination_pods() {
    let (tcp_8080, udp_80) = (L4::Port(Protocol::Tcp, 8080), L4::Port(Protocol::Udp, 80));
    for egress in [true, false] {
        let mut policy = if egress {
            anp("p", 0, [(Action::Deny, pods("", ""))])
        } else {
            anp_ingress("p", 0, [(Action::Deny, pods("", ""))])
        };
        let rules = if egress { &mut policy.egress } else { &mut policy.ingress };
        rules[0].ports = Some(vec![named("http", None)]);
        let cluster = with_admin(with_named_ports(), [policy]);
        assert!(!judged(&cluster, WEB, DB, tcp_8080).allowed());
        assert!(!judged(&cluster, WEB, DB, udp_80).allowed(), "each container's port counts");
        assert!(judged(&cluster, WEB, DB, TCP_80).allowed(), "a named port has its own protocol");
        assert!(judged(&cluster, DB, WEB, tcp_8080).allowed(), "the source's names do not count");
        assert!(judged(&cluster, WEB, API, tcp_8080).allowed());
        assert!(judged(&cluster, WEB, DB, ICMP).allowed());
    }
}

#[test]
fn a_named_port_with_a_protocol_asks_for_both() {
    let egress = allow_port(pods("", ""), named("http", Some(Protocol::Udp)));
    let cluster = with_network(with_named_ports(), [np("shop", "p", None, egress)]);
    assert!(judged(&cluster, WEB, DB, L4::Port(Protocol::Udp, 80)).allowed());
    assert!(!judged(&cluster, WEB, DB, L4::Port(Protocol::Tcp, 8080)).allowed());
}

#[test]
fn which_peers_resolve_named_ports() {
    let everywhere = |named_ports| {
        let networks = vec![network("0.0.0.0/0")];
        Peer::Networks { networks, except: Vec::new(), named_ports }
    };
    let cases = [
        (Peer::Everything, true),
        (pods("", ""), true),
        (everywhere(true), true),
        (everywhere(false), false),
        (Peer::Nodes(Selector::EVERYTHING), false),
    ];
    for (peer, resolves) in cases {
        let mut cluster = with_named_ports();
        // The address is a node's too, so that every peer matches it.
        if let Some(node) = cluster.nodes.get_mut("node-2") {
            node.addresses.insert(address(DB));
        }
        let text = format!("{peer:?}");
        let egress = allow_port(peer, named("http", Some(Protocol::Tcp)));
        let cluster = with_network(cluster, [np("shop", "p", None, egress)]);
        assert_eq!(
            judged(&cluster, WEB, DB, L4::Port(Protocol::Tcp, 8080)).egress.allowed,
            resolves,
            "{text}"
        );
        assert!(!judged(&cluster, WEB, WORLD, L4::Port(Protocol::Tcp, 8080)).egress.allowed, "{text}");
    }
}

#[test]
fn on_ingress_named_ports_are_the_subjects_whoever_comes() {
    let everywhere = |named_ports| {
        let networks = vec![network("0.0.0.0/0")];
        Peer::Networks { networks, except: Vec::new(), named_ports }
    };
    for peer in [Peer::Everything, everywhere(true), everywhere(false)] {
        let text = format!("{peer:?}");
        let ingress = allow_port(peer, named("http", Some(Protocol::Tcp)));
        let cluster = with_network(with_named_ports(), [np("data", "p", ingress, None)]);
        for source in [WEB, WORLD, NODE_1] {
            assert!(judged(&cluster, source, DB, L4::Port(Protocol::Tcp, 8080)).allowed(), "{text}");
            assert!(!judged(&cluster, source, DB, TCP_80).allowed(), "{text}");
        }
    }
}

#[test]
fn peers_and_ports_are_combined_peer_by_peer() {
    let mut policy = anp("p", 0, [(Action::Deny, networks(&["10.244.2.0/24"], &[]))]);
    policy.egress[0].peers.push(pods("tier=front", ""));
    policy.egress[0].ports = Some(vec![named("http", None)]);
    // The network holds data/db but resolves no names; the pod peer does but is elsewhere.
    let cluster = with_admin(with_named_ports(), [policy]);
    assert_egress(&cluster, WEB, DB, L4::Port(Protocol::Tcp, 8080), "allowed: no rule");
}

// ---- what addresses a pod and a node have

#[test]
fn every_address_of_a_pod_is_the_pods() {
    let mut db = pod("data", "db", "node-2", DB);
    db.addresses.extend(["10.244.2.11", "fd00:244:2::10"].map(address));
    let mut web = pod("shop", "web", "node-1", WEB);
    web.addresses.extend(["10.244.1.12", "fd00:244:1::10"].map(address));
    let cluster =
        with_admin(with_pods(cluster(), [db, web]), [anp("out", 0, [(Action::Deny, pods("tier=back", ""))])]);
    let cluster = with_network(cluster, [np("shop", "none", allow([]), None)]);
    for (source, destination) in
        [(WEB, DB), (WEB, "10.244.2.11"), ("10.244.1.12", DB), ("fd00:244:1::10", "fd00:244:2::10")]
    {
        assert_egress(&cluster, source, destination, TCP_80, "denied: AdminNetworkPolicy/out egress[0]");
        let isolated = "denied: isolation ingress NetworkPolicy/shop/none";
        assert_ingress(&cluster, destination, source, TCP_80, isolated);
    }
}

#[test]
fn a_pod_without_an_address_is_nobody_yet() {
    let mut early = pod("data", "early", "node-2", "10.244.2.30");
    early.addresses.clear();
    let peers = [(Action::Deny, pods("", "app=early"))];
    let cluster = with_admin(with_pods(cluster(), [early.clone()]), [anp("p", 0, peers)]);
    assert_egress(&cluster, WEB, "10.244.2.30", TCP_80, "allowed: no rule");
    early.addresses.insert(address("10.244.2.30"));
    let cluster = with_pods(cluster, [early]);
    assert_egress(&cluster, WEB, "10.244.2.30", TCP_80, "denied: AdminNetworkPolicy/p egress[0]");
}

#[test]
fn a_finished_pods_address_is_its_successors() {
    let mut job = pod("data", "job", "node-2", "10.244.2.30");
    job.finished = true;
    let next = pod("shop", "next", "node-2", "10.244.2.30");
    let cluster = with_pods(cluster(), [job, next]);
    let peers = [(Action::Allow, pods("", "app=next")), (Action::Deny, pods("", "app=job"))];
    let cluster = with_admin(cluster, [anp("p", 0, peers)]);
    assert_egress(&cluster, WEB, "10.244.2.30", TCP_80, "allowed: AdminNetworkPolicy/p egress[0]");
}

#[test]
fn every_address_of_a_node_is_the_nodes() {
    let mut cluster = cluster();
    let more = ["203.0.113.12", "fd00:18::12"].map(address);
    cluster.nodes.get_mut("node-2").unwrap().addresses.extend(more);
    let mut web = pod("shop", "web", "node-1", WEB);
    web.addresses.insert(address("fd00:244:1::10"));
    let cluster = with_pods(cluster, [web]);
    let cluster = with_admin(cluster, [anp("p", 0, [(Action::Deny, Peer::Nodes(selector("name=node-2")))])]);
    for (source, destination) in [(WEB, NODE_2), (WEB, "203.0.113.12"), ("fd00:244:1::10", "fd00:18::12")] {
        assert_egress(&cluster, source, destination, TCP_80, "denied: AdminNetworkPolicy/p egress[0]");
    }
    // Of the own node too, by any of its addresses.
    let isolated = with_network(cluster, [np("data", "none", allow([]), allow([]))]);
    assert_ingress(&isolated, "203.0.113.12", DB, TCP_80, "allowed: own node");
    assert_ingress(&isolated, NODE_1, DB, TCP_80, "denied: isolation ingress NetworkPolicy/data/none");
}

// ---- contested addresses

#[test]
fn a_claim_that_a_pod_range_backs_wins() {
    let thief = pod("shop", "api", "node-1", DB);
    let cluster = with_pods(cluster(), [thief]);
    let peers = [(Action::Allow, pods("", "app=api")), (Action::Deny, pods("", "app=db"))];
    let cluster = with_admin(cluster, [anp("p", 0, peers)]);
    assert_egress(&cluster, WEB, DB, TCP_80, "denied: AdminNetworkPolicy/p egress[1]");

    let mut policy = anp_ingress("in", 0, [(Action::Deny, Peer::Everything)]);
    policy.subject = AdminSubject::Pods { namespaces: Selector::EVERYTHING, pods: selector("app=api") };
    assert_ingress(&with_admin(cluster, [policy]), WEB, DB, TCP_80, "allowed: no rule");
}

/// shop/api and data/db both at an address in no pod range.
fn contested() -> (Cluster, &'static str) {
    let address = "10.250.0.1";
    (
        with_pods(cluster(), [pod("shop", "api", "node-1", address), pod("data", "db", "node-2", address)]),
        address,
    )
}

#[test]
fn a_contested_peer_is_allowed_what_every_claimant_is() {
    let (cluster, address) = contested();
    for (denied, other) in [("app=api", "app=db"), ("app=db", "app=api")] {
        let peers = [(Action::Allow, pods("", other)), (Action::Deny, pods("", denied))];
        let cluster = with_admin(cluster.clone(), [anp("p", 0, peers)]);
        assert_egress(&cluster, WEB, address, TCP_80, "denied: AdminNetworkPolicy/p egress[1]");
    }
    // Both denied: the first by namespace and name gives the reason.
    let peers = [(Action::Deny, pods("", "app=api")), (Action::Deny, pods("", "app=db"))];
    let both = with_admin(cluster.clone(), [anp("p", 0, peers)]);
    assert_egress(&both, WEB, address, TCP_80, "denied: AdminNetworkPolicy/p egress[1]");
    assert_egress(&cluster, WEB, address, TCP_80, "allowed: no rule");
}

#[test]
fn a_contested_subject_is_allowed_what_every_claimant_is() {
    let (cluster, address) = contested();
    for namespace in ["shop", "data"] {
        let cluster = with_network(cluster.clone(), [np(namespace, "none", allow([]), None)]);
        let reason = format!("denied: isolation ingress NetworkPolicy/{namespace}/none");
        assert_ingress(&cluster, WEB, address, TCP_80, &reason);
    }
    let both = [np("shop", "none", allow([]), None), np("data", "none", allow([]), None)];
    let cluster = with_network(cluster, both);
    assert_ingress(&cluster, WEB, address, TCP_80, "denied: isolation ingress NetworkPolicy/data/none");
}

#[test]
fn several_backed_claims_stay_contested() {
    let cluster = with_pods(cluster(), [pod("data", "twin", "node-2", DB)]);
    let cluster = with_admin(cluster, [anp("p", 0, [(Action::Deny, pods("", "app=twin"))])]);
    assert_egress(&cluster, WEB, DB, TCP_80, "denied: AdminNetworkPolicy/p egress[0]");
}

#[test]
fn an_address_of_a_node_and_a_pod_is_both_peers() {
    let cluster = with_pods(cluster(), [pod("data", "db", "node-2", NODE_2)]);
    for peer in [Peer::Nodes(selector("name=node-2")), pods("", "app=db")] {
        let cluster = with_admin(cluster.clone(), [anp("p", 0, [(Action::Deny, peer)])]);
        assert_egress(&cluster, WEB, NODE_2, TCP_80, "denied: AdminNetworkPolicy/p egress[0]");
    }
}

#[test]
fn hairpin_is_the_pods_own_though_it_claims_its_nodes_address() {
    let cluster = with_pods(cluster(), [pod("data", "db", "node-2", NODE_2)]);
    let cluster = with_admin(cluster, [anp_ingress("in", 0, [(Action::Deny, Peer::Everything)])]);
    assert_ingress(&cluster, NODE_2, NODE_2, TCP_80, "denied: AdminNetworkPolicy/in ingress[0]");
}

#[test]
fn what_a_nodes_stack_sends_is_no_pods_whoever_claims_its_address() {
    let cluster = with_pods(cluster(), [pod("data", "db", "node-2", NODE_2)]);
    let cluster = with_admin(cluster, [anp("p", 0, [(Action::Deny, Peer::Everything)])]);
    let mut from_node = flow(NODE_2, WEB, TCP_80);
    assert_eq!(judge(&cluster, &from_node).egress.to_string(), "denied: AdminNetworkPolicy/p egress[0]");
    from_node.source_node = Some("node-2".to_owned());
    assert_eq!(judge(&cluster, &from_node).egress.to_string(), "allowed: not a subject");
}
