//! The static part of the table: sets, maps, chains and rules. Policies change elements only, never anything here.
//!
//! How a new flow is judged: egress of a local source, then ingress of a local destination; both must permit. Each
//! side asks who the peer is (`peer*` by exact address, else `cidr*` by interval), which gives its class; then what
//! the subject grants that class (`decide_*`, else `default_*`), which gives a program; then whether the program
//! allows the packet (`allow_*`). A pod's traffic to its own node is asked of the `own_*` maps, and a packet from a
//! pod to itself, which is service hairpin wherever a node sees one, of `self*` alone.
//!
//! Three rules keep a packet from choosing its own class by its TOS, which is where the scratch value
//! (`meta priority`) starts:
//! - a map lookup and the `goto` that relies on it stand in ONE rule, because a lookup that misses only ends its
//!   rule and leaves the scratch value as it was;
//! - identifiers start beyond any value TOS can give (see [`Numbers`](crate::Numbers));
//! - every permit resets the scratch value, so that no identifier of ours picks a traffic class further on.

use std::sync::LazyLock;

use nftables::expr::MetaKey;
use nftables::schema::{Chain, Rule};
use nftables::types::{NfChainPolicy, NfChainType, NfFamily, NfHook};
use palisade_view::{Family, KeyHasher, Protocol};

use crate::element::{FieldType, SetDecl};
use crate::expression::{
    Stmt, accept, any_number, any_of, concat, counter, ct_state, drop, equal, goto, jump, leave, meta,
    number, payload, prefix, reset_scratch, scratch, set_scratch, text, unequal, verdict_map, within,
};
use crate::names::{self, ALLOW_ALL, ALLOW_OTHER, ALLOW_PORT, Question, TABLE};
use crate::{marker, transaction::Op, transaction::Transaction};

/// IANA's protocol numbers.
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

/// Five before the filter priority: behind DNAT, before SNAT, and before the chains of others that filter.
const PRIORITY: i32 = -5;

/// What the host discovers neighbours and routers with. Valid only with hop limit 255 (RFC 4861, 6.1 and 7.1): a
/// routed packet never is.
const NEIGHBOUR_DISCOVERY: [&str; 5] =
    ["nd-router-solicit", "nd-router-advert", "nd-neighbor-solicit", "nd-neighbor-advert", "nd-redirect"];

/// Multicast listener messages are sent to a multicast address with hop limit 1 (RFC 2710, 3; RFC 3810, 5).
const LISTENER_DISCOVERY: [&str; 4] =
    ["mld-listener-query", "mld-listener-report", "mld-listener-done", "mld2-listener-report"];

/// Every set and map, in the order in which they are declared.
pub fn sets() -> Vec<SetDecl> {
    use FieldType::{ClassId, InetProto, InetService, Ipv4Addr, Ipv6Addr};
    let set = |name, key: &[FieldType]| SetDecl { name, key: key.to_vec(), value: None, interval: false };
    let ranged = |decl: SetDecl| SetDecl { interval: true, ..decl };
    let map = |decl: SetDecl| SetDecl { value: Some(ClassId), ..decl };

    let mut sets = vec![
        set(marker::REVISION, &[Ipv6Addr]),
        set(marker::SKELETON, &[Ipv6Addr]),
        set(marker::GENERATION, &[Ipv6Addr]),
    ];
    for family in FAMILIES {
        let address = if family == Family::V4 { Ipv4Addr } else { Ipv6Addr };
        sets.push(map(set(names::peer(family), &[address])));
        sets.push(map(ranged(set(names::cidr(family), &[address]))));
        sets.push(set(names::out(family), &[address]));
        sets.push(set(names::ingress(family), &[address]));
        for question in Question::ALL {
            sets.push(map(set(question.decide(family), &[ClassId, address])));
            sets.push(map(set(question.default(family), &[address])));
        }
        sets.push(map(set(names::hairpin(family), &[address, address])));
    }
    sets.push(set(ALLOW_ALL, &[ClassId]));
    sets.push(set(ALLOW_PORT, &[ClassId, InetProto, InetService]));
    for protocol in Protocol::ALL {
        sets.push(ranged(set(names::allow_range(protocol), &[ClassId, InetService])));
    }
    sets.push(set(ALLOW_OTHER, &[ClassId]));
    sets
}

