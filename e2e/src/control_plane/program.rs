//! A program of a control plane, on the machine's own loopback. It dies with this process, however this process dies.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;

/// How it ended; `None` while its process id is its own.
type End = Arc<Mutex<Option<String>>>;

/// See the module. Ended when dropped.
#[derive(Debug)]
pub(super) struct Program {
    pid: Pid,
    end: End,
    thread: Option<JoinHandle<()>>,
}

impl Program {
    /// Starts it; what it says goes to a file.
    pub(super) fn start(path: &Path, arguments: &[String], log: &Path) -> Result<Self> {
        let log = File::create(log).with_context(|| log.display().to_string())?;
        // The kernel kills it when this process dies. Had this process died before that was arranged, its parent
        // would be another by now: then it must not start.
        let guard = format!("test $PPID -eq {} && exec \"$@\"", std::process::id());
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "--", "sh", "-c", &guard, "sh"])
            .arg(path)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        // To the kernel the parent is the thread that started it, so that is one which stays as long.
        let (started, is_started) = mpsc::channel();
        let end = End::default();
        let thread = thread::Builder::new().name("program".to_owned()).spawn({
            let end = Arc::clone(&end);
            move || match command.spawn() {
                Ok(child) => {
                    let _ = started.send(Ok(child.id()));
                    stay(child, &end);
                }
                Err(error) => drop(started.send(Err(error))),
            }
        })?;
        let pid = is_started.recv()?.with_context(|| format!("starting {}", path.display()))?;
        Ok(Self { pid: Pid::from_raw(pid.try_into()?), end, thread: Some(thread) })
    }

    /// How it ended, if it has.
    pub(super) fn ended(&self) -> Option<String> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        if end.is_none() {
            let _ = kill(self.pid, Signal::SIGKILL);
        }
        drop(end);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Waits for a program's end. Until that is noted nobody else gets its process id.
fn stay(mut child: Child, end: &Mutex<Option<String>>) {
    if let Ok(pid) = child.id().try_into() {
        let _ = waitid(Id::Pid(Pid::from_raw(pid)), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT);
    }
    let mut end = end.lock().unwrap_or_else(PoisonError::into_inner);
    *end = Some(child.wait().map_or_else(|error| error.to_string(), |status| status.to_string()));
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::rundir::RunDir;
    use crate::traffic::scaled;

    #[test]
    fn a_program_that_ends_says_how() {
        let directory = RunDir::new().unwrap();
        let log = directory.path().join("log");
        let arguments = ["-c", "echo so; exit 3"].map(str::to_owned);
        let program = Program::start(Path::new("/bin/sh"), &arguments, &log).unwrap();
        let deadline = Instant::now() + scaled(Duration::from_secs(20));
        while program.ended().is_none() && Instant::now() < deadline {
            thread::yield_now();
        }
        assert_eq!(program.ended().as_deref(), Some("exit status: 3"));
        assert_eq!(std::fs::read_to_string(&log).unwrap(), "so\n");
    }

    #[test]
    fn a_program_is_gone_when_dropped_whichever_thread_started_it() {
        let directory = RunDir::new().unwrap();
        let log = directory.path().join("log");
        let arguments = ["-c", "echo up; exec sleep 1000"].map(str::to_owned);
        let started = {
            let log = log.clone();
            thread::spawn(move || Program::start(Path::new("/bin/sh"), &arguments, &log).unwrap())
        };
        let program = started.join().unwrap();
        let deadline = Instant::now() + scaled(Duration::from_secs(20));
        while std::fs::read_to_string(&log).unwrap() != "up\n" && Instant::now() < deadline {
            thread::yield_now();
        }
        assert_eq!(program.ended(), None, "it outlives the thread that asked for it");
        let process = format!("/proc/{}", program.pid);
        assert!(Path::new(&process).exists());
        drop(program);
        assert!(!Path::new(&process).exists());
    }
}
