//! The rule shapes that the fake kernel knows: from the `nftables` crate's statements to steps it can carry out.
//! Any other shape is refused, so that a skeleton cannot come to mean something that no test has seen.

use std::net::IpAddr;

use ipnet::IpNet;
use nftables::expr::{Expression, MetaKey, NamedExpression, Payload, SetItem};
use nftables::schema::Rule;
use nftables::stmt::{Counter, Operator, Statement};
use palisade_view::Family;

use super::packet::{CtState, TracePacket};
use crate::element::{Datum, FieldType};

/// A rule of a shape that the fake kernel does not know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("chain {chain}: unknown shape: {shape}")]
pub struct UnknownShape {
    /// The rule's chain.
    pub chain: String,
    /// The part that is not known.
    pub shape: String,
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Scratch,
    L4Proto,
    NfProto,
    InputInterface,
    CtState,
    Address { family: Family, destination: bool },
    HopLimit6,
    DestinationPort,
    Icmp6Type,
}

/// A value of a packet, or a constant to compare it with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Datum(Datum),
    NfProto(Family),
    Loopback(bool),
    CtState(CtState),
    HopLimit(u8),
    Icmp6Type(u8),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Accept,
    Drop,
    Return,
    Jump(String),
    Goto(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Goes on if the value is (or is not) one of the constants.
    Compare {
        source: Source,
        constants: Vec<Value>,
        equal: bool,
    },
    /// Goes on if the address is in the network.
    Within(Source, IpNet),
    /// Goes on if the key is in the named set.
    Lookup(Vec<Source>, String),
    /// Sets the scratch value from the named map; a miss ends the rule and changes nothing.
    SetScratchFrom(Vec<Source>, String),
    SetScratch(u32),
    Count,
    VerdictMap(Source, Vec<(Value, Verdict)>),
    Verdict(Verdict),
}

impl Source {
    /// The value in a packet. `None` ends the rule: the packet has no such field.
    pub(super) fn of(self, packet: &TracePacket, scratch: u32) -> Option<Value> {
        let is = |family| Family::of(packet.packet.source) == family;
        Some(match self {
            Self::Scratch => Value::Datum(Datum::ClassId(scratch)),
            Self::L4Proto => Value::Datum(Datum::Protocol(packet.protocol())),
            Self::NfProto => Value::NfProto(Family::of(packet.packet.source)),
            Self::InputInterface => Value::Loopback(packet.loopback),
            Self::CtState => Value::CtState(packet.ct_state),
            Self::Address { family, destination } if is(family) => Value::Datum(
                if destination { packet.packet.destination } else { packet.packet.source }.into(),
            ),
            Self::HopLimit6 if is(Family::V6) => Value::HopLimit(packet.hop_limit),
            Self::DestinationPort => Value::Datum(Datum::Service(packet.destination_port()?)),
            Self::Icmp6Type if is(Family::V6) && packet.protocol() == 58 => {
                Value::Icmp6Type(packet.icmp6_type)
            }
            Self::Address { .. } | Self::HopLimit6 | Self::Icmp6Type => return None,
        })
    }

    /// The field of a set's key that it fits, if any.
    pub(super) fn field_type(self) -> Option<FieldType> {
        match self {
            Self::Scratch => Some(FieldType::ClassId),
            Self::L4Proto => Some(FieldType::InetProto),
            Self::Address { family: Family::V4, .. } => Some(FieldType::Ipv4Addr),
            Self::Address { family: Family::V6, .. } => Some(FieldType::Ipv6Addr),
            Self::DestinationPort => Some(FieldType::InetService),
            _ => None,
        }
    }

