//! A steady stream of datagrams, each from a fresh source port and so each judged anew, with the record of which
//! arrived: how long a change takes, and whether anything ever slips through.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::time::sleep;

use super::scaled;
use crate::namespaces::Stack;

/// The pause between two datagrams; waking up again takes the kernel some 50 us more.
const PAUSE: Duration = Duration::from_micros(150);

/// A stream of datagrams. It ends when dropped.
#[derive(Debug)]
pub struct Flood {
    record: Arc<Record>,
}

#[derive(Debug, Default)]
struct Record {
    is_over: AtomicBool,
    sent: Mutex<Vec<Sent>>,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    at: Instant,
    has_arrived: bool,
}

/// How many datagrams were sent and how many of them arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    /// Sent.
    pub sent: usize,
    /// Arrived.
    pub arrived: usize,
}

impl Flood {
    /// Starts a stream from an address of one stack to a port of another on which nothing listens yet.
    pub async fn start(source: &Stack, from: IpAddr, destination: &Stack, to: SocketAddr) -> Result<Self> {
        let record = Arc::new(Record::default());
        let inner = Arc::clone(&record);
        // Threads inherit the namespace of the thread that starts them.
        destination
            .run(move || async move {
                let socket = UdpSocket::bind(to)?;
                socket.set_read_timeout(Some(Duration::from_millis(50)))?;
                thread::Builder::new()
                    .name("flood-in".into())
                    .spawn(move || receive(&socket, &inner))
                    .map(drop)
            })
            .await?
            .with_context(|| format!("listening at {to}"))?;
        let inner = Arc::clone(&record);
        source
            .run(move || async move {
                thread::Builder::new()
                    .name("flood-out".into())
                    .spawn(move || send(from, to, &inner))
                    .map(drop)
            })
            .await??;
        Ok(Self { record })
    }

    /// The tally so far.
    pub fn tally(&self) -> Tally {
        let sent = self.record.sent();
        Tally { sent: sent.len(), arrived: sent.iter().filter(|sent| sent.has_arrived).count() }
    }

    /// Waits for so many datagrams more.
    pub async fn goes_on(&self, datagrams: usize) -> Result<()> {
        let start = Instant::now();
        let before = self.tally().sent;
        while self.tally().sent < before + datagrams {
            if start.elapsed() > scaled(Duration::from_secs(20)) {
                bail!("the stream does not go on");
            }
            sleep(Duration::from_millis(2)).await;
        }
        Ok(())
    }

    /// Waits until every datagram obeys a verdict.
    pub async fn steady(&self, is_allowed: bool, limit: Duration) -> Result<()> {
        self.obeyed(Instant::now(), is_allowed, limit).await.map(drop)
    }

    /// Waits until every datagram obeys a verdict and gives the time from a moment until then: to the first datagram
    /// after which none was treated otherwise.
    pub async fn obeyed(&self, since: Instant, is_allowed: bool, limit: Duration) -> Result<Duration> {
        /// So many in a row settle it.
        const ENOUGH: usize = 60;
        /// What was sent less than this ago may still arrive.
        const UNDERWAY: Duration = Duration::from_millis(10);
        loop {
            {
                let sent = self.record.sent();
                let now = Instant::now();
                let start = sent.partition_point(|sent| sent.at < since);
                let end = sent.partition_point(|sent| now.duration_since(sent.at) > UNDERWAY).max(start);
                let known = &sent[start..end];
                let first =
                    known.iter().rposition(|sent| sent.has_arrived != is_allowed).map_or(0, |last| last + 1);
                if known.len() >= first + ENOUGH {
                    return Ok(known[first].at.duration_since(since));
                }
                if now.duration_since(since) > limit {
                    let verdict = if is_allowed { "allow" } else { "deny" };
                    bail!(
                        "packets do not obey ({verdict}) after {limit:?}: {} of {} are treated otherwise",
                        known.iter().filter(|sent| sent.has_arrived != is_allowed).count(),
                        known.len()
                    );
                }
            }
            sleep(Duration::from_millis(2)).await;
        }
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.record.is_over.store(true, Ordering::Relaxed);
    }
}

impl Record {
    fn sent(&self) -> std::sync::MutexGuard<'_, Vec<Sent>> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }
}

fn send(from: IpAddr, to: SocketAddr, record: &Record) {
    /// Above the range that probes count through.
    const PORTS: std::ops::Range<u16> = 33_000..65_000;
    let mut ports = PORTS.cycle();
    while !record.is_over() {
        let index = {
            let mut sent = record.sent();
            sent.push(Sent { at: Instant::now(), has_arrived: false });
            sent.len() - 1
        };
        // A port that is taken means one datagram less, which must not read as one that was dropped.
        if fire(from, ports.next().unwrap_or(PORTS.start), to, index).is_err() {
            record.sent().pop();
        }
        thread::sleep(PAUSE);
    }
}

fn fire(from: IpAddr, port: u16, to: SocketAddr, index: usize) -> io::Result<usize> {
    UdpSocket::bind((from, port))?.send_to(&(index as u64).to_be_bytes(), to)
}

fn receive(socket: &UdpSocket, record: &Record) {
    let mut buffer = [0; 8];
    while !record.is_over() {
        if let Ok((8, _)) = socket.recv_from(&mut buffer) {
            let index = usize::try_from(u64::from_be_bytes(buffer)).unwrap_or(usize::MAX);
            if let Some(sent) = record.sent().get_mut(index) {
                sent.has_arrived = true;
            }
        }
    }
}
