//! What differs between two runs of the same commands, replaced by what does not.

use std::path::Path;
use std::sync::LazyLock;

use regex::{Captures, Regex};

struct Rule {
    pattern: Regex,
    replacement: &'static str,
}

static RULES: LazyLock<Vec<Rule>> = LazyLock::new(|| {
    [
        (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "UID"),
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "TIME"),
        (r"\b(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}", "TIME"),
        (r#"(resourceVersion"?: ?)"\d+""#, r#"$1"RV""#),
        (r"(Resource Version: +)\d+", "${1}RV"),
        (r"https://[0-9a-z.\[\]:-]+:\d+", "SERVER"),
        (r"eyJ[\w-]+\.[\w-]+\.[\w-]+", "TOKEN"),
        (r"generated-[a-z0-9]{5}\b", "generated-XXXXX"),
        (r"HOME/tmp/\w+-\d+/", "HOME/tmp/"),
        // Since 1.34 it says which namespace it deletes from.
        (r"(?m)deleted from \S+ namespace( \(.*\))?$", "deleted$1"),
        // Trailing blanks come and go with the length of what was replaced.
        (r"(?m)[ \t]+$", ""),
    ]
    .into_iter()
    .map(|(pattern, replacement)| Rule { pattern: Regex::new(pattern).unwrap(), replacement })
    .collect()
});

/// An age in a table, with what fills its column.
static AGE: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"(?m)( |^)(\d+m\d+s|\d+[sm])( +|$|\))").unwrap());

/// A text as it would have been in a room of no particular run.
pub(crate) fn normal(text: &str, room: &str, home: &Path) -> String {
    let (name, _) = room.rsplit_once('-').unwrap_or((room, ""));
    let text = text.replace(&home.display().to_string(), "HOME");
    let mut text = text.replace(room, &format!("{name}-00000"));
    for rule in RULES.iter() {
        text = rule.pattern.replace_all(&text, rule.replacement).into_owned();
    }
    let padded = |found: &Captures<'_>| {
        let (age, fill) = (&found[2], &found[3]);
        let fill = match fill.strip_prefix(' ') {
            Some(_) => " ".repeat((age.len() + fill.len()).saturating_sub(3).max(1)),
            None => fill.to_owned(),
        };
        format!("{}AGE{fill}", &found[1])
    };
    ordered(&AGE.replace_all(&text, padded))
}

/// Causes that are listed together, in order: a real server goes through the fields of an object in none.
fn ordered(text: &str) -> String {
    let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
    for listed in lines.chunk_by_mut(|one, other| one.starts_with("* ") && other.starts_with("* ")) {
        listed.sort_unstable();
    }
    lines.concat()
}
