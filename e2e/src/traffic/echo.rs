//! ICMP and `ICMPv6` echo over unprivileged sockets. The kernel fills in identifier and checksum.

use std::io;
use std::net::{IpAddr, SocketAddr};

use palisade_view::Family;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;

/// A socket for echo requests with the given identifier.
pub(super) fn socket(family: Family, bind: IpAddr, identifier: u16) -> io::Result<Socket> {
    let (domain, protocol) = match family {
        Family::V4 => (Domain::IPV4, Protocol::ICMPV4),
        Family::V6 => (Domain::IPV6, Protocol::ICMPV6),
    };
    let socket = Socket::new(domain, Type::DGRAM, Some(protocol))?;
    socket.bind(&SocketAddr::new(bind, identifier).into())?;
    Ok(socket)
}

/// Sends a request and waits for the reply.
pub(super) async fn exchange(socket: UdpSocket, family: Family) -> io::Result<()> {
    let (request, reply) = match family {
        Family::V4 => (8, 0),
        Family::V6 => (128, 129),
    };
    socket.send(&[request, 0, 0, 0, 0, 0, 0, 1, b'p', b'a', b'l', b'i']).await?;
    let mut buffer = [0; 64];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if length > 0 && buffer[0] == reply {
            return Ok(());
        }
    }
}
