//! What came of scenarios, as a table for people and as `JUnit` for machines.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use crate::levels::{Level, Report, Via};
use crate::runner::{Choice, Outcome};
use crate::scenario::Cni;

/// Every level, in the order of columns and suites.
const LEVELS: [Level; 6] = [
    Level::Oracle,
    Level::Fake,
    Level::Packets(Cni::Routed, Via::Manifests),
    Level::Packets(Cni::Bridged, Via::Manifests),
    Level::Packets(Cni::Routed, Via::Api),
    Level::Packets(Cni::Bridged, Via::Api),
];

/// Whether to colour what goes to a terminal.
#[derive(Clone, Copy, Debug)]
pub struct Paint(bool);

impl Paint {
    /// Colours if standard output is a terminal and `NO_COLOR` is not set.
    pub fn of_terminal() -> Self {
        use std::io::IsTerminal;
        Self(
            std::io::stdout().is_terminal()
                && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        )
    }

    /// Never colours.
    pub fn plain() -> Self {
        Self(false)
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.0 { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    /// What is as it should be.
    pub fn good(self, text: &str) -> String {
        self.with("32", text)
    }

    /// What is not.
    pub fn bad(self, text: &str) -> String {
        self.with("1;31", text)
    }

    /// What matters less.
    pub fn dim(self, text: &str) -> String {
        self.with("2", text)
    }

    /// A heading.
    pub fn head(self, text: &str) -> String {
        self.with("1", text)
    }
}

/// The width of the scenarios' column.
pub fn name_width<'a>(names: impl Iterator<Item = &'a str>) -> usize {
    names.map(str::len).max().unwrap_or(0).clamp(8, 60)
}

/// The table's columns: the levels that were asked for.
pub fn columns(choice: &Choice) -> Vec<Level> {
    let is_shown = |level: &Level| match level {
        Level::Packets(_, Via::Api) => choice.levels.contains("api"),
        _ => true,
    };
    LEVELS.into_iter().filter(is_shown).collect()
}

/// The table's head.
pub fn head(columns: &[Level], width: usize, paint: Paint) -> String {
    let mut line = format!("{:<width$}", "scenario");
    for level in columns {
        let _ = write!(line, "  {:>16}", level.to_string());
    }
    paint.head(&(line + "  tags"))
}

/// A scenario's line.
pub fn line(outcome: &Outcome, columns: &[Level], width: usize, paint: Paint) -> String {
    let mut line = format!("{:<width$}", outcome.scenario.name);
    for level in columns {
        let text = outcome.reports.get(level).map_or_else(|| "-".to_owned(), |(report, _)| cell(report));
        let padded = format!("{text:>16}");
        let is_good = outcome.reports.get(level).map(|(report, _)| report.is_good());
        let painted = match is_good {
            Some(true) => paint.good(&padded),
            Some(false) => paint.bad(&padded),
            None => paint.dim(&padded),
        };
        let _ = write!(line, "  {painted}");
    }
    let tags: Vec<&str> = outcome.scenario.tags.iter().map(String::as_str).collect();
    line + "  " + &paint.dim(&tags.join(","))
}

fn cell(report: &Report) -> String {
    match (&report.error, report.failures.len()) {
        (Some(_), _) => "ERROR".to_owned(),
        (None, 0) => format!("{} ok", report.probes),
        (None, wrong) => format!("{wrong} of {} WRONG", report.probes),
    }
}

/// Every failure in detail.
pub fn failures(outcomes: &[Outcome], paint: Paint) -> String {
    let mut text = String::new();
    for outcome in outcomes.iter().filter(|outcome| !outcome.is_good()) {
        for (level, (report, _)) in outcome.reports.iter().filter(|(_, (report, _))| !report.is_good()) {
            let title = format!("{} at {level}", outcome.scenario.name);
            let _ = writeln!(text, "\n{}", paint.bad(&title));
            let _ = writeln!(text, "  {}", outcome.scenario.description);
            text.push_str(&details(report));
        }
    }
    text
}

/// One report's failures.
pub fn details(report: &Report) -> String {
    let mut text = String::new();
    if let Some(error) = &report.error {
        let _ = writeln!(text, "  error: {}", error.replace('\n', "\n  "));
    } else if report.probes == 0 {
        let _ = writeln!(text, "  error: nothing was probed");
    }
    for failure in &report.failures {
        let _ = writeln!(text, "  {}\n    {}", failure.step, failure.probe);
        let _ = writeln!(text, "    expected {}\n    observed {}", failure.expected, failure.observed);
        if failure.oracle != failure.observed {
            let _ = writeln!(text, "    oracle   {}", failure.oracle);
        }
    }
    if let Some(logs) = &report.logs {
        let _ = writeln!(text, "  logs: {}", logs.display());
    }
    text
}

/// Totals per tag and level.
pub fn totals(outcomes: &[Outcome], paint: Paint) -> String {
    let mut tags: BTreeMap<&str, Vec<&Outcome>> = BTreeMap::new();
    for outcome in outcomes {
        for tag in &outcome.scenario.tags {
            tags.entry(tag).or_default().push(outcome);
        }
    }
    let width = name_width(tags.keys().copied().chain(["everything"]));
    let mut text = format!(
        "{}\n",
        paint.head(&format!("{:<width$}  {:>9}  {:>9}  {:>7}", "tag", "scenarios", "probes", "wrong"))
    );
    let all: Vec<&Outcome> = outcomes.iter().collect();
    for (tag, outcomes) in tags.iter().map(|(tag, outcomes)| (*tag, outcomes)).chain([("everything", &all)]) {
        let reports =
            || outcomes.iter().flat_map(|outcome| outcome.reports.values().map(|(report, _)| report));
        let probes: usize = reports().map(|report| report.probes).sum();
        let wrong: usize =
            reports().map(|report| report.failures.len() + usize::from(report.error.is_some())).sum();
        let good = outcomes.iter().filter(|outcome| outcome.is_good()).count();
        let line =
            format!("{tag:<width$}  {:>9}  {probes:>9}  {wrong:>7}", format!("{good}/{}", outcomes.len()));
        let _ = writeln!(text, "{}", if wrong == 0 { paint.good(&line) } else { paint.bad(&line) });
    }
    text
}

/// `JUnit` XML: a suite a level, a case a scenario.
pub fn junit(outcomes: &[Outcome]) -> String {
    let mut text = String::from(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"palisade scenarios\">\n",
    );
    for level in LEVELS {
        let cases: Vec<(&Outcome, &Report, Duration)> = outcomes
            .iter()
            .filter_map(|outcome| outcome.reports.get(&level).map(|(report, time)| (outcome, report, *time)))
            .collect();
        if cases.is_empty() {
            continue;
        }
        let failed = cases.iter().filter(|(_, report, _)| !report.is_good()).count();
        let time: Duration = cases.iter().map(|(_, _, time)| *time).sum();
        let _ = writeln!(
            text,
            "  <testsuite name=\"{level}\" tests=\"{}\" failures=\"{failed}\" time=\"{:.3}\">",
            cases.len(),
            time.as_secs_f64()
        );
        for (outcome, report, time) in cases {
            let name = escape(&outcome.scenario.name);
            let _ = write!(
                text,
                "    <testcase classname=\"{level}\" name=\"{name}\" assertions=\"{}\" time=\"{:.3}\"",
                report.probes,
                time.as_secs_f64()
            );
            if report.is_good() {
                text.push_str("/>\n");
            } else {
                let details = escape(&details(report));
                let _ = writeln!(
                    text,
                    "><failure message=\"{}\">{details}</failure></testcase>",
                    escape(&cell(report))
                );
            }
        }
        text.push_str("  </testsuite>\n");
    }
    text + "</testsuites>\n"
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' | '\t' => escaped.push(character),
            control if control.is_control() => escaped.push('\u{fffd}'),
            other => escaped.push(other),
        }
    }
    escaped
}
