//! What this project relies on from an API server, asked of the one that `PALISADE_CONTROL_PLANE` chooses: the
//! development server, unless it says otherwise. The same tests have to pass on every kind: where they do not, the
//! development server is wrong.

mod accounts;
mod admission;
mod definitions;
mod leases;
mod objects;
mod ownership;
mod person;
mod relayed;
mod room;
#[allow(dead_code, reason = "shared by test programs, most of which run their tests with it")]
#[path = "../trial/mod.rs"]
mod trial;
mod watching;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use libtest_mimic::{Arguments, Trial};
use palisade_e2e::control_plane::ControlPlane;
use palisade_e2e::rundir::RunDir;
use tokio::runtime::Handle;

use room::Room;

/// What all tests share.
struct Shared {
    runtime: Handle,
    plane: Arc<ControlPlane>,
    directory: RunDir,
    /// Tells the names of this run from those of another.
    run: String,
}

/// Makes a test of a function that is given a room.
macro_rules! trials {
    ($shared:ident: $($module:ident :: $test:ident),* $(,)?) => {
        vec![$({
            let shared = Arc::clone(&$shared);
            Trial::test(concat!(stringify!($module), "::", stringify!($test)), move || {
                let name = stringify!($test).replace('_', "-");
                shared.runtime.clone().block_on(in_room(&shared, &name, $module::$test)).map_err(|error| format!("{error:#}").into())
            })
        }),*]
    };
}

async fn in_room(shared: &Shared, name: &str, test: impl AsyncFnOnce(&Room) -> Result<()>) -> Result<()> {
    // A namespace's name has 63 characters.
    let name = format!("{}-{}", shared.run, name.get(..48).unwrap_or(name).trim_end_matches('-'));
    let home = shared.directory.path().join(&name);
    let room = Room::new(Arc::clone(&shared.plane), &name, home).await?;
    let result = test(&room).await;
    let left = room.leave().await;
    result.and(left)
}

fn trials(shared: &Arc<Shared>) -> Vec<Trial> {
    let mut trials = trials! { shared:
        objects::what_is_created_carries_what_the_server_sets,
        objects::lists_come_in_pages_of_one_moment,
        objects::of_two_who_replace_one_fails,
        objects::what_is_deleted_is_the_one_that_is_meant,
        objects::what_has_finalizers_stays_until_they_are_gone,
        objects::patches_change_what_they_name,
        objects::metadata_is_had_without_the_rest,
        ownership::a_field_belongs_to_who_applied_it,
        ownership::a_status_is_written_apart_from_the_spec,
        ownership::conditions_are_owned_by_type,
        ownership::generations_count_changes_of_the_spec,
        watching::a_watch_tells_what_came_after_a_version,
        watching::a_watch_tells_what_its_selector_loses,
        watching::bookmarks_tell_how_far_a_watch_has_read,
        watching::a_version_that_is_forgotten_is_said_to_be,
        watching::a_watcher_lists_in_pages_and_follows,
        definitions::what_is_invalid_is_refused_by_field,
        definitions::defaults_are_filled_in,
        definitions::policies_are_read_as_they_were_written,
        definitions::unknown_fields_are_dropped_or_refused,
        definitions::a_definition_takes_its_objects_with_it,
        definitions::watches_end_when_their_definition_changes,
        definitions::kinds_are_found_by_discovery,
        admission::the_same_objects_are_taken,
        leases::of_two_who_take_a_lease_one_fails,
        leases::an_event_is_one_object_of_two_groups,
        person::kubectl_shows_a_policys_conditions,
        person::kubectl_applies_edits_and_deletes,
        person::kubectl_is_told_what_is_wrong,
    };
    // A node that is none is nothing for a cluster of others: its controllers would act on it.
    let is_shared = shared.plane.is_shared();
    trials.extend(
        trials! { shared:
            accounts::a_pods_token_names_its_node,
            accounts::a_token_ends_with_its_pod,
        }
        .into_iter()
        .map(|trial| trial.with_ignored_flag(is_shared)),
    );
    trials.extend(trials! { shared: accounts::a_strangers_token_is_nobodys });
    trials.push(
        trials! { shared: relayed::a_namespace_reaches_the_api_by_a_relay }
            .remove(0)
            .with_ignored_flag(trial::skips_packets()),
    );
    trials
}

fn start(runtime: Handle) -> Result<Arc<Shared>> {
    let directory = RunDir::new()?;
    let plane = runtime.block_on(async {
        let plane = ControlPlane::chosen(&directory.path().join("plane")).await?;
        plane.install_crds().await?;
        anyhow::Ok(Arc::new(plane))
    });
    let plane = plane.inspect_err(|_| drop(directory.keep_logs("control_plane")))?;
    let since = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let run = format!("palisade-{:x}", since.as_millis() & 0xfff_ffff);
    Ok(Arc::new(Shared { runtime, plane, directory, run }))
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(4);
    let started = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| Ok((start(runtime.handle().clone())?, runtime)));
    match started {
        Ok((shared, _runtime)) => {
            eprintln!("control plane: {}", shared.plane.kind());
            libtest_mimic::run(&arguments, trials(&shared)).exit_code()
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
