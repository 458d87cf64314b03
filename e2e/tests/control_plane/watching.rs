//! Watches: from where, how far, and when they end.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube_runtime::watcher::{self, Event, watcher};
use palisade_e2e::control_plane::{ControlPlane, Kind};
use palisade_e2e::rundir::RunDir;
use palisade_e2e::traffic::scaled;
use serde_json::json;
use tokio::time::timeout;

use crate::room::{LIMIT, Room, Set, next, rest, version};

/// An event as one word, its object, and its version.
fn said(event: &WatchEvent<ConfigMap>) -> Result<(&'static str, String, u64)> {
    let (word, map) = match event {
        WatchEvent::Added(map) => ("added", map),
        WatchEvent::Modified(map) => ("modified", map),
        WatchEvent::Deleted(map) => ("deleted", map),
        WatchEvent::Bookmark(_) => bail!("a bookmark that nobody has asked for"),
        WatchEvent::Error(status) => bail!("an error: {status:?}"),
    };
    let name = map.metadata.name.set("name")?;
    Ok((word, name, version(map.metadata.resource_version.as_ref())?))
}

pub(crate) async fn a_watch_tells_what_came_after_a_version(room: &Room) -> Result<()> {
    let api = room.config_maps();
    let new = PostParams::default();
    api.create(&new, &room.config_map("before", "")).await?;
    let listed = api.list(&ListParams::default()).await?.metadata.resource_version.set("version")?;
    let one = api.create(&new, &room.config_map("one", "0")).await?;
    let patch = Patch::Merge(json!({"data": {"key": "1"}}));
    let two = api.patch("one", &PatchParams::default(), &patch).await?;

    // The first has to be told what it missed, the second what comes.
    let only = WatchParams::default().disable_bookmarks().labels(&room.selector());
    let mut events = api.watch(&only, &listed).await?.boxed();
    let mut told = Vec::new();
    for _ in 0..2 {
        told.push(said(&next(&mut events).await?.context("it has ended")?)?);
    }
    api.delete("one", &DeleteParams::default()).await?;
    told.push(said(&next(&mut events).await?.context("it has ended")?)?);
    let [one, two] = [one, two].map(|map| map.metadata.resource_version);
    let words: Vec<_> = told.iter().map(|(word, name, _)| (*word, name.as_str())).collect();
    ensure!(words == [("added", "one"), ("modified", "one"), ("deleted", "one")], "{words:?}");
    let versions: Vec<_> = told.iter().map(|(_, _, version)| *version).collect();
    ensure!(versions[..2] == [version(one.as_ref())?, version(two.as_ref())?], "{versions:?}");
    ensure!(versions[1] < versions[2], "the end of an object is a version of its own");

    let mut later = api.watch(&only, &versions[1].to_string()).await?.boxed();
    let end = said(&next(&mut later).await?.context("it has ended")?)?;
    ensure!(end == told[2], "{end:?}");

    // A watch ends by itself after the time it was given.
    let short = WatchParams::default().disable_bookmarks().timeout(1);
    ensure!(rest(api.watch(&short, &versions[2].to_string()).await?).await?.is_empty());
    Ok(())
}

pub(crate) async fn a_watch_tells_what_its_selector_loses(room: &Room) -> Result<()> {
    let api = room.config_maps();
    api.create(&PostParams::default(), &room.config_map("one", "")).await?;
    let from = api.list(&ListParams::default()).await?.metadata.resource_version.set("version")?;
    let labelled = WatchParams::default().disable_bookmarks().labels("colour=red");
    let named = WatchParams::default().disable_bookmarks().fields("metadata.name=one");
    let mut by_label = api.watch(&labelled, &from).await?.boxed();
    let mut by_name = api.watch(&named, &from).await?.boxed();
    let paint = async |colour: &str| {
        let patch = Patch::Merge(json!({"metadata": {"labels": {"colour": colour}}}));
        api.patch("one", &PatchParams::default(), &patch).await
    };
    for colour in ["red", "blue"] {
        paint(colour).await?;
    }
    api.create(&PostParams::default(), &room.config_map("two", "")).await?;
    api.delete("one", &DeleteParams::default()).await?;
    let mut words = Vec::new();
    for _ in 0..2 {
        words.push(said(&next(&mut by_label).await?.context("it has ended")?)?.0);
    }
    ensure!(words == ["added", "deleted"], "{words:?}");
    let mut words = Vec::new();
    for _ in 0..3 {
        words.push(said(&next(&mut by_name).await?.context("it has ended")?)?.0);
    }
    ensure!(words == ["modified", "modified", "deleted"], "{words:?}");
    Ok(())
}

