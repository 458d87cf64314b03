//! The text of a probe: who sends what to whom, and what must come of it.

use std::fmt;

use anyhow::{Context, Result, bail};
use palisade_view::{Family, Protocol};
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// One end of a probe.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// A pod, `namespace/name`.
    Pod(String),
    /// A node's own stack.
    Node(String),
    /// The source pod's own node, by the gateway's address.
    Gateway,
    /// A host outside the cluster.
    World,
    /// A service by name.
    Service(String),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pod(name) => f.write_str(name),
            Self::Node(name) => write!(f, "node:{name}"),
            Self::Gateway => f.write_str("gateway"),
            Self::World => f.write_str("world"),
            Self::Service(name) => write!(f, "svc:{name}"),
        }
    }
}

impl End {
    fn parse(text: &str) -> Result<Self> {
        Ok(match text {
            "gateway" => Self::Gateway,
            "world" => Self::World,
            _ => match text.split_once(':') {
                Some(("node", name)) => Self::Node(name.to_owned()),
                Some(("svc", name)) => Self::Service(name.to_owned()),
                None if text.split('/').filter(|part| !part.is_empty()).count() == 2 => {
                    Self::Pod(text.to_owned())
                }
                _ => bail!("`{text}` is not NAMESPACE/POD, node:NAME, gateway, world or svc:NAME"),
            },
        })
    }
}

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Traffic {
    /// A connection, datagram or SCTP INIT to a port.
    Port(Protocol, u16),
    /// An echo request.
    Echo,
}

impl fmt::Display for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(protocol, port) => write!(f, "{}/{port}", protocol.name().to_ascii_lowercase()),
            Self::Echo => f.write_str("icmp"),
        }
    }
}

impl Traffic {
    fn parse(text: &str) -> Result<Self> {
        if text == "icmp" {
            return Ok(Self::Echo);
        }
        let Some((protocol, port)) = text.split_once('/') else {
            bail!("`{text}` is not tcp/N, udp/N, sctp/N or icmp")
        };
        let protocol = Protocol::ALL
            .into_iter()
            .find(|known| known.name().to_ascii_lowercase() == protocol)
            .with_context(|| format!("`{protocol}` is not tcp, udp or sctp"))?;
        Ok(Self::Port(protocol, port.parse().with_context(|| format!("`{port}` is not a port"))?))
    }
}

/// A probe with its expectation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Who sends.
    pub source: End,
    /// To whom.
    pub destination: End,
    /// What.
    pub traffic: Traffic,
    /// Over which family; `None`: over each that both ends have.
    pub family: Option<Family>,
    /// Whether to repeat it with every TOS value.
    pub tos_sweep: bool,
    /// Whether it must get through.
    pub allowed: bool,
    /// The reason the oracle must give.
    pub reason: Option<String>,
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {} {}", self.source, self.destination, self.traffic)?;
        match self.family {
            Some(Family::V4) => f.write_str(" v4")?,
            Some(Family::V6) => f.write_str(" v6")?,
            None => {}
        }
        if self.tos_sweep {
            f.write_str(" tos-sweep")?;
        }
        Ok(())
    }
}

impl Probe {
    /// Reads the two halves of a probe: `SOURCE -> DESTINATION TRAFFIC [v4|v6] [tos-sweep]` and
    /// `allow|deny [by REASON]`.
    pub fn parse(what: &str, expected: &str) -> Result<Self> {
        let mut words = what.split_whitespace();
        let mut next = |name: &str| words.next().with_context(|| format!("`{what}`: the {name} is missing"));
        let source = End::parse(next("source")?)?;
        if next("arrow")? != "->" {
            bail!("`{what}`: the second word must be `->`");
        }
        let destination = End::parse(next("destination")?)?;
        let traffic = Traffic::parse(next("traffic")?)?;
        if matches!(source, End::Gateway | End::Service(_)) {
            bail!("`{what}`: {source} cannot be a source");
        }
        let (mut family, mut tos_sweep) = (None, false);
        for word in words {
            match word {
                "v4" => family = Some(Family::V4),
                "v6" => family = Some(Family::V6),
                "tos-sweep" => tos_sweep = true,
                _ => bail!("`{what}`: `{word}` is not v4, v6 or tos-sweep"),
            }
        }
        let (verdict, reason) = match expected.split_once(" by ") {
            Some((verdict, reason)) => (verdict.trim(), Some(reason.trim().to_owned())),
            None => (expected.trim(), None),
        };
        let allowed = match verdict {
            "allow" => true,
            "deny" => false,
            _ => bail!("`{what}: {expected}`: the verdict must be `allow` or `deny`, optionally `by REASON`"),
        };
        Ok(Self { source, destination, traffic, family, tos_sweep, allowed, reason })
    }

    /// Reads a probe from one line.
    pub fn parse_line(line: &str) -> Result<Self> {
        let (what, expected) =
            line.split_once(": ").with_context(|| format!("`{line}`: `: allow` or `: deny` is missing"))?;
        Self::parse(what, expected)
    }
}

impl<'de> Deserialize<'de> for Probe {
    /// In YAML the line reads as a mapping with one entry, or as text if it is quoted.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Probe;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`SOURCE -> DESTINATION TRAFFIC: allow|deny [by REASON]`")
            }

            fn visit_str<E: de::Error>(self, line: &str) -> Result<Probe, E> {
                Probe::parse_line(line).map_err(|error| E::custom(format!("{error:#}")))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Probe, A::Error> {
                let entry: Option<(String, String)> = map.next_entry()?;
                let (what, expected) = entry.ok_or_else(|| de::Error::custom("a probe is empty"))?;
                if map.next_key::<String>()?.is_some() {
                    return Err(de::Error::custom(format!("`{what}`: a probe is one line")));
                }
                Probe::parse(&what, &expected).map_err(|error| de::Error::custom(format!("{error:#}")))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_survives_its_text() {
        let line = "shop/web -> svc:db tcp/80 v4 tos-sweep: deny by isolation ingress NetworkPolicy/a/b, NetworkPolicy/a/c";
        let probe = Probe::parse_line(line).expect("parses");
        assert_eq!(probe.to_string(), "shop/web -> svc:db tcp/80 v4 tos-sweep");
        assert!(!probe.allowed);
        assert_eq!(probe.reason.as_deref(), Some("isolation ingress NetworkPolicy/a/b, NetworkPolicy/a/c"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (line, word) in [
            ("shop/web -> shop/db tcp/80: maybe", "verdict"),
            ("svc:db -> shop/db tcp/80: allow", "source"),
            ("shop/web -> shop/db tcp: allow", "tcp/N"),
            ("shop/web -> shop/db tcp/70000: allow", "70000"),
            ("shop/web -> shop tcp/70: allow", "NAMESPACE/POD"),
            ("shop/web shop/db tcp/70: allow", "->"),
            ("shop/web -> shop/db tcp/70", "missing"),
        ] {
            let error = Probe::parse_line(line).expect_err(line);
            assert!(format!("{error:#}").contains(word), "{line}: {error:#}");
        }
    }

    #[test]
    fn a_yaml_list_of_probes_is_read() {
        let text =
            "- a/b -> c/d tcp/80: deny by AdminNetworkPolicy/x egress[0]\n- 'a/b -> world icmp v6: allow'\n";
        let probes: Vec<Probe> = serde_saphyr::from_str(text).expect("reads");
        assert_eq!(probes[0].reason.as_deref(), Some("AdminNetworkPolicy/x egress[0]"));
        assert_eq!(probes[1].family, Some(Family::V6));
    }
}
