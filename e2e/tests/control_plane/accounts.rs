//! Who somebody is: tokens bound to pods, and what a review says of them.

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::authentication::v1::{
    BoundObjectReference, TokenRequest, TokenRequestSpec, TokenReview, TokenReviewSpec, TokenReviewStatus,
};
use k8s_openapi::api::core::v1::{Namespace, Node, Pod, ServiceAccount};
use kube::api::{DeleteParams, ObjectMeta, PostParams};
use kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde_json::json;

use crate::room::{Room, Set, refused};

/// Whom the tokens are for.
const AUDIENCE: &str = "palisade";
const ACCOUNT: &str = "node-agent";
const POD: &str = "node-agent-1";
const EXTRA: &str = "authentication.kubernetes.io/";

async fn account(room: &Room) -> Result<Api<ServiceAccount>> {
    let accounts: Api<ServiceAccount> = Api::namespaced(room.client.clone(), &room.name);
    let metadata = ObjectMeta { name: Some(ACCOUNT.to_owned()), ..ObjectMeta::default() };
    accounts
        .create(&PostParams::default(), &ServiceAccount { metadata, ..ServiceAccount::default() })
        .await
        .context("making an account")?;
    Ok(accounts)
}

/// A pod of the account on a node of its own.
async fn pod(room: &Room) -> Result<Pod> {
    let nodes: Api<Node> = Api::all(room.client.clone());
    let metadata = ObjectMeta { name: Some(room.own("node")), ..ObjectMeta::default() };
    nodes.create(&PostParams::default(), &Node { metadata, ..Node::default() }).await?;
    let pods: Api<Pod> = Api::namespaced(room.client.clone(), &room.name);
    let pod = serde_json::from_value(json!({
        "metadata": {"name": POD},
        "spec": {
            "nodeName": room.own("node"), "serviceAccountName": ACCOUNT,
            "containers": [{"name": "main", "image": "none"}],
        },
    }))?;
    Ok(pods.create(&PostParams::default(), &pod).await?)
}

fn request(bound: Option<BoundObjectReference>) -> TokenRequest {
    TokenRequest {
        metadata: ObjectMeta::default(),
        spec: TokenRequestSpec {
            audiences: vec![AUDIENCE.to_owned()],
            bound_object_ref: bound,
            expiration_seconds: Some(600),
        },
        status: None,
    }
}

fn to_pod(uid: &str) -> BoundObjectReference {
    BoundObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Pod".to_owned()),
        name: Some(POD.to_owned()),
        uid: Some(uid.to_owned()),
    }
}

async fn review(client: &Client, token: &str, audience: &str) -> Result<TokenReviewStatus> {
    let reviews: Api<TokenReview> = Api::all(client.clone());
    let spec = TokenReviewSpec { audiences: Some(vec![audience.to_owned()]), token: Some(token.to_owned()) };
    let review = TokenReview { spec, ..TokenReview::default() };
    reviews.create(&PostParams::default(), &review).await?.status.set("status")
}

pub(crate) async fn a_pods_token_names_its_node(room: &Room) -> Result<()> {
    let (accounts, pod) = (account(room).await?, pod(room).await?);
    let uid = pod.metadata.uid.set("uid")?;
    let ask =
        async |bound| accounts.create_token_request(ACCOUNT, &PostParams::default(), &request(bound)).await;
    let issued = ask(Some(to_pod(&uid))).await?.status.set("status")?;
    let left = issued.expiration_timestamp.0.duration_since(k8s_openapi::jiff::Timestamp::now());
    ensure!((500..=660).contains(&left.as_secs()), "{left:?}");

    let status = review(&room.client, &issued.token, AUDIENCE).await?;
    ensure!(status.authenticated == Some(true), "{status:?}");
    ensure!(status.audiences.as_deref() == Some(&[AUDIENCE.to_owned()]), "{status:?}");
    let user = status.user.set("user")?;
    let name = format!("system:serviceaccount:{}:{ACCOUNT}", room.name);
    ensure!(user.username.as_ref() == Some(&name), "{user:?}");
    ensure!(user.groups.iter().flatten().any(|group| group == "system:serviceaccounts"), "{user:?}");
    let extra = user.extra.set("extra")?;
    let node = room.own("node");
    for (key, value) in [("pod-name", POD), ("pod-uid", &uid), ("node-name", &node)] {
        let found = extra.get(&format!("{EXTRA}{key}"));
        ensure!(found.is_some_and(|found| found[..] == [value.to_owned()]), "{key}: {extra:?}");
    }

    let another = review(&room.client, &issued.token, "another").await?;
    ensure!(another.authenticated != Some(true), "for another audience it is good for nothing: {another:?}");
    let unbound = ask(None).await?.status.set("status")?.token;
    let user = review(&room.client, &unbound, AUDIENCE).await?.user.set("user")?;
    ensure!(user.username == Some(name));
    let keys: Vec<_> = user.extra.iter().flat_map(|extra| extra.keys()).collect();
    ensure!(keys.iter().all(|key| !key.contains("node-name") && !key.contains("pod-")), "{keys:?}");

    refused(ask(Some(to_pod("00000000-0000-0000-0000-000000000000"))).await, 409, "Conflict")?;
    let absent = BoundObjectReference { name: Some("absent".to_owned()), ..to_pod(&uid) };
    refused(ask(Some(absent)).await, 404, "NotFound")?;
    let nobody = accounts.create_token_request("nobody", &PostParams::default(), &request(None)).await;
    refused(nobody, 404, "NotFound")?;
    Ok(())
}

pub(crate) async fn a_token_ends_with_its_pod(room: &Room) -> Result<()> {
    let (accounts, first) = (account(room).await?, pod(room).await?);
    let bound = Some(to_pod(&first.metadata.uid.set("uid")?));
    let issued = accounts.create_token_request(ACCOUNT, &PostParams::default(), &request(bound)).await?;
    let token = issued.status.set("status")?.token;
    ensure!(review(&room.client, &token, AUDIENCE).await?.authenticated == Some(true));
    let pods: Api<Pod> = Api::namespaced(room.client.clone(), &room.name);
    pods.delete(POD, &DeleteParams::default().grace_period(0)).await?;
    refused(pods.get(POD).await, 404, "NotFound")?;
    // An API server remembers for ten seconds what it found out about a token.
    let deadline = tokio::time::Instant::now() + palisade_e2e::traffic::scaled(crate::room::LIMIT);
    loop {
        let status = review(&room.client, &token, AUDIENCE).await?;
        if status.authenticated != Some(true) {
            ensure!(status.error.is_some_and(|error| !error.is_empty()), "it gives no reason");
            return Ok(());
        }
        if tokio::time::Instant::now() > deadline {
            bail!("its pod is gone, and the token is still good");
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
}

pub(crate) async fn a_strangers_token_is_nobodys(room: &Room) -> Result<()> {
    let status = review(&room.client, "stranger", AUDIENCE).await?;
    ensure!(status.authenticated != Some(true), "{status:?}");
    let mut contents = Kubeconfig::read_from(room.plane.kubeconfig())?;
    for user in &mut contents.auth_infos {
        user.auth_info = Some(AuthInfo { token: Some("stranger".to_owned().into()), ..AuthInfo::default() });
    }
    let config = Config::from_custom_kubeconfig(contents, &KubeConfigOptions::default()).await?;
    let namespaces: Api<Namespace> = Api::all(Client::try_from(config)?);
    refused(namespaces.get("default").await, 401, "Unauthorized")?;
    Ok(())
}
