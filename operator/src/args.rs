//! The command line. Owns names and defaults; does nothing.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// Compiles Kubernetes network policies and streams them to the nodes' shims.
///
/// Objects come from the Kubernetes API, or from a directory of manifests if one is given.
#[derive(Clone, Debug, Parser)]
#[command(name = "palisade-operator", version, about, long_about = None)]
pub struct Args {
    /// Where shims connect (gRPC over TLS); port 0 takes any free one
    #[arg(long, value_name = "IP:PORT", default_value = "[::]:9443")]
    pub listen: SocketAddr,
    /// Where /healthz, /readyz, /metrics and /debug are served; port 0 takes any free one
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:9090")]
    pub admin: SocketAddr,
    /// Names and addresses, beside `palisade-operator` and `localhost`, that the own serving certificate carries
    #[arg(long, value_name = "NAME|IP", value_delimiter = ',')]
    pub tls_san: Vec<String>,
    /// Serving certificate (PEM) to use instead of an own one; needs --tls-key
    #[arg(long, value_name = "FILE", requires = "tls_key", conflicts_with = "tls_san")]
    pub tls_cert: Option<PathBuf>,
    /// Key (PEM) of --tls-cert
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Kept up to date with the ports: {"grpc": "ip:port", "admin": "ip:port"}; grpc is null on a standby
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
    /// Form of the log on standard error; its level is set by `RUST_LOG`
    #[arg(long, value_enum, default_value_t)]
    pub log_format: LogFormat,
    /// See the type.
    #[command(flatten)]
    pub manifests: Manifests,
    /// See the type.
    #[command(flatten)]
    pub kubernetes: Kubernetes,
}

/// For objects from a directory.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Objects from a directory")]
pub struct Manifests {
    /// Directory of manifests (YAML or JSON, subdirectories included); watched for changes
    #[arg(long = "manifests", value_name = "DIR", requires = "tokens")]
    pub directory: Option<PathBuf>,
    /// Bearer tokens: lines of `token,node`, comments with `#`; read again when it changes
    #[arg(long, value_name = "FILE", requires = "directory")]
    pub tokens: Option<PathBuf>,
    /// Holds an own authority (ca.crt, ca.key), made once, and its serving certificate (tls.crt, tls.key), issued at
    /// each start; tls.crt and tls.key without ca.key are taken as given
    #[arg(
        long,
        value_name = "DIR",
        requires = "directory",
        default_value = "/var/lib/palisade-operator/tls"
    )]
    pub tls_dir: PathBuf,
    /// Term of the updates: shims refuse a lower one than they have seen
    #[arg(long, value_name = "N", requires = "directory", default_value_t = 1)]
    pub term: u64,
}

/// For objects from the Kubernetes API.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Objects from the Kubernetes API")]
pub struct Kubernetes {
    /// How to reach the API [default: the KUBECONFIG variable, ~/.kube/config, or the pod's service account]
    #[arg(long, value_name = "FILE", conflicts_with = "directory")]
    pub kubeconfig: Option<PathBuf>,
    /// Namespace of the operator, its lease, its authority and the shims
    #[arg(long, value_name = "NAME", env = "POD_NAMESPACE", default_value = "palisade-system")]
    pub namespace: String,
    /// Lease that says which operator leads
    #[arg(long, value_name = "NAME", default_value = "palisade-operator")]
    pub lease_name: String,
    /// Name of this operator in the lease; a random suffix makes each process a holder of its own [default: the host's]
    #[arg(long, value_name = "NAME", env = "POD_NAME")]
    pub identity: Option<String>,
    /// ServiceAccount, in the operator's namespace, that shims run as
    #[arg(long, value_name = "NAME", default_value = "palisade-node")]
    pub node_service_account: String,
    /// Audience of the tokens that shims present
    #[arg(long, value_name = "NAME", default_value = "palisade")]
    pub token_audience: String,
    /// Objects asked for at a time when a kind is listed
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub page_size: u32,
    /// How long policies stay in force after their definition (CRD) has vanished
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    pub crd_grace: u64,
}

/// Form of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people
    #[default]
    Text,
    /// One JSON object a line
    Json,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn a_directory_needs_tokens_and_excludes_a_kubeconfig() {
        let parse = |line: &str| Args::try_parse_from(line.split(' ')).map_err(|error| error.kind());
        assert!(parse("palisade-operator").is_ok());
        assert!(parse("palisade-operator --manifests m --tokens t").is_ok());
        for wrong in ["--manifests m", "--tokens t", "--term 3", "--manifests m --tokens t --kubeconfig k"] {
            assert!(parse(&format!("palisade-operator {wrong}")).is_err(), "{wrong}");
        }
    }
}
