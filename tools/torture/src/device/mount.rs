//! A real file system above a commanded disk.

use std::cell::Cell;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::thread::UnshareFlags;

use super::Disk;
use super::fuse::Served;
use crate::Error;

/// Which file system.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileSystemKind {
    /// ext4 with a small journal.
    Ext4,
    /// XFS, whose least size is 300 MiB.
    Xfs,
}

impl FileSystemKind {
    /// Its name in messages and results.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
        }
    }

    const fn disk_len(self) -> usize {
        match self {
            Self::Ext4 => 128 << 20,
            Self::Xfs => 320 << 20,
        }
    }

    fn format(self, device: &str) -> Result<(), Error> {
        match self {
            Self::Ext4 => run(
                "mkfs.ext4",
                &["-q", "-F", "-J", "size=4", "-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0", device],
            ),
            Self::Xfs => run("mkfs.xfs", &["-q", "-K", "-f", device]),
        }
    }
}

/// A file system on a disk of its own. Everything is unmounted and given back when it is dropped.
pub struct FileSystem {
    /// The disk under it.
    pub disk: Disk,
    kind: FileSystemKind,
    loop_device: Option<String>,
    mount: PathBuf,
    mounted: bool,
    // Dropped after the loop device has been given back, the folder last.
    _served: Served,
    _folder: tempfile::TempDir,
}

/// How long somebody else may still be busy with a file system that was unmounted here.
const BUSY_MAX: Duration = Duration::from_secs(5);

impl FileSystem {
    /// Makes a disk with an empty file system and mounts it. Writes are cached from then on.
    ///
    /// The calling thread, and what it starts from now on, get a mount namespace of their own: nobody else sees the
    /// file system.
    ///
    /// # Errors
    /// The machine does not permit it or lacks a program, see [`missing`].
    pub fn new(kind: FileSystemKind, seed: u64) -> Result<Self, Error> {
        mount_for_oneself().map_err(Error::io("get a mount namespace"))?;
        let folder = tempfile::tempdir().map_err(Error::io("make a temporary folder"))?;
        let (served_in, mount) = (folder.path().join("served"), folder.path().join("mount"));
        for path in [&served_in, &mount] {
            std::fs::create_dir(path).map_err(Error::io(format!("make {}", path.display())))?;
        }
        let disk = Disk::new(kind.disk_len(), seed);
        let served = Served::new(disk.clone(), &served_in).map_err(Error::io("serve a disk through FUSE"))?;
        let device = attach(&served.file())?;
        let loop_device = Some(device.clone());
        let mut system = Self { disk, kind, loop_device, mount, mounted: false, _served: served, _folder: folder };
        kind.format(&device)?;
        system.mount()?;
        system.disk.cache_writes();
        Ok(system)
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.mount
    }

    /// Which one it is.
    #[must_use]
    pub fn kind(&self) -> FileSystemKind {
        self.kind
    }

    /// Mounts it.
    ///
    /// # Errors
    /// The file system cannot be mounted.
    pub fn mount(&mut self) -> Result<(), Error> {
        let device = self.loop_device.clone().unwrap_or_default();
        run("mount", &["-t", self.kind.name(), &device, &self.mount.display().to_string()])?;
        self.mounted = true;
        Ok(())
    }

    /// Unmounts it. Nothing may use it any more.
    ///
    /// # Errors
    /// Something still uses it.
    pub fn unmount(&mut self) -> Result<(), Error> {
        if std::mem::take(&mut self.mounted) {
            run("umount", &[&self.mount.display().to_string()])?;
        }
        self.await_gone()
    }

    /// Loses what only memory knows, as a power cut does; the disk keeps everything that it was sent.
    ///
    /// # Errors
    /// `xfs_io` is missing.
    pub fn shut_down(&self) -> Result<(), Error> {
        run("xfs_io", &["-x", "-c", "shutdown", &self.mount.display().to_string()])
    }

