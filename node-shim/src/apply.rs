//! The only place that touches the kernel. Owns how a transaction is carried out and how the kernel is asked what
//! is in force; decides nothing.

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use palisade_ruleset::{FAMILY, MarkerError, Markers, TABLE, Transaction, marker};
use tokio::process::Command;

use crate::process::{self, RunError};

/// What can carry out transactions. Calls do not overlap: each takes the whole kernel.
pub trait Kernel: Send {
    /// Carries out a transaction, whole or not at all.
    fn apply(&mut self, transaction: &Transaction) -> impl Future<Output = Result<(), KernelError>> + Send;

    /// Reads the markers of our own table.
    fn markers(&mut self) -> impl Future<Output = Result<Markers, KernelError>> + Send;
}

/// Why the kernel did not do as it was told.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// There is no nft binary.
    #[error(
        "{} is not there: install nftables on this node (`apt-get install nftables`) or name the binary with --nft",
        .0.display()
    )]
    Missing(PathBuf),
    /// The process may not change the kernel's rules.
    #[error("not permitted: palisade-node needs root or CAP_NET_ADMIN ({0})")]
    NotPermitted(String),
    /// The kernel, or nft before it, refused. Nothing has changed.
    #[error("nft ended with {status}: {stderr}")]
    Refused {
        /// How nft ended.
        status: ExitStatus,
        /// What it said.
        stderr: String,
    },
    /// nft did not end in time and was killed. Whether the kernel had taken the transaction is not known.
    #[error("nft did not end within {} s and was killed{}", limit.as_secs_f32(), said(stderr))]
    TimedOut {
        /// The time it was given.
        limit: Duration,
        /// What it had said by then.
        stderr: String,
    },
    /// nft could not be run or spoken to. Whether the kernel had taken the transaction is not known.
    #[error("nft could not be run: {0}")]
    Io(#[from] io::Error),
    /// A marker's listing makes no sense.
    #[error("marker {0} of the table cannot be read: {1}")]
    Marker(&'static str, #[source] MarkerError),
}

fn said(stderr: &str) -> String {
    if stderr.is_empty() { String::new() } else { format!("; it said: {stderr}") }
}

/// The nft binary, one process a transaction.
#[derive(Clone, Debug)]
pub struct NftBinary {
    program: PathBuf,
    limit: Duration,
}

/// Time for one run of nft: far above the second that a hundred thousand elements take.
const LIMIT: Duration = Duration::from_secs(30);

impl NftBinary {
    /// Runs the given program, by path or by name.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self { program: program.into(), limit: LIMIT }
    }

    /// Gives each run another time than 30 s.
    #[must_use]
    pub fn with_limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    async fn run(&self, arguments: &[&str], input: &str) -> Result<String, KernelError> {
        let mut command = Command::new(&self.program);
        // Messages are matched below: they must not be translated.
        command.args(arguments).env("LC_ALL", "C");
        let output =
            process::run(command, input, self.limit).await.map_err(|failure| self.explain(failure))?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        if output.stderr.contains("Operation not permitted") {
            return Err(KernelError::NotPermitted(output.stderr));
        }
        Err(KernelError::Refused { status: output.status, stderr: output.stderr })
    }

    fn explain(&self, failure: RunError) -> KernelError {
        match failure {
            RunError::Start(error) if error.kind() == io::ErrorKind::NotFound => {
                KernelError::Missing(self.program.clone())
            }
            RunError::Start(error) | RunError::Io(error) => KernelError::Io(error),
            RunError::TimedOut { stderr } => KernelError::TimedOut { limit: self.limit, stderr },
        }
    }

    async fn marker(&self, name: &'static str) -> Result<Option<u128>, KernelError> {
        match self.run(&["-j", "list", "set", FAMILY, TABLE, name], "").await {
            Ok(listing) => marker::parse(&listing).map_err(|error| KernelError::Marker(name, error)),
            Err(KernelError::Refused { stderr, .. }) if stderr.contains("No such file or directory") => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

impl Kernel for NftBinary {
    async fn apply(&mut self, transaction: &Transaction) -> Result<(), KernelError> {
        self.run(&["-j", "-f", "-"], &transaction.to_json()).await.map(drop)
    }

    async fn markers(&mut self) -> Result<Markers, KernelError> {
        let skeleton = self.marker(marker::SKELETON).await?;
        if skeleton.is_none() {
            return Ok(Markers::default());
        }
        Ok(Markers {
            skeleton,
            revision: self.marker(marker::REVISION).await?,
            generation: self.marker(marker::GENERATION).await?,
        })
    }
}