/// The commands that build the whole table, empty of elements but for the markers of the skeleton itself, where
/// there is none.
pub fn build() -> Transaction {
    let mut transaction = Transaction::default();
    transaction.push(Op::AddTable);
    for set in sets() {
        transaction.push(Op::AddSet(set));
    }
    let mut rules = Rules::default();
    rules.hooks();
    for family in FAMILIES {
        rules.judge(family);
        rules.side(family, Side::Egress);
        rules.own_node(family);
        rules.side(family, Side::Ingress);
    }
    rules.program("egress_program", leave(), "egress_deny");
    rules.program("ingress_program", leave(), "ingress_deny");
    // A hairpin packet has met both directions in one program: nothing is left to judge.
    rules.program("hairpin_program", accept(), "hairpin_deny");
    for chain in ["egress_deny", "ingress_deny", "hairpin_deny"] {
        rules.chain(chain);
        rules.rule("a silent drop: a refusal would tell a scanner more than a time-out", [counter(), drop()]);
    }
    // All chains first: a rule may only name what is there.
    for chain in rules.chains {
        transaction.push(Op::AddChain(chain));
    }
    for rule in rules.rules {
        transaction.push(Op::AddRule(rule));
    }
    transaction
}

/// The hash of everything [`build`] adds: what the `skeleton` marker holds while a table of this very build is in
/// force.
pub fn fingerprint() -> u128 {
    // Every plan asks for it, and a build has only one.
    static FINGERPRINT: LazyLock<u128> =
        LazyLock::new(|| u128::from_be_bytes(KeyHasher::new("skeleton").str(&build().to_json()).finish().0));
    *FINGERPRINT
}

#[derive(Clone, Copy)]
enum Side {
    Egress,
    Ingress,
}

/// The protocol name and a suffix for objects of a family.
fn words(family: Family) -> (&'static str, char) {
    match family {
        Family::V4 => ("ip", '4'),
        Family::V6 => ("ip6", '6'),
    }
}

fn base_chain(name: &'static str, hook: NfHook) -> Chain<'static> {
    Chain {
        _type: Some(NfChainType::Filter),
        hook: Some(hook),
        prio: Some(PRIORITY),
        policy: Some(NfChainPolicy::Accept),
        ..chain(name.to_owned())
    }
}

fn chain(name: String) -> Chain<'static> {
    Chain { family: NfFamily::INet, table: TABLE.into(), name: name.into(), ..Chain::default() }
}

#[derive(Default)]
struct Rules {
    chains: Vec<Chain<'static>>,
    rules: Vec<Rule<'static>>,
}

impl Rules {
    /// Opens a chain; rules go to the chain opened last.
    fn chain(&mut self, name: impl Into<String>) {
        self.chains.push(chain(name.into()));
    }

    fn rule(&mut self, comment: &'static str, statements: impl IntoIterator<Item = Stmt>) {
        let chain = self.chains.last().map(|chain| chain.name.clone()).unwrap_or_default();
        self.rules.push(Rule {
            family: NfFamily::INet,
            table: TABLE.into(),
            chain,
            expr: statements.into_iter().collect::<Vec<_>>().into(),
            comment: (!comment.is_empty()).then(|| comment.into()),
            ..Rule::default()
        });
    }

    fn hooks(&mut self) {
        let by_family =
            || verdict_map(meta(MetaKey::Nfproto), [("ipv4", goto("judge4")), ("ipv6", goto("judge6"))]);
        let by_state = |related: &'static str| {
            verdict_map(ct_state(), [("established", accept()), ("related", goto(related))])
        };
        let is_icmp6 = || equal(meta(MetaKey::L4proto), number(ICMPV6));
        let icmp_errors = "errors of a living flow; connections of a helper are judged as new ones";

