//! `palisade-node`: reads the command line, starts the log and dispatches.

use std::process::ExitCode;

use palisade_node::args::{Args, Command, LogFormat};
use palisade_node::{cleanup, probe, run};

fn main() -> ExitCode {
    let args = Args::read();
    start_log(args.command.log_format());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .thread_name("palisade")
        .build();
    let outcome = runtime.map_err(anyhow::Error::from).and_then(|runtime| {
        runtime.block_on(async {
            match args.command {
                Command::Run(args) => run::run(args).await.map(|()| ExitCode::SUCCESS),
                Command::Cleanup(args) => {
                    println!("{}", cleanup::cleanup(&args).await?);
                    Ok(ExitCode::SUCCESS)
                }
                Command::Probe(args) => probe::command(&args).await,
            }
        })
    });
    outcome.unwrap_or_else(|error| {
        tracing::error!("{error:#}");
        ExitCode::FAILURE
    })
}

fn start_log(format: LogFormat) {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let log =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    match format {
        LogFormat::Text => log.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
}
