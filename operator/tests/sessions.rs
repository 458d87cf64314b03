//! The protocol, spoken over TLS on loopback by a client that is no shim: snapshots, deltas, refusals, credentials
//! and strangers.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use palisade_compiler::Engine;
use palisade_compiler::model::{Event, Namespace, NetworkPolicy, Node, Object, Pod, Policy, Selector};
use palisade_operator::args::Args;
use palisade_operator::batch::Batch;
use palisade_operator::hub::{Awaited, Hub};
use palisade_operator::identity::Identity;
use palisade_operator::identity::tokens::Tokens;
use palisade_operator::metrics::Metrics;
use palisade_operator::serve::tls::Material;
use palisade_operator::serve::{Backend, Phase, serve};
use palisade_operator::state::State;
use palisade_proto::v1::node_policy_client::NodePolicyClient;
use palisade_proto::v1::{Ack, FromNode, Hello, Nack, Update, from_node, nack};
use palisade_proto::{SCHEMA_VERSION, decode_operations};
use palisade_view::{HASH_VERSION, NodeView, Root};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Certificate, Channel, ClientTlsConfig};
use tonic::{Code, Request, Status, Streaming};

const LIMIT: Duration = Duration::from_secs(20);

struct Operator {
    at: SocketAddr,
    ca: String,
    hub: Arc<Hub>,
    engine: Engine,
    directory: tempfile::TempDir,
    stop: watch::Sender<Phase>,
}

