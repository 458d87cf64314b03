//! How SCTP is spoken: by the kernel's own sockets, or where it has none by INIT packets that are built and read by hand;
//! such a kernel need not know SCTP, only carry it.

use std::sync::OnceLock;

use socket2::{Domain, Protocol, Socket, Type};

/// The form that SCTP takes in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sctp {
    /// Associations over the kernel's sockets: set up, spoken over, ended.
    Sockets,
    /// Lone INIT packets, which a raw socket sees arrive. Nobody answers.
    Inits,
}

impl Sctp {
    /// What this kernel can do. Said once on standard error.
    pub fn of_kernel() -> Self {
        static FORM: OnceLock<Sctp> = OnceLock::new();
        *FORM.get_or_init(|| match Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::SCTP)) {
            Ok(_) => {
                eprintln!("SCTP: associations over the kernel's own sockets");
                Self::Sockets
            }
            Err(error) => {
                eprintln!("SCTP: INIT packets made by hand, for the kernel has no SCTP sockets ({error})");
                Self::Inits
            }
        })
    }
}

const INIT: u8 = 1;

/// An INIT chunk from port to port with the given initiate tag and a valid checksum.
pub(super) fn init(source: u16, destination: u16, tag: u32) -> Vec<u8> {
    let mut packet = Vec::with_capacity(32);
    packet.extend(source.to_be_bytes());
    packet.extend(destination.to_be_bytes());
    packet.extend([0; 4]); // verification tag: 0 in an INIT
    packet.extend([0; 4]); // checksum
    packet.extend([INIT, 0, 0, 20]);
    packet.extend(tag.to_be_bytes());
    packet.extend(65_536_u32.to_be_bytes()); // receiver window
    packet.extend([0, 1, 0, 1]); // streams out and in
    packet.extend(tag.to_be_bytes()); // initial sequence number
    let checksum = crc32c(&packet);
    packet[8..12].copy_from_slice(&checksum.to_le_bytes());
    packet
}

/// The initiate tag of an INIT as a raw socket receives it; `has_header`: behind an IPv4 header.
pub(super) fn tag(bytes: &[u8], has_header: bool) -> Option<u32> {
    let header = if has_header { usize::from(bytes.first()? & 0xf) * 4 } else { 0 };
    let packet = bytes.get(header..)?;
    (*packet.get(12)? == INIT).then_some(())?;
    Some(u32::from_be_bytes(packet.get(16..20)?.try_into().ok()?))
}

fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for &byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_crc32c() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn a_tag_survives_its_packet() {
        let packet = init(1000, 80, 0xdead_beef);
        assert_eq!(tag(&packet, false), Some(0xdead_beef));
        let mut behind = vec![0x45; 20];
        behind.extend(&packet);
        assert_eq!(tag(&behind, true), Some(0xdead_beef));
        assert_eq!(tag(&packet[..10], false), None);
    }
}
