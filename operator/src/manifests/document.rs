//! From the text of a file to raw objects, each with the line it starts at. One broken document harms no other.

use serde_json::Value;

/// A document that is not empty.
#[derive(Debug)]
pub(super) struct Document {
    /// Line of the file, from 1, that its text starts at.
    pub(super) line: usize,
    /// Its objects (several for a `List`), or the line and the reason why it cannot be read.
    pub(super) objects: Result<Vec<Value>, (usize, String)>,
}

/// Takes a file apart.
pub(super) fn documents(text: &str) -> Vec<Document> {
    let mut documents = Vec::new();
    let mut start = 0;
    let mut first_line = 1;
    let mut offset = 0;
    for (line, content) in (1..).zip(text.split_inclusive('\n')) {
        let bare = content.trim_end();
        // The marker ends a document wherever it stands in the first column, even within a block scalar.
        let is_marker =
            bare == "---" || bare.starts_with("--- ") || bare.starts_with("---\t") || bare == "...";
        if is_marker && offset > start {
            documents.extend(document(&text[start..offset], first_line));
        }
        if is_marker {
            // What follows `--- ` on the line belongs to the document.
            (start, first_line) =
                if bare == "..." { (offset + content.len(), line + 1) } else { (offset + 3, line) };
        }
        offset += content.len();
    }
    documents.extend(document(&text[start.min(text.len())..], first_line));
    documents
}

fn document(text: &str, line: usize) -> Option<Document> {
    let is_blank = |line: &str| line.trim().is_empty() || line.trim_start().starts_with('#');
    if text.lines().all(is_blank) {
        return None;
    }
    let blank = text.lines().take_while(|line| is_blank(line)).count();
    let start = line + blank;
    let options = serde_saphyr::options! { strict_booleans: true };
    let objects = match serde_saphyr::from_str_with_options::<Value>(text, options) {
        Ok(Value::Null) => return None,
        Ok(value) => flatten(value).map_err(|what| (start, what)),
        Err(error) => {
            let at = error.location().and_then(|location| usize::try_from(location.line()).ok()).unwrap_or(1);
            // The first line says what, after its own idea of where; a drawing of the place follows it.
            let what = error.to_string();
            let what = what.lines().next().unwrap_or("not YAML");
            let what = what
                .split_once(" column ")
                .and_then(|(_, rest)| Some(rest.split_once(": ")?.1))
                .unwrap_or(what);
            let what = what.trim().to_owned();
            Err((line + at.max(1) - 1, what))
        }
    };
    Some(Document { line: start, objects })
}

/// The items of a `List`, or the object itself. A list without its items is no empty list: what it held would be
/// gone.
fn flatten(value: Value) -> Result<Vec<Value>, String> {
    let kind = value.get("kind").and_then(Value::as_str).unwrap_or_default();
    // Kinds of other projects may end in the same letters.
    let is_list = kind == "List" || (kind.ends_with("List") && value.get("items").is_some());
    if !is_list {
        return Ok(vec![value]);
    }
    match value.get("items") {
        Some(Value::Array(items)) => {
            items.iter().cloned().map(flatten).collect::<Result<Vec<_>, _>>().map(|all| all.concat())
        }
        _ => Err(format!("{kind}: `items` is not a list; write one, `[]` if it is empty")),
    }
}
