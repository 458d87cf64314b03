//! Who a stream is, by tokens that the API server reviews: what is taken, what is refused and why, and what is asked.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "common/memory.rs"]
mod memory;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use futures::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use memory::{Memory, Mood, due};
use palisade_operator::hub::Hub;
use palisade_operator::identity::{Identity, Known, Metrics, Refusal, Reviewer, Settings};
use palisade_operator::serve::session::{self, Tenure};
use palisade_operator::serve::tls::Material;
use palisade_operator::serve::{Backend, Phase, serve};
use palisade_proto::SCHEMA_VERSION;
use palisade_proto::v1::node_policy_client::NodePolicyClient;
use palisade_proto::v1::{FromNode, Hello, Update, from_node};
use palisade_view::HASH_VERSION;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Certificate, Channel, ClientTlsConfig};
use tonic::{Code, Request, Status};

const USER: &str = "system:serviceaccount:palisade-system:palisade-node";

/// A token as the API server makes them; its signature is `signature`.
fn token(claims: &Value, signature: &str) -> String {
    let part = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
    format!("{}.{}.{signature}", part(r#"{"alg":"RS256"}"#), part(&claims.to_string()))
}

fn node_token(node: &str) -> String {
    let expires = jiff::Timestamp::now().as_second() + 3600;
    token(&json!({"sub": USER, "aud": ["palisade"], "exp": expires, "node": node}), "good")
}

/// Accepts what is signed `good`, and believes its claims.
fn honest(token: &str) -> Value {
    let Some((claims, "good")) = token.rsplit_once('.') else {
        return json!({"authenticated": false, "error": "invalid signature"});
    };
    let payload = BASE64_URL_SAFE_NO_PAD.decode(claims.split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&payload).unwrap();
    let uid = claims["uid"].as_str().unwrap_or("u-1");
    let mut extra = json!({
        "authentication.kubernetes.io/pod-name": ["shim"],
        "authentication.kubernetes.io/pod-uid": [uid],
    });
    if claims["node"].is_string() {
        extra["authentication.kubernetes.io/node-name"] = json!([claims["node"]]);
    }
    json!({
        "authenticated": true, "audiences": ["palisade"],
        "user": {"username": claims["sub"], "uid": "1", "groups": [], "extra": extra},
    })
}

fn identity(api: &Memory) -> Identity {
    let settings = Settings {
        audience: "palisade".to_owned(),
        namespace: "palisade-system".to_owned(),
        service_account: "palisade-node".to_owned(),
    };
    Identity::Reviewed(Reviewer::new(api.client(), settings, Metrics::default()))
}

fn api() -> Memory {
    let api = Memory::new();
    api.reviews(Duration::ZERO, honest);
    api
}

fn peer(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

#[track_caller]
fn unknown(outcome: Result<Known, Refusal>) -> String {
    match outcome {
        Err(Refusal::Unknown(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_token_is_reviewed_once_and_names_its_node() {
    let api = api();
    let identity = identity(&api);
    for _ in 0..5 {
        let known = identity.node(&node_token("n-1"), Some(peer(1))).await.unwrap();
        assert_eq!(known.node, "n-1");
        let left = known.until.unwrap() - tokio::time::Instant::now();
        assert!((3500..=3600).contains(&left.as_secs()), "{left:?}");
    }
    assert_eq!(api.requests("POST tokenreviews"), 1);
    assert_eq!(identity.node(&node_token("n-2"), Some(peer(1))).await.unwrap().node, "n-2");
}

#[tokio::test]
async fn an_older_api_server_names_the_pod_and_the_pod_names_the_node() {
    let api = api();
    let identity = identity(&api);
    let pods: Api<Pod> = Api::namespaced(api.client(), "palisade-system");
    let pod = json!({
        "metadata": {"name": "shim"},
        "spec": {"nodeName": "n-7", "serviceAccountName": "palisade-node", "containers": []},
    });
    let pod = pods.create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap();
    let claims = |uid: &str| json!({"sub": USER, "aud": "palisade", "uid": uid});
    let known = identity.node(&token(&claims(&pod.metadata.uid.unwrap()), "good"), None).await.unwrap();
    assert_eq!(known.node, "n-7");
    let why = unknown(identity.node(&token(&claims("of-another"), "good"), None).await);
    assert!(why.contains("an earlier pod shim"), "{why}");
    pods.delete("shim", &DeleteParams::default()).await.unwrap();
    let why = unknown(identity.node(&token(&claims("of-a-third"), "good"), None).await);
    assert!(why.contains("pod shim of the bearer token is gone"), "{why}");
}

#[tokio::test]
async fn what_cannot_be_a_nodes_token_is_refused_without_asking() {
    let api = api();
    let identity = identity(&api);
    let cases = [
        ("guess".to_owned(), "no ServiceAccount token"),
        ("a.b.c".to_owned(), "no ServiceAccount token"),
        (
            token(&json!({"sub": "system:serviceaccount:default:default", "aud": ["palisade"]}), "good"),
            "of user",
        ),
        (token(&json!({"sub": USER, "aud": ["https://kubernetes.default.svc"]}), "good"), "another audience"),
        (token(&json!({"sub": USER}), "good"), "another audience"),
    ];
    for (token, expected) in cases {
        let why = unknown(identity.node(&token, Some(peer(1))).await);
        assert!(why.contains(expected) && why.contains("--token-file must be"), "{why}");
    }
    assert_eq!(api.requests("POST tokenreviews"), 0);

    // Looks right, and is not.
    let forged = token(&json!({"sub": USER, "aud": ["palisade"]}), "forged");
    for _ in 0..3 {
        let why = unknown(identity.node(&forged, Some(peer(1))).await);
        assert!(why.contains("invalid signature"), "{why}");
    }
    assert_eq!(api.requests("POST tokenreviews"), 1, "refusals are known for a while too");
}

#[tokio::test]
async fn equal_questions_are_asked_once_and_different_ones_at_a_pace() {
    let api = api();
    api.reviews(Duration::from_millis(50), honest);
    let identity = identity(&api);
    let same = node_token("n-1");
    let asked = (0..100).map(|n| identity.node(&same, Some(peer(n))));
    assert!(due("answers", join_all(asked)).await.into_iter().all(|known| known.unwrap().node == "n-1"));
    assert_eq!(api.requests("POST tokenreviews"), 1);

    // A hundred nodes come back together.
    let tokens: Vec<_> = (0..100).map(|n| node_token(&format!("m-{n}"))).collect();
    let asked = tokens.iter().zip(0..).map(|(token, n)| identity.node(token, Some(peer(n))));
    for (known, n) in due("answers", join_all(asked)).await.into_iter().zip(0..) {
        assert_eq!(known.unwrap().node, format!("m-{n}"));
    }
    assert_eq!(api.requests("POST tokenreviews"), 101);
    assert!(api.most_reviews_at_once() <= 32, "{}", api.most_reviews_at_once());
}

#[tokio::test]
async fn a_question_outlives_whoever_asked_first() {
    let api = api();
    api.reviews(Duration::from_millis(200), honest);
    let identity = identity(&api);
    let token = node_token("n-1");
    {
        let asked = identity.node(&token, None);
        tokio::pin!(asked);
        while api.requests("POST tokenreviews") == 0 {
            assert!(futures::poll!(&mut asked).is_pending());
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(identity.node(&token, None).await.unwrap().node, "n-1");
    assert_eq!(api.requests("POST tokenreviews"), 1);
}

#[tokio::test]
async fn guessing_floods_nobody_and_keeps_nobody_out() {
    let api = api();
    let identity = identity(&api);
    let guess = |n: usize| token(&json!({"sub": USER, "aud": ["palisade"], "n": n}), "forged");
    unknown(identity.node(&guess(0), Some(peer(66))).await);
    let before = api.requests("POST tokenreviews");

    let guesses: Vec<_> = (1..=2000).map(guess).collect();
    let start = Instant::now();
    let guessing = join_all(guesses.iter().map(|guess| identity.node(guess, Some(peer(66)))));
    let honest = async {
        let mut longest = Duration::ZERO;
        for n in 0..20 {
            let asked = Instant::now();
            identity.node(&node_token(&format!("n-{n}")), Some(peer(n))).await.unwrap();
            longest = longest.max(asked.elapsed());
        }
        longest
    };
    let (outcomes, longest) = due("answers", async { tokio::join!(guessing, honest) }).await;
    let reviewed = api.requests("POST tokenreviews") - before - 20;
    // Five at once, and five a second from then on.
    let most = 5 + (start.elapsed().as_secs() + 1) * 5;
    assert!(reviewed as u64 <= most, "{reviewed} reviews, at most {most} are allowed");
    assert!(longest < Duration::from_secs(2), "honest nodes waited {longest:?}");
    // Neither do they take the guesser's own node out: it is told to come back.
    assert!(
        outcomes
            .iter()
            .any(|outcome| matches!(outcome, Err(Refusal::NotNow(why)) if why.contains("come back")))
    );
}

#[tokio::test]
async fn without_the_api_server_known_tokens_go_on_and_others_are_told_to_come_back() {
    let api = api();
    let identity = identity(&api);
    let (known, other) = (node_token("n-1"), node_token("n-2"));
    identity.node(&known, Some(peer(1))).await.unwrap();
    for (mood, expected) in [
        (Mood::Broken, "it is broken"),
        (Mood::Strict, "needs create on tokenreviews.authentication.k8s.io"),
        (Mood::Silent, "no answer within 4 s"),
    ] {
        api.mood(mood);
        assert_eq!(identity.node(&known, Some(peer(1))).await.unwrap().node, "n-1");
        match due("a refusal", identity.node(&other, Some(peer(2)))).await {
            Err(Refusal::NotNow(why)) => assert!(why.contains(expected), "{mood:?}: {why}"),
            other => panic!("{mood:?}: {other:?}"),
        }
    }
    // That nobody could tell is not remembered.
    api.mood(Mood::Willing);
    assert_eq!(identity.node(&other, Some(peer(2))).await.unwrap().node, "n-2");
}

/// What a shim is told over the wire.
async fn told(api: &Memory, token: &str) -> Status {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let args =
        ["palisade-operator", "--manifests", &path("m"), "--tokens", &path("t"), "--tls-dir", &path("tls")];
    let tls = Material::prepare(&clap::Parser::parse_from(args)).unwrap().serving().unwrap();
    let hub = Arc::new(Hub::new(Arc::default()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let (_phase, phase) = watch::channel(Phase::Serving);
    let serving = tokio::spawn(serve(listener, Backend { tls, identity: identity(api), hub }, 1, phase));
    let ca = std::fs::read_to_string(path("tls/ca.crt")).unwrap();
    let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca)).domain_name("localhost");
    let channel = Channel::from_shared(format!("https://{at}")).unwrap().tls_config(tls).unwrap();
    let (send, outgoing) = mpsc::channel(1);
    let mut request = Request::new(ReceiverStream::new(outgoing));
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    send.send(FromNode { message: None }).await.unwrap();
    let mut client = NodePolicyClient::new(channel.connect().await.unwrap());
    let status = match due("an answer", client.sync(request)).await {
        Err(status) => status,
        Ok(stream) => due("an end", stream.into_inner().message()).await.unwrap_err(),
    };
    serving.abort();
    status
}

#[tokio::test]
async fn shims_are_told_whether_coming_back_helps() {
    let api = api();
    let taken = told(&api, &node_token("n-1")).await;
    assert_eq!(
        taken.code(),
        Code::InvalidArgument,
        "the token was taken, what was said then was not: {taken:?}"
    );
    let refused = told(&api, "guess").await;
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused:?}");
    assert!(refused.message().contains("projected token of ServiceAccount `palisade-node`"), "{refused:?}");
    api.mood(Mood::Broken);
    let later = told(&api, &node_token("n-1")).await;
    assert_eq!(later.code(), Code::Unavailable, "{later:?}");
}

#[tokio::test]
async fn a_stream_ends_with_its_token() {
    let hub = Arc::new(Hub::new(Arc::default()));
    let (updates, mut told) = mpsc::channel::<Result<Update, Status>>(4);
    let hello = Hello { schema: SCHEMA_VERSION, hash_version: HASH_VERSION, ..Hello::default() };
    let (say, said) = mpsc::channel(4);
    say.send(Ok(FromNode { message: Some(from_node::Message::Hello(hello)) })).await.unwrap();
    let until = tokio::time::Instant::now() + Duration::from_millis(300);
    let (_phase, phase) = watch::channel(Phase::Serving);
    let tenure = Tenure { term: 1, until: Some(until), phase };
    let running =
        session::run("n-1".to_owned(), ReceiverStream::new(said), updates, Arc::clone(&hub), tenure);
    let running = tokio::spawn(running);
    let ended = due("the end", told.recv()).await.unwrap().unwrap_err();
    assert!(tokio::time::Instant::now() >= until);
    // Not `Unauthenticated`: there is nothing wrong, and the shim's newer token is taken at once.
    assert_eq!(ended.code(), Code::Unavailable);
    assert!(ended.message().contains("token has ended"), "{ended:?}");
    due("the session's end", running).await.unwrap();
    let state = serde_json::to_value(hub.state()).unwrap();
    assert_eq!(state["nodes"]["n-1"]["state"], "disconnected", "{state:#}");
}
