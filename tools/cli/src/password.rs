//! `windrow hash-password`: the form in which a password is stored.

use std::io::{BufRead, IsTerminal, stdin};
use std::path::Path;

use windrow_node::auth::{PasswordHash, random_bytes};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output;

/// Reads a password, one line of stdin, and prints what to store.
pub(crate) fn run() -> Result<Exit, Failure> {
    if stdin().is_terminal() {
        eprintln!("Type the password (it can be seen) and Enter:");
    }
    let mut line = String::new();
    stdin().lock().read_line(&mut line).map_err(|error| Failure::io("read", Path::new("stdin"), &error))?;
    let password = line.strip_suffix('\n').unwrap_or(&line);
    if password.is_empty() {
        return Err(Failure::new(Exit::Usage, "the password is empty")
            .remedy("give it on stdin: `windrow hash-password < file`"));
    }
    let salt = random_bytes().map_err(|error| Failure::io("read", Path::new("/dev/urandom"), &error))?;
    output::print(&format!("{}\n", PasswordHash::new(password.as_bytes(), salt)))?;
    Ok(Exit::Ok)
}
