//! The development API server as a program of its own.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use clap::Parser;
use palisade_apiserver::{Options, Server};
use tokio::signal::unix::{SignalKind, signal};

/// A Kubernetes API server for development: in memory, without authorization, gone when it ends. Not for clusters.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Args {
    /// Where to listen; port 0 is any free one.
    #[arg(long, default_value = "127.0.0.1:6443")]
    listen: SocketAddr,
    /// Where to write the administrator's kubeconfig.
    #[arg(long, value_name = "FILE")]
    kubeconfig: PathBuf,
    /// A further name or address of the serving certificate; may be given several times.
    #[arg(long = "name", value_name = "NAME")]
    names: Vec<String>,
    /// How many changes of each kind are remembered for watches and pages.
    #[arg(long, default_value_t = Options::default().history)]
    history: usize,
    /// The administrator's user name.
    #[arg(long, default_value_t = Options::default().admin)]
    admin: String,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let args = Args::parse();
    let options = Options {
        listen: args.listen,
        history: args.history,
        names: args.names,
        admin: args.admin,
        ..Options::default()
    };
    let mut terminate = signal(SignalKind::terminate()).context("watching for SIGTERM")?;
    let server = Server::start(options).await?;
    std::fs::write(&args.kubeconfig, server.kubeconfig())
        .with_context(|| format!("writing {}", args.kubeconfig.display()))?;
    println!("kubectl --kubeconfig {} get namespaces", args.kubeconfig.display());
    tokio::select! {
        _ = terminate.recv() => {}
        result = tokio::signal::ctrl_c() => result.context("watching for an interrupt")?,
    }
    Ok(())
}
