//! The whole path of an update: a real operator's service over TLS, the link, and a table in memory.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;
#[path = "common/operator.rs"]
mod operator;

use std::net::SocketAddr;
use std::time::Duration;

use common::{Mood, TestKernel, due, view};
use operator::{Authority, Files, NAME, Session, TestOperator};
use palisade_node::enforce::{Enforcer, Handle, Pace};
use palisade_node::health::Health;
use palisade_node::link::{Backoff, Link, Operator};
use palisade_node::state::Store;
use palisade_proto::v1::from_node::Message;
use palisade_proto::v1::nack::Reason;
use palisade_proto::{SCHEMA_VERSION, v1};
use palisade_view::{HASH_VERSION, NodeView, Root};
use tokio::task::JoinHandle;

fn enforcer(kernel: &TestKernel, files: &Files) -> (Handle, JoinHandle<()>) {
    let store = Store::open(&files.state()).unwrap();
    Enforcer::new(kernel.clone(), store, Health::default(), Pace::default()).spawn()
}

fn link(address: SocketAddr, files: &Files, enforcer: &Handle) -> Link {
    link_to(&[address], files, enforcer)
}

fn link_to(addresses: &[SocketAddr], files: &Files, enforcer: &Handle) -> Link {
    let operator = Operator {
        addresses: addresses.iter().map(|address| format!("https://{address}").parse().unwrap()).collect(),
        server_name: NAME.to_owned(),
        ca: files.path("ca.crt"),
        token: files.path("token"),
    };
    let most = Duration::from_millis(20);
    let backoff = Backoff { first: Duration::from_millis(1), between: most, most };
    Link::new(operator, vec!["ct-label".to_owned()], enforcer.clone(), Health::default())
        .with_backoff(backoff)
}

/// A node with its link up and its first session at the operator.
struct Node {
    kernel: TestKernel,
    files: Files,
    operator: TestOperator,
    authority: Authority,
    link: JoinHandle<()>,
    enforcing: JoinHandle<()>,
}

impl Node {
    async fn start() -> (Self, Session) {
        let authority = Authority::new();
        let (kernel, files) = (TestKernel::new(), Files::new(&authority));
        let mut operator = TestOperator::start(&authority, None).await;
        let (link, enforcing) = Self::run(&kernel, &files, operator.address);
        let session = operator.session().await;
        (Self { kernel, files, operator, authority, link, enforcing }, session)
    }

    fn run(kernel: &TestKernel, files: &Files, address: SocketAddr) -> (JoinHandle<()>, JoinHandle<()>) {
        let (handle, enforcing) = enforcer(kernel, files);
        let link = link(address, files, &handle);
        let running = async move {
            link.run().await;
        };
        (tokio::spawn(running), enforcing)
    }

    /// As SIGTERM does.
    async fn stop(&mut self) {
        self.link.abort();
        due("the end", &mut self.enforcing).await.unwrap();
    }
}

fn ack(view: &NodeView) -> Message {
    Message::Ack(v1::Ack { root: view.root().to_bytes().to_vec() })
}

#[track_caller]
fn nack(answer: Message, root: Root) -> v1::Nack {
    let Message::Nack(nack) = answer else { panic!("{answer:?} is no refusal") };
    assert_eq!(nack.root, root.to_bytes());
    nack
}

