//! The settings file: TOML with one key per setting.

use std::fs;
use std::ops::Range;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::LoadError;

/// One key of the file.
pub(super) struct Entry {
    pub(super) key: String,
    /// The value as the same text that a flag would have, or what kind of thing it is instead.
    pub(super) value: Result<String, &'static str>,
    /// The line of the key, from 1.
    pub(super) line: usize,
    /// Where the value stands in the file.
    pub(super) span: Range<usize>,
}

pub(super) fn read(path: &Path) -> Result<String, LoadError> {
    fs::read_to_string(path).map_err(|error| LoadError::Unreadable { path: path.to_path_buf(), error })
}

/// The keys of `text`, in the order in which they stand.
pub(super) fn parse(path: &Path, text: &str) -> Result<Vec<Entry>, LoadError> {
    let table = DeTable::parse(text).map_err(|error| LoadError::Syntax {
        path: path.to_path_buf(),
        line: line_of(text, error.span().map_or(0, |span| span.start)),
        message: error.message().to_owned(),
    })?;
    let mut entries: Vec<Entry> = table
        .get_ref()
        .iter()
        .map(|(key, value)| Entry {
            key: key.get_ref().to_string(),
            value: text_of(value.get_ref()),
            line: line_of(text, key.span().start),
            span: value.span(),
        })
        .collect();
    entries.sort_by_key(|entry| entry.span.start);
    Ok(entries)
}

fn line_of(text: &str, at: usize) -> usize {
    text.as_bytes().iter().take(at).filter(|&&byte| byte == b'\n').count() + 1
}

fn text_of(value: &DeValue<'_>) -> Result<String, &'static str> {
    match value {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => Ok(number.as_str().to_owned()),
        DeValue::Boolean(on) => Ok(on.to_string()),
        DeValue::Array(items) => {
            let items: Result<Vec<String>, _> = items.iter().map(|item| text_of(item.get_ref())).collect();
            items.map(|items| items.join(","))
        }
        other => Err(other.type_str()),
    }
}

/// `text` with `value` for `key`: in place of the value it has, or on a line of its own at the end.
///
/// Everything else stays, comments too.
pub(super) fn with(text: &str, entries: &[Entry], changes: &[(&str, String)]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut done = 0;
    for entry in entries {
        if let Some((_, value)) = changes.iter().find(|(key, _)| *key == entry.key) {
            out.push_str(&text[done..entry.span.start]);
            out.push_str(&quoted(value));
            done = entry.span.end;
        }
    }
    out.push_str(&text[done..]);
    for (key, value) in changes.iter().filter(|(key, _)| entries.iter().all(|entry| entry.key != *key)) {
        if !out.is_empty() && !out.ends_with('\n') {
            out.push('\n');
        }
        out.push_str(&format!("{key} = {}\n", quoted(value)));
    }
    out
}

/// A value as TOML: numbers bare, everything else as a basic string.
fn quoted(value: &str) -> String {
    if value.parse::<i64>().is_ok() { value.to_owned() } else { toml::Value::from(value).to_string() }
}
