//! Elements of sets and maps, and the declarations of what holds them. Owns their JSON form for nft; the
//! `nftables` crate's own declarations know no `classid`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::ser::{Serialize, SerializeMap, SerializeTuple, Serializer};

/// The type of one field of a key, or of a map's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldType {
    /// `ipv4_addr`
    Ipv4Addr,
    /// `ipv6_addr`
    Ipv6Addr,
    /// `classid`: a 32-bit number, the type of `meta priority`.
    ClassId,
    /// `inet_proto`
    InetProto,
    /// `inet_service`
    InetService,
}

impl FieldType {
    /// nft's name of the type.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ipv4Addr => "ipv4_addr",
            Self::Ipv6Addr => "ipv6_addr",
            Self::ClassId => "classid",
            Self::InetProto => "inet_proto",
            Self::InetService => "inet_service",
        }
    }
}

impl Serialize for FieldType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// A named set, or a named map if it has a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetDecl {
    /// Its name in the table.
    pub name: &'static str,
    /// Types of the key's fields; more than one is a concatenation.
    pub key: Vec<FieldType>,
    /// Type of the value, for a map.
    pub value: Option<FieldType>,
    /// Whether keys may hold ranges (`flags interval`).
    pub interval: bool,
}

/// One value of one field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Datum {
    /// Of type `ipv4_addr`.
    Ipv4(Ipv4Addr),
    /// Of type `ipv6_addr`.
    Ipv6(Ipv6Addr),
    /// Of type `classid`.
    ClassId(u32),
    /// Of type `inet_proto`: an IANA protocol number.
    Protocol(u8),
    /// Of type `inet_service`: a port.
    Service(u16),
}

impl Datum {
    /// The type it has.
    pub fn field_type(self) -> FieldType {
        match self {
            Self::Ipv4(_) => FieldType::Ipv4Addr,
            Self::Ipv6(_) => FieldType::Ipv6Addr,
            Self::ClassId(_) => FieldType::ClassId,
            Self::Protocol(_) => FieldType::InetProto,
            Self::Service(_) => FieldType::InetService,
        }
    }
}

impl From<IpAddr> for Datum {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => Self::Ipv4(v4),
            IpAddr::V6(v6) => Self::Ipv6(v6),
        }
    }
}

impl fmt::Display for Datum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ipv4(address) => address.fmt(f),
            Self::Ipv6(address) => address.fmt(f),
            Self::ClassId(id) => write!(f, "{:x}:{:x}", id >> 16, id & 0xffff),
            Self::Protocol(number) => number.fmt(f),
            Self::Service(port) => port.fmt(f),
        }
    }
}

impl Serialize for Datum {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Service(port) => serializer.serialize_u16(*port),
            // By number: for names nft needs /etc/protocols, which slim images do not have.
            Self::Protocol(number) => serializer.serialize_u8(*number),
            // nft takes a class identifier as text only, in tc's notation.
            _ => serializer.collect_str(self),
        }
    }
}

/// One field of an element's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// One value.
    Exact(Datum),
    /// All values from the first to the second, both included; the second is the greater.
    Range(Datum, Datum),
}

impl Field {
    /// All values between two of the same type, written as one value where they are equal.
    pub fn span(start: Datum, end: Datum) -> Self {
        if start == end { Self::Exact(start) } else { Self::Range(start, end) }
    }

    /// The first and the last value.
    pub fn bounds(self) -> (Datum, Datum) {
        match self {
            Self::Exact(datum) => (datum, datum),
            Self::Range(start, end) => (start, end),
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(datum) => datum.fmt(f),
            Self::Range(start, end) => write!(f, "{start}-{end}"),
        }
    }
}

impl Serialize for Field {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Exact(datum) => datum.serialize(serializer),
            Self::Range(start, end) => named(serializer, "range", &[start, end]),
        }
    }
}

/// An element of a set or map.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Element {
    /// The key's fields.
    pub key: Vec<Field>,
    /// The value, for a map; left out where an element is deleted.
    pub value: Option<u32>,
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, field) in self.key.iter().enumerate() {
            write!(f, "{}{field}", if position > 0 { " . " } else { "" })?;
        }
        self.value.map_or(Ok(()), |value| write!(f, " : {}", Datum::ClassId(value)))
    }
}

struct KeyForm<'a>(&'a [Field]);

impl Serialize for KeyForm<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            [field] => field.serialize(serializer),
            fields => named(serializer, "concat", fields),
        }
    }
}

impl Serialize for Element {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let key = KeyForm(&self.key);
        let Some(value) = self.value else { return key.serialize(serializer) };
        let mut pair = serializer.serialize_tuple(2)?;
        pair.serialize_element(&key)?;
        pair.serialize_element(&Datum::ClassId(value))?;
        pair.end()
    }
}

fn named<S: Serializer, T: Serialize + ?Sized>(
    serializer: S,
    name: &str,
    value: &T,
) -> Result<S::Ok, S::Error> {
    let mut object = serializer.serialize_map(Some(1))?;
    object.serialize_entry(name, value)?;
    object.end()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(element: &Element) -> String {
        serde_json::to_string(element).unwrap()
    }

    #[test]
    fn elements_take_the_form_that_nft_reads() {
        let address = Field::Exact(Datum::Ipv4(Ipv4Addr::new(10, 0, 0, 1)));
        let class = Field::Exact(Datum::ClassId(0x1_000a));
        assert_eq!(json(&Element { key: vec![address], value: None }), r#""10.0.0.1""#);
        assert_eq!(json(&Element { key: vec![address], value: Some(0x1_000a) }), r#"["10.0.0.1","1:a"]"#);
        assert_eq!(
            json(&Element { key: vec![class, address], value: Some(0x2_0000) }),
            r#"[{"concat":["1:a","10.0.0.1"]},"2:0"]"#
        );
        let ports = Field::span(Datum::Service(80), Datum::Service(90));
        let element = Element { key: vec![class, ports], value: None };
        assert_eq!(json(&element), r#"{"concat":["1:a",{"range":[80,90]}]}"#);
        assert_eq!(element.to_string(), "1:a . 80-90");
        let port = vec![class, Field::Exact(Datum::Protocol(132)), Field::Exact(Datum::Service(80))];
        assert_eq!(json(&Element { key: port, value: None }), r#"{"concat":["1:a",132,80]}"#);
    }

    #[test]
    fn a_span_of_one_value_is_exact() {
        assert_eq!(
            Field::span(Datum::Service(7), Datum::Service(7)),
            Field::Exact(Datum::Service(7)),
            "nft deletes 7-7 and 7 differently in a hash set"
        );
    }
}
