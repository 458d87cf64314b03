//! Clients: attempts with fresh source ports until it is clear whether they get through.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt};
use palisade_view::{Family, Protocol as Transport};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};
use tokio::time::{Instant, sleep_until};

use super::{Observation, Patience, Sctp, Sightings, echo, sctp};
use crate::namespaces::Stack;
use crate::scenario::Traffic;

/// What is probed.
#[derive(Clone, Debug)]
pub struct Target {
    /// Source address; `None`: what the stack chooses.
    pub source: Option<IpAddr>,
    /// Destination address.
    pub address: IpAddr,
    /// What is sent.
    pub traffic: Traffic,
    /// Type of service or traffic class.
    pub tos: Option<u8>,
}

/// Source ports are counted, never chosen by the kernel, so that no probe meets the flow of an earlier one: over all
/// stacks, for a pod may have the address of one that is gone. The kernel's own range starts above.
const FIRST_PORT: u16 = 10_000;
const LAST_PORT: u16 = 32_000;

fn fresh_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    FIRST_PORT + NEXT.fetch_add(1, Ordering::Relaxed) % (LAST_PORT - FIRST_PORT)
}

/// Finds out whether a target is reached from a stack. What must get through is tried until it does, or until the
/// time is over; what must not is tried and listened for all the shorter time.
pub async fn probe(
    stack: &Stack,
    target: Target,
    is_allowed: bool,
    patience: Patience,
    sightings: &Arc<Sightings>,
) -> Observation {
    let sightings = Arc::clone(sightings);
    let limit = if is_allowed { patience.allowed } else { patience.denied };
    stack
        .run(move || async move { watch(&target, limit, patience.retry, &sightings).await })
        .await
        .unwrap_or_else(|error| Observation::Failed(format!("{error:#}")))
}

async fn watch(target: &Target, limit: Duration, retry: Duration, sightings: &Sightings) -> Observation {
    let start = Instant::now();
    let mut attempts = FuturesUnordered::new();
    let mut next = start;
    let mut seen = Observation::Silent;
    loop {
        tokio::select! {
            () = sleep_until(start + limit) => return seen,
            () = sleep_until(next) => {
                attempts.push(attempt(target, sightings));
                next += retry;
            }
            Some(result) = attempts.next() => match result {
                Ok(name) => return Observation::Answered(name),
                // Level-triggered: a refusal may be of the moment. It stands if nothing better comes.
                Err(error) if is_refusal(&error) => seen = Observation::Refused,
                Err(error) => seen = Observation::Failed(error.to_string()),
            },
        }
    }
}

fn is_refusal(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, ConnectionReset, HostUnreachable, NetworkUnreachable};
    matches!(error.kind(), ConnectionRefused | ConnectionReset | HostUnreachable | NetworkUnreachable)
        || error.raw_os_error() == Some(nix::libc::EPROTO)
        || error.raw_os_error() == Some(nix::libc::ENOPROTOOPT)
}

async fn attempt(target: &Target, sightings: &Sightings) -> io::Result<Option<String>> {
    match target.traffic {
        Traffic::Port(Transport::Sctp, port) if Sctp::of_kernel() == Sctp::Inits => {
            init_attempt(target, port, sightings).await
        }
        Traffic::Port(transport @ (Transport::Tcp | Transport::Sctp), port) => {
            let (stream, name) = open_stream(target, transport, port).await?;
            // Nothing of the connection is left behind: a reset or an ABORT, no lingering.
            SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
            Ok(Some(name))
        }
        Traffic::Port(Transport::Udp, port) => {
            let socket = open_datagram(target, port)?;
            let mut buffer = [0; 256];
            socket.send(b"?").await?;
            let length = socket.recv(&mut buffer).await?;
            Ok(Some(String::from_utf8_lossy(buffer.get(1..length).unwrap_or_default()).into_owned()))
        }
        Traffic::Echo => {
            let family = Family::of(target.address);
            let socket = echo::socket(family, bind_address(target), fresh_port())?;
            finish(&socket, target)?;
            socket.connect(&SocketAddr::new(target.address, 0).into())?;
            echo::exchange(UdpSocket::from_std(socket.into())?, family).await?;
            Ok(None)
        }
    }
}

