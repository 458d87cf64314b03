//! The API server, the kubectl, and for each transcript a room of its own: a namespace, and a name for what is in none.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use palisade_e2e::control_plane::{ControlPlane, Kind};
use palisade_e2e::kubectl::Kubectl;
use palisade_e2e::rundir::RunDir;
use palisade_e2e::traffic::scaled;
use tokio::runtime::Runtime;

use crate::normal::normal;

/// How long one command may take; some wait for what others do.
const LIMIT: Duration = Duration::from_mins(3);

/// What commands find: `seen WORD FILE` waits until a file has a word, `until_ok COMMAND` until a command works, and
/// `write_status KIND NAME PATH JSON` does what kubectl has an option for since 1.24.
const TOOLS: &str = "seen() { until grep -qs -e \"$1\" \"$2\"; do sleep 0.05; done; }
until_ok() { until \"$@\" >/dev/null 2>&1; do sleep 0.05; done; }
write_status() {
  kubectl get \"$1\" \"$2\" -o json | sed -e '/^    \"status\": {/,/^    }/d' -e '$d' | sed '$s/,*$/,/' > status.json
  printf '\"status\":%s}' \"$4\" >> status.json
  kubectl replace --raw \"$3/$2/status\" -f status.json > answer.json && echo written
}
";

pub(crate) struct Cluster {
    kubectl: Kubectl,
    minor: u32,
    kind: Kind,
    // In this order: what runs ends before its files and its runtime do.
    _plane: ControlPlane,
    directory: RunDir,
    _runtime: Runtime,
}

impl Cluster {
    /// The one that `PALISADE_CONTROL_PLANE` chooses, with the project's own definitions. `None`: there is no kubectl.
    pub(crate) fn start() -> Result<Option<Self>> {
        let runtime = Runtime::new()?;
        let directory = RunDir::new()?;
        let files = directory.path().join("plane");
        let Ok(kubectl) = Kubectl::find(&files.join("kubeconfig"), directory.path()) else { return Ok(None) };
        let plane = runtime.block_on(async {
            let plane = ControlPlane::chosen(&files).await?;
            plane.install_crds().await?;
            anyhow::Ok(plane)
        })?;
        let minor = minor(&kubectl)?;
        let kind = plane.kind();
        Ok(Some(Self { kubectl, minor, kind, _plane: plane, directory, _runtime: runtime }))
    }

    /// The minor version of kubectl.
    pub(crate) fn minor(&self) -> u32 {
        self.minor
    }

    /// Whether it is more than the development server.
    pub(crate) fn is_real(&self) -> bool {
        self.kind != Kind::Dev
    }

    /// What was chosen, in words.
    pub(crate) fn said(&self) -> String {
        format!("control plane: {}, kubectl 1.{}", self.kind, self.minor)
    }

    /// A room with a name of this run's own, of a length that does not change, for tables depend on it.
    pub(crate) fn room(&self, name: &str) -> Result<Room> {
        let run: String = (0..5).map(|_| char::from(b'a' + rand::random::<u8>() % 26)).collect();
        let name = format!("{name}-{run}");
        let home = self.directory.path().join(&name);
        for place in ["bin", "tmp"] {
            fs::create_dir_all(home.join(place))?;
        }
        symlink(self.kubectl.program(), home.join("bin/kubectl"))?;
        let kubeconfig = home.join("kubeconfig");
        fs::copy(self.directory.path().join("plane/kubeconfig"), &kubeconfig)?;
        let room = Room { name, home, kubeconfig };
        let made = "kubectl create namespace $NS && kubectl config set-context --current --namespace $NS";
        let said = room.run(made)?;
        ensure!(!said.contains("[exit"), "{said}");
        Ok(room)
    }
}

fn minor(kubectl: &Kubectl) -> Result<u32> {
    let said = kubectl.call(&["version", "--client", "-o", "json"], "")?;
    let said: serde_json::Value = serde_json::from_str(&said.output).context("kubectl's version")?;
    // A build without stamps has no other number.
    let version = said["clientVersion"]["gitVersion"].as_str().unwrap_or_default();
    let minor = version.split('.').nth(1).and_then(|minor| minor.parse().ok());
    minor.with_context(|| format!("kubectl is of version {version}"))
}

/// A namespace, and a directory to work in.
pub(crate) struct Room {
    name: String,
    home: PathBuf,
    kubeconfig: PathBuf,
}

impl Room {
    /// What a command says, on both outputs, and how it ended if it failed.
    pub(crate) fn run(&self, command: &str) -> Result<String> {
        let path = std::env::var("PATH").unwrap_or_default();
        let said = Command::new("timeout")
            .args(["--kill-after=1", &scaled(LIMIT).as_secs().to_string()])
            .args(["sh", "-c", &format!("{TOOLS}exec 2>&1\n{command}")])
            .env("PATH", format!("{}:{path}", self.home.join("bin").display()))
            .env("HOME", &self.home)
            .env("TMPDIR", self.home.join("tmp"))
            .env("KUBECONFIG", &self.kubeconfig)
            .env("NS", &self.name)
            .env("TZ", "UTC")
            .env("LC_ALL", "C")
            .current_dir(&self.home)
            .stdin(Stdio::null())
            .output()
            .context("running timeout")?;
        let mut text = String::from_utf8_lossy(&said.stdout).into_owned();
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        if !said.status.success() {
            let _ = writeln!(text, "[exit {}]", said.status.code().unwrap_or(-1));
        }
        Ok(normal(&text, &self.name, &self.home))
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        // A cluster of others is left as it was; what is in no namespace is deleted by the transcripts themselves.
        let _ = self.run("kubectl delete namespace $NS --wait=false");
    }
}