impl Operator {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("tokens"), "# two nodes\nt-1, n-1\nt-2, n-2\n").unwrap();
        let hub = Arc::new(Hub::new(Arc::new(Metrics::default())));
        hub.lead(Some(5));
        let tls = Material::prepare(&args(directory.path())).unwrap();
        let ca = std::fs::read_to_string(directory.path().join("tls/ca.crt")).unwrap();
        let tokens = Tokens::load(&directory.path().join("tokens")).unwrap();
        tokio::spawn(tokens.follow().unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let (stop, phase) = watch::channel(Phase::Serving);
        let backend = Backend {
            tls: tls.serving().unwrap(),
            identity: Identity::Static(tokens),
            hub: Arc::clone(&hub),
        };
        tokio::spawn(serve(listener, backend, 5, phase));
        Self { at, ca, hub, engine: Engine::default(), directory, stop }
    }

    fn apply(&mut self, events: impl IntoIterator<Item = Event>) {
        let changes = self.engine.apply(events);
        self.hub.publish(Batch::default(), &changes, self.engine.views(), &[], Duration::ZERO);
    }

    fn root(&self, node: &str) -> Root {
        self.engine.view(node).unwrap().root()
    }

    async fn client(&self, token: &str) -> Result<Client, Status> {
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(&self.ca))
            .domain_name("palisade-operator");
        let endpoint = Channel::from_shared(format!("https://{}", self.at)).unwrap().tls_config(tls).unwrap();
        let channel = endpoint.connect().await.map_err(|error| Status::unavailable(format!("{error:?}")))?;
        let (send, outgoing) = mpsc::channel(8);
        let mut request = Request::new(ReceiverStream::new(outgoing));
        if !token.is_empty() {
            request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        }
        let incoming = NodePolicyClient::new(channel).sync(request).await?.into_inner();
        Ok(Client { send, incoming, held: NodeView::default() })
    }

    async fn connected(&self, token: &str) -> Client {
        let client = self.client(token).await.unwrap();
        client.hello(Hello::default()).await;
        client
    }

    /// A client that has taken its node's view and is known to have.
    async fn in_sync(&self, token: &str, node: &str) -> Client {
        let mut client = self.connected(token).await;
        let update = client.take().await;
        client.ack(&update).await;
        self.settled(node).await;
        client
    }

    async fn settled(&self, node: &str) {
        let nodes = [node.to_owned()];
        tokio::time::timeout(LIMIT, self.hub.settled(&Awaited::Now, &nodes)).await.expect("settles");
    }

    fn report(&self, node: &str) -> serde_json::Value {
        let state: State = self.hub.state();
        serde_json::to_value(state).unwrap()["nodes"][node].clone()
    }

    async fn until(&self, node: &str, field: &str, value: &str) {
        let wait = async {
            while self.report(node)[field] != value {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(LIMIT, wait).await.unwrap_or_else(|_| panic!("{}", self.report(node)));
    }
}

fn args(directory: &Path) -> Args {
    let path = |name: &str| directory.join(name).display().to_string();
    Args::parse_from([
        "palisade-operator",
        "--manifests",
        &path("manifests"),
        "--tokens",
        &path("tokens"),
        "--tls-dir",
        &path("tls"),
    ])
}

struct Client {
    send: mpsc::Sender<FromNode>,
    incoming: Streaming<Update>,
    held: NodeView,
}

impl Client {
    async fn say(&self, message: from_node::Message) {
        self.send.send(FromNode { message: Some(message) }).await.unwrap();
    }

    async fn hello(&self, hello: Hello) {
        let hello = Hello { schema: SCHEMA_VERSION, hash_version: HASH_VERSION, ..hello };
        self.say(from_node::Message::Hello(hello)).await;
    }

    async fn next(&mut self) -> Result<Update, Status> {
        let update = tokio::time::timeout(LIMIT, self.incoming.message())
            .await
            .expect("an update or an end in time")?;
        Ok(update.expect("the stream ends with a status"))
    }

    /// Takes one update of one part in, as a shim would.
    async fn take(&mut self) -> Update {
        let update = self.next().await.unwrap();
        assert!(update.last && update.part == 0 && update.term == 5, "{update:?}");
        if update.from_root.is_empty() {
            self.held = NodeView::default();
        } else {
            assert_eq!(update.from_root, self.held.root().to_bytes());
        }
        self.held.apply_all(&decode_operations(&update.operations).unwrap()).unwrap();
        assert_eq!(update.to_root, self.held.root().to_bytes());
        update
    }

    async fn ack(&self, update: &Update) {
        self.say(from_node::Message::Ack(Ack { root: update.to_root.clone() })).await;
    }

    async fn refuse(&self, update: &Update) {
        let nack = Nack {
            root: update.to_root.clone(),
            reason: nack::Reason::Kernel.into(),
            operation: None,
            message: "no such file".into(),
        };
        self.say(from_node::Message::Nack(nack)).await;
    }

    async fn end(&mut self) -> Status {
        loop {
            if let Err(status) = self.next().await {
                return status;
            }
        }
    }
}

fn node(name: &str) -> Event {
    let (labels, addresses, pod_cidrs) = Default::default();
    Event::Apply(Object::Node(Node { name: name.into(), labels, addresses, pod_cidrs }))
}

fn pod(name: &str, node: &str, address: &str) -> Event {
    Event::Apply(Object::Pod(Pod {
        namespace: "shop".into(),
        name: name.into(),
        labels: [("app".to_owned(), name.to_owned())].into(),
        node: Some(node.into()),
        addresses: [address.parse().unwrap()].into(),
        host_network: false,
        named_ports: [].into(),
        finished: false,
    }))
}

fn deny_ingress(name: &str) -> Event {
    Event::Apply(Object::Policy(Policy::Network(NetworkPolicy {
        namespace: "shop".into(),
        name: "deny".into(),
        subject: Some(Selector::match_labels([("app", name)])),
        ingress: Some(vec![]),
        egress: None,
    })))
}

fn cluster() -> Vec<Event> {
    let shop = Namespace { name: "shop".into(), labels: [].into() };
    vec![
        Event::Apply(Object::Namespace(shop)),
        node("n-1"),
        node("n-2"),
        pod("web", "n-1", "10.0.1.1"),
        pod("api", "n-1", "10.0.1.2"),
        pod("db", "n-2", "10.0.2.1"),
        deny_ingress("web"),
    ]
}

#[tokio::test]
async fn a_node_gets_its_own_view_whole_and_then_what_changes() {
    let mut operator = Operator::start().await;
    operator.apply(cluster());
    let mut client = operator.connected("t-1").await;

    let snapshot = client.take().await;
    assert!(snapshot.from_root.is_empty());
    assert_eq!(client.held, **operator.engine.view("n-1").unwrap());
    client.ack(&snapshot).await;
    operator.settled("n-1").await;
    assert_eq!(operator.report("n-1")["state"], "in-sync");
    assert_eq!(operator.report("n-2")["state"], "never-connected");

    operator.apply([deny_ingress("api")]);
    let delta = client.take().await;
    assert!(!delta.from_root.is_empty());
    assert_eq!(client.held, **operator.engine.view("n-1").unwrap());
    client.ack(&delta).await;
    operator.settled("n-1").await;

    // What is no change for this node is no message to it, and it counts as confirmed.
    operator.apply([deny_ingress("api"), pod("db2", "n-2", "10.0.2.2")]);
    operator.settled("n-1").await;
}

#[tokio::test]
async fn changes_that_come_while_an_update_is_in_flight_are_sent_as_one() {
    let mut operator = Operator::start().await;
    operator.apply(cluster());
    let mut client = operator.connected("t-1").await;
    let snapshot = client.take().await;
    for subject in ["api", "web", "db", "api"] {
        operator.apply([deny_ingress(subject)]);
    }
    client.ack(&snapshot).await;
    let delta = client.take().await;
    assert_eq!(delta.to_root, operator.root("n-1").to_bytes());
    client.ack(&delta).await;
    operator.settled("n-1").await;
}

/// A view, another, and the first again: while the other is on its way to the node, the first is not in force there.
#[tokio::test]
async fn what_is_taken_back_while_it_is_on_its_way_has_to_be_undone_first() {
    for is_refused in [false, true] {
        let mut operator = Operator::start().await;
        operator.apply(cluster());
        let mut client = operator.in_sync("t-1", "n-1").await;
        let first = operator.root("n-1");

        operator.apply([deny_ingress("api")]);
        let detour = if is_refused { client.next().await.unwrap() } else { client.take().await };
        operator.apply([deny_ingress("web")]);
        assert_eq!(operator.root("n-1"), first);
        let report = operator.report("n-1");
        assert_eq!((&report["state"], &report["acked_epoch"]), (&"updating".into(), &1.into()));
        if is_refused {
            client.refuse(&detour).await;
        } else {
            client.ack(&detour).await;
            let back = client.take().await;
            assert_eq!(back.to_root, first.to_bytes());
            client.ack(&back).await;
        }
        operator.settled("n-1").await;
        operator.until("n-1", "state", "in-sync").await;
        assert_eq!(operator.report("n-1")["acked_epoch"], 3);
    }
}

#[tokio::test]
async fn a_node_that_holds_the_present_view_is_asked_to_confirm_it() {
    let mut operator = Operator::start().await;
    operator.apply(cluster());
    let client = operator.client("t-1").await.unwrap();
    let held = operator.root("n-1").to_bytes().to_vec();
    client.hello(Hello { held_root: held.clone(), term: 5, ..Hello::default() }).await;
    let mut client = client;
    let update = client.next().await.unwrap();
    assert_eq!((&update.from_root, &update.to_root, update.operations.len()), (&held, &held, 0));
    client.ack(&update).await;
    operator.settled("n-1").await;
}

#[tokio::test]
async fn nothing_is_sent_before_the_sources_are_read_and_the_node_is_known() {
    let mut operator = Operator::start().await;
    let mut client = operator.connected("t-1").await;
    operator.until("n-1", "state", "updating").await;
    operator.apply([node("n-2")]);
    operator.until("n-1", "message", "the cluster has no such node").await;
    assert!(futures::poll!(Box::pin(client.incoming.message())).is_pending());
    operator.apply(cluster());
    let snapshot = client.take().await;
    client.ack(&snapshot).await;
    operator.settled("n-1").await;
}

#[tokio::test]
async fn a_refusal_brings_a_snapshot_and_a_second_one_parks_the_node_until_something_changes() {
    let mut operator = Operator::start().await;
    operator.apply(cluster());
    let mut client = operator.in_sync("t-1", "n-1").await;
    let first = operator.root("n-1");

    operator.apply([deny_ingress("api")]);
    let delta = client.next().await.unwrap();
    client.refuse(&delta).await;
    let snapshot = client.take().await;
    assert!(snapshot.from_root.is_empty());
    client.refuse(&snapshot).await;
    operator.until("n-1", "state", "parked").await;
    assert_eq!(operator.report("n-1")["message"], "refused (kernel): no such file");
    assert_eq!(operator.report("n-1")["acked_root"], first.to_string());

    operator.apply([deny_ingress("nobody")]);
    let again = client.take().await;
    assert!(again.from_root.is_empty());
    client.ack(&again).await;
    operator.settled("n-1").await;
    assert_eq!(operator.report("n-1")["state"], "in-sync");
}

#[tokio::test]
async fn a_parked_node_is_tried_again_after_a_while() {
    let mut operator = Operator::start().await;
    operator.apply(cluster());
    let mut client = operator.connected("t-1").await;
    for _ in 0..2 {
        let update = client.take().await;
        client.refuse(&update).await;
    }
    let update = client.take().await;
    client.ack(&update).await;
    operator.settled("n-1").await;
}

#[tokio::test]
async fn the_newer_stream_of_a_node_wins() {
    let mut operator = Operator::start().await;
    operator.apply(cluster());
    let mut older = operator.in_sync("t-1", "n-1").await;
    let mut newer = operator.connected("t-1").await;
    let ended = older.end().await;
    assert_eq!(
        (ended.code(), ended.message()),
        (Code::Aborted, "a newer stream of this node has taken over")
    );
    let update = newer.take().await;
    newer.ack(&update).await;
    operator.settled("n-1").await;
}

#[tokio::test]
async fn what_an_earlier_stream_confirmed_does_not_speak_for_a_later_one() {
    let mut operator = Operator::start().await;
    operator.apply(cluster());
    let first = operator.in_sync("t-1", "n-1").await;
    drop(first);
    operator.until("n-1", "state", "disconnected").await;
    assert_eq!(operator.report("n-1")["acked_root"], operator.root("n-1").to_string());

    // The node has lost everything, by a reboot for example.
    let mut second = operator.connected("t-1").await;
    let update = second.take().await;
    assert!(update.from_root.is_empty());
    assert_eq!(operator.report("n-1")["state"], "updating");
    assert_eq!(operator.report("n-1")["acked_root"], serde_json::Value::Null);
    second.ack(&update).await;
    operator.settled("n-1").await;
}

#[tokio::test]
async fn a_stream_without_a_known_token_is_refused_and_a_new_token_is_learned() {
    let mut operator = Operator::start().await;
    operator.apply(cluster());
    for token in ["", "t-3", "t-1x"] {
        let refused = operator.client(token).await.map(|_| ()).expect_err("refused");
        assert_eq!(refused.code(), Code::Unauthenticated, "{refused:?}");
        assert!(refused.message().contains("token"), "{refused:?}");
    }
    let path = operator.directory.path().join("tokens");
    std::fs::write(path.with_extension("new"), "t-3,n-1\n").unwrap();
    std::fs::rename(path.with_extension("new"), &path).unwrap();
    let learned = async {
        loop {
            if let Ok(client) = operator.client("t-3").await {
                return client;
            }
        }
    };
    let client = tokio::time::timeout(LIMIT, learned).await.expect("learned in time");
    client.hello(Hello::default()).await;
    operator.until("n-1", "state", "updating").await;
}

#[tokio::test]
async fn a_stream_that_breaks_the_contract_is_ended_with_the_reason() {
    let mut operator = Operator::start().await;
    operator.apply(cluster());
    let ack = || from_node::Message::Ack(Ack { root: vec![1; 16] });
    let hello = |change: fn(&mut Hello)| {
        let mut hello = Hello { schema: SCHEMA_VERSION, hash_version: HASH_VERSION, ..Hello::default() };
        change(&mut hello);
        from_node::Message::Hello(hello)
    };
    let cases = [
        (vec![ack()], Code::InvalidArgument, "the first message of a stream is a Hello"),
        (vec![hello(|h| h.schema = 9)], Code::FailedPrecondition, "version 9 of the contract"),
        (vec![hello(|h| h.hash_version = 9)], Code::FailedPrecondition, "version 9 of the content hashes"),
        (vec![hello(|h| h.term = 6)], Code::FailedPrecondition, "the node has seen term 6"),
        (vec![hello(|h| h.held_root = vec![1])], Code::InvalidArgument, "hello.held_root: 1 bytes"),
        (vec![hello(|_| ()), hello(|_| ())], Code::InvalidArgument, "a second Hello"),
        (vec![hello(|_| ()), ack()], Code::InvalidArgument, "an Ack of an update that is not in flight"),
    ];
    for (messages, code, text) in cases {
        let mut client = operator.client("t-2").await.unwrap();
        for message in messages {
            client.say(message).await;
        }
        let ended = client.end().await;
        assert!(ended.code() == code && ended.message().contains(text), "{text}: {ended:?}");
        let message = operator.report("n-2")["message"].as_str().unwrap_or_default().to_owned();
        assert!(message.contains(text), "{text}: {message}");
    }
}

#[tokio::test]
async fn garbage_and_silence_on_the_port_harm_nobody() {
    let mut operator = Operator::start().await;
    operator.apply(cluster());
    let mut client = operator.connected("t-1").await;
    let update = client.take().await;
    client.ack(&update).await;

    let mut silent = Vec::new();
    for n in 0..50_u8 {
        let mut stranger = TcpStream::connect(operator.at).await.unwrap();
        match n % 3 {
            0 => silent.push(stranger),
            1 => stranger.write_all(&[n; 4096]).await.unwrap_or_default(),
            _ => {
                let _ = stranger.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
                let mut answer = Vec::new();
                let _ =
                    tokio::time::timeout(LIMIT, stranger.read_to_end(&mut answer)).await.expect("hung up on");
            }
        }
    }
    operator.apply([deny_ingress("api")]);
    let delta = client.take().await;
    client.ack(&delta).await;
    operator.settled("n-1").await;
    operator.in_sync("t-2", "n-2").await;
}

#[tokio::test]
async fn who_shows_no_token_does_not_stay() {
    let mut operator = Operator::start().await;
    operator.apply(cluster());
    let mut client = operator.in_sync("t-1", "n-1").await;

    // Speaks TLS and HTTP/2 and no further.
    let pem = rustls_pki_types::pem::PemObject::from_pem_slice(operator.ca.as_bytes()).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(pem).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let tcp = TcpStream::connect(operator.at).await.unwrap();
    let name = rustls_pki_types::ServerName::try_from("localhost").unwrap();
    let mut stranger = tokio_rustls::TlsConnector::from(Arc::new(tls)).connect(name, tcp).await.unwrap();
    stranger.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let mut said = Vec::new();
    let hung_up = tokio::time::timeout(LIMIT, stranger.read_to_end(&mut said)).await;
    assert!(hung_up.is_ok(), "it may stay");

    // By now a shim's own time would be over too, had it not shown its token.
    operator.apply([deny_ingress("api")]);
    let delta = client.take().await;
    client.ack(&delta).await;
    operator.settled("n-1").await;
}

#[tokio::test]
async fn an_operator_that_stops_says_so() {
    let mut operator = Operator::start().await;
    operator.apply(cluster());
    let mut client = operator.in_sync("t-1", "n-1").await;
    operator.stop.send_replace(Phase::Stopping);
    let ended = client.end().await;
    assert_eq!((ended.code(), ended.message()), (Code::Unavailable, "the operator is stopping"));
}

#[tokio::test]
async fn the_authority_outlives_the_process() {
    let first = Operator::start().await;
    let kept = std::fs::read_to_string(first.directory.path().join("tls/ca.crt")).unwrap();
    Material::prepare(&args(first.directory.path())).unwrap();
    assert_eq!(std::fs::read_to_string(first.directory.path().join("tls/ca.crt")).unwrap(), kept);
}
