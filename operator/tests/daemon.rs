//! The whole operator in this process, as its command line starts it: files in, JSON and updates out, and its end.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;
use palisade_operator::args::Args;
use palisade_operator::run::run;
use palisade_operator::serve::tls::Material;
use palisade_proto::v1::node_policy_client::NodePolicyClient;
use palisade_proto::v1::{Ack, FromNode, Hello, Update, from_node};
use palisade_proto::{SCHEMA_VERSION, decode_operations};
use palisade_view::{HASH_VERSION, NodeView};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Certificate, Channel, ClientTlsConfig};
use tonic::{Code, Request, Status, Streaming};

const LIMIT: Duration = Duration::from_secs(20);

const CLUSTER: &str = "\
apiVersion: v1
kind: Node
metadata: {name: n-1}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Pod
metadata: {namespace: shop, name: web, labels: {app: web}}
spec: {nodeName: n-1, containers: [{name: c, image: i}]}
status: {phase: Running, podIPs: [{ip: 10.0.1.1}]}
";

const DENY: &str = "\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {namespace: shop, name: deny}
spec: {podSelector: {}, policyTypes: [Ingress]}
";

struct Running {
    directory: tempfile::TempDir,
    grpc: String,
    admin: String,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<anyhow::Result<()>>,
}

fn args(directory: &Path, more: &[&str]) -> Args {
    let path = |name: &str| directory.join(name).display().to_string();
    let own = ["--manifests", &path("manifests"), "--tokens", &path("tokens"), "--tls-dir", &path("tls")];
    let at = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--ready-file", &path("ready")];
    Args::parse_from([&["palisade-operator"], &own[..], &at[..], more].concat())
}

impl Running {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("manifests")).unwrap();
        fs::write(directory.path().join("manifests/cluster.yaml"), CLUSTER).unwrap();
        fs::write(directory.path().join("tokens"), "t-1,n-1\n").unwrap();
        let (stop, asked) = oneshot::channel();
        let started = args(directory.path(), &[]);
        // A runtime of its own, which ends with it as the process does: what is not said by then is never said.
        let ended = tokio::task::spawn_blocking(move || {
            let runtime = tokio::runtime::Runtime::new()?;
            runtime.block_on(run(started, async move { drop(asked.await) }))
        });
        let ready = directory.path().join("ready");
        let read = async {
            loop {
                if let Ok(text) = fs::read_to_string(&ready) {
                    return serde_json::from_str::<Value>(&text).unwrap();
                }
                tokio::task::yield_now().await;
            }
        };
        let at = tokio::time::timeout(LIMIT, read).await.expect("it listens");
        let [grpc, admin] = ["grpc", "admin"].map(|port| at[port].as_str().unwrap().to_owned());
        Self { directory, grpc, admin, stop, ended }
    }

    async fn get(&self, path: &str) -> (u16, String) {
        self.get_with(path, "").await
    }

    /// With header lines, each with its end.
    async fn get_with(&self, path: &str, headers: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.admin).await.unwrap();
        let request = format!("GET {path} HTTP/1.0\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        tokio::time::timeout(LIMIT, stream.read_to_string(&mut text)).await.expect("an answer").unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    async fn state(&self, path: &str) -> (u16, Value) {
        let (status, body) = self.get(path).await;
        (status, serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}")))
    }

    /// Writes a manifest; gives the question whether node n-1 has confirmed what came of it.
    fn write(&self, name: &str, text: &str) -> String {
        fs::write(self.directory.path().join("manifests").join(name), text).unwrap();
        format!(
            "/debug/settled?file={name}&digest={}&nodes=n-1&timeout_ms=20000",
            blake3::hash(text.as_bytes())
        )
    }

    async fn shim(&self) -> (mpsc::Sender<FromNode>, Streaming<Update>) {
        let ca = fs::read_to_string(self.directory.path().join("tls/ca.crt")).unwrap();
        let tls =
            ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca)).domain_name("palisade-operator");
        let endpoint = Channel::from_shared(format!("https://{}", self.grpc)).unwrap();
        let channel = endpoint.tls_config(tls).unwrap().connect().await.unwrap();
        let (send, outgoing) = mpsc::channel(8);
        let mut request = Request::new(ReceiverStream::new(outgoing));
        request.metadata_mut().insert("authorization", "Bearer t-1".parse().unwrap());
        let hello = Hello { schema: SCHEMA_VERSION, hash_version: HASH_VERSION, ..Hello::default() };
        send.send(FromNode { message: Some(from_node::Message::Hello(hello)) }).await.unwrap();
        (send, NodePolicyClient::new(channel).sync(request).await.unwrap().into_inner())
    }
}