#[tokio::test]
async fn a_snapshot_and_a_delta_are_acknowledged_once_in_force() {
    let (node, mut session) = Node::start().await;
    let expected = v1::Hello {
        schema: SCHEMA_VERSION,
        hash_version: HASH_VERSION,
        held_root: Vec::new(),
        term: 0,
        capabilities: vec!["ct-label".to_owned()],
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    assert_eq!(session.hello, expected);
    // Several parts' worth.
    let (first, second) = (view(5000, 80, 20_000), view(5000, 443, 20_001));
    assert_eq!(session.update(3, None, &first).await, ack(&first));
    assert_eq!(node.kernel.revision(), Some(first.root()));
    assert_eq!(session.update(3, Some(&first), &second).await, ack(&second));
    assert_eq!(node.kernel.revision(), Some(second.root()));
    assert_eq!(session.update(3, Some(&second), &second).await, ack(&second));
}

#[tokio::test]
async fn refusals_say_why_and_change_nothing() {
    let (node, mut session) = Node::start().await;
    let (first, second) = (view(2, 80, 3), view(2, 443, 3));
    assert_eq!(session.update(5, None, &first).await, ack(&first));

    let answer = session.update_to(5, Some(&first), &second, Root(99)).await;
    let refusal = nack(answer, Root(99));
    assert_eq!((refusal.reason(), refusal.operation), (Reason::Invalid, None));
    assert!(refusal.message.contains(&second.root().to_string()), "{}", refusal.message);

    // The first operation puts a profile that is held.
    let mut shifted = first.clone();
    let operations = NodeView::default().diff(&first);
    shifted.apply_all(&first.diff(&second)).unwrap();
    let encoded: Vec<_> = operations.iter().map(palisade_proto::encode_operation).collect();
    for part in palisade_proto::parts(5, Some(first.root()), shifted.root(), &encoded) {
        session.send(part).await;
    }
    let refusal = nack(session.answer().await, shifted.root());
    assert_eq!((refusal.reason(), refusal.operation), (Reason::Invalid, Some(0)));

    let refusal = nack(session.update(5, Some(&second), &first).await, first.root());
    assert_eq!(refusal.reason(), Reason::RootMismatch);

    let refusal = nack(session.update(4, Some(&first), &second).await, second.root());
    assert_eq!(refusal.reason(), Reason::StaleTerm);

    node.kernel.mood(Mood::Refuses);
    let refusal = nack(session.update(5, Some(&first), &second).await, second.root());
    assert_eq!(refusal.reason(), Reason::Kernel);
    assert!(refusal.message.contains("Invalid argument"), "{}", refusal.message);

    assert_eq!(node.kernel.taken().len(), 1);
    assert_eq!(node.kernel.revision(), Some(first.root()));
    node.kernel.mood(Mood::Willing);
    assert_eq!(session.update(5, Some(&first), &second).await, ack(&second));
}

#[tokio::test]
async fn a_new_session_says_what_is_held() {
    let (mut node, mut session) = Node::start().await;
    let (first, second) = (view(2, 80, 3), view(2, 443, 3));
    assert_eq!(session.update(5, None, &first).await, ack(&first));

    // The operator restarts.
    drop(session);
    let address = node.operator.address;
    node.operator.stop().await;
    node.operator = TestOperator::start(&node.authority, Some(address)).await;
    let mut session = node.operator.session().await;
    assert_eq!(session.hello.held_root, first.root().to_bytes());
    assert_eq!(session.hello.term, 5);
    let refusal = nack(session.update(4, Some(&first), &second).await, second.root());
    assert_eq!(refusal.reason(), Reason::StaleTerm);
    assert_eq!(session.update(6, Some(&first), &second).await, ack(&second));

    // The shim restarts: its rules stay meanwhile.
    drop(session);
    node.stop().await;
    assert_eq!(node.kernel.revision(), Some(second.root()));
    (node.link, node.enforcing) = Node::run(&node.kernel, &node.files, address);
    let session = node.operator.session().await;
    assert_eq!(session.hello.held_root, second.root().to_bytes());
    assert_eq!(session.hello.term, 6);
}

#[tokio::test]
async fn an_update_cut_short_is_forgotten() {
    let (mut node, mut session) = Node::start().await;
    let (first, second) = (view(2, 80, 3), view(5000, 443, 20_000));
    assert_eq!(session.update(5, None, &first).await, ack(&first));
    let encoded: Vec<_> = first.diff(&second).iter().map(palisade_proto::encode_operation).collect();
    let first_part = palisade_proto::parts(5, Some(first.root()), second.root(), &encoded).next().unwrap();
    assert!(!first_part.last);
    session.send(first_part).await;
    drop(session);
    let mut session = node.operator.session().await;
    assert_eq!(session.hello.held_root, first.root().to_bytes());
    assert_eq!(session.update(5, Some(&first), &second).await, ack(&second));
}

/// What is said where a session does not come about.
async fn fault(address: SocketAddr, files: &Files) -> String {
    let kernel = TestKernel::new();
    let (handle, enforcing) = enforcer(&kernel, files);
    let mut progress = false;
    let outcome = due("a fault", link(address, files, &handle).session(&mut progress)).await;
    assert!(!progress);
    drop(handle);
    due("the end", enforcing).await.unwrap();
    outcome.unwrap_err().to_string()
}

#[track_caller]
fn says(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "`{word}` is not in: {text}");
    }
}

