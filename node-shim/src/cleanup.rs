//! `cleanup`: removes what `run` leaves behind. Touches our own table and our own state, nothing else.

use anyhow::Context;
use palisade_ruleset::{FAMILY, TABLE, Transaction};

use crate::apply::{Kernel, NftBinary};
use crate::args::CleanupArgs;
use crate::state::Store;

/// Removes the table and the state, whether they exist or not. What it did, in words.
///
/// # Errors
/// A shim is running, the kernel refuses, or a file cannot be removed.
pub async fn cleanup(args: &CleanupArgs) -> anyhow::Result<String> {
    // Held to the end: a shim that runs would put the table back, one that starts meanwhile would be cut short.
    let existed = args.state_dir.is_dir();
    let store =
        if existed { Some(Store::open(&args.state_dir).context("nothing was removed")?) } else { None };
    NftBinary::new(&args.nft)
        .apply(&Transaction::delete_table())
        .await
        .with_context(|| format!("table {FAMILY} {TABLE} could not be removed"))?;
    let removed = store.as_ref().map(Store::remove).transpose()?.unwrap_or(false);
    let state = if removed { "removed" } else { "there was none" };
    Ok(format!(
        "table {FAMILY} {TABLE}: gone; this node no longer restricts any traffic\nstate in {}: {state}",
        args.state_dir.display()
    ))
}