fn bind_address(target: &Target) -> IpAddr {
    target.source.unwrap_or(match Family::of(target.address) {
        Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
        Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
    })
}

/// Sets what every socket of a probe has.
fn finish(socket: &Socket, target: &Target) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    match (target.tos, Family::of(target.address)) {
        (Some(tos), Family::V4) => socket.set_tos_v4(tos.into()),
        (Some(tos), Family::V6) => socket.set_tclass_v6(tos.into()),
        (None, _) => Ok(()),
    }
}

/// A socket bound to a fresh port.
fn bound(target: &Target, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let domain = Domain::for_address(SocketAddr::new(target.address, 0));
    let socket = Socket::new(domain, kind, Some(protocol))?;
    if domain == Domain::IPV6 {
        // Or an SCTP socket would offer the IPv4 addresses as well.
        socket.set_only_v6(true)?;
    }
    finish(&socket, target)?;
    let mut tries = 0;
    loop {
        match socket.bind(&SocketAddr::new(bind_address(target), fresh_port()).into()) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && tries < 100 => tries += 1,
            result => return result.map(|()| socket),
        }
    }
}

/// Connects, says something, and reads the server's name and what was said. To be called on a stack's thread. SCTP
/// needs sockets of the kernel; for a socket of one association the type of TCP's does: both are streams of bytes here.
pub async fn open_stream(
    target: &Target,
    transport: Transport,
    port: u16,
) -> io::Result<(TcpStream, String)> {
    let socket = match transport {
        Transport::Tcp => {
            let socket = bound(target, Type::STREAM, Protocol::TCP)?;
            socket.set_tcp_nodelay(true)?;
            socket
        }
        Transport::Sctp => bound(target, Type::STREAM, Protocol::SCTP)?,
        Transport::Udp => return Err(io::Error::new(io::ErrorKind::Unsupported, "UDP has no streams")),
    };
    let address = SocketAddr::new(target.address, port);
    let mut stream = TcpSocket::from_std_stream(socket.into()).connect(address).await?;
    stream.write_all(b"?").await?;
    let mut name = Vec::new();
    loop {
        match stream.read_u8().await? {
            b'\n' => break,
            byte => name.push(byte),
        }
    }
    stream.read_u8().await?;
    Ok((stream, String::from_utf8_lossy(&name).into_owned()))
}

/// A connected datagram socket with a fresh port. To be called on a stack's thread.
pub fn open_datagram(target: &Target, port: u16) -> io::Result<UdpSocket> {
    let socket = bound(target, Type::DGRAM, Protocol::UDP)?;
    socket.connect(&SocketAddr::new(target.address, port).into())?;
    UdpSocket::from_std(socket.into())
}

async fn init_attempt(target: &Target, port: u16, sightings: &Sightings) -> io::Result<Option<String>> {
    struct Forget<'a>(&'a Sightings, u32);
    impl Drop for Forget<'_> {
        fn drop(&mut self) {
            self.0.forget(self.1);
        }
    }
    let domain = Domain::for_address(SocketAddr::new(target.address, 0));
    let socket = Socket::new(domain, Type::RAW, Some(Protocol::SCTP))?;
    finish(&socket, target)?;
    socket.bind(&SocketAddr::new(bind_address(target), 0).into())?;
    let source = fresh_port();
    // The tag tells probes apart wherever they arrive; 0 is not allowed.
    let tag = next_tag();
    let seen = sightings.expect(tag);
    let _forget = Forget(sightings, tag);
    let socket = UdpSocket::from_std(socket.into())?;
    socket.send_to(&sctp::init(source, port, tag), SocketAddr::new(target.address, 0)).await?;
    match seen.await {
        Ok(name) => Ok(Some(name)),
        Err(_) => std::future::pending().await,
    }
}

fn next_tag() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
