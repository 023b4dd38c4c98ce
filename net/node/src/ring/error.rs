//! What can stand in the way of a ring, and what to do about it.

use std::io;

use thiserror::Error;

/// Why a ring could not be made. Every message ends in its remedy.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SetupError {
    /// The administrator has switched io_uring off.
    #[error(
        "io_uring is switched off on this machine (kernel.io_uring_disabled = {level}). Remedy: `sysctl -w \
         kernel.io_uring_disabled=0`, or with level 1 run as a member of the group in kernel.io_uring_group"
    )]
    Disabled {
        /// The value of `kernel.io_uring_disabled`.
        level: u8,
    },
    /// The call is filtered.
    #[error(
        "{syscall} is refused by this system ({source}): usually the seccomp profile of a container. Remedy: allow \
         io_uring_setup, io_uring_enter and io_uring_register in it (Docker: `--security-opt seccomp=PROFILE.json`)"
    )]
    Refused {
        /// The system call.
        syscall: &'static str,
        /// What it answered.
        source: io::Error,
    },
    /// The kernel does not know what is asked of it.
    #[error("this kernel ({release}) lacks {what}. Remedy: Linux 6.1 or later")]
    KernelTooOld {
        /// The release of the running kernel.
        release: String,
        /// What is missing.
        what: &'static str,
    },
    /// Not enough memory may be locked, or there is none.
    #[error(
        "no memory for {what} ({source}). Remedy: raise the locked-memory limit (`ulimit -l unlimited`, systemd \
         LimitMEMLOCK=infinity) or the memory limit of the container"
    )]
    NoMemory {
        /// What the memory was for.
        what: &'static str,
        /// What the kernel answered.
        source: io::Error,
    },
    /// Too many files are open.
    #[error("no file descriptor left for {what} ({source}). Remedy: raise the limit of open files (`ulimit -n`)")]
    NoDescriptor {
        /// What the descriptor was for.
        what: &'static str,
        /// What the kernel answered.
        source: io::Error,
    },
    /// Something else.
    #[error("{step} failed: {source}")]
    Failed {
        /// What was being done.
        step: &'static str,
        /// What the kernel answered.
        source: io::Error,
    },
}

impl SetupError {
    /// Why `io_uring_setup` failed with `source`.
    pub(super) fn from_setup(source: io::Error) -> Self {
        match source.raw_os_error() {
            Some(libc::EPERM) => match disabled_level() {
                Some(level @ 1..) => Self::Disabled { level },
                _ => Self::Refused { syscall: "io_uring_setup", source },
            },
            Some(libc::EACCES) => Self::Refused { syscall: "io_uring_setup", source },
            Some(libc::ENOSYS) => Self::KernelTooOld { release: release(), what: "io_uring (or it is filtered out)" },
            Some(libc::EINVAL) => {
                Self::KernelTooOld { release: release(), what: "IORING_SETUP_DEFER_TASKRUN, the ring mode used here" }
            }
            Some(libc::ENOMEM) => Self::NoMemory { what: "the ring", source },
            Some(libc::EMFILE | libc::ENFILE) => Self::NoDescriptor { what: "the ring", source },
            _ => Self::Failed { step: "io_uring_setup", source },
        }
    }

    /// Why `io_uring_register` failed with `source`, when it was called for `what`.
    pub(super) fn from_register(what: &'static str, source: io::Error) -> Self {
        match source.raw_os_error() {
            Some(libc::EPERM | libc::EACCES | libc::ENOSYS) => Self::Refused { syscall: "io_uring_register", source },
            Some(libc::EINVAL) => Self::KernelTooOld { release: release(), what },
            Some(libc::ENOMEM) => Self::NoMemory { what, source },
            _ => Self::Failed { step: what, source },
        }
    }
}

fn disabled_level() -> Option<u8> {
    std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok()?.trim().parse().ok()
}

/// The release of the running kernel, or `unknown`.
pub(super) fn release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}
