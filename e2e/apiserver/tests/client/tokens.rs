//! Tokens of ServiceAccounts: requested, reviewed, bound to pods, ended.

use std::time::Duration;

use palisade_apiserver::Options;
use serde_json::{Value, json};

use crate::world::{World, client, send};

const REVIEWS: &str = "/apis/authentication.k8s.io/v1/tokenreviews";

async fn prepare(world: &World) -> (Value, Value, Value) {
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    let account = world.post(accounts, &json!({"metadata": {"name": "agent"}})).await.body;
    let node = world.post("/api/v1/nodes", &json!({"metadata": {"name": "n1"}})).await.body;
    let pod = json!({"metadata": {"name": "p"}, "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "i"}]}});
    let pod = world.post("/api/v1/namespaces/default/pods", &pod).await.body;
    (account, node, pod)
}

async fn request(world: &World, spec: Value) -> crate::world::Answer {
    let path = "/api/v1/namespaces/default/serviceaccounts/agent/token";
    world.post(path, &json!({"spec": spec})).await
}

async fn review(world: &World, token: &Value, audiences: Value) -> Value {
    let answer = world.post(REVIEWS, &json!({"spec": {"token": token, "audiences": audiences}})).await;
    assert_eq!(answer.code, 201, "{answer:?}");
    answer.body["status"].clone()
}

fn bound() -> Value {
    json!({
        "audiences": ["palisade"], "expirationSeconds": 600,
        "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "p"},
    })
}

#[tokio::test]
async fn a_bound_token_says_where_its_pod_runs_while_the_pod_is_there() {
    let world = World::start().await;
    let (account, node, pod) = prepare(&world).await;
    let answer = request(&world, bound()).await;
    assert_eq!((answer.code, &answer.body["kind"]), (201, &json!("TokenRequest")));
    let token = &answer.body["status"]["token"];
    assert_eq!(token.as_str().expect("token").split('.').count(), 3);

    let status = review(&world, token, json!(["palisade", "other"])).await;
    let extra = |name: &str| status["user"]["extra"][format!("authentication.kubernetes.io/{name}")].clone();
    let uid = |object: &Value| json!([object["metadata"]["uid"]]);
    assert_eq!((&status["authenticated"], &status["audiences"]), (&json!(true), &json!(["palisade"])));
    assert_eq!(status["user"]["username"], "system:serviceaccount:default:agent");
    assert_eq!(status["user"]["uid"], account["metadata"]["uid"]);
    let groups = ["system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"];
    assert_eq!(status["user"]["groups"], json!(groups));
    assert_eq!((extra("node-name"), extra("pod-name")), (json!(["n1"]), json!(["p"])));
    assert_eq!((extra("node-uid"), extra("pod-uid")), (uid(&node), uid(&pod)));

    assert_eq!(review(&world, token, json!(["else"])).await.get("authenticated"), None, "not for others");
    assert_eq!(review(&world, token, json!([])).await.get("authenticated"), None, "not for the API");
    world.delete("/api/v1/namespaces/default/pods/p").await;
    let gone = review(&world, token, json!(["palisade"])).await;
    assert_eq!((gone.get("authenticated"), gone["error"].is_string()), (None, true));
}

#[tokio::test]
async fn tokens_end_with_their_time_and_their_account() {
    let world = World::start().await;
    prepare(&world).await;
    let token = request(&world, bound()).await.body["status"]["token"].clone();
    let long = request(&world, json!({"audiences": ["palisade"]})).await.body["status"]["token"].clone();
    let holds =
        async |token: &Value| review(&world, token, json!(["palisade"])).await["authenticated"] == true;
    assert!(holds(&token).await && holds(&long).await);
    world.server.faults().advance_token_clock(Duration::from_secs(601));
    assert!(!holds(&token).await && holds(&long).await);
    world.delete("/api/v1/namespaces/default/serviceaccounts/agent").await;
    assert!(!holds(&long).await);
    assert!(!holds(&json!("a.b.c")).await && !holds(&json!("nonsense")).await);
}

#[tokio::test]
async fn requests_that_cannot_be_met_are_refused() {
    let world = World::start().await;
    prepare(&world).await;
    let short = request(&world, json!({"expirationSeconds": 10})).await;
    assert_eq!(
        (short.code, &short.body["details"]["causes"][0]["field"]),
        (422, &json!("spec.expirationSeconds"))
    );
    let with = |reference: Value| json!({"boundObjectRef": reference});
    let missing = with(json!({"apiVersion": "v1", "kind": "Pod", "name": "q"}));
    assert_eq!(request(&world, missing).await.code, 404);
    let other = with(json!({"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "other"}));
    assert_eq!(request(&world, other).await.code, 409);
    let secret = with(json!({"apiVersion": "v1", "kind": "Secret", "name": "s"}));
    assert_eq!(request(&world, secret).await.code, 400);
    let path = "/api/v1/namespaces/default/serviceaccounts/nobody/token";
    assert_eq!(world.post(path, &json!({"spec": {}})).await.code, 404);
}

#[tokio::test]
async fn only_those_who_are_known_are_let_in() {
    let world = World::with(Options { admin: "boss".into(), ..Options::default() }).await;
    prepare(&world).await;
    let token = request(&world, json!({})).await.body["status"]["token"].as_str().expect("token").to_owned();
    let admin_token = world.server.kubeconfig();
    let admin_token =
        admin_token.split("\"token\": \"").nth(1).and_then(|rest| rest.split('"').next()).expect("token");
    let with = async |token: &str| {
        let client = client(&world.server.kubeconfig().replace(admin_token, token)).await;
        let code = send(&client, "GET", "/api/v1/pods", &[], &Value::Null).await.code;
        let whoami = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
        let who = send(&client, "POST", whoami, &[("content-type", "application/json")], &json!({})).await;
        (code, who.body["status"]["userInfo"]["username"].clone())
    };
    assert_eq!(with(admin_token).await, (200, json!("boss")));
    assert_eq!(with(&token).await, (200, json!("system:serviceaccount:default:agent")));
    assert_eq!(with("wrong").await, (401, Value::Null));
    let counts = world.server.requests().counts();
    assert_eq!(
        counts.sum(|kind| kind.user == "system:serviceaccount:default:agent" && kind.verb == "list"),
        1
    );
    assert!(world.get("/readyz").await.code == 200 && world.get("/version").await.code == 200);
}

#[tokio::test]
async fn access_reviews_say_yes() {
    let world = World::start().await;
    let review = json!({"spec": {"resourceAttributes": {"verb": "delete", "resource": "pods"}}});
    for kind in ["selfsubjectaccessreviews", "subjectaccessreviews"] {
        let answer = world.post(&format!("/apis/authorization.k8s.io/v1/{kind}"), &review).await;
        assert_eq!((answer.code, &answer.body["status"]["allowed"]), (201, &json!(true)));
    }
    let rules = world
        .post("/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", &json!({"spec": {"namespace": "x"}}))
        .await;
    assert_eq!(rules.body["status"]["resourceRules"][0]["verbs"], json!(["*"]));
    assert_eq!(world.get(REVIEWS).await.code, 405, "nothing is kept");
}
