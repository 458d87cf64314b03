#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "tests say what they expect")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use palisade_compiler::model::{Event, Kind, Object, ObjectRef, Policy};
use palisade_compiler::{Diagnostic, Severity, intake};
use serde_json::{Value, json};

use super::backoff::Backoff;
use super::definition::Definition;
use super::fold::Fold;
use super::heard::{Absence, Heard, Seen, read};
use super::lineage::{Lineage, Verdict};
use super::pending::Note;
use super::shelf::Moment;
use super::slim::{NamespaceShape, NodeShape, PodShape, PolicyShape, Shape, Slim};
use crate::batch::{Batch, Finding, PolicyReport};
use crate::state::SourceState;

const GRACE: Duration = Duration::from_mins(5);

/// A fold that has read nothing of every kind and made its first batch.
struct Told {
    fold: Fold,
    start: Moment,
}

impl Told {
    fn new() -> Self {
        let start = Moment { instant: Instant::now(), timestamp: Timestamp::UNIX_EPOCH };
        let mut fold = Fold::new(GRACE);
        for kind in Kind::ALL {
            fold.hear(kind, Heard::Began, start);
            fold.hear(kind, Heard::Ended(Absence::Deleted), start);
        }
        assert_eq!(fold.batch(), Batch::default());
        fold.states();
        Self { fold, start }
    }

    fn hear_at(&mut self, seconds: u64, kind: Kind, heard: Vec<Heard>) -> Batch {
        let later = Duration::from_secs(seconds);
        let now = Moment { instant: self.start.instant + later, timestamp: self.start.timestamp + later };
        for heard in heard {
            self.fold.hear(kind, heard, now);
        }
        self.fold.batch()
    }

    fn hear(&mut self, kind: Kind, heard: Vec<Heard>) -> Batch {
        self.hear_at(0, kind, heard)
    }

    fn tick(&mut self, seconds: u64) -> Batch {
        let later = Duration::from_secs(seconds);
        self.fold
            .tick(Moment { instant: self.start.instant + later, timestamp: self.start.timestamp + later });
        self.fold.batch()
    }

    fn states(&mut self) -> Vec<(Kind, SourceState)> {
        self.fold.states()
    }
}

fn seen<S: Shape>(kind: Kind, raw: Value) -> Seen {
    read(kind, serde_json::from_value::<Slim<S>>(raw).unwrap(), None).unwrap()
}

fn namespace(name: &str, env: &str, version: u64) -> Seen {
    seen::<NamespaceShape>(
        Kind::Namespace,
        json!({"metadata": {
            "name": name, "uid": format!("uid of {name}"), "resourceVersion": version.to_string(), "labels": {"env": env},
        }}),
    )
}

fn pod(name: &str, address: &str, version: u64) -> Seen {
    seen::<PodShape>(
        Kind::Pod,
        json!({
            "metadata": {
                "name": name, "namespace": "a", "uid": format!("uid of {name}"), "resourceVersion": version.to_string(),
                "labels": {"app": name},
            },
            "spec": {"nodeName": "one", "containers": []},
            "status": {"podIPs": [{"ip": address}]},
        }),
    )
}

/// An `AdminNetworkPolicy` with an action; its uid is that of its name, its generation is given.
fn policy(name: &str, action: &str, generation: i64) -> Value {
    json!({
        "apiVersion": "policy.networking.k8s.io/v1alpha1",
        "kind": "AdminNetworkPolicy",
        "metadata": {
            "name": name, "uid": format!("uid of {name}"), "generation": generation,
            "resourceVersion": (generation * 10).to_string(),
        },
        "spec": {
            "priority": 1, "subject": {"namespaces": {}},
            "ingress": [{"action": action, "from": [{"namespaces": {}}]}],
        },
    })
}

const ANP: Kind = Kind::AdminNetworkPolicy;

fn anp(raw: Value) -> Seen {
    seen::<PolicyShape>(ANP, raw)
}

fn reference(kind: Kind, name: &str) -> ObjectRef {
    let namespace = kind.is_namespaced().then(|| "a".to_owned());
    ObjectRef { kind, namespace, name: name.to_owned() }
}

fn apply(seen: &Seen) -> Event {
    Event::Apply(seen.model.clone().unwrap())
}

