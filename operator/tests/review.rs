//! From objects to what is told of them: the engine, the review and the hub, without an API.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use palisade_compiler::intake;
use palisade_compiler::model::{Event, ObjectRef};
use palisade_operator::batch::{Batch, PolicyReport};
use palisade_operator::explain::Desk;
use palisade_operator::hub::Hub;
use palisade_operator::review::{Pace, Patience};
use palisade_operator::{engine, review};
use serde_json::{Value, json};
use tokio::sync::mpsc;

const LIMIT: Duration = Duration::from_secs(20);

const SHADOWED: &str = "spec.ingress[1]: warning: the rule never decides anything: it is shadowed by spec.ingress[0]; \
                        remove it, or move it up in the list";

/// The parts under test.
struct Operator {
    hub: Arc<Hub>,
    batches: mpsc::Sender<Batch>,
}

impl Operator {
    fn start(patience: Patience) -> Self {
        let hub = Arc::new(Hub::new(Arc::default()));
        let (batches, waiting) = mpsc::channel(8);
        let (taken_in, looked_at) = mpsc::unbounded_channel();
        let (_, inquiries) = Desk::new();
        tokio::spawn(engine::run(waiting, inquiries, Arc::clone(&hub), taken_in));
        let pace =
            Pace { settle: Duration::ZERO, every: Duration::ZERO, share: 0, patience, ..Pace::default() };
        tokio::spawn(review::run(looked_at, Arc::clone(&hub), pace));
        Self { hub, batches }
    }

    /// Takes in objects; policies as of a generation.
    async fn apply(&self, generation: i64, objects: &[Value]) {
        let mut batch = Batch::default();
        for raw in objects {
            let decoded = intake::decode(raw).expect("an object");
            assert_eq!(decoded.diagnostics, []);
            if decoded.object.kind.is_policy() {
                let report = PolicyReport { uid: "u".to_owned(), generation, conditions: Vec::new() };
                batch.policies.insert(decoded.object, Some(report));
            }
            batch.events.push(Event::Apply(decoded.model.expect("a model")));
        }
        self.batches.send(batch).await.expect("the engine runs");
    }

    /// What is found about every policy, as status has it.
    fn told(&self) -> BTreeMap<String, (i64, Vec<String>)> {
        let told = |object: &ObjectRef| object.to_string();
        let policies = self.hub.progress().policies.into_iter();
        policies
            .map(|(object, policy)| {
                let found = policy.findings.iter().map(|finding| {
                    let text = finding.diagnostic.to_string();
                    text.split_once(": ").map(|(_, rest)| rest.to_owned()).expect("an object first")
                });
                (told(&object), (policy.report.generation, found.collect()))
            })
            .collect()
    }

    /// Waits until one policy of a generation is told of like this.
    async fn until(&self, generation: i64, expected: &[&str]) {
        let mut changes = self.hub.changes();
        let waiting = async {
            loop {
                changes.mark_unchanged();
                if let Some((of, found)) = self.told().into_values().next()
                    && of == generation
                    && found == expected
                {
                    return;
                }
                changes.changed().await.expect("the hub lives");
            }
        };
        let ended = tokio::time::timeout(LIMIT, waiting).await;
        assert!(ended.is_ok(), "expected {expected:?}, told {:?}", self.told());
    }

    /// Waits until everything so far has been reviewed: `/debug/findings` says up to where.
    async fn reviewed(&self, epoch: u64) -> String {
        let mut changes = self.hub.changes();
        let waiting = async {
            loop {
                changes.mark_unchanged();
                let text = self.hub.findings();
                if text.contains(&format!("as of epoch {epoch},")) {
                    return text;
                }
                changes.changed().await.expect("the hub lives");
            }
        };
        tokio::time::timeout(LIMIT, waiting).await.unwrap_or_else(|_| panic!("{}", self.hub.findings()))
    }
}

fn policy(second: &str) -> Value {
    json!({
        "apiVersion": "policy.networking.k8s.io/v1alpha1", "kind": "AdminNetworkPolicy", "metadata": {"name": "p"},
        "spec": {
            "priority": 5,
            "subject": {"namespaces": {}},
            "ingress": [
                {"action": "Allow", "from": [{"namespaces": {"matchLabels": {"team": "bank"}}}]},
                {"action": "Deny", "from": [{"namespaces": {"matchLabels": {"team": second}}}]},
            ],
        },
    })
}

fn pod(name: &str, labels: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "shop", "name": name, "labels": labels},
        "spec": {"nodeName": "n-1", "containers": [{"name": "c"}]},
        "status": {"podIPs": [{"ip": "10.0.1.1"}]},
    })
}

#[tokio::test]
async fn a_shadowed_rule_is_told_of_while_it_is_one() {
    let operator = Operator::start(Patience::default());
    operator.apply(1, &[policy("bank")]).await;
    operator.until(1, &[SHADOWED]).await;
    let epoch = operator.hub.progress().epoch;
    let text = operator.reviewed(epoch).await;
    assert!(text.contains(&format!("\nAdminNetworkPolicy/p: {SHADOWED}\n")), "{text}");
    // Advice stands there, and only there.
    assert!(
        text.contains("AdminNetworkPolicy/p: spec.subject: advice: no namespace is selected now"),
        "{text}"
    );

    // A generation that changes nothing is no reason to forget it; one that does is.
    operator.apply(2, &[policy("bank")]).await;
    operator.until(2, &[SHADOWED]).await;
    operator.apply(3, &[policy("shop")]).await;
    operator.until(3, &[]).await;
    operator.reviewed(operator.hub.progress().epoch).await;
    operator.until(3, &[]).await;
}

#[tokio::test]
async fn what_only_pods_show_waits_for_a_while_unless_the_policy_is_new() {
    let nobody = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"namespace": "shop", "name": "p"},
        "spec": {"podSelector": {"matchLabels": {"app": "web"}}, "ingress": [{"ports": [{"port": "http"}]}]},
    });
    let operator = Operator::start(Patience::default());
    operator.apply(1, std::slice::from_ref(&nobody)).await;
    operator.reviewed(1).await;
    operator.apply(1, &[pod("web", &json!({"app": "web"}))]).await;
    let text = operator.reviewed(2).await;
    assert!(text.contains("has a TCP port named `http`"), "{text}");
    operator.until(1, &[]).await;

    let missing = "spec.ingress[0].ports[0]: warning: none of the pods that the policy is about has a TCP port named \
                   `http`: it matches nothing; correct the name, name the port in the pods' containers, or write its number";
    let hasty =
        Patience { appears_after: Duration::ZERO, vanishes_after: Duration::ZERO, ..Patience::default() };
    let operator = Operator::start(hasty);
    operator.apply(1, std::slice::from_ref(&nobody)).await;
    operator.reviewed(1).await;
    operator.apply(1, &[pod("web", &json!({"app": "web"}))]).await;
    operator.until(1, &[missing]).await;
    operator.apply(1, &[pod("web", &json!({"app": "db"}))]).await;
    operator.until(1, &[]).await;

    let operator = Operator::start(Patience::default());
    operator.apply(1, &[nobody, pod("web", &json!({"app": "web"}))]).await;
    operator.until(1, &[missing]).await;
}
