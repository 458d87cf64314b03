//! Where operators are: the addresses given, and what their names stand for at present.

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tonic::transport::Uri;

use super::Fault;

/// How long a name server may take.
const LOOKUP: Duration = Duration::from_secs(5);

/// The most connections tried in one round, whatever names stand for.
const MOST: usize = 16;

/// The port of an address that names none.
const PORT: u16 = 443;

/// One address of the operator, as given: `https://HOST[:PORT]`. Its host may stand for several replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    uri: Uri,
    host: String,
    port: u16,
}

/// One replica that may be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    /// The address that it is from.
    pub(super) address: Address,
    pub(super) at: SocketAddr,
}

impl Address {
    /// As it was given.
    pub(super) fn uri(&self) -> &Uri {
        &self.uri
    }

    fn invalid(text: &str, reason: &str) -> Fault {
        Fault::Address { url: text.to_owned(), reason: reason.to_owned() }
    }
}

impl FromStr for Address {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        let invalid = |reason: &str| Self::invalid(text, reason);
        let uri: Uri = text.trim().parse().map_err(|_| invalid("it is malformed"))?;
        if uri.scheme_str() != Some("https") {
            return Err(invalid("only https is spoken, policies never travel in the clear"));
        }
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(invalid("something follows the port"));
        }
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
        // A port that is no number is none to the parser.
        let said = uri.authority().map_or("", |authority| authority.as_str());
        if host.is_empty()
            || said.contains('@')
            || uri.port().is_none() && said.len() > uri.host().map_or(0, str::len)
        {
            return Err(invalid("it is malformed"));
        }
        let port = uri.port_u16().unwrap_or(PORT);
        Ok(Self { uri, host, port })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.uri.to_string().trim_end_matches('/'))
    }
}

/// Everything the addresses stand for now, `first` before all others; and why some stand for nothing.
pub(super) async fn candidates(
    addresses: &[Address],
    first: Option<SocketAddr>,
) -> (VecDeque<Candidate>, Vec<Fault>) {
    // At once: a name server that is slow about one name does not hold up the others twice.
    let mut lookups = JoinSet::new();
    for (index, address) in addresses.iter().cloned().enumerate() {
        lookups.spawn(async move { (index, lookup(&address).await) });
    }
    let mut found = lookups.join_all().await;
    found.sort_by_key(|(index, _)| *index);
    let (mut candidates, mut faults) = (VecDeque::<Candidate>::new(), Vec::new());
    for ((_, found), address) in found.into_iter().zip(addresses) {
        match found {
            Ok(found) => {
                for at in found {
                    if candidates.iter().any(|candidate| candidate.at == at) {
                        continue;
                    }
                    let candidate = Candidate { address: address.clone(), at };
                    if Some(at) == first {
                        candidates.push_front(candidate);
                    } else {
                        candidates.push_back(candidate);
                    }
                }
            }
            Err(fault) => faults.push(fault),
        }
    }
    candidates.truncate(MOST);
    (candidates, faults)
}

async fn lookup(address: &Address) -> Result<Vec<SocketAddr>, Fault> {
    let unknown = |why: String| Fault::Connect {
        what: format!("`{}` cannot be looked up: {why}", address.host),
        remedy: "check --operator and this node's name servers".to_owned(),
        is_refusal: false,
    };
    match timeout(LOOKUP, lookup_host((address.host.as_str(), address.port))).await {
        Ok(Ok(found)) => Ok(found.collect()),
        Ok(Err(error)) => Err(unknown(error.to_string())),
        Err(_) => Err(unknown(format!("no answer within {} s", LOOKUP.as_secs()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_is_https_host_and_port() {
        let of = |text: &str| {
            let address = address(text);
            (address.host.clone(), address.port, address.to_string())
        };
        assert_eq!(of("https://op:9443"), ("op".into(), 9443, "https://op:9443".into()));
        assert_eq!(of(" https://op.ns.svc/ "), ("op.ns.svc".into(), 443, "https://op.ns.svc".into()));
        assert_eq!(of("https://[::1]:1"), ("::1".into(), 1, "https://[::1]:1".into()));
        for (bad, why) in [
            ("http://op:9443", "never travel in the clear"),
            ("op:9443", "never travel in the clear"),
            ("", "malformed"),
            ("https://", "malformed"),
            ("https://op:9443/path", "something follows"),
            ("https://op:port", "malformed"),
            ("https://op:", "malformed"),
            ("https://me@op:1", "malformed"),
        ] {
            let said = bad.parse::<Address>().unwrap_err().to_string();
            assert!(said.contains(why) && said.contains("--operator takes"), "{bad}: {said}");
        }
    }

    #[tokio::test]
    async fn candidates_are_each_there_once_and_the_last_good_one_first() {
        let given =
            ["https://127.0.0.1:1", "https://127.0.0.2:1", "https://127.0.0.1:1", "https://127.0.0.3:2"];
        let given: Vec<_> = given.map(address).into();
        let all = async |first: Option<&str>| {
            let (found, faults) = candidates(&given, first.map(|at| at.parse().unwrap())).await;
            assert!(faults.is_empty());
            found.iter().map(|candidate| candidate.at.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(all(None).await, ["127.0.0.1:1", "127.0.0.2:1", "127.0.0.3:2"]);
        assert_eq!(all(Some("127.0.0.3:2")).await, ["127.0.0.3:2", "127.0.0.1:1", "127.0.0.2:1"]);
        assert_eq!(all(Some("127.0.0.9:9")).await, ["127.0.0.1:1", "127.0.0.2:1", "127.0.0.3:2"]);
    }

    #[tokio::test]
    async fn a_name_that_stands_for_nothing_does_not_hide_the_others() {
        let given = [address("https://there-is-no-such-host.invalid:1"), address("https://127.0.0.1:1")];
        let (found, faults) = candidates(&given, None).await;
        assert_eq!(found.len(), 1);
        let said = faults.iter().map(ToString::to_string).collect::<String>();
        assert!(said.contains("`there-is-no-such-host.invalid` cannot be looked up"), "{said}");
    }
}
