//! What keeps a node from starting: which status that is, and what to do.

use windrow_core::recovery::RecoveryError;
use windrow_core::superblock::{SlotError, SuperblockError};
use windrow_node::ServeError;
use windrow_node::net::ListenError;
use windrow_node::server::NodeError;
#[cfg(feature = "shared-memory")]
use windrow_node::standby::StandbyError;
#[cfg(feature = "shared-memory")]
use windrow_store::RefreshError;
use windrow_store::{
    ControlError, DataDirError, FileError, IdentityError, LockError, OpenError, PrepareError, SuperblockFileError,
};

use crate::exit::Exit;
use crate::failure::Failure;

/// The message, its remedy and the status for `error`.
pub(crate) fn failure_of(error: &ServeError) -> Failure {
    let message = error.to_string();
    let exit = exit_of(error);
    // Messages of the node end in their remedy.
    match message.split_once("Remedy: ") {
        Some((message, remedy)) => Failure::new(exit, message.trim_end_matches([' ', '.', ';'])).remedy(remedy),
        None => match remedy_of(exit) {
            Some(remedy) => Failure::new(exit, message).remedy(remedy),
            None => Failure::new(exit, message),
        },
    }
}

fn exit_of(error: &ServeError) -> Exit {
    match error {
        ServeError::DataDir(error) => of_data_dir(error),
        ServeError::Open { source, .. } => of_open(source),
        #[cfg(feature = "shared-memory")]
        ServeError::Standby(error) => of_standby(error),
        ServeError::Partitions { .. }
        | ServeError::Ports { .. }
        | ServeError::PeersInThisMode
        | ServeError::Replication(_)
        | ServeError::Node(NodeError::Password(_)) => Exit::Settings,
        #[cfg(feature = "shared-nothing")]
        ServeError::Secret(_) => Exit::Settings,
        ServeError::Listen(error) => of_listen(error),
        ServeError::Admin { source, .. } => Exit::of_io(source),
        ServeError::CoreStopped { .. } => Exit::Io,
        _ => Exit::System,
    }
}

pub(crate) fn of_data_dir(error: &DataDirError) -> Exit {
    match error {
        DataDirError::Identity { source: IdentityError::Format { .. }, .. } => Exit::Format,
        DataDirError::Identity { .. } | DataDirError::IdentityLost { .. } => Exit::Data,
        DataDirError::Lock(LockError::File(error)) | DataDirError::File(error) => of_file(error),
        DataDirError::Lock(_) => Exit::Locked,
        _ => Exit::Settings,
    }
}

pub(crate) fn of_open(error: &OpenError) -> Exit {
    match error {
        OpenError::Recovery { source: RecoveryError::Version { .. }, .. } => Exit::Format,
        OpenError::Superblock(SuperblockFileError::Slots { source, .. }) => of_superblock(source),
        OpenError::Superblock(SuperblockFileError::File(error)) | OpenError::File(error) => of_file(error),
        OpenError::Prepare(error) => of_prepare(error),
        OpenError::Control(ControlError::Version { .. }) => Exit::Format,
        OpenError::Control(ControlError::File(error)) => of_file(error),
        OpenError::Flush(_) | OpenError::StaleCache { .. } => Exit::Io,
        OpenError::SegmentLen { .. }
        | OpenError::SegmentsAhead
        | OpenError::InASet { .. }
        | OpenError::NotInASet { .. } => Exit::Settings,
        _ => Exit::Data,
    }
}

#[cfg(feature = "shared-memory")]
fn of_standby(error: &StandbyError) -> Exit {
    match error {
        StandbyError::Follow { source, .. } => match &**source {
            RefreshError::File(error) => of_file(error),
            RefreshError::Control(ControlError::Version { .. }) => Exit::Format,
            _ => Exit::Data,
        },
        StandbyError::TakeOver { source, .. } => of_open(source),
        _ => Exit::System,
    }
}

fn of_superblock(error: &SuperblockError) -> Exit {
    let is_newer = |slot: &SlotError| matches!(slot, SlotError::Version { .. } | SlotError::Features { .. });
    match error {
        SuperblockError::Unreadable { first, second } if is_newer(first) || is_newer(second) => Exit::Format,
        _ => Exit::Data,
    }
}

fn of_prepare(error: &PrepareError) -> Exit {
    match error {
        PrepareError::NoSpace { .. } => Exit::NoSpace,
        _ => Exit::Io,
    }
}

fn of_file(error: &FileError) -> Exit {
    if error.is_no_space() { Exit::NoSpace } else { Exit::of_io(&error.source) }
}

fn of_listen(error: &ListenError) -> Exit {
    match error {
        ListenError::NotAllowed { .. } => Exit::Permission,
        ListenError::Failed { source, .. } => Exit::of_io(source),
        _ => Exit::Unavailable,
    }
}

/// What to do where the message itself does not say it.
const fn remedy_of(exit: Exit) -> Option<&'static str> {
    match exit {
        Exit::Permission => {
            Some("run as the owner of the directory, or give this user the right to read and write in it")
        }
        Exit::NoSpace => Some("make room on this file system, or choose another --dir"),
        Exit::NoInput => Some("check the path: a part of it does not exist"),
        Exit::Format => Some("serve this directory with the version of Windrow that wrote it; nothing was changed"),
        Exit::Data => Some(
            "look at it with `windrow log verify`; in a set of nodes, mend it from another node's copy with `windrow log \
             repair`; else restore the directory from a backup",
        ),
        Exit::System => Some("`windrow doctor` says what is missing and how to get it"),
        Exit::Io => Some("look at the kernel's log (dmesg), and check the disk"),
        _ => None,
    }
}