fn delete(kind: Kind, name: &str) -> Event {
    Event::Delete(reference(kind, name))
}

fn report(name: &str, generation: i64) -> PolicyReport {
    PolicyReport { uid: format!("uid of {name}"), generation, conditions: Vec::new() }
}

fn gone(kind: Kind, name: &str, version: u64, absence: Absence) -> Heard {
    Heard::Gone { object: reference(kind, name), version: Some(version), absence }
}

#[test]
fn the_first_batch_waits_for_every_kind_and_is_whole() {
    let mut fold = Fold::new(GRACE);
    let now = Moment::now();
    let all = namespace("a", "x", 7);
    for kind in Kind::ALL {
        assert!(!fold.is_due(), "before {kind}");
        if kind == Kind::ClusterNetworkPolicy {
            // A definition that is not installed holds nobody up.
            fold.hear(kind, Heard::Absent, now);
            continue;
        }
        fold.hear(kind, Heard::Began, now);
        if kind == Kind::Namespace {
            fold.hear(kind, Heard::Listed(all.clone()), now);
        }
        fold.hear(kind, Heard::Ended(Absence::Deleted), now);
    }
    assert!(fold.is_due());
    let expected =
        Batch { events: vec![apply(&all)], seen: BTreeMap::from([("Namespace", 7)]), ..Batch::default() };
    assert_eq!(fold.batch(), expected);
    assert!(!fold.is_due());
    let state =
        |kind| if kind == Kind::ClusterNetworkPolicy { SourceState::Missing } else { SourceState::Synced };
    let mut states: Vec<_> = Kind::ALL.into_iter().map(|kind| (kind, state(kind))).collect();
    states.sort_unstable_by_key(|(kind, _)| *kind);
    assert_eq!(fold.states(), states);
    assert_eq!(fold.states(), []);
}

#[test]
fn a_failing_kind_holds_the_first_batch_up_and_is_told() {
    let mut fold = Fold::new(GRACE);
    let now = Moment::now();
    for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Pod) {
        fold.hear(kind, Heard::Ended(Absence::Deleted), now);
    }
    fold.states();
    fold.hear(Kind::Pod, Heard::Failing(Some("no".to_owned())), now);
    assert!(!fold.is_due());
    assert_eq!(fold.states(), [(Kind::Pod, SourceState::Failing { message: "no".to_owned() })]);
    fold.hear(Kind::Pod, Heard::Failing(None), now);
    assert_eq!(fold.states(), [(Kind::Pod, SourceState::Syncing)]);
    fold.hear(Kind::Pod, Heard::Ended(Absence::Deleted), now);
    assert!(fold.is_due());
    assert_eq!(fold.states(), [(Kind::Pod, SourceState::Synced)]);
}

#[test]
fn what_policy_cannot_see_is_no_change() {
    let mut told = Told::new();
    let node = |heartbeat: &str, address: &str, version: &str| {
        let raw = json!({
            "metadata": {"name": "one", "uid": "u", "resourceVersion": version, "annotations": {"volumes": heartbeat}},
            "spec": {"podCIDR": "10.0.0.0/24"},
            "status": {
                "addresses": [{"type": "InternalIP", "address": address}],
                "conditions": [{"type": "Ready", "status": "True", "lastHeartbeatTime": heartbeat}],
                "images": [{"names": ["a"], "sizeBytes": 1}],
            },
        });
        seen::<NodeShape>(Kind::Node, raw)
    };
    let first = node("1", "192.0.2.1", "1");
    let batch = told.hear(Kind::Node, vec![Heard::Applied(first.clone())]);
    assert_eq!(batch.events, [apply(&first)]);
    told.fold.hear(Kind::Node, Heard::Applied(node("2", "192.0.2.1", "2")), told.start);
    assert!(!told.fold.is_due());
    // It is told with the next change, which is in the same batch as everything before it.
    let moved = node("3", "192.0.2.2", "3");
    let expected =
        Batch { events: vec![apply(&moved)], seen: BTreeMap::from([("Node", 3)]), ..Batch::default() };
    assert_eq!(told.hear(Kind::Node, vec![Heard::Applied(moved)]), expected);
}

