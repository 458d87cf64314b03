//! An operator without its command line, election and wire: source, engine, hub and writer, and shims that are tasks.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{
    ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams, PostParams,
};
use kube::{Api, Client, Resource, ResourceExt};
use kube_runtime::wait::{await_condition, conditions as known};
use palisade_compiler::model::{Kind, ObjectRef};
use palisade_operator::batch::Batch;
use palisade_operator::explain::Desk;
use palisade_operator::hub::{Awaited, Hub, Shim};
use palisade_operator::metrics::Metrics;
use palisade_operator::status::{Meters, Options};
use palisade_operator::{engine, review, status, watch as source};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::plane::Plane;

/// How long anything may take. Machines that run tests are busy.
const LIMIT: Duration = Duration::from_mins(1);

/// Marks what these tests make.
const LABEL: &str = "palisade-status-test";

/// What a node's shim does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Confirm,
    /// Nothing.
    Hold,
    Refuse,
    /// It is not connected.
    Away,
}

/// See the module.
pub(crate) struct Rig {
    pub(crate) plane: Plane,
    pub(crate) client: Client,
    pub(crate) namespace: String,
    hub: Arc<Hub>,
    meters: Meters,
    modes: std::sync::Mutex<BTreeMap<String, watch::Sender<Mode>>>,
    tasks: std::sync::Mutex<JoinSet<()>>,
}

impl Rig {
    pub(crate) async fn start() -> Self {
        Self::with(Plane::chosen().await, |_| {}).await
    }

    pub(crate) async fn with(plane: Plane, change: impl FnOnce(&mut Options)) -> Self {
        let client = plane.client().await;
        clean(&client).await;
        install(&client).await;
        let hub = Arc::new(Hub::new(Arc::new(Metrics::default())));
        let meters = Meters::default();
        let mut tasks = JoinSet::new();
        let (batches, waiting) = mpsc::channel::<Batch>(64);
        let read = source::run(client.clone(), source::Settings::default(), Arc::clone(&hub), batches);
        tasks.spawn(async { read.await.expect("the source goes on") });
        let (_, inquiries) = Desk::new();
        let (taken_in, looked_at) = mpsc::unbounded_channel();
        tasks.spawn(engine::run(waiting, inquiries, Arc::clone(&hub), taken_in));
        let pace = review::Pace {
            settle: Duration::ZERO,
            every: Duration::from_millis(20),
            ..review::Pace::default()
        };
        tasks.spawn(review::run(looked_at, Arc::clone(&hub), pace));
        let mut options = Options::of("test");
        change(&mut options);
        let written = status::run(client.clone(), Arc::clone(&hub), options, meters.clone());
        tasks.spawn(async { match written.await {} });
        let namespace = format!("status-{:08x}", rand::random::<u32>());
        let rig = Self {
            plane,
            client,
            namespace,
            hub,
            meters,
            modes: std::sync::Mutex::default(),
            tasks: std::sync::Mutex::new(tasks),
        };
        wait("the operator has read everything", || async { rig.hub.is_ready() }).await;
        rig
    }

    /// Nodes with a shim and one pod each, in the test's namespace; and waits until the operator knows them.
    pub(crate) async fn cluster(&self, nodes: &[&str]) {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        create(&namespaces, json!({"metadata": {"name": self.namespace}})).await;
        let all: Api<Node> = Api::all(self.client.clone());
        for (n, node) in nodes.iter().enumerate() {
            create(&all, json!({"metadata": {"name": node}})).await;
            self.pod(&format!("on-{node}"), node, &format!("10.200.1.{n}")).await;
            let (mode, modes) = watch::channel(Mode::Confirm);
            self.modes.lock().unwrap().insert((*node).to_owned(), mode);
            let shim = shim(Arc::clone(&self.hub), (*node).to_owned(), modes);
            self.tasks.lock().unwrap().spawn(shim);
        }
        self.settled().await;
    }

    pub(crate) fn mode(&self, node: &str, mode: Mode) {
        self.modes.lock().unwrap()[node].send_replace(mode);
    }

    pub(crate) fn lead(&self, term: u64) {
        self.hub.lead(Some(term));
    }

    pub(crate) fn stand_by(&self) {
        self.hub.lead(None);
    }

