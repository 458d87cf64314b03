//! An operator's admin endpoint, asked from where the operator runs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use palisade_compiler::oracle::Flow;
use palisade_view::L4;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::{Daemon, tail};
use crate::api::{self, Mark};
use crate::http;
use crate::namespaces::Stack;
use crate::traffic::scaled;

/// Generous: a kernel that takes many namespaces down at once may hold up a transaction for seconds.
const LIMIT: Duration = Duration::from_secs(45);

/// See the module.
#[derive(Clone, Debug)]
pub struct Admin {
    stack: Arc<Stack>,
    address: SocketAddr,
}

impl Admin {
    /// The endpoint at an address of a stack.
    pub fn new(stack: &Arc<Stack>, address: SocketAddr) -> Self {
        Self { stack: Arc::clone(stack), address }
    }

    /// Waits until the operator that serves it has taken in every source once.
    pub async fn ready(&self, operator: &mut Daemon) -> Result<()> {
        let deadline = Instant::now() + scaled(Duration::from_secs(20));
        loop {
            let answer = self.get("/readyz", Duration::from_secs(2)).await;
            match answer {
                Ok(response) if response.status == 200 => return Ok(()),
                _ if !operator.is_running() => {
                    bail!("palisade-operator ended:\n{}", tail(&operator.log_text()));
                }
                _ if Instant::now() > deadline => {
                    let why = answer
                        .map_or_else(|error| format!("{error:#}"), |response| response.status.to_string());
                    bail!("palisade-operator is not ready ({why}):\n{}", tail(&operator.log_text()));
                }
                // Nothing listens yet, so there is nothing to wait on but time.
                _ => sleep(Duration::from_millis(5)).await,
            }
        }
    }

    /// Fetches a path.
    pub async fn get(&self, path: &str, limit: Duration) -> Result<http::Response> {
        http::get(&self.stack, self.address, path, scaled(limit)).await
    }

    /// The operator's own account of itself.
    pub async fn state(&self) -> Result<Value> {
        Ok(serde_json::from_str(&self.get("/debug/state", Duration::from_secs(5)).await?.body)?)
    }

    /// Why a flow is allowed or denied, in the operator's words: the verdict in the first line.
    pub async fn explain(&self, flow: &Flow) -> Result<String> {
        let traffic = match flow.l4 {
            L4::Port(protocol, port) => {
                format!("protocol={}&port={port}", protocol.name().to_ascii_lowercase())
            }
            L4::Other(number) => format!("protocol={number}"),
        };
        let ends = format!("source={}&destination={}", flow.source, flow.destination);
        let node = |end, node: &Option<String>| {
            node.as_ref().map(|node| format!("&{end}_node={node}")).unwrap_or_default()
        };
        let stacks = node("source", &flow.source_node) + &node("destination", &flow.destination_node);
        let path = format!("/debug/explain?{ends}&{traffic}{stacks}");
        let response = self.get(&path, Duration::from_secs(15)).await?;
        if response.status != 200 {
            bail!("no explanation ({}): {path}\n{}", response.status, response.body);
        }
        Ok(response.body)
    }

    /// Waits until the operator has taken in what a query names and the given nodes obey it.
    pub async fn settled(&self, query: &str, nodes: &[String]) -> Result<()> {
        let limit = scaled(LIMIT);
        let path =
            format!("/debug/settled?{query}nodes={}&timeout_ms={}", nodes.join(","), limit.as_millis());
        let response = self.get(&path, limit + Duration::from_secs(5)).await?;
        if response.status != 200 {
            bail!("not settled within {limit:?} ({}): {path}\n{}", response.status, response.body);
        }
        Ok(())
    }

    /// Waits until the operator has read so far and the given nodes obey what it read.
    pub async fn settled_at(&self, marks: &[Mark], nodes: &[String]) -> Result<()> {
        for Mark { kind, version } in api::furthest(marks) {
            self.settled(&format!("kind={kind}&resource_version={version}&"), nodes).await?;
        }
        if marks.is_empty() { self.settled("", nodes).await } else { Ok(()) }
    }
}
