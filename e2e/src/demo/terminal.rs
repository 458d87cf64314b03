//! A person's terminal: each command as it would be typed, and what the real kubectl says to it.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::kubectl::{Kubectl, Said};
use crate::report::Paint;

/// See the module.
#[derive(Debug)]
pub(super) struct Terminal {
    kubectl: Kubectl,
    paint: Paint,
}

/// A command that ended.
#[derive(Debug)]
pub(super) struct Typed {
    /// What it said.
    pub(super) said: Said,
    /// When it ended.
    pub(super) ended: Instant,
    /// How long it took.
    pub(super) took: Duration,
}

impl Terminal {
    pub(super) fn new(kubectl: Kubectl, paint: Paint) -> Self {
        Self { kubectl, paint }
    }

    /// Types a command and shows what it says.
    pub(super) async fn types(&self, arguments: &[&str]) -> Result<Typed> {
        self.types_in(arguments, "").await
    }

    /// Types a command with a text on its standard input and shows what it says.
    pub(super) async fn types_in(&self, arguments: &[&str], input: &str) -> Result<Typed> {
        let line: Vec<String> = arguments.iter().map(|word| quoted(word)).collect();
        let here = if input.is_empty() { "" } else { " <<EOF" };
        println!(
            "  {} {}{here}",
            self.paint.dim("$"),
            self.paint.head(&format!("kubectl {}", line.join(" ")))
        );
        if !input.is_empty() {
            println!("{}\n  EOF", indented(input));
        }
        let began = Instant::now();
        let said = self.kubectl.tried(arguments, input).await?;
        let took = began.elapsed();
        for text in [&said.output, &said.complaint] {
            if !text.trim().is_empty() {
                println!("{}", indented(text));
            }
        }
        Ok(Typed { said, ended: Instant::now(), took })
    }
}

fn indented(text: &str) -> String {
    let lines: Vec<String> =
        text.trim_end().lines().map(|line| format!("  {line}").trim_end().to_owned()).collect();
    lines.join("\n")
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_=./,:@%+".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_where_a_shell_needs_it() {
        assert_eq!(quoted("--type=merge"), "--type=merge");
        assert_eq!(quoted(r#"{"a": 1}"#), r#"'{"a": 1}'"#);
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }
}
