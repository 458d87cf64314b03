//! Wire to compiled form. Nothing that arrives is trusted: lengths, indices and hashes are checked.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use palisade_view::{
    Function, FunctionBuilder, FunctionError, Intervals, Key, Local, Operation, Profile, Program, Root,
};
use prost::Message;

use crate::v1;

/// A message that does not decode.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Not an encoded message.
    #[error("malformed message")]
    Malformed(#[source] prost::DecodeError),
    /// A field of fixed size has another.
    #[error("{field}: {actual} bytes where {expected} are due")]
    Length {
        /// The field.
        field: &'static str,
        /// Bytes there are.
        actual: usize,
        /// Bytes there should be.
        expected: &'static str,
    },
    /// A field is missing.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A cell names a program that is not there.
    #[error("program {index} of {count} is referred to")]
    Program {
        /// The index.
        index: u32,
        /// How many programs there are.
        count: usize,
    },
    /// Ports are no pairs of 16-bit numbers, sorted and disjoint.
    #[error("malformed port intervals")]
    Ports,
    /// A network is impossible.
    #[error("malformed network")]
    Network,
    /// A network may not be a cell.
    #[error("malformed function")]
    Function(#[source] FunctionError),
    /// A profile does not hash to its key.
    #[error("profile announced as {announced} hashes to {actual}")]
    Hash {
        /// The announced key.
        announced: Key,
        /// The hash of what arrived.
        actual: Key,
    },
}

/// Decodes the concatenated payload of an update.
///
/// # Errors
/// The payload is malformed; the position of the operation at fault is given where it is known.
pub fn decode_operations(payload: &[u8]) -> Result<Vec<Operation>, (Option<usize>, DecodeError)> {
    let operations =
        v1::Operations::decode(payload).map_err(|error| (None, DecodeError::Malformed(error)))?;
    operations
        .operations
        .into_iter()
        .enumerate()
        .map(|(position, operation)| from_wire(operation).map_err(|error| (Some(position), error)))
        .collect()
}

/// A key of exactly 16 bytes.
///
/// # Errors
/// Another length.
pub fn key(field: &'static str, bytes: &[u8]) -> Result<Key, DecodeError> {
    bytes.try_into().map(Key).map_err(|_| DecodeError::Length { field, actual: bytes.len(), expected: "16" })
}

/// A root of exactly 16 bytes.
///
/// # Errors
/// Another length.
pub fn root(field: &'static str, bytes: &[u8]) -> Result<Root, DecodeError> {
    key(field, bytes).map(|key| Root::from_bytes(key.0))
}

/// A root, or nothing where the field is empty.
///
/// # Errors
/// Neither 16 bytes nor none.
pub fn optional_root(field: &'static str, bytes: &[u8]) -> Result<Option<Root>, DecodeError> {
    if bytes.is_empty() { Ok(None) } else { root(field, bytes).map(Some) }
}

fn optional_key(field: &'static str, bytes: &[u8]) -> Result<Option<Key>, DecodeError> {
    if bytes.is_empty() { Ok(None) } else { key(field, bytes).map(Some) }
}

fn from_wire(operation: v1::Operation) -> Result<Operation, DecodeError> {
    use v1::operation::Operation as Wire;
    Ok(match operation.operation.ok_or(DecodeError::Missing("operation"))? {
        Wire::PutProfile(profile) => Operation::PutProfile(Arc::new(profile_from_wire(&profile)?)),
        Wire::RemoveProfile(bytes) => Operation::RemoveProfile(key("remove_profile", &bytes)?),
        Wire::AddMembers(members) => {
            let (identity, addresses) = members_from_wire(&members)?;
            Operation::AddMembers(identity, addresses)
        }
        Wire::RemoveMembers(members) => {
            let (identity, addresses) = members_from_wire(&members)?;
            Operation::RemoveMembers(identity, addresses)
        }
        Wire::PutLocal(local) => Operation::PutLocal(
            address("local.address", &local.address)?,
            Local {
                identity: key("local.identity", &local.identity)?,
                egress: optional_key("local.egress", &local.egress)?,
                ingress: optional_key("local.ingress", &local.ingress)?,
            },
        ),
        Wire::RemoveLocal(bytes) => Operation::RemoveLocal(address("remove_local", &bytes)?),
    })
}

fn address(field: &'static str, bytes: &[u8]) -> Result<IpAddr, DecodeError> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Ok(IpAddr::from(v4));
    }
    <[u8; 16]>::try_from(bytes).map(IpAddr::from).map_err(|_| DecodeError::Length {
        field,
        actual: bytes.len(),
        expected: "4 or 16",
    })
}

