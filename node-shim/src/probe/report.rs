//! The report and its forms: a table for people, JSON for programs, log lines.

use std::fmt;

use serde::Serialize;
use tracing::{debug, error, info, warn};

/// What a finding means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Needed and there.
    Ok,
    /// Required and not there: policies are not enforced, or not all of them.
    Missing,
    /// Required, and could not be looked at.
    Unknown,
    /// Policies are enforced, but something will surprise.
    Warning,
    /// Good to know.
    Info,
}

impl Status {
    /// Whether the node must not be relied on.
    pub fn is_problem(self) -> bool {
        matches!(self, Self::Missing | Self::Unknown)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Missing => "MISSING",
            Self::Unknown => "UNKNOWN",
            Self::Warning => "warning",
            Self::Info => "info",
        }
    }
}

/// One need.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What is needed.
    pub need: String,
    /// What was found.
    pub found: String,
    /// What that means.
    pub status: Status,
    /// What to do; empty where nothing is to be done.
    pub remedy: String,
}

/// Everything that was looked at, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The findings.
    pub findings: Vec<Finding>,
    /// What the node can do, in words for the operator's report.
    pub capabilities: Vec<String>,
}

impl Report {
    pub(super) fn add(
        &mut self,
        need: &str,
        found: impl Into<String>,
        status: Status,
        remedy: impl Into<String>,
    ) {
        let finding = Finding { need: need.to_owned(), found: found.into(), status, remedy: remedy.into() };
        self.findings.push(finding);
    }

    /// How many required needs were not found.
    pub fn problems(&self) -> usize {
        self.findings.iter().filter(|finding| finding.status.is_problem()).count()
    }

    /// The findings that matter, as log lines.
    pub fn log(&self) {
        info!("this node has: {}", self.capabilities.join(", "));
        for Finding { need, found, status, remedy } in &self.findings {
            match status {
                Status::Missing | Status::Unknown => {
                    error!("needed: {need}; found: {found}; remedy: {remedy}");
                }
                Status::Warning => warn!("{need}: {found}; remedy: {remedy}"),
                Status::Ok | Status::Info => debug!("{need}: {found}"),
            }
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows: Vec<[&str; 4]> = std::iter::once(["NEED", "FOUND", "STATUS", "REMEDY"])
            .chain(self.findings.iter().map(|finding| {
                let remedy = if finding.remedy.is_empty() { "-" } else { finding.remedy.as_str() };
                [finding.need.as_str(), finding.found.as_str(), finding.status.name(), remedy]
            }))
            .collect();
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths = [width(0), width(1), width(2)];
        for [need, found, status, remedy] in rows {
            let [a, b, c] = widths;
            writeln!(f, "{need:a$}  {found:b$}  {status:c$}  {remedy}")?;
        }
        Ok(())
    }
}