#[tokio::test]
async fn what_keeps_the_link_down_is_named_with_its_remedy() {
    let authority = Authority::new();
    let operator = TestOperator::start(&authority, None).await;
    let files = || Files::new(&authority);

    let wrong_token = files();
    wrong_token.write("token", "somebody else's");
    let text = fault(operator.address, &wrong_token).await;
    says(&text, &["Unauthenticated", "unknown token", &wrong_token.path("token").display().to_string()]);

    let no_token = files();
    std::fs::remove_file(no_token.path("token")).unwrap();
    says(&fault(operator.address, &no_token).await, &["No such file", "--token-file"]);
    no_token.write("token", " \n");
    says(&fault(operator.address, &no_token).await, &["is empty"]);
    no_token.write("token", "two\nlines\n");
    says(&fault(operator.address, &no_token).await, &["more than one line"]);

    let wrong_ca = files();
    wrong_ca.write("ca.crt", &Authority::new().ca);
    says(
        &fault(operator.address, &wrong_ca).await,
        &["invalid peer certificate", "was not issued by", "ca.crt"],
    );
    wrong_ca.write("ca.crt", "not a certificate");
    says(&fault(operator.address, &wrong_ca).await, &["holds no PEM certificate", "--ca"]);
    std::fs::remove_file(wrong_ca.path("ca.crt")).unwrap();
    says(&fault(operator.address, &wrong_ca).await, &["No such file", "--ca"]);

    let address = operator.address;
    operator.stop().await;
    says(&fault(address, &files()).await, &["Connection refused", "is the operator up"]);

    // Something that speaks no TLS.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let babbling = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        stream
    });
    says(&fault(address, &files()).await, &["serves TLS there"]);
    drop(babbling.await);
}

#[tokio::test]
async fn a_certificate_of_another_name_is_refused() {
    let authority = Authority::new();
    let server = TestOperator::start(&authority, None).await;
    let files = Files::new(&authority);
    let kernel = TestKernel::new();
    let (handle, _enforcing) = enforcer(&kernel, &files);
    let operator = Operator {
        addresses: vec![format!("https://{}", server.address).parse().unwrap()],
        server_name: "another-operator".to_owned(),
        ca: files.path("ca.crt"),
        token: files.path("token"),
    };
    let link = Link::new(operator, Vec::new(), handle, Health::default());
    let text = due("a fault", link.session(&mut false)).await.unwrap_err().to_string();
    says(&text, &["not valid for name", "`another-operator`", "--server-name"]);
}

#[tokio::test]
async fn a_token_that_becomes_right_is_taken_up() {
    let authority = Authority::new();
    let mut operator = TestOperator::start(&authority, None).await;
    let (kernel, files) = (TestKernel::new(), Files::new(&authority));
    files.write("token", "not yet");
    let (_link, _enforcing) = Node::run(&kernel, &files, operator.address);
    files.write("token", operator::TOKEN);
    assert!(operator.session().await.hello.held_root.is_empty());
}

/// Passes bytes both ways until told to stop: from then on it is silent, and nothing is closed.
async fn passage(to: SocketAddr, mut silent: tokio::sync::watch::Receiver<bool>) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut near, _) = listener.accept().await.unwrap();
        let mut far = tokio::net::TcpStream::connect(to).await.unwrap();
        let told = async {
            while !*silent.borrow_and_update() {
                silent.changed().await.unwrap();
            }
        };
        tokio::select! {
            _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
            () = told => std::future::pending().await,
        }
    });
    address
}

#[tokio::test]
async fn a_silent_operator_is_given_up() {
    let authority = Authority::new();
    let mut operator = TestOperator::start(&authority, None).await;
    let (kernel, files) = (TestKernel::new(), Files::new(&authority));
    let (handle, _enforcing) = enforcer(&kernel, &files);
    let (silence, silent) = tokio::sync::watch::channel(false);
    let address = passage(operator.address, silent).await;
    let link = link(address, &files, &handle).with_keepalive(Duration::from_millis(100));
    let mut linked = tokio::spawn(async move {
        let mut progress = false;
        (link.session(&mut progress).await, progress)
    });
    let mut session = operator.session().await;
    let first = view(2, 80, 3);
    assert_eq!(session.update(1, None, &first).await, ack(&first));
    // Silence alone is no fault: several rounds pass while the operator has nothing to say.
    assert!(tokio::time::timeout(Duration::from_millis(500), &mut linked).await.is_err());
    silence.send(true).unwrap();
    let (outcome, progress) = due("the end of the session", linked).await.unwrap();
    assert!(progress);
    assert!(outcome.is_err(), "a stream that nobody closed did not end in order");
}

/// An address where nobody listens: while the socket is held, nobody else will.
fn refusing() -> (tokio::net::TcpSocket, SocketAddr) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

