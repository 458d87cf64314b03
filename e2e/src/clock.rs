//! When the API server told of each generation of an object, and when its status said that it is in force.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures::StreamExt;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::api::Objects;
use crate::status;
use crate::traffic::scaled;

/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(20);

/// What was told, and when.
type Told = Vec<(Instant, Arc<Value>)>;

/// Watches an object until dropped.
#[derive(Debug)]
pub struct Clock {
    task: JoinHandle<()>,
    told: watch::Receiver<Told>,
}

impl Clock {
    /// Begins to watch an object, which need not be there yet.
    pub fn start(objects: &Objects, object: &Value) -> Result<Self> {
        let mut changes = objects.watch(object)?;
        let (tell, told) = watch::channel(Told::new());
        let task = tokio::spawn(async move {
            while let Some(change) = changes.next().await {
                if let Ok(Some(object)) = change {
                    tell.send_modify(|told| told.push((Instant::now(), Arc::new(object))));
                }
            }
        });
        Ok(Self { task, told })
    }

    /// When the object was first told of with this generation.
    pub async fn generation(&self, generation: i64) -> Result<Instant> {
        let what = format!("generation {generation}");
        self.first(&what, |object| object["metadata"]["generation"] == generation).await
    }

    /// When its status first said that this generation is in force.
    pub async fn programmed(&self, generation: i64) -> Result<Instant> {
        let is_so = |object: &Value| {
            object["metadata"]["generation"] == generation && status::is(object, "Programmed", "True")
        };
        self.first(&format!("Programmed of generation {generation}"), is_so).await
    }

    async fn first(&self, what: &str, is_so: impl Fn(&Value) -> bool) -> Result<Instant> {
        let mut told = self.told.clone();
        let find = |told: &Told| told.iter().find(|(_, object)| is_so(object)).map(|(at, _)| *at);
        let found = timeout(scaled(LIMIT), told.wait_for(|told| find(told).is_some()))
            .await
            .with_context(|| format!("never told of: {what}"))??;
        find(&found).with_context(|| what.to_owned())
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        self.task.abort();
    }
}
