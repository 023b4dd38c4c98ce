//! The exit statuses of `windrow`, in one place. `docs/operations.md` has the same table; a test compares them.

use std::process::ExitCode;

/// How a command ended. The numbers follow `sysexits.h` where it has one that fits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Exit {
    /// All is well; a server was stopped in order.
    Ok,
    /// `log verify` found damage, `log repair` left some, or `doctor` found something that keeps a node from running.
    Found,
    /// The command line is wrong.
    Usage,
    /// The log is damaged, or files of another partition or cluster lie in its place.
    Data,
    /// What was named does not exist.
    NoInput,
    /// An address is in use, or not one of this machine.
    Unavailable,
    /// The system lacks something: io_uring, locked memory, cores.
    System,
    /// There is no room on the disk.
    NoSpace,
    /// A read, a write or a flush failed.
    Io,
    /// Another process holds the data directory.
    Locked,
    /// The data was written in a format that this build does not read.
    Format,
    /// Not permitted.
    Permission,
    /// Settings are wrong.
    Settings,
}

impl Exit {
    /// All of them, with what each means.
    pub(crate) const TABLE: [(Self, u8, &'static str); 13] = [
        (Self::Ok, 0, "all is well; the server was stopped in order"),
        (
            Self::Found,
            1,
            "`log verify` found damage, `log repair` left some, or `doctor` found something that keeps a node from running",
        ),
        (Self::Usage, 2, "the command line is wrong"),
        (Self::Data, 65, "the log is damaged, or files of another partition or cluster lie in its place"),
        (Self::NoInput, 66, "what was named does not exist"),
        (Self::Unavailable, 69, "an address is in use, or is not one of this machine"),
        (Self::System, 71, "the system lacks something: io_uring, locked memory, the cores asked for"),
        (Self::NoSpace, 73, "there is no room on the disk"),
        (Self::Io, 74, "a read, a write or a flush failed"),
        (Self::Locked, 75, "another process holds the data directory"),
        (Self::Format, 76, "the data was written in a format that this build does not read"),
        (Self::Permission, 77, "not permitted"),
        (Self::Settings, 78, "settings are wrong"),
    ];

    /// The number that the process ends with.
    pub(crate) fn status(self) -> u8 {
        Self::TABLE.iter().find(|(exit, ..)| *exit == self).map_or(u8::MAX, |(_, status, _)| *status)
    }

    /// What a failed file operation means.
    pub(crate) fn of_io(error: &std::io::Error) -> Self {
        use std::io::ErrorKind as Kind;
        // Linux: too many open files, in the system or in this process.
        if let Some(23 | 24) = error.raw_os_error() {
            return Self::System;
        }
        match error.kind() {
            Kind::NotFound => Self::NoInput,
            Kind::PermissionDenied | Kind::ReadOnlyFilesystem => Self::Permission,
            Kind::StorageFull | Kind::QuotaExceeded | Kind::FileTooLarge => Self::NoSpace,
            Kind::AddrInUse | Kind::AddrNotAvailable => Self::Unavailable,
            _ => Self::Io,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.status())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manual_has_the_same_table() {
        let manual = include_str!("../../../docs/operations.md");
        for (exit, status, meaning) in Exit::TABLE {
            let row = format!("\n| {status} | {meaning} | ");
            assert!(manual.contains(&row), "docs/operations.md lacks the row `{row}` ({exit:?})");
        }
    }

    #[test]
    fn the_engine_and_the_command_agree_on_a_failed_flush() {
        assert_eq!(i32::from(Exit::Io.status()), windrow_store::EXIT_IO_ERROR);
    }
}
