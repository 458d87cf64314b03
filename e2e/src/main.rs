//! `palisade-e2e`: scenarios, demo, a cluster to try things in, and the time from file to packets.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use palisade_e2e::hold::Form;
use palisade_e2e::report::{self, Paint};
use palisade_e2e::runner::{self, Choice};
use palisade_e2e::scale::Order;
use palisade_e2e::scenario::Scenario;
use palisade_e2e::{demo, hold, latency, opinion, scale};

/// Palisade from end to end, in network namespaces of its own: nothing of this machine's network is touched.
#[derive(Parser)]
#[command(version, about)]
struct Command {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Hold scenarios against the oracle, the simulated kernel and real packets.
    Scenarios(Scenarios),
    /// Show in a few seconds what Palisade does.
    Demo {
        /// Policies to show, instead of `config/samples`.
        #[arg(long, default_value = "config/samples")]
        samples: PathBuf,
        /// On a directory of manifests instead of a Kubernetes API.
        #[arg(long)]
        files: bool,
    },
    /// Start the demo's cluster in the background and keep it.
    Up {
        /// Where its files are to be: manifests to edit, logs.
        #[arg(long, default_value = "target/demo")]
        dir: PathBuf,
        /// Policies to start with.
        #[arg(long, default_value = "config/samples")]
        samples: PathBuf,
        /// On a directory of manifests instead of a Kubernetes API.
        #[arg(long)]
        files: bool,
    },
    #[command(hide = true)]
    Hold {
        #[arg(long)]
        dir: PathBuf,
        #[arg(long)]
        samples: PathBuf,
        #[arg(long)]
        files: bool,
    },
    /// Run a program in the network of a pod (`shop/web`), a node (`node:node-1`) or `world` of a cluster that is up.
    Exec {
        /// The directory given to `up`.
        #[arg(long, default_value = "target/demo")]
        dir: PathBuf,
        /// Where.
        place: String,
        /// What.
        #[arg(last = true, required = true)]
        program: Vec<String>,
    },
    /// Print who reaches whom in a cluster that is up, beside what the policies say.
    Matrix {
        /// The directory given to `up`.
        #[arg(long, default_value = "target/demo")]
        dir: PathBuf,
    },
    /// End a cluster that is up.
    Down {
        /// The directory given to `up`.
        #[arg(long, default_value = "target/demo")]
        dir: PathBuf,
    },
    /// Measure the time from a change, of a manifest and through the API, to packets that obey it.
    Latency {
        /// How many changes.
        #[arg(long, default_value_t = 200)]
        changes: usize,
        /// Where to write the figures as JSON; standard output otherwise.
        #[arg(long)]
        json: Option<PathBuf>,
    },
    /// Hold the scenarios against what programs of others make of them; `make opinion` builds these.
    Opinion {
        /// The built program of `e2e/opinion`.
        #[arg(long)]
        program: PathBuf,
        /// Where the scenario files are.
        #[arg(long, default_value = "e2e/scenarios")]
        directory: PathBuf,
        /// Which differences are known, and why they are.
        #[arg(long, default_value = "e2e/opinion/differences.yaml")]
        differences: PathBuf,
    },
    /// Create many policies and pods at full speed, and count what the operator writes for it.
    Scale {
        /// How many pods.
        #[arg(long, default_value_t = 5000)]
        pods: usize,
        /// How many policies, of all four kinds.
        #[arg(long, default_value_t = 1000)]
        policies: usize,
        /// Create the pods before the policies instead of all at once.
        #[arg(long)]
        pods_first: bool,
        /// Where to write the figures as JSON.
        #[arg(long)]
        json: Option<PathBuf>,
    },
}

#[derive(Args)]
struct Scenarios {
    /// Where the scenario files are.
    #[arg(long, default_value = "e2e/scenarios")]
    directory: PathBuf,
    /// Only those with this tag; may be repeated.
    #[arg(long = "tag")]
    tags: Vec<String>,
    /// Only those whose name contains this; may be repeated.
    #[arg(long = "name")]
    names: Vec<String>,
    /// oracle, fake, packets, api (packets, with the operator on a Kubernetes API), separated by commas; all but api where
    /// nothing is given.
    #[arg(long, value_delimiter = ',')]
    levels: Vec<String>,
    /// Where to write the result as XML for CI systems.
    #[arg(long)]
    junit: Option<PathBuf>,
    /// Only list them.
    #[arg(long)]
    list: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let result = match Command::parse().task {
        Task::Scenarios(arguments) => scenarios(arguments).await,
        Task::Demo { samples, files: true } => demo::files::run(&samples).await,
        Task::Demo { samples, files: false } => demo::kubernetes::run(&samples).await,
        Task::Up { dir, samples, files } => hold::up(&dir, &samples, form(files)).await.map(|()| true),
        Task::Hold { dir, samples, files } => hold::hold(&dir, &samples, form(files)).await.map(|()| true),
        Task::Exec { dir, place, program } => hold::exec(&dir, &place, &program).map(|()| true),
        Task::Matrix { dir } => hold::ask(&dir, "matrix").await.map(|text| {
            print!("{text}");
            true
        }),
        Task::Down { dir } => hold::down(&dir).await.map(|()| true),
        Task::Opinion { program, directory, differences } => opinion::run(&program, &directory, &differences),
        Task::Scale { pods, policies, pods_first, json } => {
            let order = if pods_first { Order::PodsFirst } else { Order::AtOnce };
            scale::run(pods, policies, order, json.as_deref()).await.map(|()| true)
        }
        Task::Latency { changes, json } => latency::run(changes, json.as_deref()).await.map(|()| true),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn form(files: bool) -> Form {
    if files { Form::Files } else { Form::Api }
}

async fn scenarios(arguments: Scenarios) -> Result<bool> {
    let set = |words: Vec<String>| words.into_iter().filter(|word| !word.is_empty()).collect::<BTreeSet<_>>();
    let choice =
        Choice { tags: set(arguments.tags), names: set(arguments.names), levels: set(arguments.levels) };
    let all = Scenario::load(&arguments.directory)?;
    let width = report::name_width(all.iter().filter(|s| choice.takes(s)).map(|s| s.name.as_str()));
    if arguments.list {
        for scenario in all.iter().filter(|scenario| choice.takes(scenario)) {
            println!("{:<width$}  {}", scenario.name, scenario.description);
        }
        return Ok(true);
    }
    let paint = Paint::of_terminal();
    let columns = report::columns(&choice);
    println!("{}", report::head(&columns, width, paint));
    let outcomes = runner::run(&arguments.directory, &choice, |outcome| {
        println!("{}", report::line(outcome, &columns, width, paint));
    })
    .await?;
    print!("{}", report::failures(&outcomes, paint));
    print!("\n{}", report::totals(&outcomes, paint));
    if let Some(path) = &arguments.junit {
        std::fs::write(path, report::junit(&outcomes)).with_context(|| path.display().to_string())?;
    }
    Ok(outcomes.iter().all(runner::Outcome::is_good))
}