#[test]
fn each_object_is_in_a_batch_once_as_it_was_last() {
    let mut told = Told::new();
    let (a, b) = (namespace("a", "2", 4), namespace("b", "1", 5));
    let batch = told.hear(
        Kind::Namespace,
        vec![
            Heard::Applied(namespace("a", "1", 3)),
            Heard::Applied(a.clone()),
            Heard::Applied(b.clone()),
            gone(Kind::Namespace, "b", 6, Absence::Deleted),
            gone(Kind::Namespace, "never", 7, Absence::Deleted),
        ],
    );
    let expected = Batch {
        events: vec![apply(&a), delete(Kind::Namespace, "b")],
        seen: BTreeMap::from([("Namespace", 7)]),
        ..Batch::default()
    };
    assert_eq!(batch, expected);
}

#[test]
fn a_list_replaces_what_is_known_when_it_is_whole() {
    let mut told = Told::new();
    let (a, b, c) = (pod("a", "10.0.0.1", 1), pod("b", "10.0.0.2", 2), pod("c", "10.0.0.3", 3));
    told.hear(Kind::Pod, vec![Heard::Applied(a.clone()), Heard::Applied(b), Heard::Applied(c)]);
    let moved = pod("a", "10.0.0.9", 8);
    let new = pod("d", "10.0.0.4", 9);
    let batch = told.hear(
        Kind::Pod,
        vec![Heard::Began, Heard::Listed(moved.clone()), Heard::Listed(pod("c", "10.0.0.3", 3))],
    );
    assert_eq!(batch, Batch { events: vec![apply(&moved)], ..Batch::default() });
    // A list that breaks off and begins anew, on another server: nothing of the first counts.
    let batch = told.hear(
        Kind::Pod,
        vec![Heard::Began, Heard::Listed(new.clone()), Heard::Listed(pod("a", "10.0.0.9", 8))],
    );
    assert_eq!(batch, Batch { events: vec![apply(&new)], ..Batch::default() });
    let batch = told.hear(Kind::Pod, vec![Heard::Ended(Absence::Deleted)]);
    let expected = Batch {
        events: vec![delete(Kind::Pod, "b"), delete(Kind::Pod, "c")],
        seen: BTreeMap::from([("Pod", 9)]),
        ..Batch::default()
    };
    assert_eq!(batch, expected);
    assert_eq!(told.states(), []);
}

#[test]
fn a_malformed_pod_keeps_its_last_good_state() {
    let mut told = Told::new();
    let good = pod("p", "10.0.0.1", 1);
    told.hear(Kind::Pod, vec![Heard::Applied(good.clone())]);
    told.fold.notes();
    let mut raw = json!({
        "metadata": {"name": "p", "namespace": "a", "uid": "uid of p", "resourceVersion": "2"},
        "spec": {"containers": "none"}, "status": {"podIPs": [{"ip": "10.0.0.2"}]},
    });
    let bad = seen::<PodShape>(Kind::Pod, raw.clone());
    assert_eq!(bad.model, None);
    let findings = |is_kept| -> Vec<Finding> {
        let finding =
            |diagnostic: &Diagnostic| Finding { origin: None, diagnostic: diagnostic.clone(), is_kept };
        bad.diagnostics.iter().map(finding).collect()
    };
    let batch = told.hear(Kind::Pod, vec![Heard::Applied(bad.clone())]);
    let expected = Batch {
        findings: BTreeMap::from([(reference(Kind::Pod, "p"), findings(true))]),
        seen: BTreeMap::from([("Pod", 2)]),
        ..Batch::default()
    };
    assert_eq!(batch, expected);
    let fields: Vec<&str> = bad.diagnostics.iter().map(|found| found.field.as_str()).collect();
    assert_eq!(fields, ["", "spec.containers"]);
    assert_eq!(told.fold.notes(), findings(true).into_iter().map(Note::Found).collect::<Vec<_>>());
    // Another pod of the same name is no reason to believe anything of the one before.
    raw["metadata"]["uid"] = "another".into();
    let batch = told.hear(Kind::Pod, vec![Heard::Applied(seen::<PodShape>(Kind::Pod, raw))]);
    assert_eq!(batch.events, [delete(Kind::Pod, "p")]);
    assert_eq!(batch.findings, BTreeMap::from([(reference(Kind::Pod, "p"), findings(false))]));
    // Good again, nothing is found any more.
    let batch = told.hear(Kind::Pod, vec![Heard::Applied(good.clone())]);
    assert_eq!(batch.events, [apply(&good)]);
    assert_eq!(batch.findings, BTreeMap::from([(reference(Kind::Pod, "p"), Vec::new())]));
}