fn members_from_wire(members: &v1::Members) -> Result<(Key, Vec<IpAddr>), DecodeError> {
    let identity = key("members.identity", &members.identity)?;
    let addresses = members
        .addresses
        .iter()
        .map(|bytes| address("members.addresses", bytes))
        .collect::<Result<_, _>>()?;
    Ok((identity, addresses))
}

fn profile_from_wire(profile: &v1::Profile) -> Result<Profile, DecodeError> {
    let announced = key("profile.key", &profile.key)?;
    let main = function_from_wire(profile.main.as_ref().ok_or(DecodeError::Missing("profile.main"))?)?;
    let exempt = profile.exempt.as_ref().map(function_from_wire).transpose()?.unwrap_or_else(|| main.clone());
    let profile = Profile::new(main, exempt);
    if profile.key() == announced {
        Ok(profile)
    } else {
        Err(DecodeError::Hash { announced, actual: profile.key() })
    }
}

fn function_from_wire(function: &v1::Function) -> Result<Function, DecodeError> {
    // Shared by the cells: a message must not become many times its size.
    let programs: Vec<Arc<Program>> = function
        .programs
        .iter()
        .map(|program| program_from_wire(program).map(Arc::new))
        .collect::<Result<_, _>>()?;
    let program = |index: u32| {
        programs
            .get(index as usize)
            .ok_or(DecodeError::Program { index, count: programs.len() })
            .map(Arc::clone)
    };
    let mut builder = FunctionBuilder::new(program(function.default_v4)?, program(function.default_v6)?);
    for group in &function.identities {
        let program = program(group.program)?;
        let (keys, rest) = group.keys.as_chunks::<16>();
        if !rest.is_empty() {
            return Err(DecodeError::Length {
                field: "identities.keys",
                actual: group.keys.len(),
                expected: "a multiple of 16",
            });
        }
        for &bytes in keys {
            builder = builder.identity(Key(bytes), Arc::clone(&program));
        }
    }
    for group in &function.networks {
        let program = program(group.program)?;
        for network in &group.networks {
            let address = address("network.address", &network.address)?;
            let length = u8::try_from(network.prefix_length).map_err(|_| DecodeError::Network)?;
            let network = IpNet::new(address, length).map_err(|_| DecodeError::Network)?;
            builder = builder.network(network, Arc::clone(&program)).map_err(DecodeError::Function)?;
        }
    }
    Ok(builder.build())
}

fn program_from_wire(program: &v1::Program) -> Result<Program, DecodeError> {
    Ok(Program {
        tcp: intervals(&program.tcp)?,
        udp: intervals(&program.udp)?,
        sctp: intervals(&program.sctp)?,
        other: program.other,
    })
}

fn intervals(flat: &[u32]) -> Result<Intervals, DecodeError> {
    let (pairs, rest) = flat.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(DecodeError::Ports);
    }
    let pairs: Vec<(u16, u16)> = pairs
        .iter()
        .map(|&[start, end]| Ok((u16::try_from(start)?, u16::try_from(end)?)))
        .collect::<Result<_, std::num::TryFromIntError>>()
        .map_err(|_| DecodeError::Ports)?;
    let intervals = Intervals::from_ranges(pairs.iter().copied());
    if intervals.as_slice() == pairs { Ok(intervals) } else { Err(DecodeError::Ports) }
}
