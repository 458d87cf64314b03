//! The questions to the API server about one token, each bounded in time.

use std::time::Duration;

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use k8s_openapi::api::core::v1::Pod;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::time::timeout;

use super::verdict::{Bearer, bearer, node_of};
use super::{Refusal, Settings};
use crate::said::api_error;

/// How long the API server may take for an answer.
const LIMIT: Duration = Duration::from_secs(4);

/// The node a token belongs to.
pub(super) async fn review(client: &Client, settings: &Settings, token: &str) -> Result<String, Refusal> {
    let spec =
        TokenReviewSpec { audiences: Some(vec![settings.audience.clone()]), token: Some(token.to_owned()) };
    let review = TokenReview { spec, ..TokenReview::default() };
    let reviews: Api<TokenReview> = Api::all(client.clone());
    let asked = timeout(LIMIT, reviews.create(&PostParams::default(), &review)).await;
    let need = "create on tokenreviews.authentication.k8s.io (ClusterRole system:auth-delegator)";
    let status = answer(asked, need)?.status.unwrap_or_default();
    let (name, uid) = match bearer(&status, settings).map_err(Refusal::Unknown)? {
        Bearer::Node(node) => return Ok(node),
        Bearer::Pod { name, uid } => (name, uid),
    };
    let pods: Api<Pod> = Api::namespaced(client.clone(), &settings.namespace);
    let asked = timeout(LIMIT, pods.get_opt(&name)).await;
    match answer(asked, "get on pods")? {
        Some(pod) => node_of(&pod, &uid, settings).map_err(Refusal::Unknown),
        None => {
            Err(Refusal::Unknown(format!("pod {name} of the bearer token is gone; {}", settings.wanted())))
        }
    }
}

fn answer<T>(
    asked: Result<Result<T, kube::Error>, tokio::time::error::Elapsed>,
    need: &str,
) -> Result<T, Refusal> {
    let why = match asked {
        Ok(Ok(answer)) => return Ok(answer),
        Ok(Err(error)) => {
            let said = api_error(&error);
            match error {
                kube::Error::Api(status) if status.code == 403 => {
                    format!("{said}; the operator's ServiceAccount needs {need}")
                }
                _ => said,
            }
        }
        Err(_) => format!("no answer within {} s", LIMIT.as_secs()),
    };
    Err(Refusal::NotNow(format!("the operator cannot have tokens reviewed now: {why}")))
}