/// Takes updates and confirms them until the stream ends; gives what it held last and why it ended.
async fn follow(send: mpsc::Sender<FromNode>, mut updates: Streaming<Update>) -> (NodeView, Status) {
    let mut held = NodeView::default();
    loop {
        let update = match updates.message().await {
            Ok(update) => update.expect("an end with a status"),
            Err(status) => return (held, status),
        };
        if update.from_root.is_empty() {
            held = NodeView::default();
        }
        held.apply_all(&decode_operations(&update.operations).unwrap()).unwrap();
        let ack = from_node::Message::Ack(Ack { root: update.to_root });
        send.send(FromNode { message: Some(ack) }).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn from_a_file_to_a_confirmed_node_and_to_the_end() {
    let operator = Running::start().await;
    let (send, updates) = operator.shim().await;
    let shim = tokio::spawn(follow(send, updates));

    let (status, state) = operator.state(&operator.write("deny.yaml", DENY)).await;
    assert_eq!((status, &state["nodes"]["n-1"]["state"]), (200, &Value::from("in-sync")), "{state:#}");
    assert_eq!(state["nodes"]["n-1"]["acked_root"], state["nodes"]["n-1"]["root"]);
    assert_eq!(state["objects"]["NetworkPolicy"], 1);
    assert_eq!(state["files"]["cluster.yaml"]["documents"], 3);
    let epoch = state["epoch"].as_u64().unwrap();

    // Content that breaks the schema is told of with its place, and changes nothing in force.
    let (status, state) = operator.state(&operator.write("deny.yaml", &DENY.replace("{}", "5"))).await;
    assert_eq!(status, 200);
    let finding = state["diagnostics"][0].as_str().unwrap();
    assert!(
        finding.starts_with("deny.yaml:1: NetworkPolicy/shop/deny: spec.podSelector: error: "),
        "{finding}"
    );
    assert!(finding.ends_with("(its last good content stays in force)"), "{finding}");
    assert!(state["epoch"].as_u64().unwrap() > epoch);

    fs::remove_file(operator.directory.path().join("manifests/deny.yaml")).unwrap();
    let gone = "/debug/settled?file=deny.yaml&digest=absent&nodes=n-1&timeout_ms=20000";
    let (status, state) = operator.state(gone).await;
    assert_eq!((status, &state["objects"]["NetworkPolicy"]), (200, &Value::from(0)));

    operator.stop.send(()).unwrap();
    tokio::time::timeout(LIMIT, operator.ended).await.expect("it ends").unwrap().unwrap();
    let (held, status) = tokio::time::timeout(LIMIT, shim).await.expect("the stream ends").unwrap();
    assert_eq!((status.code(), status.message()), (Code::Unavailable, "the operator is stopping"));
    assert_eq!(state["nodes"]["n-1"]["acked_root"], held.root().to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_port_tells_and_waits() {
    let operator = Running::start().await;
    assert_eq!(operator.get("/healthz").await, (200, "ok\n".to_owned()));
    let (status, state) = operator.state("/debug/settled?timeout_ms=20000").await;
    assert_eq!((status, &state["nodes"]["n-1"]["state"]), (200, &Value::from("never-connected")));
    assert_eq!(operator.get("/readyz").await, (200, "ok\n".to_owned()));
    // Nobody confirms.
    let (status, state) = operator.state("/debug/settled?nodes=n-1&timeout_ms=1").await;
    assert_eq!((status, &state["nodes"]["n-1"]["acked_root"]), (504, &Value::Null));
    assert_eq!(operator.get("/debug/settled?file=x.yaml").await.0, 400);
    assert_eq!(operator.get("/nothing").await.0, 404);

    let (status, findings) = operator.get("/debug/findings").await;
    assert!(status == 200 && findings.starts_with("# findings: 0; "), "{status} {findings}");

    let (status, metrics) = operator.get("/metrics").await;
    assert_eq!(status, 200);
    for line in [
        "palisade_operator_epoch 1",
        "palisade_objects{kind=\"Pod\"} 1",
        "palisade_nodes{state=\"never_connected\"} 1",
        "palisade_compile_duration_seconds_count 1",
        "palisade_update_bytes_total 0",
        "palisade_auth_failures_total 0",
        "palisade_handshake_failures_total 0",
        "palisade_diagnostics{severity=\"error\"} 0",
        "palisade_manifest_errors 0",
        "# EOF",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} is not in\n{metrics}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_port_says_why_a_packet_is_denied() {
    let operator = Running::start().await;
    operator.state("/debug/settled?timeout_ms=20000").await;
    let question = "/debug/explain?source=198.51.100.1&destination=shop/web&protocol=tcp&port=80";
    let (status, text) = operator.get(question).await;
    assert_eq!(status, 200, "{text}");
    assert!(text.starts_with("198.51.100.1 -> shop/web (10.0.1.1) TCP/80: allowed\n"), "{text}");
    assert!(text.contains("\ncompiled at epoch 1; judged by n-1 (never-connected)\n"), "{text}");

    let (send, updates) = operator.shim().await;
    tokio::spawn(follow(send, updates));
    let (_, state) = operator.state(&operator.write("deny.yaml", DENY)).await;
    let (status, text) = operator.get(question).await;
    assert_eq!(status, 200, "{text}");
    let denied = "denied by ingress: isolation ingress NetworkPolicy/shop/deny\n";
    assert_eq!(text.lines().next().unwrap().split_once(": ").unwrap().1, denied.trim_end(), "{text}");
    assert!(text.ends_with("; judged by n-1 (in-sync)\n"), "{text}");

    for (more, headers) in [("&format=json", ""), ("", "Accept: application/json\r\n")] {
        let (status, answer) = operator.get_with(&format!("{question}{more}"), headers).await;
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(
            (status, &answer["epoch"], &answer["nodes"]["n-1"]),
            (200, &state["epoch"], &"in-sync".into())
        );
        let explanation = &answer["explanations"][0];
        assert_eq!((&explanation["allowed"], &explanation["denied_by"]), (&false.into(), &"ingress".into()));
        assert_eq!(explanation["ingress"]["text"], "isolation ingress NetworkPolicy/shop/deny");
    }
    let (status, text) =
        operator.get_with(&format!("{question}&format=text"), "Accept: application/json\r\n").await;
    assert!(status == 200 && text.contains(denied), "{text}");

    for (query, problem) in [
        ("", "`source`: missing; give an address, or a pod as namespace/name\n"),
        (
            "?source=shop/web&destination=shop/db&port=1",
            "`destination`: there is no pod shop/db; see `kubectl get",
        ),
        ("?source=shop/web&destination=10.0.1.1", "`port`: missing; TCP has ports: give"),
        ("?source=shop/web&destination=10.0.1.1&port=1&format=xml", "`format`: give text or json"),
    ] {
        let (status, text) = operator.get(&format!("/debug/explain{query}")).await;
        assert!(status == 400 && text.starts_with(problem), "{query}: {status}: {text}");
    }
}

#[tokio::test]
async fn what_it_cannot_start_without_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let start = async |more: &[&str]| {
        let never = std::future::pending();
        let ended = tokio::time::timeout(LIMIT, run(args(directory.path(), more), never)).await;
        format!("{:#}", ended.expect("at once").unwrap_err())
    };
    let said = start(&[]).await;
    assert!(said.contains("cannot read the token file") && said.contains("--tokens"), "{said}");
    fs::write(path("tokens"), "just-a-token\n").unwrap();
    let said = start(&[]).await;
    assert!(said.contains("tokens:1: no comma; a line is `token,node-name`"), "{said}");
    fs::write(path("tokens"), "t,n\n").unwrap();
    let said = start(&[]).await;
    assert!(said.contains("cannot read the manifest directory") && said.contains("--manifests"), "{said}");
    fs::create_dir(path("manifests")).unwrap();
    fs::write(path("not.pem"), "nothing").unwrap();
    let not_pem = path("not.pem").display().to_string();
    let said = start(&["--tls-cert", &not_pem, "--tls-key", &not_pem]).await;
    assert!(said.contains("certificate"), "{said}");
}

#[test]
fn keys_are_secret_and_a_given_certificate_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let own = args(directory.path(), &[]);
    Material::prepare(&own).unwrap();
    let tls = |name: &str| -> PathBuf { directory.path().join("tls").join(name) };
    for name in ["ca.key", "tls.key"] {
        assert_eq!(fs::metadata(tls(name)).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
    }
    let read = || ["ca.crt", "tls.crt", "tls.key"].map(|name| fs::read_to_string(tls(name)).unwrap());
    let first = read();
    Material::prepare(&own).unwrap();
    let second = read();
    assert_eq!(first[0], second[0], "shims go on trusting the authority");
    assert_ne!(first[1], second[1], "the serving certificate is issued anew");

    // As an issuer of certificates for a cluster puts them there.
    fs::remove_file(tls("ca.key")).unwrap();
    Material::prepare(&own).unwrap().server_config().unwrap();
    assert_eq!(read(), second);
    assert!(!tls("ca.key").exists());
}