pub(crate) async fn bookmarks_tell_how_far_a_watch_has_read(room: &Room) -> Result<()> {
    let api = room.config_maps();
    let from = api.list(&ListParams::default()).await?.metadata.resource_version.set("version")?;
    // The watch is not about this one: only a bookmark can tell that it has been read.
    let other = api.create(&PostParams::default(), &room.config_map("other", "")).await?;
    let written = version(other.metadata.resource_version.as_ref())?;
    // Long enough for the bookmark that comes two seconds before the end.
    let quiet = WatchParams::default().fields("metadata.name=none").timeout(5);
    let mut last = None;
    for event in rest(api.watch(&quiet, &from).await?).await? {
        match event {
            WatchEvent::Bookmark(bookmark) => {
                last = Some(version(Some(&bookmark.metadata.resource_version))?);
            }
            other => bail!("{other:?}"),
        }
    }
    let last = last.context("no bookmark")?;
    ensure!(last >= written, "the last bookmark is at {last}, {written} had been written");
    Ok(())
}

pub(crate) async fn a_version_that_is_forgotten_is_said_to_be(room: &Room) -> Result<()> {
    if room.plane.kind() != Kind::Dev {
        // A real API server has forgotten what was before it knew the kind.
        room.create_policy("p", 1).await?;
        return forgotten(room, "1").await;
    }
    // The development server forgets when told, and everything: this one is the test's own.
    let directory = RunDir::new()?;
    let plane = Arc::new(ControlPlane::start(Kind::Dev, directory.path()).await?);
    plane.install_crds().await?;
    let own = Room::new(Arc::clone(&plane), &room.name, directory.path().join("home")).await?;
    let listed = own.policies().list(&ListParams::default()).await?;
    own.create_policy("p", 1).await?;
    plane.faults().context("no faults")?.compact();
    forgotten(&own, &listed.metadata.resource_version.set("resourceVersion")?).await
}

/// Watches from a version that is forgotten. There is one policy in the room.
async fn forgotten(room: &Room, version: &str) -> Result<()> {
    let api = room.policies();
    let mut events = api.watch(&WatchParams::default(), version).await?.boxed();
    match next(&mut events).await?.context("it has ended")? {
        WatchEvent::Error(status) => {
            ensure!(status.code == 410 && status.reason == "Expired", "{status:?}");
        }
        other => bail!("{other:?}"),
    }
    ensure!(next(&mut events).await?.is_none(), "nothing follows");

    // A watcher helps itself to a new list.
    let all = watcher(api, watcher::Config::default().labels(&room.selector()));
    let mut all = all.boxed();
    let mut listed = 0;
    loop {
        let event = timeout(scaled(LIMIT), all.next()).await?.context("the watcher has ended")?;
        match event? {
            Event::InitApply(_) => listed += 1,
            Event::InitDone => break,
            _ => {}
        }
    }
    ensure!(listed == 1, "{listed}");
    Ok(())
}

pub(crate) async fn a_watcher_lists_in_pages_and_follows(room: &Room) -> Result<()> {
    let api = room.config_maps();
    for number in 0..7 {
        api.create(&PostParams::default(), &room.config_map(&format!("m-{number}"), "")).await?;
    }
    let config = watcher::Config::default().labels(&room.selector()).page_size(3);
    let mut events = watcher(api.clone(), config).boxed();
    let mut next = async || {
        let event = timeout(scaled(LIMIT), events.next()).await.context("the watcher says nothing")?;
        anyhow::Ok(event.context("the watcher has ended")??)
    };
    let mut listed = BTreeSet::new();
    loop {
        match next().await? {
            Event::Init => listed.clear(),
            Event::InitApply(map) => drop(listed.insert(map.metadata.name.set("name")?)),
            Event::InitDone => break,
            other => bail!("{other:?}"),
        }
    }
    ensure!(listed.len() == 7, "{listed:?}");
    let patch = Patch::Merge(json!({"data": {"key": "1"}}));
    api.patch("m-3", &PatchParams::default(), &patch).await?;
    let Event::Apply(changed) = next().await? else { bail!("no change") };
    ensure!(changed.metadata.name.as_deref() == Some("m-3"));
    api.delete("m-4", &DeleteParams::default()).await?;
    let Event::Delete(gone) = next().await? else { bail!("no end") };
    ensure!(gone.metadata.name.as_deref() == Some("m-4"));
    Ok(())
}
