//! Where a setting came from, and why it was refused.

use std::fmt;
use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Where a setting came from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    /// Nobody set it.
    Default,
    /// A line of the settings file, from 1.
    File {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
    },
    /// A variable of the environment.
    Environment {
        /// Its name.
        variable: String,
    },
    /// A flag of the command line.
    Flag {
        /// Its name, with the dashes.
        flag: String,
    },
    /// A client, by `CONFIG SET`.
    Client,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Environment { variable } => write!(f, "environment variable {variable}"),
            Self::Flag { flag } => write!(f, "flag {flag}"),
            Self::Client => f.write_str("CONFIG SET"),
        }
    }
}

/// Settings that cannot be used.
#[derive(Error, Debug)]
#[non_exhaustive]
pub enum LoadError {
    /// The settings file, or a file that it names, cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// The settings file is not TOML.
    #[error("{}:{line}: {message}", path.display())]
    Syntax {
        /// The settings file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What the parser says.
        message: String,
    },
    /// There is no such setting.
    #[error("{origin}: there is no setting `{name}`{}", suggestion(*nearest))]
    Unknown {
        /// What was written.
        name: String,
        /// The setting with the most similar name.
        nearest: Option<&'static str>,
        /// Where.
        origin: Source,
    },
    /// The value is not allowed.
    #[error("{origin}: `{name}` cannot be {found}; allowed: {allowed}")]
    Invalid {
        /// Which setting.
        name: &'static str,
        /// The value in quotes, or what kind of thing it is.
        found: String,
        /// What would be allowed.
        allowed: String,
        /// Where it was set.
        origin: Source,
    },
    /// The password's file holds none.
    #[error("{}: the first line is no password: it must not be empty, and `sha256:` must begin exactly what \
             `windrow hash-password` prints", path.display())]
    Password {
        /// The file.
        path: PathBuf,
    },
    /// Two settings contradict each other.
    #[error("`{first}` ({first_origin}) and `{second}` ({second_origin}): {reason}")]
    Conflict {
        /// One of them.
        first: &'static str,
        /// Where it was set.
        first_origin: Source,
        /// The other.
        second: &'static str,
        /// Where it was set.
        second_origin: Source,
        /// Why they cannot both hold.
        reason: &'static str,
    },
}

fn suggestion(nearest: Option<&'static str>) -> String {
    nearest.map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}

/// Why a running node's setting was not changed.
#[derive(Error, Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ChangeError {
    /// There is no such setting.
    #[error("there is no setting `{name}`")]
    Unknown {
        /// What was asked for.
        name: String,
    },
    /// It can only be set when the node starts.
    #[error("`{name}` can only be set when the node starts")]
    AtStartOnly {
        /// Which setting.
        name: &'static str,
    },
    /// The value is not allowed.
    #[error("`{name}` cannot be that; allowed: {allowed}")]
    Invalid {
        /// Which setting.
        name: &'static str,
        /// What would be allowed.
        allowed: String,
    },
}
