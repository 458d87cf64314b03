//! Who asks: the administrator's bearer token, and the tokens of ServiceAccounts that were issued here.

mod tokens;

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

pub use self::tokens::{Claims, Kubernetes, Reference, TokenError, Tokens};

/// The audience of tokens that are for the API server itself.
pub const API_AUDIENCE: &str = "https://kubernetes.default.svc.cluster.local";

/// Someone who is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// Such as `system:serviceaccount:ns:name`.
    pub name: String,
    /// Of a ServiceAccount: the account's.
    pub uid: String,
    /// Such as `system:authenticated`.
    pub groups: Vec<String>,
    /// What else is known, such as the node of the pod that the token is bound to.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl User {
    /// The administrator.
    pub fn admin(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            groups: vec!["system:masters".to_owned(), "system:authenticated".to_owned()],
            ..Self::default()
        }
    }

    /// As reviews show it.
    pub fn shown(&self) -> Value {
        let mut user = json!({"username": self.name, "groups": self.groups});
        if !self.uid.is_empty() {
            user["uid"] = json!(self.uid);
        }
        if !self.extra.is_empty() {
            user["extra"] = json!(self.extra);
        }
        user
    }
}

/// Base64 as tokens have it: for URLs, without padding.
pub fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// See [`encode`]; `None`: it is not base64.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// Base64 as Kubernetes objects have it.
pub fn encode_standard(bytes: impl AsRef<[u8]>) -> String {
    STANDARD.encode(bytes)
}
