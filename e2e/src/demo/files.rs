//! The demo on a directory of manifests.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::{EDIT, STREAM_PORT, millis, reasons, seconds, verdict};
use crate::report::Paint;
use crate::rundir::RunDir;
use crate::show::{Show, topology};
use crate::traffic::scaled;

/// Runs the demo; false if anything came out otherwise than the policies say.
pub async fn run(samples: &Path) -> Result<bool> {
    let paint = Paint::of_terminal();
    let start = Instant::now();
    let directory = RunDir::new()?;
    println!(
        "{}",
        paint.head("Two nodes, six pods, a host outside: network namespaces that vanish with this process")
    );
    let show = Show::start(directory.path()).await?;
    print!("{}", topology(&show.stage.state, paint)?);
    println!("  {}\n", paint.dim(&format!("operator and two nodes up after {}", seconds(start.elapsed()))));

    println!("{}", paint.head("Before: no policy, everything reaches everything"));
    let before = show.matrix().await?;
    print!("{}", before.text(paint));
    println!("  {}\n", verdict(&before, paint));

    println!("{}", paint.head(&format!("After: the policies of {}", samples.display())));
    let written = show.add(samples)?;
    let applied = Instant::now();
    show.deployment.settled(&written).await?;
    let confirmed = applied.elapsed();
    let after = show.matrix().await?;
    print!("{}", after.text(paint));
    println!(
        "  {}; both nodes confirmed {} files after {}\n",
        verdict(&after, paint),
        written.len(),
        millis(confirmed)
    );

    println!("{}", paint.head("Why, as the operator explains it (/debug/explain)"));
    let reasons = reasons(&show.stage, show.deployment.admin(), paint).await?;

    println!("{}", paint.head("A live edit: an administrator silences shop/api, then takes that back"));
    let edits = live_edit(&show, paint).await;
    if let Err(error) = &edits {
        println!("  {}", paint.bad(&format!("{error:#}")));
    }

    let is_good = before.differences.is_empty() && after.differences.is_empty() && reasons && edits.is_ok();
    drop(show);
    println!("\n{}", paint.dim(&format!("done and cleaned up in {}", seconds(start.elapsed()))));
    Ok(is_good)
}

async fn live_edit(show: &Show, paint: Paint) -> Result<()> {
    let limit = scaled(Duration::from_secs(5));
    // The DNS server accepts from everyone, so that only the edit decides.
    let flood = show.stage.flood("shop/api", "kube-system/dns", STREAM_PORT).await?;
    flood.steady(true, limit).await?;

    for (text, is_allowed) in [(Some(EDIT), false), (None, true)] {
        match text {
            Some(text) => drop(show.manifests.write("live-edit.yaml", text)?),
            None => drop(show.manifests.remove("live-edit.yaml")?),
        }
        let written = Instant::now();
        let time = flood.obeyed(written, is_allowed, limit).await?;
        let what = if is_allowed {
            "live-edit.yaml removed: packets pass "
        } else {
            "live-edit.yaml written: packets stop "
        };
        println!("  {what} after {}", paint.good(&millis(time)));
    }
    Ok(())
}