#[test]
fn a_policy_that_breaks_the_schema_keeps_its_last_good_content() {
    let mut told = Told::new();
    let good = anp(policy("p", "Deny", 1));
    let batch = told.hear(ANP, vec![Heard::Applied(good.clone())]);
    let expected = Batch {
        events: vec![apply(&good)],
        policies: BTreeMap::from([(reference(ANP, "p"), Some(report("p", 1)))]),
        seen: BTreeMap::from([(ANP.name(), 10)]),
        ..Batch::default()
    };
    assert_eq!(batch, expected);
    let mut raw = policy("p", "Deny", 2);
    raw["spec"]["priority"] = "high".into();
    let bad = anp(raw);
    let batch = told.hear(ANP, vec![Heard::Applied(bad.clone())]);
    let kept = bad.diagnostics.iter().map(|diagnostic| Finding {
        origin: None,
        diagnostic: diagnostic.clone(),
        is_kept: true,
    });
    let expected = Batch {
        findings: BTreeMap::from([(reference(ANP, "p"), kept.collect())]),
        policies: BTreeMap::from([(reference(ANP, "p"), Some(report("p", 2)))]),
        seen: BTreeMap::from([(ANP.name(), 20)]),
        ..Batch::default()
    };
    assert_eq!(batch, expected);
    // Without good content, what can be decoded is in force, and the rest fails closed.
    let mut raw = policy("q", "Deny", 3);
    raw["spec"]["priority"] = "high".into();
    let bad = anp(raw.clone());
    let batch = told.hear(ANP, vec![Heard::Applied(bad.clone())]);
    assert_eq!(batch.events, [apply(&bad)]);
    assert!(batch.findings[&reference(ANP, "q")].iter().all(|finding| !finding.is_kept));
    // What is written anew under the same name is another policy.
    raw["metadata"]["name"] = "p".into();
    raw["metadata"]["uid"] = "another".into();
    let bad = anp(raw);
    let batch = told.hear(ANP, vec![Heard::Applied(bad.clone())]);
    assert_eq!(batch.events, [apply(&bad)]);
}

#[test]
fn conditions_and_generations_make_reports() {
    let mut told = Told::new();
    told.hear(ANP, vec![Heard::Applied(anp(policy("p", "Deny", 1)))]);
    let mut raw = policy("p", "Deny", 1);
    let condition = json!({
        "type": "Accepted", "status": "True", "reason": "Valid", "message": "", "observedGeneration": 1,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    });
    raw["metadata"]["resourceVersion"] = "11".into();
    raw["status"] = json!({"conditions": [condition.clone(), {"type": "malformed"}, 3], "other": 1});
    let changed =
        PolicyReport { conditions: vec![serde_json::from_value(condition).unwrap()], ..report("p", 1) };
    let expected = Batch {
        policies: BTreeMap::from([(reference(ANP, "p"), Some(changed))]),
        seen: BTreeMap::from([(ANP.name(), 11)]),
        ..Batch::default()
    };
    assert_eq!(told.hear(ANP, vec![Heard::Applied(anp(raw.clone()))]), expected);
    // The same again, with only its bookkeeping changed.
    raw["metadata"]["resourceVersion"] = "12".into();
    raw["metadata"]["managedFields"] = json!([{"manager": "somebody"}]);
    told.fold.hear(ANP, Heard::Applied(anp(raw)), told.start);
    assert!(!told.fold.is_due());
    let batch = told.hear(ANP, vec![gone(ANP, "p", 13, Absence::Deleted)]);
    let expected = Batch {
        events: vec![delete(ANP, "p")],
        policies: BTreeMap::from([(reference(ANP, "p"), None)]),
        seen: BTreeMap::from([(ANP.name(), 13)]),
        ..Batch::default()
    };
    assert_eq!(batch, expected);
}

