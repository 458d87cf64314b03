//! How compact keys and values are written as the fields of an element.

use std::net::IpAddr;

use palisade_view::Family;

use crate::element::{Datum, Field};

/// A key as it stands in the kernel: in which set or map, and as which fields.
pub(crate) trait Place: Ord + Copy {
    /// The key's fields.
    fn fields(self) -> Vec<Field>;
    /// The family whose set or map it stands in; of no meaning where both share one.
    fn family(self) -> Family;
}

fn exact(datum: impl Into<Datum>) -> Field {
    Field::Exact(datum.into())
}

impl Place for IpAddr {
    fn fields(self) -> Vec<Field> {
        vec![exact(self)]
    }
    fn family(self) -> Family {
        Family::of(self)
    }
}

/// A subject as both source and destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Twice(pub(crate) IpAddr);

impl Place for Twice {
    fn fields(self) -> Vec<Field> {
        vec![exact(self.0), exact(self.0)]
    }
    fn family(self) -> Family {
        Family::of(self.0)
    }
}

impl Place for (IpAddr, IpAddr) {
    fn fields(self) -> Vec<Field> {
        vec![Field::span(self.0.into(), self.1.into())]
    }
    fn family(self) -> Family {
        Family::of(self.0)
    }
}

impl Place for (IpAddr, u32) {
    fn fields(self) -> Vec<Field> {
        vec![exact(Datum::ClassId(self.1)), exact(self.0)]
    }
    fn family(self) -> Family {
        Family::of(self.0)
    }
}

// Programs serve both families; their sets have one name.
impl Place for u32 {
    fn fields(self) -> Vec<Field> {
        vec![exact(Datum::ClassId(self))]
    }
    fn family(self) -> Family {
        Family::V4
    }
}

impl Place for (u32, u8, u16) {
    fn fields(self) -> Vec<Field> {
        vec![exact(Datum::ClassId(self.0)), exact(Datum::Protocol(self.1)), exact(Datum::Service(self.2))]
    }
    fn family(self) -> Family {
        Family::V4
    }
}

impl Place for (u32, u16, u16) {
    fn fields(self) -> Vec<Field> {
        let ports = Field::span(Datum::Service(self.1), Datum::Service(self.2));
        vec![exact(Datum::ClassId(self.0)), ports]
    }
    fn family(self) -> Family {
        Family::V4
    }
}
