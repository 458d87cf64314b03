//! Objects listed, read and waited for.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures::StreamExt;
use futures::stream::BoxStream;
use kube::Api;
use kube::api::{DynamicObject, ListParams, TypeMeta, WatchEvent, WatchParams};
use kube_runtime::watcher::{self, Event, watcher};
use serde_json::Value;
use tokio::time::{sleep, timeout};

use super::name::Name;
use super::{Objects, PATIENCE, patiently, version};
use crate::traffic::scaled;

impl Objects {
    /// Every object of a kind, in order of name.
    pub async fn list(&self, (version, kind): (&str, &str)) -> Result<Vec<Value>> {
        let api = self.api(version, kind, None);
        let all = ListParams::default();
        let list = patiently(|| api.list(&all)).await.with_context(|| format!("listing {kind}"))?;
        let mut objects = Vec::new();
        for mut object in list.items {
            // Items of a list do not say what they are.
            object.types = Some(TypeMeta { api_version: version.to_owned(), kind: kind.to_owned() });
            objects.push(serde_json::to_value(object)?);
        }
        Ok(objects)
    }

    /// An object as it is now.
    pub async fn get(&self, object: &Value) -> Result<Value> {
        let name = Name::of(object)?;
        let api = self.api(name.version, name.kind, name.namespace);
        let found = patiently(|| api.get(name.own)).await.with_context(|| format!("reading {name}"))?;
        Ok(serde_json::to_value(found)?)
    }

    /// Every change of an object, `None` while it is not there.
    pub fn watch(&self, object: &Value) -> Result<BoxStream<'static, Result<Option<Value>>>> {
        let name = Name::of(object)?;
        let api = self.api(name.version, name.kind, name.namespace);
        let changes = watcher::watch_object(api, name.own);
        // The watcher begins anew by itself; without a pause it would do nothing else while it fails.
        let changes = changes.then(async |change| match change {
            Ok(change) => Ok(change.map(serde_json::to_value).transpose()?),
            Err(error) => {
                sleep(Duration::from_millis(100)).await;
                Err(error.into())
            }
        });
        Ok(changes.boxed())
    }

    /// Waits until an object is as it has to be, and gives it.
    pub async fn wait(
        &self,
        object: &Value,
        what: &str,
        limit: Duration,
        is: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let name = Name::of(object)?;
        let mut changes = self.watch(object)?;
        let mut last = None;
        let limit = scaled(limit);
        let waited = timeout(limit, async {
            while let Some(change) = changes.next().await {
                last = change.ok().flatten().or(last.take());
                if let Some(found) = last.take_if(|found| is(found)) {
                    return Some(found);
                }
            }
            None
        });
        if let Ok(found) = waited.await {
            return found.context("the watch ended");
        }
        let last = last.map_or("it is not there".to_owned(), |last| format!("{:#}", last["status"]));
        bail!("{name}: not within {limit:?}: {what}; status: {last}")
    }

    /// Waits until a kind has so many objects and all of them are as they have to be.
    pub async fn all_are(
        &self,
        (version, kind): (&str, &str),
        count: usize,
        what: &str,
        limit: Duration,
        is: impl Fn(&Value) -> bool,
    ) -> Result<()> {
        let api = self.api(version, kind, None);
        let mut changes = watcher(api, watcher::Config::default()).boxed();
        let mut objects: BTreeMap<String, (bool, Value)> = BTreeMap::new();
        let limit = scaled(limit);
        let waited = timeout(limit, async {
            while let Some(change) = changes.next().await {
                match change {
                    Ok(Event::Init) => objects.clear(),
                    Ok(Event::Apply(object) | Event::InitApply(object)) => {
                        let name = key(&object);
                        let object = serde_json::to_value(object)?;
                        objects.insert(name, (is(&object), object["status"].clone()));
                    }
                    Ok(Event::Delete(object)) => {
                        objects.remove(&key(&object));
                    }
                    Ok(Event::InitDone) => {}
                    Err(_) => sleep(Duration::from_millis(100)).await,
                }
                if objects.len() == count && objects.values().all(|(is_so, _)| *is_so) {
                    return Ok(());
                }
            }
            bail!("the watch ended")
        });
        if let Ok(result) = waited.await {
            return result;
        }
        let not: Vec<_> = objects.iter().filter(|(_, (is_so, _))| !is_so).collect();
        let first = not.first().map(|(name, (_, status))| format!("{name}: {status:#}")).unwrap_or_default();
        let (there, others) = (objects.len(), not.len());
        bail!("{kind}: {there} of {count} there, {others} not {what} after {limit:?}; {first}")
    }

    /// Waits until there is an object of a kind with these fields, in whichever namespace, and gives it.
    pub async fn appears(
        &self,
        (version, kind): (&str, &str),
        fields: &str,
        limit: Duration,
    ) -> Result<Value> {
        let api = self.api(version, kind, None);
        let config = watcher::Config::default().fields(fields);
        let mut changes = watcher(api, config).boxed();
        let limit = scaled(limit);
        let found = timeout(limit, async {
            while let Some(change) = changes.next().await {
                match change {
                    Ok(Event::Apply(object) | Event::InitApply(object)) => {
                        return Ok(serde_json::to_value(object)?);
                    }
                    Ok(_) => {}
                    Err(_) => sleep(Duration::from_millis(100)).await,
                }
            }
            bail!("the watch ended")
        });
        found.await.with_context(|| format!("no {kind} with {fields} after {limit:?}"))?
    }
}

/// Tells an object from others of its kind.
fn key(object: &DynamicObject) -> String {
    let name = object.metadata.name.clone().unwrap_or_default();
    object.metadata.namespace.as_ref().map_or(name.clone(), |namespace| format!("{namespace}/{name}"))
}

/// Waits until an object is gone; gives the resource version of its end.
pub(super) async fn gone(api: &Api<DynamicObject>, name: &str, since: &str) -> Result<u64> {
    let limit = scaled(PATIENCE);
    let only = WatchParams::default().fields(&format!("metadata.name={name}"));
    let ended = timeout(limit, async {
        loop {
            let Ok(changes) = api.watch(&only, since).await else {
                sleep(Duration::from_millis(100)).await;
                continue;
            };
            let mut changes = Box::pin(changes);
            while let Some(change) = changes.next().await {
                match change {
                    Ok(WatchEvent::Deleted(object)) => return version(&object),
                    // What happened since is no longer told. Whoever reads past this version has read it.
                    Ok(WatchEvent::Error(status)) if status.code == 410 => {
                        let list = api.list(&ListParams::default().limit(1)).await?;
                        return Ok(list.metadata.resource_version.unwrap_or_default().parse()?);
                    }
                    Ok(_) => {}
                    Err(_) => break,
                }
            }
        }
    });
    ended.await.with_context(|| format!("it is still there after {limit:?}"))?
}
