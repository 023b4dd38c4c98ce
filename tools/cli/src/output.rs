//! Writing to stdout so that a closed pipe (`windrow log dump | head`) is an end, not an error.

use std::io::{self, BufWriter, ErrorKind, StdoutLock, Write};
use std::path::Path;

use crate::exit::Exit;
use crate::failure::Failure;

/// Writes `text`.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) => failed(&error).map(|_| ()),
        Ok(()) => Ok(()),
    }
}

/// Stdout for many small writes; the caller flushes.
pub(crate) fn buffered() -> BufWriter<StdoutLock<'static>> {
    BufWriter::with_capacity(1 << 16, io::stdout().lock())
}

/// What a failed write to stdout means.
pub(crate) fn failed(error: &io::Error) -> Result<Exit, Failure> {
    match error.kind() {
        ErrorKind::BrokenPipe => Ok(Exit::Ok),
        _ => Err(Failure::io("write to", Path::new("stdout"), error)),
    }
}