#[tokio::test]
async fn of_several_addresses_the_one_that_serves_is_found_in_one_round() {
    let authority = Authority::new();
    let (kernel, files) = (TestKernel::new(), Files::new(&authority));
    let (_standby, refused) = refusing();
    // Takes connections and says nothing, as a machine that hangs.
    let hanging = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut retired = TestOperator::start(&authority, None).await;
    retired.retire();
    let mut serving = TestOperator::start(&authority, None).await;
    let (handle, _enforcing) = enforcer(&kernel, &files);
    let all = [refused, hanging.local_addr().unwrap(), retired.address, serving.address];
    for addresses in [all, [all[3], all[2], all[1], all[0]], [all[2], all[0], all[3], all[1]]] {
        let link = link_to(&addresses, &files, &handle);
        let linked = tokio::spawn(async move { link.session(&mut false).await });
        drop(serving.session().await);
        due("the end of the session", linked).await.unwrap().unwrap();
    }

    // And where nobody serves, all have been asked, and what says most is told.
    let link = link_to(&all[..3], &files, &handle);
    let text = due("a fault", link.session(&mut false)).await.unwrap_err().to_string();
    says(&text, &["no TLS connection within", "check --operator"]);
    drop(hanging);
    let text = due("a fault", link_to(&all[..1], &files, &handle).session(&mut false)).await;
    says(&text.unwrap_err().to_string(), &["Connection refused"]);
    files.write("token", "somebody else's");
    let link = link_to(&[refused, serving.address, refused], &files, &handle);
    let text = due("a fault", link.session(&mut false)).await.unwrap_err().to_string();
    says(&text, &["Unauthenticated"]);
}

#[tokio::test]
async fn a_name_stands_for_all_its_addresses() {
    let authority = Authority::new();
    let (kernel, files) = (TestKernel::new(), Files::new(&authority));
    let mut operator = TestOperator::start(&authority, None).await;
    let (handle, _enforcing) = enforcer(&kernel, &files);
    // Both of the loopback's addresses, where there are two: one of them refuses.
    let operator_at = Operator {
        addresses: vec![format!("https://localhost:{}", operator.address.port()).parse().unwrap()],
        server_name: NAME.to_owned(),
        ca: files.path("ca.crt"),
        token: files.path("token"),
    };
    let link = Link::new(operator_at, Vec::new(), handle, Health::default());
    let linked = tokio::spawn(async move { link.session(&mut false).await });
    drop(operator.session().await);
    due("the end of the session", linked).await.unwrap().unwrap();
}

#[tokio::test]
async fn rules_stay_while_one_operator_goes_and_another_comes() {
    let authority = Authority::new();
    let (kernel, files) = (TestKernel::new(), Files::new(&authority));
    let mut leader = TestOperator::start(&authority, None).await;
    let (held, standby_at) = refusing();
    let (handle, _enforcing) = enforcer(&kernel, &files);
    // As in production.
    let link = link_to(&[leader.address, standby_at], &files, &handle).with_backoff(Backoff::default());
    let running = tokio::spawn(link.run());
    let mut session = leader.session().await;
    let (first, second) = (view(2, 80, 3), view(2, 443, 3));
    assert_eq!(session.update(7, None, &first).await, ack(&first));
    let transactions = kernel.taken().len();

    drop(session);
    leader.stop().await;
    // Its time without an operator is not waited for but had: long enough for a back-off to grow.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(kernel.revision(), Some(first.root()));
    assert_eq!(kernel.taken().len(), transactions, "nothing was done to the rules");
    drop(held);
    let mut leader = TestOperator::start(&authority, Some(standby_at)).await;
    let mut session = leader.session().await;
    assert_eq!((session.hello.term, session.hello.held_root.as_slice()), (7, &first.root().to_bytes()[..]));
    assert_eq!(session.update(8, Some(&first), &second).await, ack(&second));
    assert_eq!(kernel.revision(), Some(second.root()));
    running.abort();
}

#[tokio::test]
async fn an_authority_that_becomes_right_is_taken_up() {
    let authority = Authority::new();
    let mut operator = TestOperator::start(&authority, None).await;
    let (kernel, files) = (TestKernel::new(), Files::new(&authority));
    files.write("ca.crt", &Authority::new().ca);
    let (_link, _enforcing) = Node::run(&kernel, &files, operator.address);
    // Both, as while the operator's authority is being rotated.
    files.write("ca.crt", &format!("{}{}", Authority::new().ca, authority.ca));
    assert!(operator.session().await.hello.held_root.is_empty());
}
