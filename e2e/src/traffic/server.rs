//! Servers: TCP says its name when spoken to and echoes (or speaks enough HTTP for curl), UDP answers with its name. SCTP
//! does as TCP where the kernel has sockets for it, and notes what it sees elsewhere.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use anyhow::{Context, Result};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::spawn_local;

use super::{Ports, Sctp, Sightings, sctp};
use crate::namespaces::Stack;

/// Starts the servers of a stack, which answer with the name; on return they all listen. UDP is bound address by address,
/// so that answers come from the address that was asked; SCTP, so that an association has no second path.
pub async fn serve(
    stack: &Stack,
    name: &str,
    addresses: &[IpAddr],
    ports: &Ports,
    sightings: &Arc<Sightings>,
) -> Result<()> {
    let name = name.to_owned();
    let (addresses, ports, sightings) = (addresses.to_vec(), ports.clone(), Arc::clone(sightings));
    stack
        .run(move || async move { start(&name, &addresses, &ports, &sightings) })
        .await?
        .context("starting servers")
}

fn start(name: &str, addresses: &[IpAddr], ports: &Ports, sightings: &Arc<Sightings>) -> Result<()> {
    for &port in &ports.tcp {
        for any in [IpAddr::from(Ipv4Addr::UNSPECIFIED), IpAddr::from(Ipv6Addr::UNSPECIFIED)] {
            spawn_local(streams(listen(SocketAddr::new(any, port), Protocol::TCP)?, name.to_owned()));
        }
    }
    for &port in &ports.udp {
        for &address in addresses {
            let socket = std::net::UdpSocket::bind((address, port))
                .with_context(|| format!("udp {address}:{port}"))?;
            socket.set_nonblocking(true)?;
            spawn_local(udp(UdpSocket::from_std(socket)?, name.to_owned()));
        }
    }
    if Sctp::of_kernel() == Sctp::Sockets {
        for (&port, &address) in ports.sctp.iter().flat_map(|port| addresses.iter().map(move |a| (port, a))) {
            spawn_local(streams(listen(SocketAddr::new(address, port), Protocol::SCTP)?, name.to_owned()));
        }
        return Ok(());
    }
    for domain in [Domain::IPV4, Domain::IPV6] {
        let socket = Socket::new(domain, Type::RAW, Some(Protocol::SCTP)).context("raw socket")?;
        socket.set_nonblocking(true)?;
        let socket = UdpSocket::from_std(socket.into())?;
        spawn_local(sctp_watch(socket, domain == Domain::IPV4, name.to_owned(), Arc::clone(sightings)));
    }
    Ok(())
}

fn listen(address: SocketAddr, protocol: Protocol) -> Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(protocol))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into()).with_context(|| format!("{address}, protocol {}", i32::from(protocol)))?;
    socket.listen(1024)?;
    Ok(TcpListener::from_std(socket.into())?)
}

async fn streams(listener: TcpListener, name: String) {
    // An error to accept concerns one connection that is already gone.
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            spawn_local(talk(stream, format!("{name}\n")));
        } else {
            tokio::task::yield_now().await;
        }
    }
}

async fn talk(mut stream: TcpStream, greeting: String) {
    let mut buffer = [0; 256];
    let Ok(length @ 1..) = stream.read(&mut buffer).await else { return };
    if buffer.starts_with(b"GET ") {
        let head = format!("HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n", greeting.len());
        let _ = stream.write_all((head + &greeting).as_bytes()).await;
        return;
    }
    let mut answer = greeting.into_bytes();
    answer.extend_from_slice(&buffer[..length]);
    if stream.write_all(&answer).await.is_err() {
        return;
    }
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        if stream.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

async fn udp(socket: UdpSocket, name: String) {
    let mut buffer = [0; 256];
    loop {
        // Errors are about earlier answers that somebody refused.
        if let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
            let mut answer = buffer[..length].to_vec();
            answer.extend_from_slice(name.as_bytes());
            let _ = socket.send_to(&answer, peer).await;
        }
    }
}

async fn sctp_watch(socket: UdpSocket, has_header: bool, name: String, sightings: Arc<Sightings>) {
    let mut buffer = [0; 2048];
    loop {
        let Ok((length, _)) = socket.recv_from(&mut buffer).await else { continue };
        if let Some(tag) = sctp::tag(&buffer[..length], has_header) {
            sightings.saw(tag, &name);
        }
    }
}