        self.chains.push(base_chain("forward", NfHook::Forward));
        self.rule("flows already judged", [by_state("related")]);
        self.rule("", [is_icmp6(), jump("icmp6")]);
        self.rule("", [by_family()]);
        self.chain("related");
        self.rule(icmp_errors, [equal(meta(MetaKey::L4proto), any_number(&[ICMP, ICMPV6])), accept()]);
        self.rule("", [by_family()]);
        self.chains.push(base_chain("input", NfHook::Input));
        self.rule("", [equal(meta(MetaKey::Iif), text("lo")), accept()]);
        self.rule("flows already judged", [by_state("related_own")]);
        self.rule("", [is_icmp6(), jump("icmp6")]);
        self.rule("", [goto("judge_own")]);
        self.chain("related_own");
        self.rule(icmp_errors, [equal(meta(MetaKey::L4proto), any_number(&[ICMP, ICMPV6])), accept()]);
        self.rule("", [goto("judge_own")]);
        self.icmp6();
        self.chain("judge_own");
        for family in FAMILIES {
            let (ip, digit) = words(family);
            let subject = within(payload(ip, "saddr"), names::out(family));
            self.rule("a pod to its own node", [subject, goto(format!("egress{digit}_own"))]);
        }
    }

    /// What links need to work. Comes back where it does not accept: to go on to `judge6` from here would let IPv4
    /// packets of protocol 58 pass unjudged.
    fn icmp6(&mut self) {
        let kind = |kinds: &[&'static str]| equal(payload("icmpv6", "type"), any_of(kinds));
        let hop_limit = |limit: u8| equal(payload("ip6", "hoplimit"), number(limit));
        self.chain("icmp6");
        self.rule(
            "neighbour discovery, from the link only",
            [kind(&NEIGHBOUR_DISCOVERY), hop_limit(255), accept()],
        );
        self.rule(
            "multicast listeners, on the link only",
            [
                kind(&LISTENER_DISCOVERY),
                hop_limit(1),
                equal(payload("ip6", "daddr"), prefix("ff00::", 8)),
                accept(),
            ],
        );
    }

    fn judge(&mut self, family: Family) {
        let (ip, digit) = words(family);
        self.chain(format!("judge{digit}"));
        let source = within(payload(ip, "saddr"), names::out(family));
        let destination = within(payload(ip, "daddr"), names::ingress(family));
        self.rule("a local source must permit", [source, jump(format!("egress{digit}"))]);
        self.rule("and so must a local destination", [destination, jump(format!("ingress{digit}"))]);
    }

    /// One direction of forwarded traffic.
    fn side(&mut self, family: Family, side: Side) {
        let (ip, digit) = words(family);
        let (stem, subject, peer, question) = match side {
            Side::Egress => ("egress", "saddr", "daddr", Question::Out),
            Side::Ingress => ("ingress", "daddr", "saddr", Question::In),
        };
        let stem = format!("{stem}{digit}");
        self.chain(stem.clone());
        let both = concat([payload(ip, "saddr"), payload(ip, "daddr")]);
        self.rule(
            "a pod to itself through a service",
            [set_scratch(both, names::hairpin(family)), goto("hairpin_program")],
        );
        let program = match side {
            Side::Egress => "egress_program",
            Side::Ingress => "ingress_program",
        };
        self.lookups(family, &stem, (subject, peer), question, program);
    }

    /// Traffic to the node's own stack.
    fn own_node(&mut self, family: Family) {
        let (_, digit) = words(family);
        let stem = format!("egress{digit}_own");
        self.chain(stem.clone());
        self.lookups(family, &stem, ("saddr", "daddr"), Question::Own, "egress_program");
    }

    /// Peer to class to program; opens the chains for the two steps behind the first.
    fn lookups(
        &mut self,
        family: Family,
        stem: &str,
        (subject, peer): (&'static str, &'static str),
        question: Question,
        program: &'static str,
    ) {
        let (ip, _) = words(family);
        let deny = if matches!(question, Question::In) { "ingress_deny" } else { "egress_deny" };
        let (class, default) = (format!("{stem}_class"), format!("{stem}_default"));
        for map in [names::peer(family), names::cidr(family)] {
            self.rule("", [set_scratch(payload(ip, peer), map), goto(class.clone())]);
        }
        self.rule("", [goto(default.clone())]);
        self.chain(class);
        let key = concat([scratch(), payload(ip, subject)]);
        self.rule("", [set_scratch(key, question.decide(family)), goto(program)]);
        self.rule("", [goto(default.clone())]);
        self.chain(default);
        self.rule("", [set_scratch(payload(ip, subject), question.default(family)), goto(program)]);
        self.rule("a subject always has a default", [goto(deny)]);
    }

    /// What a program allows; falling through denies.
    fn program(&mut self, name: &'static str, permit: Stmt, deny: &'static str) {
        // `th dport` of a protocol without ports is some other field; the sets hold tcp, udp and sctp alone.
        let protocol = || meta(MetaKey::L4proto);
        let port = || concat([scratch(), protocol(), payload("th", "dport")]);
        let without_ports = unequal(protocol(), any_number(&Protocol::ALL.map(Protocol::number)));
        self.chain(name);
        self.rule("", [within(scratch(), ALLOW_ALL), reset_scratch(), permit.clone()]);
        self.rule("", [within(port(), ALLOW_PORT), reset_scratch(), permit.clone()]);
        // The protocol is no part of a key with ranges: nft (1.0.6 for one) turns its one byte round by an operation
        // on two, and Linux has refused that since 6.12.
        for one in Protocol::ALL {
            let port = concat([scratch(), payload("th", "dport")]);
            let (of_it, allowed) = (equal(protocol(), number(one.number())), names::allow_range(one));
            self.rule("", [of_it, within(port, allowed), reset_scratch(), permit.clone()]);
        }
        self.rule("", [without_ports, within(scratch(), ALLOW_OTHER), reset_scratch(), permit]);
        self.rule("", [goto(deny)]);
    }
}
