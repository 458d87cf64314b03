//! The way to the API from inside a namespace that has none.

use std::net::Ipv4Addr;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Namespace;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use palisade_e2e::namespaces::Arena;
use palisade_e2e::rundir::RunDir;
use palisade_e2e::traffic::scaled;
use tokio::time::timeout;

use crate::room::{LIMIT, Room};
use crate::trial;

pub(crate) async fn a_namespace_reaches_the_api_by_a_relay(room: &Room) -> Result<()> {
    trial::check().map_err(|failed| anyhow::anyhow!("{}", failed.message().unwrap_or("no namespaces")))?;
    let directory = RunDir::new()?;
    let arena = Arena::new().await?;
    let stack = arena.stack("operators").await?;
    stack.ip(&["link set lo up".to_owned()]).await?;
    let own = Kubeconfig::read_from(room.plane.kubeconfig())?;
    let path = directory.path().join("kubeconfig");
    let relay = room.plane.relay(&stack, Ipv4Addr::LOCALHOST, &path).await?;
    let relayed = Kubeconfig::read_from(&path)?;

    let ask = async |contents: &Kubeconfig| {
        let (contents, name) = (contents.clone(), room.name.clone());
        let asked = stack.run(move || async move {
            let config = Config::from_custom_kubeconfig(contents, &KubeConfigOptions::default()).await?;
            let namespaces: Api<Namespace> = Api::all(Client::try_from(config)?);
            // A client tries again by itself: whoever has no way would do so for long.
            let asked = timeout(scaled(LIMIT) / 3, namespaces.get(&name)).await;
            anyhow::Ok(asked.context("no answer")??)
        });
        asked.await?
    };
    let found = ask(&relayed).await.context("by the relay")?;
    ensure!(found.metadata.name.as_ref() == Some(&room.name));
    ensure!(ask(&own).await.is_err(), "it would be reached without a relay as well");
    drop(relay);
    ensure!(ask(&relayed).await.is_err(), "the relay is gone");
    Ok(())
}
