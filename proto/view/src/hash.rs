//! 128-bit content hashes. Owns how values are fed to the hash; knows nothing of what they mean.

use std::fmt;
use std::str::FromStr;

/// A 128-bit content hash: the name of a profile or an identity.
///
/// It is the first half of a BLAKE3 hash, so that nobody who may choose labels can choose them such that two
/// identities collide.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub [u8; 16]);

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key is written as 32 hexadecimal digits")]
pub struct ParseKeyError;

impl FromStr for Key {
    type Err = ParseKeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() != 32 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(ParseKeyError);
        }
        u128::from_str_radix(text, 16).map(|value| Self(value.to_be_bytes())).map_err(|_| ParseKeyError)
    }
}

/// Feeds values to a [`Key`] unambiguously: every string is prefixed with its length, every hash starts with the
/// name of what is hashed.
#[derive(Clone)]
pub struct KeyHasher(blake3::Hasher);

impl KeyHasher {
    /// Starts a hash of a value of the given kind. Equal content of different kinds gives different keys.
    pub fn new(kind: &str) -> Self {
        let mut hasher = Self(blake3::Hasher::new());
        hasher.str(kind);
        hasher
    }

    /// Adds text.
    pub fn str(&mut self, text: &str) -> &mut Self {
        self.bytes(text.as_bytes())
    }

    /// Adds bytes of any length.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.u64(bytes.len() as u64);
        self.0.update(bytes);
        self
    }

    /// Adds a number; also used for lengths and discriminants.
    pub fn u64(&mut self, number: u64) -> &mut Self {
        self.0.update(&number.to_le_bytes());
        self
    }

    /// Adds an address with its family.
    pub fn address(&mut self, address: std::net::IpAddr) -> &mut Self {
        match address {
            std::net::IpAddr::V4(v4) => self.bytes(&v4.octets()),
            std::net::IpAddr::V6(v6) => self.bytes(&v6.octets()),
        }
    }

    /// Adds a network with its family.
    pub fn network(&mut self, network: ipnet::IpNet) -> &mut Self {
        self.address(network.network()).u64(u64::from(network.prefix_len()))
    }

    /// The key of everything added.
    pub fn finish(&self) -> Key {
        let mut key = [0; 16];
        key.copy_from_slice(&self.0.finalize().as_bytes()[..16]);
        Key(key)
    }
}

/// The hash of a whole [`NodeView`](crate::NodeView): a wrapping sum of the keys of its parts.
///
/// A sum does not depend on the order of its parts and changes in constant time when one part does. It guards
/// against mistakes, not against forgery: the transport is authenticated.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Root(pub u128);

impl Root {
    /// The root of an empty view.
    pub const EMPTY: Self = Self(0);

    /// The root with one more part.
    #[must_use]
    pub fn plus(self, part: Key) -> Self {
        Self(self.0.wrapping_add(u128::from_be_bytes(part.0)))
    }

    /// The root without one of its parts.
    #[must_use]
    pub fn minus(self, part: Key) -> Self {
        Self(self.0.wrapping_sub(u128::from_be_bytes(part.0)))
    }

    /// The root's 16 bytes as they travel and as they are stored.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// The inverse of [`Root::to_bytes`].
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }
}

impl fmt::Display for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Root {
    type Err = ParseKeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Key::from_str(text).map(|key| Self(u128::from_be_bytes(key.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbouring_strings_do_not_run_together() {
        let ab_c = KeyHasher::new("t").str("ab").str("c").finish();
        let a_bc = KeyHasher::new("t").str("a").str("bc").finish();
        assert_ne!(ab_c, a_bc);
    }

    #[test]
    fn keys_and_roots_survive_their_text() {
        let key = KeyHasher::new("t").str("x").finish();
        assert_eq!(key.to_string().parse(), Ok(key));
        let root = Root::EMPTY.plus(key);
        assert_eq!(root.to_string().parse(), Ok(root));
        assert_eq!(root.minus(key), Root::EMPTY);
        assert_eq!("+f".repeat(16).parse::<Key>(), Err(ParseKeyError));
    }
}
