//! What this node needs to enforce policies, what was found, and what to do about the rest. Owns the judgement;
//! changes nothing on the node: rules are tried in a network namespace that is thrown away.

mod kernel;
mod report;
mod surroundings;

use std::path::Path;
use std::process::ExitCode;

pub use kernel::MINIMUM_NFT;
pub use report::{Finding, Report, Status};
pub use surroundings::Surroundings;

use crate::args::{Output, ProbeArgs};

/// Looks at everything.
pub async fn probe(nft: &Path, surroundings: &Surroundings) -> Report {
    let mut report = Report::default();
    kernel::look(nft, surroundings, &mut report).await;
    surroundings.look(&mut report).await;
    report
}

/// `palisade-node probe`: prints the report; the exit code is 1 if something required is missing.
///
/// # Errors
/// Standard output cannot be written.
pub async fn command(args: &ProbeArgs) -> anyhow::Result<ExitCode> {
    let report = probe(&args.nft, &Surroundings::default()).await;
    match args.output {
        Output::Table => print!("{report}"),
        Output::Json => println!("{}", serde_json::to_string_pretty(&report)?),
    }
    Ok(if report.problems() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
