//! What can go wrong: with the machine, or with what is tested.

use std::io;

/// Why a run ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The harness could not do something.
    #[error("cannot {action}: {source}")]
    Io {
        /// What it wanted to do.
        action: String,
        /// Why not.
        source: io::Error,
    },
    /// Another program failed.
    #[error("`{command}` failed: {said}")]
    Command {
        /// The program with its arguments.
        command: String,
        /// What it wrote to stderr.
        said: String,
    },
    /// The server did not come up.
    #[error("the server did not start, status {status:?}: {said}")]
    NotStarted {
        /// What it ended with; none where a signal ended it or it had to be killed.
        status: Option<i32>,
        /// What it wrote to stderr.
        said: String,
    },
    /// A connection ended, as it does in a crash.
    #[error("the connection ended: {0}")]
    Gone(io::Error),
    /// The server broke a promise.
    #[error("{0}")]
    Violation(String),
    /// The run has shown nothing: too little load, or faults that did not hit.
    #[error("this run counts for nothing: {0}")]
    Idle(String),
}

impl Error {
    pub(crate) fn io(action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let action = action.into();
        move |source| Self::Io { action, source }
    }

    /// The same, with what somebody who looks into it wants to know.
    pub(crate) fn with(self, more: &str) -> Self {
        match self {
            Self::Violation(text) if !more.is_empty() => Self::Violation(format!("{text}\n{more}")),
            other => other,
        }
    }

    pub(crate) fn violation<T>(text: impl Into<String>) -> Result<T, Self> {
        Err(Self::Violation(text.into()))
    }
}
