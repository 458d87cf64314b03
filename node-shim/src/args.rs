//! The command line. Owns names and defaults; does nothing.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

use crate::link::Address;

/// Keeps this node's network policies in force in the kernel.
#[derive(Debug, Parser)]
#[command(name = "palisade-node", version, about, long_about = None)]
pub struct Args {
    /// What to do; `run` where nothing is named.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Receive policies from the operator and keep them in force (the default)
    Run(RunArgs),
    /// Remove the rules and the state that `run` left behind; run it only once the node's shim is stopped
    Cleanup(CleanupArgs),
    /// Report what this node needs to enforce policies, what was found, and what to do about the rest
    Probe(ProbeArgs),
}

/// Command line of `run`.
#[derive(Clone, Debug, clap::Args)]
pub struct RunArgs {
    /// The operator, such as <https://palisade-operator.palisade-system.svc:9443>. Several replicas: several URLs, or a
    /// name that stands for all of them; the one that serves is found
    #[arg(long, value_name = "URL", env = "PALISADE_OPERATOR", value_delimiter = ',', required = true)]
    pub operator: Vec<Address>,
    /// Name that the operator's certificate must carry
    #[arg(long, value_name = "NAME", default_value = "palisade-operator")]
    pub server_name: String,
    /// Certificate authority of the operator (PEM), read again at each connection
    #[arg(long, value_name = "FILE")]
    pub ca: PathBuf,
    /// Bearer token that tells the operator which node this is, read again at each connection
    #[arg(long, value_name = "FILE")]
    pub token_file: PathBuf,
    /// Where the state is kept; it survives restarts and belongs to this node alone
    #[arg(long, value_name = "DIR", default_value = "/var/lib/palisade")]
    pub state_dir: PathBuf,
    /// The nft binary
    #[arg(long, value_name = "PATH", default_value = "nft")]
    pub nft: PathBuf,
    /// Serve /healthz, /readyz and /metrics here
    #[arg(long, value_name = "IP:PORT")]
    pub admin: Option<SocketAddr>,
    /// Form of the log on standard error; its level is set by `RUST_LOG`
    #[arg(long, value_enum, default_value_t)]
    pub log_format: LogFormat,
}

/// Command line of `cleanup`.
#[derive(Clone, Debug, clap::Args)]
pub struct CleanupArgs {
    /// Where the state is kept
    #[arg(long, value_name = "DIR", default_value = "/var/lib/palisade")]
    pub state_dir: PathBuf,
    /// The nft binary
    #[arg(long, value_name = "PATH", default_value = "nft")]
    pub nft: PathBuf,
    /// Form of the log on standard error
    #[arg(long, value_enum, default_value_t)]
    pub log_format: LogFormat,
}

/// Command line of `probe`.
#[derive(Clone, Debug, clap::Args)]
pub struct ProbeArgs {
    /// The nft binary
    #[arg(long, value_name = "PATH", default_value = "nft")]
    pub nft: PathBuf,
    /// Form of the report on standard output
    #[arg(long, value_enum, default_value_t)]
    pub output: Output,
    /// Form of the log on standard error
    #[arg(long, value_enum, default_value_t)]
    pub log_format: LogFormat,
}

/// Form of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One object a line.
    Json,
}

/// Form of a report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
}

impl Command {
    /// The form of the log that this command was given.
    pub fn log_format(&self) -> LogFormat {
        match self {
            Self::Run(args) => args.log_format,
            Self::Cleanup(args) => args.log_format,
            Self::Probe(args) => args.log_format,
        }
    }
}

impl Args {
    /// The process's own command line. Ends the process where it is wrong or asks for help.
    pub fn read() -> Self {
        Self::parse_from(with_default_command(std::env::args_os()))
    }
}

/// A command line that begins with an option other than those about the program itself is one of `run`.
fn with_default_command(args: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut args: Vec<OsString> = args.collect();
    let about = ["-h", "--help", "-V", "--version"];
    let implied = args.get(1).is_none_or(|first| {
        first.to_str().is_some_and(|first| first.starts_with('-') && !about.contains(&first))
    });
    if implied {
        args.insert(args.len().min(1), "run".into());
    }
    args
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Args, clap::Error> {
        let words = line.split_whitespace().map(OsString::from);
        Args::try_parse_from(with_default_command(words))
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Args::command().debug_assert();
    }

    #[test]
    fn run_is_implied() {
        let line = "--operator https://127.0.0.1:1 --ca ca.crt --token-file token --state-dir /s";
        for prefix in ["palisade-node", "palisade-node run"] {
            let args = parse(&format!("{prefix} {line}")).unwrap();
            let Command::Run(run) = args.command else { panic!("not run") };
            assert_eq!((run.server_name.as_str(), run.state_dir.to_str()), ("palisade-operator", Some("/s")));
        }
        assert!(matches!(parse("palisade-node probe").unwrap().command, Command::Probe(_)));
        let of = |operators: &str| {
            let rest = "--ca ca.crt --token-file token";
            parse(&format!("palisade-node {operators} {rest}")).map(|args| match args.command {
                Command::Run(run) => run.operator.iter().map(ToString::to_string).collect::<Vec<_>>(),
                _ => panic!("not run"),
            })
        };
        let two = ["https://a:1", "https://b:2"];
        assert_eq!(of("--operator https://a:1,https://b:2").unwrap(), two);
        assert_eq!(of("--operator https://a:1 --operator https://b:2").unwrap(), two);
        let clear = of("--operator https://a:1,http://b:2").unwrap_err().to_string();
        assert!(clear.contains("http://b:2") && clear.contains("only https is spoken"), "{clear}");
        let missing = parse("palisade-node").unwrap_err();
        assert_eq!(missing.kind(), clap::error::ErrorKind::MissingRequiredArgument);
        assert_eq!(
            parse("palisade-node --version").unwrap_err().kind(),
            clap::error::ErrorKind::DisplayVersion
        );
    }
}
