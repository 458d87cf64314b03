//! Runs a program to its end. Owns pipes, time-out and kill; knows nothing of what the program does.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// Time for a killed process to be gone: nft may be inside the kernel's commit.
const REAP: Duration = Duration::from_secs(5);
/// What is kept of standard error, in bytes: the first errors are the telling ones.
const STDERR_BYTES: u64 = 16 * 1024;

/// How a process ended and what it said.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Why a process has no [`Output`].
#[derive(Debug)]
pub(crate) enum RunError {
    /// It could not be started.
    Start(io::Error),
    /// It could not be spoken to.
    Io(io::Error),
    /// It was killed.
    TimedOut { stderr: String },
}

/// Runs a process to its end: its input is written while its output is read, so that neither side waits for the
/// other; it is killed when the time is up and when the future is dropped.
pub(crate) async fn run(mut command: Command, input: &str, limit: Duration) -> Result<Output, RunError> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(RunError::Start)?;
    let mut stdout = Vec::new();
    let mut stderr = Vec::new();
    match timeout(limit, converse(&mut child, input, &mut stdout, &mut stderr)).await {
        Ok(Ok(status)) => Ok(Output { status, stdout: text(&stdout), stderr: text(&stderr) }),
        Ok(Err(error)) => Err(RunError::Io(error)),
        Err(_) => {
            // Whoever tries again must not meet a commit of the old process: wait until it is gone.
            if child.start_kill().is_ok() {
                timeout(REAP, child.wait()).await.ok();
            }
            Err(RunError::TimedOut { stderr: text(&stderr) })
        }
    }
}

async fn converse(
    child: &mut Child,
    input: &str,
    stdout: &mut Vec<u8>,
    stderr: &mut Vec<u8>,
) -> io::Result<ExitStatus> {
    let (into, out, err) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let write = async {
        let Some(mut into) = into else { return Ok(()) };
        match into.write_all(input.as_bytes()).await {
            // It ended without reading everything: its status and its last words tell why.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => other,
        }
    };
    let ((), (), ()) = tokio::try_join!(write, read(out, stdout, u64::MAX), read(err, stderr, STDERR_BYTES))?;
    child.wait().await
}

/// Reads to the end and keeps the beginning.
async fn read(source: Option<impl AsyncRead + Unpin>, kept: &mut Vec<u8>, most: u64) -> io::Result<()> {
    let Some(mut source) = source else { return Ok(()) };
    (&mut source).take(most).read_to_end(kept).await?;
    tokio::io::copy(&mut source, &mut tokio::io::sink()).await?;
    Ok(())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}