fn held(name: &str, until: &str) -> (ObjectRef, Vec<Finding>) {
    let object = reference(ANP, name);
    let diagnostic = Diagnostic {
        object: object.clone(),
        field: String::new(),
        severity: Severity::Warning,
        message: format!(
            "it went when the CustomResourceDefinition adminnetworkpolicies.policy.networking.k8s.io was deleted, and \
             stays in force until {until}"
        ),
        remedy: "install the definition and apply the policy again, or wait if it is to go".to_owned(),
    };
    (object, vec![Finding { origin: None, diagnostic, is_kept: true }])
}

fn vanished(since: &str, drops_at: &str) -> (Kind, SourceState) {
    (ANP, SourceState::Vanished { since: since.parse().unwrap(), drops_at: drops_at.parse().unwrap() })
}

#[test]
fn what_goes_with_its_definition_is_held_and_then_dropped() {
    let mut told = Told::new();
    let all = vec![Heard::Applied(anp(policy("p", "Deny", 1))), Heard::Applied(anp(policy("q", "Deny", 1)))];
    told.hear(ANP, all);
    // First the deletions, then the definition is not there any more, and is asked for again and again.
    let batch = told.hear_at(10, ANP, vec![gone(ANP, "p", 90, Absence::Orphaned)]);
    let until = "1970-01-01T00:05:10Z";
    let expected = Batch {
        findings: BTreeMap::from([held("p", until)]),
        policies: BTreeMap::from([(reference(ANP, "p"), None)]),
        seen: BTreeMap::from([(ANP.name(), 90)]),
        ..Batch::default()
    };
    assert_eq!(batch, expected);
    assert_eq!(told.states(), [vanished("1970-01-01T00:00:10Z", until)]);
    let batch = told.hear_at(11, ANP, vec![Heard::Absent]);
    let expected = Batch {
        findings: BTreeMap::from([held("q", until)]),
        policies: BTreeMap::from([(reference(ANP, "q"), None)]),
        ..Batch::default()
    };
    assert_eq!(batch, expected);
    assert_eq!(told.hear_at(200, ANP, vec![Heard::Absent]), Batch::default());
    assert_eq!(told.states(), []);
    let found = |name| held(name, until).1.into_iter().map(Note::Found).next().unwrap();
    assert_eq!(told.fold.notes(), [Note::Vanished { kind: ANP, grace: GRACE }, found("p"), found("q")]);
    assert_eq!(told.fold.deadline(), Some(told.start.instant + Duration::from_secs(310)));
    assert_eq!(told.tick(309), Batch::default());
    let expected = Batch {
        events: vec![delete(ANP, "p"), delete(ANP, "q")],
        findings: BTreeMap::from([(reference(ANP, "p"), Vec::new()), (reference(ANP, "q"), Vec::new())]),
        ..Batch::default()
    };
    assert_eq!(told.tick(310), expected);
    assert_eq!(told.states(), [(ANP, SourceState::Missing)]);
    assert_eq!(told.fold.notes(), [Note::Dropped { kind: ANP, policies: 2 }]);
    assert_eq!(told.fold.deadline(), None);
}

#[test]
fn a_definition_that_comes_back_takes_over_without_a_gap() {
    let mut told = Told::new();
    let all = vec![Heard::Applied(anp(policy("p", "Deny", 1))), Heard::Applied(anp(policy("q", "Deny", 1)))];
    told.hear(ANP, all);
    told.hear_at(10, ANP, vec![Heard::Absent]);
    told.states();
    // The definition is there again, and empty, as it is after a deletion: nothing opens.
    let batch = told.hear_at(20, ANP, vec![Heard::Began, Heard::Ended(Absence::Deleted)]);
    assert_eq!(batch, Batch::default());
    assert_eq!(told.states(), []);
    // One policy is applied again.
    let mut again = policy("p", "Deny", 1);
    again["metadata"]["uid"] = "another".into();
    again["metadata"]["resourceVersion"] = "95".into();
    let batch = told.hear_at(30, ANP, vec![Heard::Applied(anp(again))]);
    let expected = Batch {
        findings: BTreeMap::from([(reference(ANP, "p"), Vec::new())]),
        policies: BTreeMap::from([(
            reference(ANP, "p"),
            Some(PolicyReport { uid: "another".to_owned(), ..report("p", 1) }),
        )]),
        seen: BTreeMap::from([(ANP.name(), 95)]),
        ..Batch::default()
    };
    assert_eq!(batch, expected);
    assert_eq!(told.states(), []);
    // The other is not: a second list does not drop it before its time either.
    let batch = told.hear_at(40, ANP, vec![Heard::Began, Heard::Listed(anp(policy("p", "Pass", 2)))]);
    assert_eq!(batch.events.len(), 1);
    assert_eq!(told.hear_at(40, ANP, vec![Heard::Ended(Absence::Deleted)]).events, []);
    assert_eq!(told.tick(310).events, [delete(ANP, "q")]);
    assert_eq!(told.states(), [(ANP, SourceState::Synced)]);
}

