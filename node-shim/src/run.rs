//! `run`: the map. Everything is wired here, and nothing is done here.

use std::time::Duration;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;
use tracing::{error, info};

use crate::apply::NftBinary;
use crate::args::RunArgs;
use crate::enforce::{Enforcer, Pace};
use crate::health::{self, Health};
use crate::link::{Link, Operator};
use crate::probe::{self, Surroundings};
use crate::state::Store;

/// Time for the last state to reach the disk once the process is told to end.
const FAREWELL: Duration = Duration::from_secs(5);

/// Runs until told to end (SIGTERM, SIGINT). The rules in force stay.
///
/// # Errors
/// The command line names something unusable, or the state directory is. Everything that may pass by itself
/// (no operator, no nft, a refused token) is logged and tried again instead.
pub async fn run(args: RunArgs) -> anyhow::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let health = Health::default();
    if let Some(address) = args.admin {
        let serving = health::serve(address, health.clone());
        tokio::spawn(async move {
            if let Err(error) = serving.await {
                error!("--admin {address}: {error}; policies are enforced without admin endpoints");
            }
        });
    }

    let store = Store::open(&args.state_dir).context("--state-dir")?;
    let kernel = NftBinary::new(&args.nft);
    let (enforcer, enforcing) = Enforcer::new(kernel, store, health.clone(), Pace::default()).spawn();

    let linked = async {
        let report = probe::probe(&args.nft, &Surroundings::default()).await;
        report.log();
        health.needs_missing(report.problems());
        let operator = Operator {
            addresses: args.operator,
            server_name: args.server_name,
            ca: args.ca,
            token: args.token_file,
        };
        Link::new(operator, report.capabilities, enforcer, health.clone()).run().await
    };
    tokio::select! {
        ended = linked => return Err(ended.into()),
        _ = terminate.recv() => info!("SIGTERM"),
        _ = interrupt.recv() => info!("SIGINT"),
    }
    // The link is gone and with it the last handle: the enforcer saves its state and ends.
    if timeout(FAREWELL, enforcing).await.is_err() {
        error!("the state could not be saved in time: a restart fills the table anew");
    }
    Ok(())
}
