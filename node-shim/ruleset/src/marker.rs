//! Markers: sets of one element that say what is in force in the kernel, so that a restarted shim can ask without
//! reading rules. A marker's 128 bits are written as an IPv6 address, the one 128-bit type that nft lists.

use std::net::Ipv6Addr;

use serde::Deserialize;

/// The set that holds the [`Root`](palisade_view::Root) of the view in force.
pub const REVISION: &str = "revision";
/// The set that holds [`skeleton::fingerprint`](crate::skeleton::fingerprint) of the skeleton that was loaded.
pub const SKELETON: &str = "skeleton";
/// The set that holds the generation of the [`Numbers`](crate::Numbers) that the elements were made with.
pub const GENERATION: &str = "generation";

/// What the kernel's markers say. A marker that is absent, or a table that is, is `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Markers {
    /// Of [`REVISION`].
    pub revision: Option<u128>,
    /// Of [`SKELETON`].
    pub skeleton: Option<u128>,
    /// Of [`GENERATION`].
    pub generation: Option<u128>,
}

/// A listing that is not that of a marker.
#[derive(Debug, thiserror::Error)]
pub enum MarkerError {
    /// It is not JSON of the form that `nft -j list set` prints.
    #[error("not the listing of a set: {0}")]
    Format(#[from] serde_json::Error),
    /// The set is not in the listing.
    #[error("the listing holds no set")]
    NoSet,
    /// The set has more than one element.
    #[error("the marker has {0} elements")]
    Ambiguous(usize),
}

#[derive(Deserialize)]
struct Listing {
    nftables: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    set: Option<Set>,
}

#[derive(Deserialize)]
struct Set {
    #[serde(default)]
    elem: Vec<Ipv6Addr>,
}

/// Reads a marker from what `nft -j list set inet palisade NAME` prints. `None`: the set is empty. That nft fails
/// because there is no such set or table is for the caller to see; it means `None`, too.
///
/// # Errors
/// The text is anything else.
pub fn parse(listing: &str) -> Result<Option<u128>, MarkerError> {
    let listing: Listing = serde_json::from_str(listing)?;
    let set = listing.nftables.into_iter().find_map(|entry| entry.set).ok_or(MarkerError::NoSet)?;
    match set.elem.as_slice() {
        [] => Ok(None),
        [address] => Ok(Some(u128::from(*address))),
        several => Err(MarkerError::Ambiguous(several.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = r#"{"nftables": [{"metainfo": {"version": "1.0.6", "json_schema_version": 1}}, "#;

    #[test]
    fn a_listing_gives_its_number() {
        let set = r#"{"set": {"family": "inet", "name": "revision", "table": "palisade", "type": "ipv6_addr", "handle": 7, "elem": ["1::a"]}}]}"#;
        assert_eq!(parse(&format!("{HEAD}{set}")).unwrap(), Some((1 << 112) + 10));
        assert_eq!(parse(&format!(r#"{HEAD}{{"set": {{"name": "revision"}}}}]}}"#)).unwrap(), None);
    }

    #[test]
    fn anything_else_is_an_error() {
        assert!(matches!(parse(""), Err(MarkerError::Format(_))));
        assert!(matches!(parse(&format!(r#"{HEAD}{{"map": {{}}}}]}}"#)), Err(MarkerError::NoSet)));
        let two = format!(r#"{HEAD}{{"set": {{"elem": ["::1", "::2"]}}}}]}}"#);
        assert!(matches!(parse(&two), Err(MarkerError::Ambiguous(2))));
    }
}