#[test]
fn when_everything_is_back_nothing_is_held_any_more() {
    let mut told = Told::new();
    told.hear(ANP, vec![Heard::Applied(anp(policy("p", "Deny", 1)))]);
    told.hear_at(10, ANP, vec![Heard::Absent]);
    told.states();
    let back = vec![Heard::Began, Heard::Listed(anp(policy("p", "Deny", 1))), Heard::Ended(Absence::Deleted)];
    let batch = told.hear_at(20, ANP, back);
    assert_eq!(batch.events, []);
    assert_eq!(batch.policies, BTreeMap::from([(reference(ANP, "p"), Some(report("p", 1)))]));
    assert_eq!(told.states(), [(ANP, SourceState::Synced)]);
    assert_eq!(told.fold.deadline(), None);
    assert_eq!(told.tick(1000), Batch::default());
    // And it is as mortal as before.
    let batch = told.hear_at(1001, ANP, vec![gone(ANP, "p", 99, Absence::Deleted)]);
    assert_eq!(batch.events, [delete(ANP, "p")]);
}

#[test]
fn a_definition_that_goes_twice_gives_a_whole_time_of_grace_again() {
    let mut told = Told::new();
    let all = vec![Heard::Applied(anp(policy("p", "Deny", 1))), Heard::Applied(anp(policy("q", "Deny", 1)))];
    told.hear(ANP, all);
    told.hear_at(10, ANP, vec![Heard::Absent]);
    let back = vec![Heard::Began, Heard::Listed(anp(policy("p", "Deny", 1))), Heard::Ended(Absence::Deleted)];
    told.hear_at(20, ANP, back);
    told.states();
    let batch = told.hear_at(100, ANP, vec![gone(ANP, "p", 99, Absence::Orphaned)]);
    let until = "1970-01-01T00:06:40Z";
    assert_eq!(batch.findings, BTreeMap::from([held("p", until), held("q", until)]));
    assert_eq!(told.states(), [vanished("1970-01-01T00:01:40Z", until)]);
    assert_eq!(told.tick(399), Batch::default());
    assert_eq!(told.tick(400).events, [delete(ANP, "p"), delete(ANP, "q")]);
}

#[test]
fn a_list_of_another_definition_drops_nothing() {
    let mut told = Told::new();
    told.hear(ANP, vec![Heard::Applied(anp(policy("p", "Deny", 1)))]);
    // The connection was lost while the definition was replaced.
    let batch = told.hear_at(10, ANP, vec![Heard::Began, Heard::Ended(Absence::Orphaned)]);
    assert_eq!(batch.events, []);
    assert_eq!(told.states(), [vanished("1970-01-01T00:00:10Z", "1970-01-01T00:05:10Z")]);
    assert_eq!(told.tick(310).events, [delete(ANP, "p")]);
}

