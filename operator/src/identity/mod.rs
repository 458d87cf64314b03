//! Who a stream is: the node that its bearer token names. Owns every rule about tokens; knows nothing of streams.

mod cache;
mod claims;
mod lanes;
mod review;
mod reviewer;
pub mod tokens;
mod verdict;

use std::net::IpAddr;

use tokio::time::Instant;

pub use self::reviewer::{Metrics, Reviewer, Settings};
use self::tokens::Tokens;

/// Where tokens are known from; clones share what they know.
#[derive(Clone, Debug)]
pub enum Identity {
    /// A file.
    Static(Tokens),
    /// The API server, asked by a `TokenReview`.
    Reviewed(Reviewer),
}

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The node.
    pub node: String,
    /// When the token ends; what it opened must be opened again by then with a newer one.
    pub until: Option<Instant>,
}

/// Why a token is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is not a node's. The text says what would be.
    #[error("{0}")]
    Unknown(String),
    /// That cannot be found out now: come back.
    #[error("{0}")]
    NotNow(String),
}

impl Identity {
    /// The node a token belongs to.
    ///
    /// # Errors
    /// The token is no node's, or nobody can tell at present.
    pub async fn node(&self, token: &str, peer: Option<IpAddr>) -> Result<Known, Refusal> {
        match self {
            Self::Static(tokens) => match tokens.node(token) {
                Some(node) => Ok(Known { node, until: None }),
                None => Err(Refusal::Unknown(
                    "the bearer token is not known: it must be in the operator's token file (--tokens)"
                        .to_owned(),
                )),
            },
            Self::Reviewed(reviewer) => reviewer.node(token, peer).await,
        }
    }
}
