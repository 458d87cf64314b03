//! The command line. Owns names and defaults; does nothing.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// Compiles Kubernetes network policies and streams them to the nodes' shims.
#[derive(Clone, Debug, Parser)]
#[command(name = "palisade-operator", version, about, long_about = None)]
pub struct Args {
    /// Directory of manifests (YAML or JSON, subdirectories included); watched for changes
    #[arg(long, value_name = "DIR")]
    pub manifests: PathBuf,
    /// Where shims connect (gRPC over TLS); port 0 takes any free one
    #[arg(long, value_name = "IP:PORT", default_value = "[::]:9443")]
    pub listen: SocketAddr,
    /// Where /healthz, /readyz, /metrics and /debug are served; port 0 takes any free one
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:9090")]
    pub admin: SocketAddr,
    /// Bearer tokens: lines of `token,node`, comments with `#`; read again when it changes
    #[arg(long, value_name = "FILE")]
    pub tokens: PathBuf,
    /// Holds an own authority (ca.crt, ca.key), made once, and its serving certificate (tls.crt, tls.key), issued at
    /// each start; tls.crt and tls.key without ca.key are taken as given
    #[arg(long, value_name = "DIR", default_value = "/var/lib/palisade-operator/tls")]
    pub tls_dir: PathBuf,
    /// Names and addresses, beside `palisade-operator` and `localhost`, that the own serving certificate carries
    #[arg(long, value_name = "NAME|IP", value_delimiter = ',')]
    pub tls_san: Vec<String>,
    /// Serving certificate (PEM) to use instead of an own one; needs --tls-key
    #[arg(long, value_name = "FILE", requires = "tls_key", conflicts_with = "tls_san")]
    pub tls_cert: Option<PathBuf>,
    /// Key (PEM) of --tls-cert
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Term of the updates: shims refuse a lower one than they have seen
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub term: u64,
    /// Written once both ports listen: {"grpc": "ip:port", "admin": "ip:port"}
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
    /// Form of the log on standard error; its level is set by `RUST_LOG`
    #[arg(long, value_enum, default_value_t)]
    pub log_format: LogFormat,
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