    /// A running pod, known to the operator.
    pub(crate) async fn pod(&self, name: &str, node: &str, address: &str) {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &self.namespace);
        let pod = json!({
            "metadata": {"name": name},
            "spec": {"nodeName": node, "containers": [{"name": "c", "image": "none"}]},
        });
        create(&pods, pod).await;
        let status = json!({"status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]}});
        let pod = pods.patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
        self.read("Pod", pod.metadata.resource_version.as_deref()).await;
    }

    pub(crate) fn policies(&self) -> Api<DynamicObject> {
        policies(&self.client, "v1alpha1", "AdminNetworkPolicy")
    }

    pub(crate) async fn policy(&self, name: &str, spec: Value) -> DynamicObject {
        let policy = json!({
            "apiVersion": "policy.networking.k8s.io/v1alpha1",
            "kind": "AdminNetworkPolicy",
            "metadata": {"name": name},
            "spec": spec,
        });
        create(&self.policies(), policy).await
    }

    pub(crate) async fn network_policy(&self, name: &str, spec: Value) {
        let policies: Api<NetworkPolicy> = Api::namespaced(self.client.clone(), &self.namespace);
        create(&policies, json!({"metadata": {"name": name}, "spec": spec})).await;
    }

    pub(crate) async fn patch(&self, policy: &DynamicObject, patch: Value) {
        let name = policy.metadata.name.as_deref().unwrap();
        self.policies().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }

    /// Waits until the operator has read a policy.
    pub(crate) async fn known(&self, policy: &DynamicObject) {
        self.read("AdminNetworkPolicy", policy.metadata.resource_version.as_deref()).await;
        let (kind, name) = (Kind::AdminNetworkPolicy, policy.metadata.name.clone().unwrap());
        let object = ObjectRef { kind, namespace: None, name };
        wait("the policy is known", || async { self.hub.progress().policies.contains_key(&object) }).await;
    }

    /// Waits until the operator has read so far, and told the nodes.
    async fn read(&self, kind: &str, version: Option<&str>) {
        let version = version.and_then(|version| version.parse().ok()).expect("a version");
        let what = Awaited::Read { kind: kind.to_owned(), version };
        tokio::time::timeout(LIMIT, self.hub.settled(&what, &[])).await.expect("the operator reads on");
    }

    /// Waits until every node that confirms has confirmed everything.
    pub(crate) async fn settled(&self) {
        let confirms = |(node, mode): (&String, &watch::Sender<Mode>)| {
            (*mode.borrow() == Mode::Confirm).then(|| node.clone())
        };
        let nodes: Vec<String> = self.modes.lock().unwrap().iter().filter_map(confirms).collect();
        tokio::time::timeout(LIMIT, self.hub.settled(&Awaited::Now, &nodes)).await.expect("nodes confirm");
    }

    /// Waits until a policy is as wanted.
    pub(crate) async fn until(
        &self,
        policy: &DynamicObject,
        is_wanted: impl Fn(&DynamicObject) -> bool,
    ) -> DynamicObject {
        let name = policy.metadata.name.as_deref().unwrap();
        let wanted = |object: Option<&DynamicObject>| object.is_some_and(&is_wanted);
        let found = tokio::time::timeout(LIMIT, await_condition(self.policies(), name, wanted)).await;
        if let Ok(found) = found {
            return found.unwrap().unwrap();
        }
        panic!("{:#?}\n{:#?}", self.policies().get(name).await, self.hub.progress());
    }

    /// So many statuses have been written, and nothing else has been tried or waits.
    pub(crate) async fn writes(&self, count: u64) {
        wait("writes are counted", || async { self.meters.count("written") >= count }).await;
        wait("nothing waits", || async { self.waiting() == 0 }).await;
        let others = ["gone", "strayed", "refused", "conflict", "failed"];
        let counts = others.map(|result| (result, self.meters.count(result)));
        assert_eq!((self.meters.count("written"), counts), (count, others.map(|result| (result, 0))));
    }

    /// Writes that ended so.
    pub(crate) fn count(&self, result: &'static str) -> u64 {
        self.meters.count(result)
    }

    /// Events that ended so.
    pub(crate) fn events(&self, result: &'static str) -> u64 {
        self.meters.events.get_or_create(&[("result", result)]).get()
    }

    /// Statuses that wait to be written or are under way.
    pub(crate) fn waiting(&self) -> i64 {
        self.meters.waiting.get()
    }

    pub(crate) async fn delete(&self, policy: &DynamicObject) {
        self.policies().delete(&policy.name_any(), &DeleteParams::default()).await.unwrap();
    }

    /// Statuses asked to be written, so far.
    pub(crate) fn asked(&self) -> u64 {
        let counts = self.plane.server().requests().counts();
        counts.sum(|request| {
            request.verb == "patch" && request.subresource == "status" && request.resource != "pods"
        })
    }

    /// Waits until so many Events have ended so; no others have failed.
    pub(crate) async fn posted(&self, result: &'static str, count: u64) {
        let counted = |result| self.events(result);
        wait("Events are counted", || async { counted(result) >= count }).await;
        assert_eq!(
            (counted(result), counted("failed"), counted("dropped"), counted("repeated")),
            (count, 0, 0, 0)
        );
    }

    /// What kubectl prints.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("kubectl");
        let output =
            command.arg("--kubeconfig").arg(self.plane.kubeconfig()).args(arguments).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{arguments:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
        text
    }
}

/// A shim that judges no packet.
async fn shim(hub: Arc<Hub>, node: String, mut modes: watch::Receiver<Mode>) {
    loop {
        if modes.wait_for(|mode| *mode != Mode::Away).await.is_err() {
            return;
        }
        let mut attachment = hub.attach(&node, Shim::default());
        let mut held = None;
        loop {
            let mode = *modes.borrow_and_update();
            let root = attachment.views.borrow_and_update().as_ref().map(|published| published.view.root());
            match (mode, root) {
                (Mode::Confirm, Some(root)) => {
                    held = Some(root);
                    hub.confirmed(&node, attachment.session, root);
                }
                (Mode::Refuse, Some(_)) => {
                    hub.refused(&node, attachment.session, held, "refused (kernel): no such file", true);
                }
                (Mode::Away, _) => break,
                _ => {}
            }
            tokio::select! {
                changed = attachment.views.changed() => if changed.is_err() { return },
                changed = modes.changed() => if changed.is_err() { return },
            }
        }
        hub.detach(&node, attachment.session, "the stream broke");
    }
}

pub(crate) async fn wait<F: Future<Output = bool>>(what: &str, is_so: impl Fn() -> F) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LIMIT, waiting).await.unwrap_or_else(|_| panic!("not in time: {what}"));
}

