use nftables::types::NfHook;
use palisade_view::{L4, Packet, Protocol};

use super::*;
use crate::element::{Datum, Field, FieldType};
use crate::expression::{
    Stmt, accept, ct_state, drop, equal, goto, jump, leave, meta, payload, reset_scratch, scratch,
    set_scratch, text, verdict_map, within,
};
use crate::names::TABLE;

fn set(name: &'static str, key: FieldType, value: bool, interval: bool) -> Op {
    Op::AddSet(SetDecl { name, key: vec![key], value: value.then_some(FieldType::ClassId), interval })
}

fn port(port: u16) -> Field {
    Field::Exact(Datum::Service(port))
}

fn ports(start: u16, end: u16) -> Field {
    Field::Range(Datum::Service(start), Datum::Service(end))
}

fn element(field: Field, value: Option<u32>) -> Vec<Element> {
    vec![Element { key: vec![field], value }]
}

fn chain(name: &'static str, hook: Option<NfHook>) -> Op {
    Op::AddChain(Chain { table: TABLE.into(), name: name.into(), hook, prio: Some(0), ..Chain::default() })
}

fn rule(chain: &'static str, statements: Vec<Stmt>) -> Op {
    Op::AddRule(Rule { table: TABLE.into(), chain: chain.into(), expr: statements.into(), ..Rule::default() })
}

fn transaction(ops: Vec<Op>) -> Transaction {
    let mut transaction = Transaction::default();
    for op in ops {
        transaction.push(op);
    }
    transaction
}

/// A kernel with a table and what the commands put into it.
fn kernel(ops: Vec<Op>) -> FakeKernel {
    let mut kernel = FakeKernel::new();
    kernel.apply(&transaction(vec![Op::AddTable])).unwrap();
    kernel.apply(&transaction(ops)).unwrap();
    kernel
}

fn refused(kernel: &FakeKernel, ops: Vec<Op>) -> Errno {
    match kernel.clone().apply(&transaction(ops)) {
        Err(Refusal::Kernel { errno, .. }) => errno,
        other => panic!("not refused by the kernel: {other:?}"),
    }
}

fn packet(source: &str, port: u16) -> TracePacket {
    let address = |text: &str| text.parse().unwrap();
    let destination = if source.contains(':') { address("::9") } else { address("10.0.0.9") };
    TracePacket::new(Packet { source: address(source), destination, l4: L4::Port(Protocol::Tcp, port) })
}

fn service() -> Stmt {
    set_scratch(payload("th", "dport"), "m")
}

#[test]
fn a_value_is_not_changed_in_place() {
    let mut kernel = kernel(vec![set("m", FieldType::InetService, true, false)]);
    let add = |value| Op::AddElements("m", element(port(80), Some(value)));
    kernel.apply(&transaction(vec![add(1)])).unwrap();
    kernel.apply(&transaction(vec![add(1)])).unwrap();
    assert_eq!(refused(&kernel, vec![add(2)]), Errno::Eexist);
    let delete = Op::DeleteElements("m", element(port(80), None));
    assert_eq!(refused(&kernel, vec![add(2), delete.clone()]), Errno::Eexist);
    kernel.apply(&transaction(vec![delete, add(2)])).unwrap();
    assert_eq!(kernel.elements("m").unwrap(), element(port(80), Some(2)));
}

#[test]
fn ranges_do_not_overlap_and_are_deleted_as_they_were_added() {
    let mut kernel = kernel(vec![set("s", FieldType::InetService, false, true)]);
    let add = |start, end| Op::AddElements("s", element(ports(start, end), None));
    let delete = |start, end| Op::DeleteElements("s", element(ports(start, end), None));
    kernel.apply(&transaction(vec![add(10, 20), add(21, 30)])).unwrap();
    assert_eq!(refused(&kernel, vec![add(15, 16)]), Errno::Eexist);
    assert_eq!(refused(&kernel, vec![add(5, 10)]), Errno::Eexist);
    assert_eq!(refused(&kernel, vec![delete(10, 15)]), Errno::Enoent);
    assert_eq!(refused(&kernel, vec![add(40, 30)]), Errno::Einval);
    kernel.apply(&transaction(vec![delete(10, 20), add(5, 15)])).unwrap();
    assert_eq!(kernel.elements("s").unwrap().len(), 2);
}

#[test]
fn what_does_not_fit_is_refused() {
    let map = || set("m", FieldType::InetService, true, false);
    let kernel = kernel(vec![map(), chain("base", Some(NfHook::Forward)), chain("a", None)]);
    let add = |field, value| vec![Op::AddElements("m", element(field, value))];
    assert_eq!(refused(&kernel, add(port(1), None)), Errno::Einval, "a map's element has a value");
    assert_eq!(refused(&kernel, add(ports(1, 2), Some(1))), Errno::Einval, "the map has no ranges");
    assert_eq!(refused(&kernel, add(Field::Exact(Datum::Protocol(6)), Some(1))), Errno::Einval);
    let two = vec![Op::AddElements("m", vec![Element { key: vec![port(1), port(1)], value: Some(1) }])];
    assert_eq!(refused(&kernel, two), Errno::Einval);
    assert_eq!(refused(&kernel, vec![Op::AddElements("x", Vec::new())]), Errno::Enoent);
    assert_eq!(refused(&kernel, vec![Op::DeleteElements("m", element(port(1), None))]), Errno::Enoent);
    assert_eq!(refused(&kernel, vec![set("m", FieldType::InetService, false, false)]), Errno::Eexist);
    assert_eq!(refused(&FakeKernel::new(), vec![Op::DeleteTable]), Errno::Enoent);
    assert_eq!(refused(&FakeKernel::new(), vec![map()]), Errno::Enoent);

    let wrong_key = set_scratch(payload("ip", "saddr"), "m");
    assert_eq!(refused(&kernel, vec![rule("a", vec![wrong_key, accept()])]), Errno::Einval);
    let map_as_set = within(payload("th", "dport"), "m");
    assert_eq!(refused(&kernel, vec![rule("a", vec![map_as_set, accept()])]), Errno::Einval);
    assert_eq!(refused(&kernel, vec![rule("a", vec![goto("nowhere")])]), Errno::Enoent);
    assert_eq!(refused(&kernel, vec![rule("a", vec![goto("base")])]), Errno::Einval);
    assert_eq!(refused(&kernel, vec![rule("nowhere", vec![accept()])]), Errno::Enoent);
    let circle = vec![rule("base", vec![goto("a")]), rule("a", vec![goto("a")])];
    assert_eq!(refused(&kernel, circle), Errno::Eloop);
}