#[test]
fn a_policy_in_another_version_is_said_and_fails_closed() {
    let mut told = Told::new();
    let ours = anp(policy("p", "Deny", 1));
    told.hear(ANP, vec![Heard::Applied(ours)]);
    let foreign = |name: &str, action: &str| {
        let mut raw = policy(name, action, 2);
        raw["apiVersion"] = "policy.networking.k8s.io/v1beta1".into();
        raw["spec"]["ingress"][0]["from"] = json!([{"galaxies": {}}]);
        read(ANP, serde_json::from_value::<Slim<PolicyShape>>(raw).unwrap(), Some("v1beta1")).unwrap()
    };
    let (p, q) = (foreign("p", "Deny"), foreign("q", "Allow"));
    let message = "newer".to_owned();
    let heard = vec![
        Heard::Foreign(Some(message.clone())),
        Heard::Began,
        Heard::Listed(p),
        Heard::Listed(q.clone()),
        Heard::Ended(Absence::Deleted),
    ];
    let batch = told.hear(ANP, heard);
    // The first keeps what it was; of the second nothing is allowed.
    assert_eq!(batch.events, [apply(&q)]);
    let Some(Object::Policy(Policy::Admin(model))) = &q.model else { panic!("{q:?}") };
    assert_eq!(model.ingress[0].peers, []);
    let of = |name| -> Vec<(&str, Severity, bool)> {
        let found = batch.findings[&reference(ANP, name)].iter();
        found.map(|f| (f.diagnostic.field.as_str(), f.diagnostic.severity, f.is_kept)).collect()
    };
    assert!(of("p").contains(&("apiVersion", Severity::Error, true)), "{batch:?}");
    assert!(of("q").contains(&("apiVersion", Severity::Error, false)), "{batch:?}");
    assert_eq!(told.states(), [(ANP, SourceState::Failing { message })]);
    told.hear(ANP, vec![Heard::Foreign(None)]);
    assert_eq!(told.states(), [(ANP, SourceState::Synced)]);
}

/// A pod as large as they are.
fn whole_pod() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "p", "namespace": "a", "uid": "u", "resourceVersion": "5", "labels": {"app": "web"},
            "annotations": {"long": "x".repeat(1000)}, "managedFields": [{"manager": "kubelet", "fieldsV1": {"f:a": {}}}],
            "ownerReferences": [{"kind": "ReplicaSet", "name": "r", "uid": "v", "apiVersion": "apps/v1"}],
        },
        "spec": {
            "nodeName": "one", "hostNetwork": false, "tolerations": [{"operator": "Exists"}],
            "containers": [
                {"name": "c", "image": "i", "ports": [{"name": "web", "containerPort": 80, "hostPort": null}]},
                {"name": "d", "env": [{"name": "A", "value": "b"}]},
            ],
            "initContainers": [
                {"name": "s", "restartPolicy": "Always", "ports": [{"name": "side", "containerPort": 81, "protocol": "UDP"}]},
            ],
        },
        "status": {
            "phase": "Running", "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}],
            "conditions": [{"type": "Ready", "status": "True"}], "containerStatuses": [{"name": "c", "restartCount": 3}],
        },
    })
}