    fn parse(expression: &Expression<'_>) -> Option<Self> {
        let Expression::Named(named) = expression else { return None };
        match named {
            NamedExpression::Meta(meta) => match meta.key {
                MetaKey::Priority => Some(Self::Scratch),
                MetaKey::L4proto => Some(Self::L4Proto),
                MetaKey::Nfproto => Some(Self::NfProto),
                MetaKey::Iif => Some(Self::InputInterface),
                _ => None,
            },
            NamedExpression::CT(ct) if ct.key == "state" && ct.family.is_none() && ct.dir.is_none() => {
                Some(Self::CtState)
            }
            NamedExpression::Payload(Payload::PayloadField(field)) => {
                let address = |family, destination| Some(Self::Address { family, destination });
                match (field.protocol.as_ref(), field.field.as_ref()) {
                    ("ip", "saddr") => address(Family::V4, false),
                    ("ip", "daddr") => address(Family::V4, true),
                    ("ip6", "saddr") => address(Family::V6, false),
                    ("ip6", "daddr") => address(Family::V6, true),
                    ("ip6", "hoplimit") => Some(Self::HopLimit6),
                    ("th", "dport") => Some(Self::DestinationPort),
                    ("icmpv6", "type") => Some(Self::Icmp6Type),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    /// A constant of the source's type, by nft's name for it.
    fn constant(self, expression: &Expression<'_>) -> Option<Value> {
        let text = match expression {
            Expression::String(text) => text.as_ref(),
            Expression::Number(number) => {
                let number = u8::try_from(*number).ok()?;
                return match self {
                    Self::HopLimit6 => Some(Value::HopLimit(number)),
                    Self::L4Proto => Some(Value::Datum(Datum::Protocol(number))),
                    _ => None,
                };
            }
            _ => return None,
        };
        match (self, text) {
            (Self::NfProto, "ipv4") => Some(Value::NfProto(Family::V4)),
            (Self::NfProto, "ipv6") => Some(Value::NfProto(Family::V6)),
            (Self::InputInterface, "lo") => Some(Value::Loopback(true)),
            (Self::CtState, "established") => Some(Value::CtState(CtState::Established)),
            (Self::CtState, "related") => Some(Value::CtState(CtState::Related)),
            (Self::Icmp6Type, name) => icmp6_type(name).map(Value::Icmp6Type),
            _ => None,
        }
    }
}

fn icmp6_type(name: &str) -> Option<u8> {
    Some(match name {
        "mld-listener-query" => 130,
        "mld-listener-report" => 131,
        "mld-listener-done" => 132,
        "nd-router-solicit" => 133,
        "nd-router-advert" => 134,
        "nd-neighbor-solicit" => 135,
        "nd-neighbor-advert" => 136,
        "nd-redirect" => 137,
        "mld2-listener-report" => 143,
        _ => return None,
    })
}

/// Reads a rule.
pub(super) fn parse(rule: &Rule<'_>) -> Result<Vec<Step>, UnknownShape> {
    let unknown = |shape: String| UnknownShape { chain: rule.chain.to_string(), shape };
    let steps: Vec<Step> = rule
        .expr
        .iter()
        .map(|statement| step(statement).ok_or_else(|| unknown(format!("{statement:?}"))))
        .collect::<Result<_, _>>()?;
    // nft writes nothing behind a verdict; a rule that had more would not mean what it reads like.
    let last = steps.len().saturating_sub(1);
    let ends_early =
        steps.iter().take(last).any(|step| matches!(step, Step::Verdict(_) | Step::VerdictMap(..)));
    if steps.is_empty() || ends_early {
        return Err(unknown(format!("a verdict must come last: {steps:?}")));
    }
    Ok(steps)
}

fn step(statement: &Statement<'_>) -> Option<Step> {
    match statement {
        Statement::Match(test) => {
            let equal = match test.op {
                Operator::EQ => true,
                Operator::NEQ => false,
                _ => return None,
            };
            if let Some(set) = reference(&test.right) {
                return equal.then_some(Step::Lookup(key(&test.left)?, set));
            }
            let source = Source::parse(&test.left)?;
            if let Expression::Named(NamedExpression::Prefix(prefix)) = &test.right {
                let Expression::String(address) = prefix.addr.as_ref() else { return None };
                let address: IpAddr = address.parse().ok()?;
                let network = IpNet::new(address, u8::try_from(prefix.len).ok()?).ok()?;
                let fits = matches!(source, Source::Address { family, .. } if family == Family::of(address));
                return (equal && fits && network.trunc() == network)
                    .then_some(Step::Within(source, network));
            }
            let constants = match &test.right {
                Expression::Named(NamedExpression::Set(items)) => items
                    .iter()
                    .map(|item| match item {
                        SetItem::Element(constant) => source.constant(constant),
                        _ => None,
                    })
                    .collect::<Option<Vec<_>>>()?,
                constant => vec![source.constant(constant)?],
            };
            Some(Step::Compare { source, constants, equal })
        }
        Statement::Mangle(mangle) if Source::parse(&mangle.key) == Some(Source::Scratch) => {
            match &mangle.value {
                Expression::String(value) if value == "none" => Some(Step::SetScratch(0)),
                Expression::Named(NamedExpression::Map(map)) => {
                    Some(Step::SetScratchFrom(key(&map.key)?, reference(&map.data)?))
                }
                _ => None,
            }
        }
        Statement::Counter(Counter::Anonymous(None)) => Some(Step::Count),
        Statement::VerdictMap(map) => {
            let source = Source::parse(&map.key)?;
            let Expression::Named(NamedExpression::Set(items)) = &map.data else { return None };
            let cases = items.iter().map(|item| match item {
                SetItem::MappingStatement(constant, statement) => {
                    Some((source.constant(constant)?, verdict(statement)?))
                }
                _ => None,
            });
            Some(Step::VerdictMap(source, cases.collect::<Option<_>>()?))
        }
        other => verdict(other).map(Step::Verdict),
    }
}

fn verdict(statement: &Statement<'_>) -> Option<Verdict> {
    Some(match statement {
        Statement::Accept(_) => Verdict::Accept,
        Statement::Drop(_) => Verdict::Drop,
        Statement::Return(_) => Verdict::Return,
        Statement::Jump(jump) => Verdict::Jump(jump.target.to_string()),
        Statement::Goto(goto) => Verdict::Goto(goto.target.to_string()),
        _ => return None,
    })
}

fn reference(expression: &Expression<'_>) -> Option<String> {
    let Expression::String(text) = expression else { return None };
    text.strip_prefix('@').map(str::to_owned)
}

fn key(expression: &Expression<'_>) -> Option<Vec<Source>> {
    match expression {
        Expression::Named(NamedExpression::Concat(fields)) => fields.iter().map(Source::parse).collect(),
        single => Source::parse(single).map(|source| vec![source]),
    }
}