    /// After a cut: the power comes back, the machine starts, the file system is mounted again.
    ///
    /// # Errors
    /// The file system cannot be unmounted or mounted.
    pub fn restart(&mut self) -> Result<(), Error> {
        self.unmount()?;
        self.disk.reset();
        self.mount()
    }

    /// Waits until nobody has the file system any more, in whatever mount namespace. As long as somebody has, mounting
    /// it gives the one of before, with all that only memory knew and with its errors: that is no power cut.
    fn await_gone(&self) -> Result<(), Error> {
        let device = self.loop_device.clone().unwrap_or_default();
        let begun = Instant::now();
        // The kernel lets nobody open a device like this that has a file system on it.
        while let Err(errno) = open(&device, OFlags::RDONLY | OFlags::EXCL | OFlags::CLOEXEC, Mode::empty()) {
            if errno != Errno::BUSY {
                return Err(Error::io(format!("open {device}"))(errno.into()));
            }
            if begun.elapsed() > BUSY_MAX {
                let path = self.mount.display();
                return Err(Error::Idle(format!("{device} is still mounted somewhere, though not at {path} any more")));
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

impl Drop for FileSystem {
    fn drop(&mut self) {
        self.disk.reset();
        if self.mounted {
            let _gone = run("umount", &["-l", &self.mount.display().to_string()]);
        }
        if let Some(device) = self.loop_device.take() {
            let _detached = run("losetup", &["-d", &device]);
        }
    }
}

thread_local! {
    /// Whether this thread has a mount namespace of its own.
    static MOUNTS_FOR_ITSELF: Cell<bool> = const { Cell::new(false) };
}

/// Gives this thread a mount namespace of its own, once.
///
/// Else whoever copies the namespace meanwhile (`ip netns exec`, a container, systemd) has the file system mounted as
/// well, and it does not go away when it is unmounted here.
fn mount_for_oneself() -> io::Result<()> {
    if MOUNTS_FOR_ITSELF.get() {
        return Ok(());
    }
    #[expect(deprecated, reason = "it is about sharing descriptors, which are not unshared here")]
    rustix::thread::unshare(UnshareFlags::NEWNS)?;
    mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)?;
    MOUNTS_FOR_ITSELF.set(true);
    Ok(())
}

/// What this machine lacks for [`FileSystem`], in words; nothing where all is there.
#[must_use]
pub fn missing(kind: FileSystemKind) -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("mounting a disk needs root".to_owned());
    }
    for device in ["/dev/fuse", "/dev/loop-control"] {
        if !Path::new(device).exists() {
            return Some(format!("there is no {device}"));
        }
    }
    let tool = match kind {
        FileSystemKind::Ext4 => "mkfs.ext4",
        FileSystemKind::Xfs => "mkfs.xfs",
    };
    [tool, "losetup", "mount", "umount"]
        .iter()
        .find(|name| !is_installed(name))
        .map(|name| format!("`{name}` is not installed"))
}

/// Whether a program can be found.
#[must_use]
pub(crate) fn is_installed(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(name).exists())
}

/// A free loop device on `file`. Another process may take the same one at the same time; then the next is tried.
fn attach(file: &Path) -> Result<String, Error> {
    let file = file.display().to_string();
    let args = ["-f", "--show", &file];
    let mut last = output("losetup", &args);
    for _ in 0..10 {
        if last.is_ok() {
            break;
        }
        last = output("losetup", &args);
    }
    last.map(|text| text.trim().to_owned())
}

/// Runs a program; the error has what it said.
pub(crate) fn run(program: &str, args: &[&str]) -> Result<(), Error> {
    output(program, args).map(|_| ())
}

fn output(program: &str, args: &[&str]) -> Result<String, Error> {
    let command = || format!("{program} {}", args.join(" "));
    let output =
        Command::new(program).args(args).stdin(Stdio::null()).output().map_err(Error::io(format!("run {program}")))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(Error::Command { command: command(), said: String::from_utf8_lossy(&output.stderr).trim().to_owned() })
}
