//! The real kubectl, as a person calls it. Knows nothing of what is asked of it.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, Result, bail};

/// A kubectl and the cluster it talks to.
#[derive(Clone, Debug)]
pub struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
    /// Where it keeps what it has discovered: another cluster at the same address must not be taken for this one.
    cache: PathBuf,
}

/// What came of a call.
#[derive(Clone, Debug)]
pub struct Said {
    /// How it ended.
    pub status: ExitStatus,
    /// Standard output.
    pub output: String,
    /// Standard error.
    pub complaint: String,
}

impl Kubectl {
    /// Looks in KUBECTL, in cargo's target directory, where `.ci/prepare kubectl` puts one if PATH's is missing or too
    /// old, and in PATH.
    pub fn find(kubeconfig: &Path, cache: &Path) -> Result<Self> {
        let given = std::env::var_os("KUBECTL").filter(|path| !path.is_empty()).map(PathBuf::from);
        let paths = std::env::var_os("PATH").unwrap_or_default();
        let in_path = std::env::split_paths(&paths).map(|directory| directory.join("kubectl"));
        let program = std::env::current_exe()?;
        let in_target = program.ancestors().map(|directory| directory.join("kubernetes/kubectl"));
        let found = match given {
            Some(path) => path.is_file().then_some(path),
            None => in_target.chain(in_path).find(|path| path.is_file()),
        };
        let program =
            found.context("kubectl is not installed: install it, or name it in the variable KUBECTL")?;
        Ok(Self { program, kubeconfig: kubeconfig.to_owned(), cache: cache.to_owned() })
    }

    /// The program.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Calls it with text on its standard input; it may fail.
    pub fn call(&self, arguments: &[&str], input: &str) -> Result<Said> {
        let mut child = Command::new(&self.program)
            .args(arguments)
            .env("KUBECONFIG", &self.kubeconfig)
            .env("HOME", &self.cache)
            .env("KUBECACHEDIR", self.cache.join("kubectl"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| self.program.display().to_string())?;
        let mut stdin = child.stdin.take().context("no standard input")?;
        // One that does not read has its reasons on its standard error.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        let output = child.wait_with_output()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(Said { status: output.status, output: text(&output.stdout), complaint: text(&output.stderr) })
    }

    /// Calls it without blocking the runtime; it must succeed. Gives its standard output.
    pub async fn run(&self, arguments: &[&str], input: &str) -> Result<String> {
        let said = self.tried(arguments, input).await?;
        if !said.status.success() {
            let line = arguments.join(" ");
            bail!("kubectl {line}: {}\n{}{}", said.status, said.output, said.complaint.trim_end());
        }
        Ok(said.output)
    }

    /// Calls it without blocking the runtime; it may fail.
    pub async fn tried(&self, arguments: &[&str], input: &str) -> Result<Said> {
        let (kubectl, input) = (self.clone(), input.to_owned());
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        tokio::task::spawn_blocking(move || {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            kubectl.call(&arguments, &input)
        })
        .await?
    }
}
