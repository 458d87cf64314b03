//! Connections that must not break: one that goes back and forth all the time, and new ones all the time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use palisade_view::Protocol as Transport;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};

use super::{Target, open_stream, scaled};
use crate::namespaces::Stack;

/// A packet that is lost comes again after a second, in new connections and in old ones: whatever takes less was
/// never lost.
const PROMPT: Duration = Duration::from_millis(900);

/// Between two rounds: a slow machine must have time for what else is going on.
const PAUSE: Duration = Duration::from_millis(1);

/// How the talks go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Times that something went there and back.
    pub rounds: u64,
    /// What went wrong first.
    pub broken: Option<String>,
}

/// Talks that go on until dropped.
#[derive(Debug)]
pub struct Talk {
    progress: Arc<Mutex<Progress>>,
}

impl Talk {
    /// Opens one connection, or with SCTP one association, and talks over it.
    pub fn over_one_connection(
        stack: &Stack,
        target: Target,
        transport: Transport,
        port: u16,
    ) -> Result<Self> {
        let talk = Self { progress: Arc::default() };
        let mut teller = Teller(Arc::downgrade(&talk.progress));
        stack.spawn(move || async move {
            let stream = timeout(scaled(PROMPT), open_stream(&target, transport, port)).await;
            let Ok(Ok((mut stream, _))) = stream else { return teller.broken("it was never open") };
            let mut byte = [0];
            while teller.round() {
                let there_and_back = async {
                    stream.write_all(b"x").await?;
                    stream.read_exact(&mut byte).await
                };
                match timeout(scaled(PROMPT), there_and_back).await {
                    Ok(Ok(_)) => sleep(scaled(PAUSE)).await,
                    Ok(Err(error)) => return teller.broken(&error.to_string()),
                    Err(_) => return teller.broken("a packet was lost"),
                }
            }
        })?;
        Ok(talk)
    }

    /// Opens one new TCP connection after another.
    pub fn over_new_connections(stack: &Stack, target: Target, port: u16) -> Result<Self> {
        let talk = Self { progress: Arc::default() };
        let mut teller = Teller(Arc::downgrade(&talk.progress));
        stack.spawn(move || async move {
            while teller.round() {
                match timeout(scaled(PROMPT), open_stream(&target, Transport::Tcp, port)).await {
                    Ok(Ok(_)) => sleep(scaled(2 * PAUSE)).await,
                    Ok(Err(error)) => return teller.broken(&error.to_string()),
                    Err(_) => return teller.broken("a packet was lost"),
                }
            }
        })?;
        Ok(talk)
    }

    /// How it goes.
    pub fn progress(&self) -> Progress {
        lock(&self.progress).clone()
    }

    /// Waits for so many rounds more.
    pub async fn goes_on(&self, rounds: u64) -> Result<()> {
        let start = Instant::now();
        let before = self.progress().rounds;
        loop {
            let Progress { rounds: now, broken } = self.progress();
            match broken {
                Some(why) => bail!("the talk broke off after {now} rounds: {why}"),
                None if now >= before + rounds => return Ok(()),
                None if start.elapsed() > scaled(Duration::from_secs(20)) => bail!("the talk does not go on"),
                None => sleep(Duration::from_millis(2)).await,
            }
        }
    }
}

struct Teller(std::sync::Weak<Mutex<Progress>>);

impl Teller {
    /// Counts a round; false: nobody listens any more.
    fn round(&mut self) -> bool {
        self.0.upgrade().is_some_and(|progress| {
            lock(&progress).rounds += 1;
            true
        })
    }

    fn broken(&mut self, why: &str) {
        if let Some(progress) = self.0.upgrade() {
            lock(&progress).broken = Some(why.to_owned());
        }
    }
}

fn lock(progress: &Mutex<Progress>) -> MutexGuard<'_, Progress> {
    progress.lock().unwrap_or_else(PoisonError::into_inner)
}