pub(crate) fn conditions(object: &DynamicObject) -> Vec<Condition> {
    let all = object.data["status"]["conditions"].clone();
    serde_json::from_value(all).unwrap_or_default()
}

pub(crate) fn condition(object: &DynamicObject, kind: &str) -> Option<Condition> {
    conditions(object).into_iter().find(|condition| condition.type_ == kind)
}

fn policies(client: &Client, version: &str, kind: &str) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("policy.networking.k8s.io", version, kind);
    Api::all_with(client.clone(), &ApiResource::from_gvk(&kind))
}

async fn create<K>(api: &Api<K>, mut object: Value) -> K
where
    K: Clone + DeserializeOwned + serde::Serialize + std::fmt::Debug,
{
    object["metadata"]["labels"] = json!({LABEL: "yes"});
    let object = serde_json::from_value(object).unwrap();
    api.create(&PostParams::default(), &object).await.unwrap()
}

async fn install(client: &Client) {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    for definition in palisade_crds::definitions() {
        let name = definition.metadata.name.clone().unwrap();
        let parameters = PatchParams::apply("test").force();
        definitions.patch(&name, &parameters, &Patch::Apply(&definition)).await.unwrap();
        let established = await_condition(definitions.clone(), &name, known::is_crd_established());
        tokio::time::timeout(LIMIT, established).await.unwrap().unwrap();
    }
}

/// Removes what an earlier test has left in a server that outlives it, and nothing else.
async fn clean(client: &Client) {
    let left = ListParams::default().labels(&format!("{LABEL}=yes"));
    remove::<Pod>(&Api::all(client.clone()), &left, |namespace| Api::namespaced(client.clone(), namespace))
        .await;
    let netpols = |namespace: &str| Api::namespaced(client.clone(), namespace);
    remove::<NetworkPolicy>(&Api::all(client.clone()), &left, netpols).await;
    let now = DeleteParams::default().grace_period(0);
    Api::<Node>::all(client.clone()).delete_collection(&now, &left).await.unwrap();
    // Without its definition there is none.
    let _ = policies(client, "v1alpha1", "AdminNetworkPolicy").delete_collection(&now, &left).await;
    let events: Api<Event> = Api::namespaced(client.clone(), "default");
    for event in events.list(&ListParams::default()).await.unwrap() {
        if event.reporting_controller.as_deref() == Some("palisade") {
            events.delete(&event.metadata.name.unwrap(), &now).await.unwrap();
        }
    }
}

async fn remove<K>(all: &Api<K>, left: &ListParams, of: impl Fn(&str) -> Api<K>)
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
{
    for object in all.list(left).await.unwrap() {
        let (name, namespace) = (object.name_any(), object.namespace().unwrap());
        of(&namespace).delete(&name, &DeleteParams::default().grace_period(0)).await.unwrap();
    }
}
