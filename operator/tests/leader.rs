//! Replicas that elect a leader over one API server, and the port that only the leader has.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "common/memory.rs"]
mod memory;

use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use memory::{Memory, Mood, due};
use palisade_operator::hub::Hub;
use palisade_operator::identity::Identity;
use palisade_operator::identity::tokens::Tokens;
use palisade_operator::leader::{self, Leadership, Settings, Timing};
use palisade_operator::metrics::Metrics;
use palisade_operator::serve::tls::Material;
use palisade_operator::serve::{self, Backend, Port};
use palisade_proto::v1::node_policy_client::NodePolicyClient;
use palisade_proto::v1::{FromNode, Hello, from_node};
use palisade_proto::{SCHEMA_VERSION, v1};
use palisade_view::HASH_VERSION;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Certificate, Channel, ClientTlsConfig};
use tonic::{Code, Request, Status, Streaming};

const NAME: &str = "palisade-operator";

/// Short enough for tests; a Lease's duration is whole seconds.
const TIMING: Timing = Timing {
    lease: Duration::from_secs(3),
    renew_deadline: Duration::from_secs(2),
    retry: Duration::from_millis(250),
};

struct Replica {
    leadership: watch::Receiver<Leadership>,
    stop: watch::Sender<bool>,
    running: JoinHandle<()>,
}

impl Replica {
    fn start(api: &Memory, name: &str) -> Self {
        let settings = Settings {
            namespace: "palisade-system".to_owned(),
            lease: NAME.to_owned(),
            identity: leader::unique(name),
            timing: TIMING,
        };
        let (stop, stopped) = watch::channel(false);
        let (leadership, running) = leader::run(&api.client(), settings, leader::Metrics::default(), stopped);
        Self { leadership, stop, running: tokio::spawn(running) }
    }

    async fn leads(&mut self) -> u64 {
        let leading = self.leadership.wait_for(|leadership| leadership.term().is_some());
        due("leading", leading).await.unwrap().term().unwrap()
    }

    async fn stands_by(&mut self) {
        due("standing by", self.leadership.wait_for(|leadership| leadership.term().is_none())).await.unwrap();
    }

    /// Knows that another one leads.
    async fn follows(&mut self, name: &str) {
        let known = |leadership: &Leadership| matches!(leadership, Leadership::Standby { holder: Some(holder) } if holder.starts_with(name));
        due("following", self.leadership.wait_for(known)).await.unwrap();
    }

    async fn ends(self) {
        self.stop.send_replace(true);
        due("the end", self.running).await.unwrap();
    }
}

fn leases(api: &Memory) -> Api<Lease> {
    Api::namespaced(api.client(), "palisade-system")
}

async fn edit(api: &Memory, change: impl Fn(&mut Lease)) {
    loop {
        let mut lease = leases(api).get(NAME).await.unwrap();
        change(&mut lease);
        match leases(api).replace(NAME, &PostParams::default(), &lease).await {
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            written => return drop(written.unwrap()),
        }
    }
}

#[tokio::test]
async fn on_a_clean_exit_another_takes_over_at_once() {
    let api = Memory::new();
    let mut a = Replica::start(&api, "a");
    let first = a.leads().await;
    let lease = leases(&api).get(NAME).await.unwrap();
    let created = lease.metadata.creation_timestamp.unwrap().0.as_second();
    assert_eq!(first, created.unsigned_abs() << 31);
    let mut b = Replica::start(&api, "b");
    b.follows("a_").await;

    let start = Instant::now();
    a.ends().await;
    let second = b.leads().await;
    // Well before the Lease would have expired; it is released, and b watches it.
    assert!(start.elapsed() < TIMING.lease, "{:?}", start.elapsed());
    assert_eq!(second, first + 1);
    let spec = leases(&api).get(NAME).await.unwrap().spec.unwrap();
    assert!(spec.holder_identity.unwrap().starts_with("b_"));
    assert_eq!((spec.lease_duration_seconds, spec.lease_transitions), (Some(3), Some(1)));

    b.ends().await;
    let spec = leases(&api).get(NAME).await.unwrap().spec.unwrap();
    assert_eq!((spec.holder_identity, spec.lease_duration_seconds), (None, Some(1)));
}

#[tokio::test]
async fn after_a_crash_another_takes_over_when_the_lease_has_expired() {
    let api = Memory::new();
    let mut a = Replica::start(&api, "a");
    let first = a.leads().await;
    let mut b = Replica::start(&api, "b");
    b.follows("a_").await;
    a.running.abort();
    let start = Instant::now();
    assert_eq!(b.leads().await, first + 1);
    let took = start.elapsed();
    // Half a second in which a may have been about to renew, and a second for a busy machine.
    assert!(TIMING.lease.mul_f64(0.75) < took && took < TIMING.lease.mul_f64(2.0), "{took:?}");
}

