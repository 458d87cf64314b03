//! What a rule says of protocols and ports: by number, and by the names of ports that only a pod gives a number.

use std::collections::BTreeSet;

use palisade_view::{Intervals, Program, Protocol};

use crate::model::{NamedPort, PortMatch};

/// A set of traffic.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(super) struct Traffic {
    pub(super) numbered: Program,
    /// Ports by name, with the protocol asked for.
    pub(super) named: BTreeSet<(String, Option<Protocol>)>,
}

impl Traffic {
    /// The ports of a rule.
    pub(super) fn of(ports: Option<&[PortMatch]>) -> Self {
        let mut traffic = Self::default();
        let Some(ports) = ports else { return Self { numbered: Program::all(), ..traffic } };
        for port in ports {
            let numbered = match port {
                PortMatch::Protocol(protocol) => Program::ports(*protocol, Intervals::all()),
                PortMatch::Range(protocol, first, last) => {
                    Program::ports(*protocol, Intervals::range(*first, *last))
                }
                PortMatch::Named { name, protocol } => {
                    traffic.named.insert((name.clone(), *protocol));
                    continue;
                }
            };
            traffic.numbered = traffic.numbered.union(&numbered);
        }
        traffic
    }

    pub(super) fn is_none(&self) -> bool {
        self.numbered.is_none() && self.named.is_empty()
    }

    /// Without the names, for peers that have none.
    pub(super) fn nameless(&self) -> Self {
        Self { numbered: self.numbered.clone(), named: BTreeSet::new() }
    }

    /// With the names as they are at a destination with these ports.
    pub(super) fn at(&self, ports: &BTreeSet<NamedPort>) -> Program {
        let wanted = ports.iter().filter(|port| self.named.iter().any(|wanted| is_meant(wanted, port)));
        wanted
            .map(|port| Program::ports(port.protocol, Intervals::range(port.port, port.port)))
            .fold(self.numbered.clone(), |all, one| all.union(&one))
    }

    /// What is surely left of it without the other, wherever it goes. A name stands for any number.
    pub(super) fn without(&self, other: &Self) -> Self {
        let is_whole = |protocol: Protocol| other.numbered.of(protocol).is_all();
        let is_taken = |(name, protocol): &&(String, Option<Protocol>)| {
            let by_number = protocol.map_or(Protocol::ALL.into_iter().all(is_whole), is_whole);
            by_number
                || other.named.iter().any(|(known, of)| known == name && (of.is_none() || of == protocol))
        };
        Self {
            numbered: self.numbered.difference(&other.numbered),
            named: self.named.iter().filter(|name| !is_taken(name)).cloned().collect(),
        }
    }

    /// The most it can come to at any destination.
    pub(super) fn at_most(&self) -> Program {
        let ports = |protocol: Option<Protocol>| match protocol {
            Some(protocol) => Program::ports(protocol, Intervals::all()),
            None => Program { other: false, ..Program::all() },
        };
        self.named.iter().fold(self.numbered.clone(), |all, (_, protocol)| all.union(&ports(*protocol)))
    }
}

impl From<Program> for Traffic {
    fn from(numbered: Program) -> Self {
        Self { numbered, named: BTreeSet::new() }
    }
}

/// Whether a pod's port is what a rule means by a name.
pub(super) fn is_meant((name, protocol): &(String, Option<Protocol>), port: &NamedPort) -> bool {
    *name == port.name && protocol.is_none_or(|protocol| protocol == port.protocol)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(first: u16, last: u16) -> PortMatch {
        PortMatch::Range(Protocol::Tcp, first, last)
    }

    fn name(name: &str, protocol: Option<Protocol>) -> PortMatch {
        PortMatch::Named { name: name.to_owned(), protocol }
    }

    #[test]
    fn names_are_numbers_only_at_a_destination() {
        let traffic = Traffic::of(Some(&[tcp(80, 80), name("web", None)]));
        let ports = [(Protocol::Tcp, 8080), (Protocol::Udp, 53)];
        let ports = ports.map(|(protocol, port)| NamedPort { name: "web".to_owned(), protocol, port }).into();
        let there = Program {
            tcp: Intervals::from_ranges([(80, 80), (8080, 8080)]),
            udp: Intervals::range(53, 53),
            ..Program::NONE
        };
        assert_eq!(traffic.at(&ports), there);
        assert_eq!(traffic.at(&BTreeSet::new()), traffic.numbered);
    }

    #[test]
    fn a_name_is_taken_by_itself_or_by_everything() {
        let left = |from: PortMatch, what: &[PortMatch]| {
            Traffic::of(Some(&[from])).without(&Traffic::of(Some(what)))
        };
        let all = Protocol::ALL.map(PortMatch::Protocol);
        assert!(left(name("web", None), &[name("web", None)]).is_none());
        assert!(left(name("web", None), &all).is_none());
        assert!(left(name("web", Some(Protocol::Tcp)), &[name("web", None)]).is_none());
        assert!(left(name("web", Some(Protocol::Tcp)), &all[..1]).is_none());
        assert!(!left(name("web", None), &[name("web", Some(Protocol::Tcp))]).is_none());
        assert!(!left(name("web", None), &[tcp(0, u16::MAX), name("dns", None)]).is_none());
        assert!(!left(tcp(80, 80), &[name("web", None)]).is_none());
        assert!(left(tcp(80, 82), &[tcp(80, 81), tcp(82, 82)]).is_none());
    }
}
