//! The identity file: a few lines that a person can read, with a checksum.

use std::fmt::{self, Write};

use thiserror::Error;
use windrow_core::superblock::FORMAT_VERSION;
use windrow_core::types::ClusterId;
use windrow_core::types::limits::PARTITIONS_MAX;

const TITLE: &str = "windrow data directory";

/// Which kind of build made a directory. It is noted for whoever looks; every kind reads every directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum BuildMode {
    /// A node whose cores share one endpoint.
    SharedMemory,
    /// A node each of whose cores is an endpoint of its own.
    SharedNothing,
    /// An application with the library in it.
    Embedded,
}

impl BuildMode {
    const ALL: [Self; 3] = [Self::SharedMemory, Self::SharedNothing, Self::Embedded];

    const fn name(self) -> &'static str {
        match self {
            Self::SharedMemory => "shared-memory",
            Self::SharedNothing => "shared-nothing",
            Self::Embedded => "embedded",
        }
    }
}

impl fmt::Display for BuildMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a data directory is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    /// The cluster that it belongs to.
    pub cluster: ClusterId,
    /// How many partitions it has; never changes.
    pub partitions: u16,
    /// Which kind of build made it.
    pub mode: BuildMode,
}

/// Why an identity file cannot be believed.
#[derive(Error, Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum IdentityError {
    /// It is not text, or has not the lines that it should have.
    #[error("line {line} of the identity file is not `{expected}`")]
    Syntax {
        /// Counted from 1.
        line: usize,
        /// What should be there.
        expected: &'static str,
    },
    /// The checksum does not match.
    #[error("the identity file is damaged: checksum {found:08x} instead of {expected:08x}")]
    Checksum {
        /// What the text adds up to.
        expected: u32,
        /// What is written.
        found: u32,
    },
    /// Written by a newer Windrow.
    #[error("the directory has format {found}, but this build reads format {supported}")]
    Format {
        /// What is written.
        found: u32,
        /// What this build reads.
        supported: u32,
    },
}

impl Identity {
    pub(super) fn render(&self) -> String {
        let Self { cluster, partitions, mode } = self;
        let mut text =
            format!("{TITLE}\nformat {FORMAT_VERSION}\ncluster {cluster}\npartitions {partitions}\nmode {mode}\n");
        let checksum = crc32fast::hash(text.as_bytes());
        // Writing to a `String` cannot fail.
        let _infallible = writeln!(text, "checksum {checksum:08x}");
        text
    }

    /// Reads what [`render`](Self::render) wrote. The format is looked at first: a newer one may have other lines.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, IdentityError> {
        let text = std::str::from_utf8(bytes).map_err(|_| IdentityError::Syntax { line: 1, expected: TITLE })?;
        let mut lines = Lines { lines: text.lines(), line: 0 };
        lines.next(TITLE, |rest| rest.is_empty().then_some(()))?;
        let format = lines.next("format ", |rest| rest.parse::<u32>().ok())?;
        if format != FORMAT_VERSION {
            return Err(IdentityError::Format { found: format, supported: FORMAT_VERSION });
        }
        let cluster = lines.next("cluster ", parse_cluster)?;
        let partitions =
            lines.next("partitions ", |rest| rest.parse().ok().filter(|count| (1..=PARTITIONS_MAX).contains(count)))?;
        let mode = lines.next("mode ", |rest| BuildMode::ALL.into_iter().find(|mode| mode.name() == rest))?;
        let found = lines.next("checksum ", |rest| u32::from_str_radix(rest, 16).ok())?;
        let covered = text.rfind("checksum ").unwrap_or(text.len());
        let expected = crc32fast::hash(&text.as_bytes()[..covered]);
        if found != expected {
            return Err(IdentityError::Checksum { expected, found });
        }
        Ok(Self { cluster, partitions, mode })
    }
}

struct Lines<'a> {
    lines: std::str::Lines<'a>,
    line: usize,
}

impl<'a> Lines<'a> {
    /// The next line, which begins with `expected`; `read` gets the rest of it.
    fn next<T>(&mut self, expected: &'static str, read: impl FnOnce(&'a str) -> Option<T>) -> Result<T, IdentityError> {
        self.line += 1;
        let rest = self.lines.next().and_then(|line| line.strip_prefix(expected));
        rest.and_then(read).ok_or(IdentityError::Syntax { line: self.line, expected })
    }
}

fn parse_cluster(hex: &str) -> Option<ClusterId> {
    let digits = (hex.len() == 32 && hex.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(hex)?;
    u128::from_str_radix(digits, 16).ok().map(|number| ClusterId(number.to_be_bytes()))
}