#[tokio::test]
async fn a_leader_that_cannot_renew_ends_before_another_begins() {
    for mood in [Mood::Broken, Mood::Silent, Mood::Strict] {
        let shared = Memory::new();
        let mut a = Replica::start(&shared, "a");
        let first = a.leads().await;
        let mut b = Replica::start(&shared, "b");
        b.follows("a_").await;
        // Nobody can write, so that it is a's own doing that it ends.
        shared.mood(mood);
        let start = Instant::now();
        a.stands_by().await;
        assert!(start.elapsed() < TIMING.lease, "{mood:?}: {:?}", start.elapsed());
        assert!(b.leadership.borrow().term().is_none());
        shared.mood(Mood::Willing);
        let second = tokio::select! {
            term = a.leads() => term,
            term = b.leads() => term,
        };
        assert!(second > first, "{mood:?}");
    }
}

#[tokio::test]
async fn of_many_exactly_one_leads_whatever_happens_to_the_lease() {
    let api = Memory::new();
    let mut replicas: Vec<_> = (0..4).map(|n| Replica::start(&api, &format!("r{n}"))).collect();
    let mut terms = Vec::new();
    for round in 0..6 {
        let leader = due("a leader", async {
            loop {
                let leading = |replica: &Replica| replica.leadership.borrow().term();
                if let Some(term) =
                    replicas.iter().find_map(leading).filter(|term| terms.last() != Some(term))
                {
                    break term;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        terms.push(leader.await);
        // Whoever was robbed of it by hand may learn that a moment after another has it: the term tells them apart.
        due("that it is the only one", async {
            while replicas.iter().filter(|replica| replica.leadership.borrow().term().is_some()).count() != 1
            {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
        match round % 3 {
            0 => drop(leases(&api).delete(NAME, &DeleteParams::default()).await.unwrap()),
            1 => edit(&api, |lease| lease.spec.as_mut().unwrap().holder_identity = None).await,
            _ => {
                let holder = leases(&api).get(NAME).await.unwrap().spec.unwrap().holder_identity.unwrap();
                let index = replicas.iter().position(|replica| replica.leadership.borrow().term().is_some());
                let replica = replicas.remove(index.unwrap());
                assert!(holder.starts_with('r'));
                replica.ends().await;
            }
        }
    }
    assert!(terms.is_sorted_by(|a, b| a < b), "{terms:?}");
}

#[tokio::test]
async fn a_holder_that_somebody_wrote_into_the_lease_is_believed_until_it_expires() {
    let api = Memory::new();
    let mut a = Replica::start(&api, "a");
    let first = a.leads().await;
    edit(&api, |lease| lease.spec.as_mut().unwrap().holder_identity = Some("somebody".to_owned())).await;
    a.follows("somebody").await;
    assert!(a.leads().await > first);
}

/// The port of one replica.
struct Served {
    hub: Arc<Hub>,
    bound: watch::Receiver<Option<std::net::SocketAddr>>,
    ca: String,
    _directory: tempfile::TempDir,
}

impl Served {
    /// On an address that is free at the moment.
    async fn start(
        leadership: watch::Receiver<Leadership>,
        stopped: watch::Receiver<bool>,
    ) -> (Self, JoinHandle<()>) {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).display().to_string();
        std::fs::write(path("tokens"), "t-1,n-1\n").unwrap();
        let args = [
            "palisade-operator",
            "--manifests",
            &path("m"),
            "--tokens",
            &path("tokens"),
            "--tls-dir",
            &path("tls"),
        ];
        let material = Material::prepare(&clap::Parser::parse_from(args)).unwrap();
        let tokens = Tokens::load(&directory.path().join("tokens")).unwrap();
        let hub = Arc::new(Hub::new(Arc::new(Metrics::default())));
        let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let port = Port::new(free);
        let bound = port.bound.subscribe();
        let backend = Backend {
            tls: material.serving().unwrap(),
            identity: Identity::Static(tokens),
            hub: Arc::clone(&hub),
        };
        let ca = std::fs::read_to_string(path("tls/ca.crt")).unwrap();
        let serving = serve::run(port, backend, leadership, stopped);
        let serving = tokio::spawn(async move { serving.await.unwrap() });
        (Self { hub, bound, ca, _directory: directory }, serving)
    }

    async fn at(&mut self) -> std::net::SocketAddr {
        due("the port", self.bound.wait_for(Option::is_some)).await.unwrap().unwrap()
    }

    /// The node's stream has begun.
    async fn attached(&self) {
        let attached = async {
            while serde_json::to_value(self.hub.state()).unwrap()["nodes"]["n-1"]["state"] != "updating" {
                tokio::task::yield_now().await;
            }
        };
        due("the session", attached).await;
    }

    async fn stream(&mut self, term: u64) -> Result<(mpsc::Sender<FromNode>, Streaming<v1::Update>), Status> {
        let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&self.ca)).domain_name(NAME);
        let channel = Channel::from_shared(format!("https://{}", self.at().await)).unwrap();
        let channel = channel.tls_config(tls).unwrap().connect().await;
        let channel = channel.map_err(|error| Status::unavailable(format!("{error:?}")))?;
        let (send, outgoing) = mpsc::channel(8);
        let mut request = Request::new(ReceiverStream::new(outgoing));
        request.metadata_mut().insert("authorization", "Bearer t-1".parse().unwrap());
        let hello = Hello { schema: SCHEMA_VERSION, hash_version: HASH_VERSION, term, ..Hello::default() };
        send.send(FromNode { message: Some(from_node::Message::Hello(hello)) }).await.unwrap();
        Ok((send, NodePolicyClient::new(channel).sync(request).await?.into_inner()))
    }
}

async fn end(updates: &mut Streaming<v1::Update>) -> Status {
    loop {
        if let Err(status) = due("an end with a status", updates.message()).await {
            return status;
        }
    }
}

#[tokio::test]
async fn the_port_is_there_only_while_its_replica_leads() {
    let (lead, leadership) = watch::channel(Leadership::Standby { holder: None });
    let (stop, stopped) = watch::channel(false);
    let (mut served, serving) = Served::start(leadership, stopped).await;
    assert_eq!(*served.bound.borrow(), None);

    let mut seen = Vec::new();
    for term in [7, 8] {
        lead.send_replace(Leadership::Leading { term });
        let at = served.at().await;
        seen.push(at);
        let (_send, mut updates) = served.stream(term).await.unwrap();
        served.attached().await;
        // A node that has seen more is not this leader's to serve.
        let (_other, mut refused) = served.stream(term + 1).await.unwrap();
        let status = end(&mut refused).await;
        assert_eq!(status.code(), Code::FailedPrecondition);
        assert!(status.message().contains(&format!("this operator is of term {term}")), "{status:?}");

        lead.send_replace(Leadership::Standby { holder: Some("another".to_owned()) });
        let status = end(&mut updates).await;
        assert_eq!(status.code(), Code::Unavailable);
        assert!(status.message().contains("leads no more"), "{status:?}");
        due("the port's end", served.bound.wait_for(Option::is_none)).await.unwrap();
        let refused = async {
            while tokio::net::TcpStream::connect(at).await.is_ok() {
                tokio::task::yield_now().await;
            }
        };
        due("a refused connection", refused).await;
    }
    assert_eq!(seen[0], seen[1]);

    // From one term into the next without a moment between: every stream begins anew.
    lead.send_replace(Leadership::Leading { term: 9 });
    let (_send, mut updates) = served.stream(9).await.unwrap();
    served.attached().await;
    lead.send_replace(Leadership::Leading { term: 10 });
    assert_eq!(end(&mut updates).await.code(), Code::Unavailable);
    let (_send, mut updates) = served.stream(10).await.unwrap();
    served.attached().await;

    stop.send_replace(true);
    assert_eq!(end(&mut updates).await.message(), "the operator is stopping");
    due("the end", serving).await.unwrap();
    assert_eq!(*served.bound.borrow(), None);
}

#[tokio::test]
async fn a_client_that_does_not_let_go_does_not_hold_the_port() {
    let (lead, leadership) = watch::channel(Leadership::Leading { term: 1 });
    let (_stop, stopped) = watch::channel(false);
    let (mut served, _serving) = Served::start(leadership, stopped).await;
    let at = served.at().await;
    // One that never begins to speak TLS, and one that has a stream and reads nothing of what it is told.
    let mut silent = tokio::net::TcpStream::connect(at).await.unwrap();
    let (_send, _updates) = served.stream(1).await.unwrap();
    served.attached().await;
    for term in 2..5 {
        lead.send_replace(Leadership::Leading { term });
        let next = async {
            loop {
                // Refused while the port changes hands; ended by the leader of the term before.
                if let Ok((_send, mut updates)) = served.stream(term).await
                    && tokio::time::timeout(Duration::from_millis(100), updates.message()).await.is_err()
                {
                    return;
                }
            }
        };
        due("the next term", next).await;
    }
    let mut rest = Vec::new();
    let _ = due("being hung up on", tokio::io::AsyncReadExt::read_to_end(&mut silent, &mut rest)).await;
}

#[tokio::test]
async fn a_replica_that_stops_before_it_took_part_asks_nothing() {
    let api = Memory::new();
    let (stop, stopped) = watch::channel(false);
    let settings = Settings {
        namespace: "palisade-system".to_owned(),
        lease: NAME.to_owned(),
        identity: leader::unique("a"),
        timing: TIMING,
    };
    let (leadership, running) = leader::run(&api.client(), settings, leader::Metrics::default(), stopped);
    stop.send_replace(true);
    due("the end", running).await;
    assert_eq!(*leadership.borrow(), Leadership::Standby { holder: None });
    assert_eq!(api.requests("GET leases") + api.requests("POST leases"), 0);
}
