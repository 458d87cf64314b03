//! Words for logs: an error with its causes, and what has been said often enough.

use std::error::Error;
use std::fmt;

/// How many equal failures in a row pass between two log lines about them.
const QUIET: u32 = 30;

/// An error with its causes, each said once.
pub(crate) struct Chain<'a>(pub(crate) &'a dyn Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.0.to_string();
        let mut source = self.0.source();
        while let Some(cause) = source {
            let said = cause.to_string();
            if !text.contains(&said) {
                text = format!("{text}: {said}");
            }
            source = cause.source();
        }
        f.write_str(&text)
    }
}

/// What the API server answered, as people should read it.
pub(crate) fn api_error(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if status.reason.is_empty() => {
            format!("{} ({})", status.message, status.code)
        }
        kube::Error::Api(status) => format!("{} ({})", status.message, status.reason),
        error => Chain(error).to_string(),
    }
}

/// Keeps one lasting failure from filling the log.
#[derive(Debug, Default)]
pub(crate) struct Repeats {
    last: String,
    count: u32,
}

impl Repeats {
    /// Whether to say it again: the first time, and then now and then.
    pub(crate) fn is_due(&mut self, failure: &str) -> bool {
        if self.last == failure {
            self.count = self.count.wrapping_add(1);
        } else {
            failure.clone_into(&mut self.last);
            self.count = 0;
        }
        self.count.is_multiple_of(QUIET)
    }

    /// It works again.
    pub(crate) fn clear(&mut self) {
        self.last.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_and_every_thirtieth_is_said_and_anything_new() {
        let mut repeats = Repeats::default();
        let due = (0..61).filter(|_| repeats.is_due("no answer")).count();
        assert_eq!(due, 3);
        assert!(repeats.is_due("refused"));
        assert!(!repeats.is_due("refused"));
        repeats.clear();
        assert!(repeats.is_due("refused"));
    }
}