#[test]
fn trimming_takes_nothing_that_intake_reads() {
    let raw = whole_pod();
    let whole = intake::decode(&raw).unwrap();
    let slim = serde_json::from_str::<Slim<PodShape>>(&raw.to_string()).unwrap();
    let kept = json!({
        "metadata": {"name": "p", "namespace": "a", "uid": "u", "resourceVersion": "5", "labels": {"app": "web"}},
        "spec": {
            "nodeName": "one", "hostNetwork": false,
            "containers": [{"ports": [{"name": "web", "containerPort": 80, "hostPort": null}]}, {}],
            "initContainers": [
                {"restartPolicy": "Always", "ports": [{"name": "side", "containerPort": 81, "protocol": "UDP"}]},
            ],
        },
        "status": {"phase": "Running", "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]},
    });
    assert_eq!(slim.raw, kept);
    let seen = read(Kind::Pod, slim, None).unwrap();
    assert_eq!((seen.object, seen.model, seen.diagnostics), (whole.object, whole.model, whole.diagnostics));
    assert_eq!((seen.uid.as_str(), seen.version), ("u", Some(5)));
}

#[test]
fn whatever_is_malformed_reaches_intake_as_it_is() {
    for (pointer, value) in [
        ("/spec", json!(3)),
        ("/spec", json!([{"nodeName": "one"}])),
        ("/spec/containers", json!({"c": {}})),
        ("/spec/containers/0", json!("c")),
        ("/status", json!(true)),
        ("/status/podIPs", json!(["10.0.0.1"])),
        ("/metadata/labels", json!({"app": 1.5})),
        ("/spec/initContainers/0/ports", json!(-7)),
    ] {
        let mut raw = whole_pod();
        *raw.pointer_mut(pointer).unwrap() = value;
        let whole = intake::decode(&raw).unwrap();
        assert_eq!(whole.model, None, "{pointer}");
        let seen = seen::<PodShape>(Kind::Pod, raw);
        assert_eq!((seen.model, seen.diagnostics), (None, whole.diagnostics), "{pointer}");
    }
    let all_of = |raw: &Value| serde_json::from_value::<Slim<PolicyShape>>(raw.clone()).unwrap().raw;
    let mut raw = policy("p", "Deny", 1);
    raw["specification"] = json!({"a": [1, null]});
    assert_eq!(all_of(&raw), raw);
    // What is no object at all.
    for raw in [json!(null), json!([1]), json!("x"), json!({"metadata": 3})] {
        let slim = serde_json::from_value::<Slim<PodShape>>(raw).unwrap();
        assert!(read(Kind::Pod, slim, None).is_err());
    }
}

#[test]
fn an_object_with_an_impossible_name_is_said() {
    let mut raw = whole_pod();
    raw["metadata"]["name"] = "No Name".into();
    let seen = seen::<PodShape>(Kind::Pod, raw);
    assert_eq!((seen.object.name.as_str(), &seen.model), ("No Name", &None));
    let [finding] = &seen.diagnostics[..] else { panic!("{seen:?}") };
    assert_eq!((finding.field.as_str(), finding.severity), ("metadata.name", Severity::Error));
}

#[test]
fn waits_double_up_to_their_limit_and_begin_anew() {
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
    for whole in [100, 200, 400, 800, 1000, 1000] {
        let wait = backoff.next();
        assert!(
            wait >= Duration::from_millis(whole / 2) && wait <= Duration::from_millis(whole),
            "{whole}: {wait:?}"
        );
    }
    backoff.reset();
    assert!(backoff.next() <= Duration::from_millis(100));
}

fn there(uid: &str, is_going: bool) -> Definition {
    Definition::There { uid: Some(uid.to_owned()), is_going }
}

#[test]
fn an_absence_means_a_deletion_only_under_the_same_definition() {
    const DELETED: Verdict = Verdict { absence: Absence::Deleted, is_outdated: false };
    const ORPHANED: Verdict = Verdict { absence: Absence::Orphaned, is_outdated: false };
    const ANEW: Verdict = Verdict { absence: Absence::Orphaned, is_outdated: true };
    let mut lineage = Lineage::default();
    lineage.found(Some("1".to_owned()), false);
    assert_eq!(lineage.ended(&there("1", false)), DELETED);
    assert_eq!(lineage.gone(&there("1", false)), DELETED);
    // It is being deleted, and then followed for as long as that takes.
    assert_eq!(lineage.gone(&there("1", true)), ANEW);
    lineage.found(Some("1".to_owned()), true);
    assert_eq!(lineage.ended(&there("1", true)), ORPHANED);
    assert_eq!(lineage.gone(&there("1", true)), ORPHANED);
    assert_eq!(lineage.gone(&Definition::Absent), ANEW);
    // It has been replaced. Not every event of the old one has come: none that comes now counts.
    assert_eq!(lineage.gone(&there("2", false)), ANEW);
    assert_eq!(lineage.gone(&there("2", false)), ANEW);
    lineage.found(Some("2".to_owned()), false);
    assert_eq!(lineage.ended(&there("2", false)), ORPHANED);
    assert_eq!(lineage.gone(&there("2", false)), DELETED);
    // Replaced between two lists, and again while the second goes on.
    lineage.found(Some("3".to_owned()), false);
    assert_eq!(lineage.ended(&there("4", false)), ANEW);
    lineage.found(Some("4".to_owned()), false);
    assert_eq!(lineage.ended(&there("4", false)), ORPHANED);
    assert_eq!(lineage.ended(&there("4", false)), DELETED);
    // Gone and back: what is known then came with the new one.
    lineage.lost();
    lineage.found(Some("5".to_owned()), false);
    assert_eq!(lineage.ended(&there("5", false)), DELETED);
    // Discovery tells no uid, but that it is going.
    let unknown = |is_going| Definition::There { uid: None, is_going };
    lineage.found(None, false);
    assert_eq!(lineage.ended(&unknown(false)), DELETED);
    assert_eq!(lineage.gone(&unknown(false)), DELETED);
    assert_eq!(lineage.gone(&unknown(true)), ANEW);
}
