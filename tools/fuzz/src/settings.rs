//! A settings file of any bytes: settings, or a reason. What is accepted can be written back by a running node, and then
//! says the same.

use std::fs;
use std::path::Path;

use windrow_node::settings::{Configured, FIELDS, LoadError};

/// Tries one input.
pub fn settings(data: &[u8]) {
    // A setting can name another file, and some files have no end.
    if data.windows(4).any(|bytes| bytes == b"/dev") {
        return;
    }
    let dir = tempfile::tempdir().expect("a place for files");
    let path = dir.path().join("windrow.toml");
    let Ok(mut configured) = load(&path, data) else { return };
    let before = configured.settings().clone();
    for field in FIELDS.iter().filter(|field| field.changes_live && !field.is_secret()) {
        let value = (field.get)(&before);
        if configured.change(&[(field.name, &value)]).is_err() {
            panic!("{} = {value} was accepted from the file, and is not from a client", field.name);
        }
    }
    assert!(*configured.settings() == before, "set to what it was");
    let text = configured.rewritten().expect("a file that was read a moment ago").expect("it has a file");
    let again = load(&path, text.as_bytes()).unwrap_or_else(|error| panic!("{error} in {text}"));
    assert!(*again.settings() == before, "written back and read again");
}

fn load(path: &Path, bytes: &[u8]) -> Result<Configured, LoadError> {
    fs::write(path, bytes).expect("room for the file");
    Configured::load(Some(path), [], [])
}
