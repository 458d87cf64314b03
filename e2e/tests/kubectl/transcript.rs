//! A file of commands and what they said. A command begins with `$ ` and goes on as long as its here-document does; what
//! follows is its output. Instead of `$`, `1.N$` begins one that only a kubectl from 1.N on is asked. `# kubectl 1.N` in
//! front: an older one is asked nothing of it.

use std::fmt;

use anyhow::{Context, Result};

#[derive(Clone, Debug)]
pub(crate) struct Transcript {
    /// What is said before the first command.
    pub(crate) head: String,
    /// The oldest minor version of kubectl that can do it.
    pub(crate) minor: u32,
    pub(crate) steps: Vec<Step>,
}

#[derive(Clone, Debug)]
pub(crate) struct Step {
    /// The oldest minor version of kubectl that answers like this.
    pub(crate) minor: u32,
    pub(crate) command: String,
    pub(crate) output: String,
}

impl Transcript {
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let (mut head, mut steps) = (String::new(), Vec::<Step>::new());
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            if let Some((minor, first)) = command(line) {
                let mut command = first.to_owned();
                if let Some((_, word)) = first.split_once("<<") {
                    let end = word.split_whitespace().next().unwrap_or_default().trim_matches('\'');
                    loop {
                        let line = lines.next().with_context(|| format!("no {end} after {first}"))?;
                        command.push('\n');
                        command.push_str(line);
                        if line == end {
                            break;
                        }
                    }
                }
                steps.push(Step { minor, command, output: String::new() });
                continue;
            }
            let into = steps.last_mut().map_or(&mut head, |step| &mut step.output);
            into.push_str(line);
            into.push('\n');
        }
        let minor = head.lines().find_map(|line| line.strip_prefix("# kubectl 1."));
        let minor = minor.map_or(Ok(0), str::parse).context("the version in front")?;
        Ok(Self { head, minor, steps })
    }
}

/// A line that begins a command: from which version on, and what.
fn command(line: &str) -> Option<(u32, &str)> {
    let (mark, command) = line.split_once("$ ")?;
    match mark.strip_prefix("1.") {
        Some(minor) => Some((minor.parse().ok()?, command)),
        None => mark.is_empty().then_some((0, command)),
    }
}

impl fmt::Display for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.head)?;
        self.steps.iter().try_for_each(|step| {
            if step.minor > 0 {
                write!(f, "1.{}", step.minor)?;
            }
            write!(f, "$ {}\n{}", step.command, step.output)
        })
    }
}

impl Step {
    /// The lines that one has and the other has not.
    pub(crate) fn difference(&self, found: &Self) -> String {
        let (old, new): (Vec<&str>, Vec<&str>) =
            (self.output.lines().collect(), found.output.lines().collect());
        let start = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
        let end =
            old[start..].iter().rev().zip(new[start..].iter().rev()).take_while(|(o, n)| o == n).count();
        let told = |mark: &str, lines: &[&str]| {
            let differing = &lines[start..lines.len() - end];
            differing.iter().flat_map(|line| [mark, *line, "\n"]).collect::<String>()
        };
        format!("$ {}\n{}{}", self.command, told("-", &old), told("+", &new))
    }
}
