//! Why there is no link, in words that name the remedy.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustls::CertificateError;
use tonic::{Code, Status};

use super::Address;
use crate::enforce::Ended;

/// What to do where nothing is known.
const REMEDY: &str = "check --operator, the network to it and that it serves TLS there";

/// Why a session did not start or ended. Every message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The certificate authority cannot be read.
    #[error("the operator's certificate authority {} cannot be read: {source}; give its file with --ca", path.display())]
    Ca {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The certificate authority is none.
    #[error("{} holds no PEM certificate: --ca must name the operator's ca.crt", path.display())]
    CaForm {
        /// The file.
        path: PathBuf,
    },
    /// The token cannot be read.
    #[error("this node's token {} cannot be read: {source}; give its file with --token-file", path.display())]
    Token {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The token is none.
    #[error("this node's token file {} {what}: it must hold the token that the operator knows this node by", path.display())]
    TokenForm {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The operator's address is none.
    #[error("`{url}` is no address of an operator: {reason}; --operator takes https://HOST:PORT")]
    Address {
        /// What was given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no connection.
    #[error("{what}; {remedy}")]
    Connect {
        /// What happened.
        what: String,
        /// What to do.
        remedy: String,
        /// Nobody listens there.
        is_refusal: bool,
    },
    /// The operator ended the call.
    #[error("the operator answers {code:?}: {message}; {remedy}")]
    Status {
        /// gRPC's code.
        code: Code,
        /// The operator's words.
        message: String,
        /// What to do.
        remedy: String,
    },
    /// The stream broke while an answer was due.
    #[error("the stream to the operator broke")]
    Closed,
    /// There is nobody to hand updates to.
    #[error(transparent)]
    Enforcer(#[from] Ended),
}

impl Fault {
    pub(super) fn address(url: &Address, error: &dyn Error) -> Self {
        Self::Address { url: url.to_string(), reason: chain(error) }
    }

    /// Nothing came of a connection in time.
    pub(super) fn silent(limit: Duration) -> Self {
        let what = format!("no TLS connection within {} s", limit.as_secs_f64());
        Self::Connect { what, remedy: REMEDY.to_owned(), is_refusal: false }
    }

    /// Whether this is what an operator looks like between two leaders.
    pub(super) fn is_between(&self) -> bool {
        match self {
            Self::Connect { is_refusal, .. } => *is_refusal,
            Self::Status { code, .. } => *code == Code::Unavailable,
            Self::Closed => true,
            _ => false,
        }
    }

    /// Whether another shim speaks for this node: coming back at once would only throw that one out.
    pub(super) fn is_superseded(&self) -> bool {
        matches!(self, Self::Status { code: Code::Aborted, .. })
    }

    /// Whether an operator has spoken, or nothing would change by asking another one.
    pub(super) fn is_verdict(&self) -> bool {
        !self.is_between() && !matches!(self, Self::Connect { .. })
    }

    /// Of several, the one that says most: who has spoken knows more than who was not there.
    pub(super) fn weight(&self) -> u8 {
        u8::from(!self.is_between()) + u8::from(self.is_verdict())
    }

    pub(super) fn connect(error: &tonic::transport::Error, server_name: &str, ca: &Path) -> Self {
        let refused = find::<io::Error>(error, |error| error.kind() == io::ErrorKind::ConnectionRefused);
        let remedy = match certificate_error(error) {
            Some(CertificateError::UnknownIssuer | CertificateError::BadSignature) => format!(
                "its certificate was not issued by {}: copy the operator's present ca.crt there",
                ca.display()
            ),
            Some(CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }) => {
                format!("its certificate does not carry the name `{server_name}`: see --server-name")
            }
            Some(
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. },
            ) => "its certificate is not valid at this node's present time: check the clocks".to_owned(),
            Some(_) => "its certificate cannot be used: check the operator's --tls files".to_owned(),
            None if refused.is_some() => {
                "nobody listens there: is the operator up, and is --operator its address?".to_owned()
            }
            None => REMEDY.to_owned(),
        };
        Self::Connect { what: chain(error), remedy, is_refusal: refused.is_some() }
    }

    pub(super) fn status(status: &Status, token: &Path) -> Self {
        let remedy = match status.code() {
            Code::Unauthenticated | Code::PermissionDenied => format!(
                "it does not know the token in {}: give this node a token that the operator lists",
                token.display()
            ),
            Code::FailedPrecondition | Code::Unimplemented => {
                "operator and node are of versions that do not fit: update the older one".to_owned()
            }
            Code::OutOfRange => "a message is larger than this node takes: update the older side".to_owned(),
            _ => "trying again".to_owned(),
        };
        let message = if status.message().is_empty() { chain(status) } else { status.message().to_owned() };
        Self::Status { code: status.code(), message, remedy }
    }
}

/// An error with its causes, each said once.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        source = cause.source();
    }
    text
}

fn find<E: Error + 'static>(error: &dyn Error, wanted: impl Fn(&E) -> bool) -> Option<&E> {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(found) = cause.downcast_ref::<E>().filter(|error| wanted(error)) {
            return Some(found);
        }
        source = cause.source();
    }
    None
}

/// rustls' opinion of the peer's certificate; it travels inside an I/O error.
fn certificate_error(error: &dyn Error) -> Option<&CertificateError> {
    let carrier = |error: &io::Error| error.get_ref().and_then(tls_error).is_some();
    let tls = find::<io::Error>(error, carrier).and_then(io::Error::get_ref).and_then(tls_error);
    match tls.or_else(|| find(error, |_| true))? {
        rustls::Error::InvalidCertificate(error) => Some(error),
        _ => None,
    }
}

fn tls_error<'a>(error: &'a (dyn Error + Send + Sync + 'static)) -> Option<&'a rustls::Error> {
    error.downcast_ref()
}