#[test]
fn a_refused_transaction_changes_nothing() {
    let mut kernel = kernel(vec![set("s", FieldType::InetService, false, false)]);
    let ops = vec![Op::AddElements("s", element(port(1), None)), Op::AddElements("x", Vec::new())];
    kernel.apply(&transaction(ops)).unwrap_err();
    assert_eq!(kernel.elements("s").unwrap(), []);
}

#[test]
fn unknown_shapes_are_refused() {
    let kernel = kernel(vec![set("m", FieldType::InetService, true, false), chain("a", None)]);
    let shapes: Vec<Vec<Stmt>> = vec![
        vec![],
        vec![Stmt::Notrack],
        vec![accept(), equal(scratch(), text("none"))],
        vec![equal(meta(nftables::expr::MetaKey::Mark), text("1")), accept()],
        vec![equal(payload("ip", "saddr"), text("10.0.0.1")), accept()],
        vec![equal(ct_state(), text("new")), accept()],
        vec![verdict_map(ct_state(), [("established", reset_scratch())])],
    ];
    for shape in shapes {
        let refusal = kernel.clone().apply(&transaction(vec![rule("a", shape.clone())]));
        assert!(matches!(refusal, Err(Refusal::Shape { command: 0, .. })), "{shape:?}: {refusal:?}");
    }
}

/// The trap that the skeleton's shape is about: with the lookup and what relies on it in two rules, the sender's TOS
/// picks the program.
#[test]
fn a_miss_leaves_the_scratch_value_to_the_next_rule() {
    let sets = || {
        vec![set("m", FieldType::InetService, true, false), set("allowed", FieldType::ClassId, false, false)]
    };
    let fill = || {
        vec![
            Op::AddElements("m", element(port(80), Some(6))),
            Op::AddElements("allowed", element(Field::Exact(Datum::ClassId(6)), None)),
        ]
    };
    let allowed = || rule("next", vec![within(scratch(), "allowed"), reset_scratch(), accept()]);
    let chains = || vec![chain("base", Some(NfHook::Forward)), chain("next", None)];
    let one_rule = vec![rule("base", vec![service(), goto("next")]), rule("base", vec![drop()]), allowed()];
    let two_rules = vec![rule("base", vec![service()]), rule("base", vec![goto("next")]), allowed()];
    let two_rules = [two_rules, vec![rule("next", vec![drop()])]].concat();
    for (rules, leaks) in [(one_rule, false), (two_rules, true)] {
        let kernel = kernel([sets(), chains(), rules, fill()].concat());
        let verdict = |port, scratch| {
            kernel.trace(Hook::Forward, &packet("10.0.0.1", port).with_scratch(scratch)).verdict
        };
        assert_eq!(verdict(80, 0), Verdict::Accept);
        assert_eq!(verdict(81, 0), Verdict::Drop);
        assert_eq!(verdict(81, 6) == Verdict::Accept, leaks);
    }
}

#[test]
fn returning_goes_back_past_a_goto_and_behind_a_jump() {
    let deny_rest = |jump_or_goto| {
        kernel(vec![
            chain("base", Some(NfHook::Forward)),
            chain("a", None),
            chain("b", None),
            rule("base", vec![jump("a")]),
            rule("base", vec![equal(meta(nftables::expr::MetaKey::Nfproto), text("ipv4")), drop()]),
            rule("a", vec![jump_or_goto]),
            rule("a", vec![accept()]),
            rule("b", vec![leave()]),
        ])
    };
    let verdict = |kernel: &FakeKernel| kernel.trace(Hook::Forward, &packet("10.0.0.1", 80)).verdict;
    assert_eq!(verdict(&deny_rest(jump("b"))), Verdict::Accept, "back in a, which accepts");
    assert_eq!(verdict(&deny_rest(goto("b"))), Verdict::Drop, "back in base, which drops");
}

#[test]
fn a_field_that_a_packet_lacks_ends_the_rule() {
    let kernel = kernel(vec![
        set("s", FieldType::Ipv4Addr, false, false),
        Op::AddElements("s", element(Field::Exact(Datum::Ipv4([10, 0, 0, 1].into())), None)),
        chain("base", Some(NfHook::Input)),
        rule("base", vec![within(payload("ip", "saddr"), "s"), drop()]),
    ]);
    let verdict = |hook, source| kernel.trace(hook, &packet(source, 80)).verdict;
    assert_eq!(verdict(Hook::Input, "10.0.0.1"), Verdict::Drop);
    assert_eq!(verdict(Hook::Input, "10.0.0.2"), Verdict::Accept);
    assert_eq!(verdict(Hook::Input, "::1"), Verdict::Accept);
    assert_eq!(verdict(Hook::Forward, "10.0.0.1"), Verdict::Accept, "nothing is at that hook");
    assert_eq!(FakeKernel::new().trace(Hook::Input, &packet("10.0.0.1", 80)).verdict, Verdict::Accept);
}
