//! A disk as the one file of a FUSE mount: the little of the kernel's protocol that a loop device needs.
//!
//! One thread answers one request after the other, so that the moment of a power cut is a place in one sequence of
//! requests. The file is opened for direct access: the kernel keeps nothing of it in a cache of its own.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::Disk;

/// The name of the file.
pub const FILE: &str = "disk.img";

const ROOT: u64 = 1;
const DISK: u64 = 2;
const WRITE_MAX: u32 = 1 << 20;
const HEADER: usize = 40;

/// Numbers of requests, from `include/uapi/linux/fuse.h`.
mod opcode {
    pub(super) const LOOKUP: u32 = 1;
    pub(super) const FORGET: u32 = 2;
    pub(super) const GETATTR: u32 = 3;
    pub(super) const SETATTR: u32 = 4;
    pub(super) const OPEN: u32 = 14;
    pub(super) const READ: u32 = 15;
    pub(super) const WRITE: u32 = 16;
    pub(super) const STATFS: u32 = 17;
    pub(super) const RELEASE: u32 = 18;
    pub(super) const FSYNC: u32 = 20;
    pub(super) const FLUSH: u32 = 25;
    pub(super) const INIT: u32 = 26;
    pub(super) const INTERRUPT: u32 = 36;
    pub(super) const DESTROY: u32 = 38;
    pub(super) const BATCH_FORGET: u32 = 42;
}

/// A disk that is served; unmounted when dropped.
pub struct Served {
    folder: PathBuf,
    disk: Disk,
    server: Option<JoinHandle<()>>,
}

impl Served {
    /// Serves `disk` as a file in `folder`, which must exist.
    ///
    /// # Errors
    /// There is no FUSE, or mounting is not permitted.
    pub fn new(disk: Disk, folder: &Path) -> io::Result<Self> {
        let device = File::options().read(true).write(true).open("/dev/fuse")?;
        let options = format!("fd={},rootmode=40000,user_id=0,group_id=0,max_read={WRITE_MAX}", device.as_raw_fd());
        let options = std::ffi::CString::new(options)?;
        mount("windrow-torture", folder, "fuse", MountFlags::NOSUID | MountFlags::NODEV, options.as_c_str())?;
        let serving = disk.clone();
        let server = std::thread::spawn(move || serve(device, &serving));
        Ok(Self { folder: folder.to_path_buf(), disk, server: Some(server) })
    }

    /// The file that is the disk.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        self.folder.join(FILE)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.disk.reset();
        // Lazily: where something still uses it, it goes away with its last user.
        let unmounted = unmount(&self.folder, UnmountFlags::DETACH);
        if let (Ok(()), Some(server)) = (unmounted, self.server.take()) {
            let _ended = server.join();
        }
    }
}

/// One request: its header's fields, and the rest.
struct Request<'a> {
    opcode: u32,
    unique: u64,
    node: u64,
    body: &'a [u8],
}

impl<'a> Request<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let header = bytes.get(..HEADER)?;
        Some(Self {
            opcode: u32_at(header, 4)?,
            unique: u64_at(header, 8)?,
            node: u64_at(header, 16)?,
            body: &bytes[HEADER..],
        })
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at + 8)?.try_into().ok().map(u64::from_ne_bytes)
}

fn index_at(bytes: &[u8], at: usize) -> Option<usize> {
    usize::try_from(u64_at(bytes, at)?).ok()
}

/// Answers until the file system is unmounted.
fn serve(mut device: File, disk: &Disk) {
    let mut buffer = vec![0; usize::try_from(WRITE_MAX).unwrap_or(0) + (64 << 10)];
    loop {
        let len = match device.read(&mut buffer) {
            Ok(len) => len,
            // A request was taken back before it was read.
            Err(error) if matches!(Errno::from_io_error(&error), Some(Errno::NOENT | Errno::INTR | Errno::AGAIN)) => {
                continue;
            }
            Err(_) => return,
        };
        let Some(request) = Request::parse(&buffer[..len]) else { return };
        if matches!(request.opcode, opcode::FORGET | opcode::BATCH_FORGET | opcode::INTERRUPT) {
            continue;
        }
        let reply = answer(&request, disk);
        let (error, body) = match &reply {
            Ok(body) => (0, body.as_slice()),
            Err(errno) => (-errno.raw_os_error(), &[][..]),
        };
        let mut message = Vec::with_capacity(16 + body.len());
        message.extend_from_slice(&u32::try_from(16 + body.len()).unwrap_or(u32::MAX).to_ne_bytes());
        message.extend_from_slice(&error.to_ne_bytes());
        message.extend_from_slice(&request.unique.to_ne_bytes());
        message.extend_from_slice(body);
        // An error means that who asked is gone, or should.
        if device.write(&message).is_err() {
            disk.note_untaken();
        }
        if request.opcode == opcode::DESTROY {
            return;
        }
    }
}

fn answer(request: &Request<'_>, disk: &Disk) -> Result<Vec<u8>, Errno> {
    let body = request.body;
    match request.opcode {
        opcode::INIT => init(body).ok_or(Errno::INVAL),
        opcode::LOOKUP if request.node == ROOT && body == [FILE.as_bytes(), b"\0"].concat() => Ok(entry(disk)),
        opcode::LOOKUP => Err(Errno::NOENT),
        opcode::GETATTR | opcode::SETATTR => {
            Ok([&u64::MAX.to_ne_bytes()[..], &[0; 8], &attributes(request.node, disk)].concat())
        }
        // Handle 0; FOPEN_DIRECT_IO.
        opcode::OPEN => Ok([&[0; 8][..], &1_u32.to_ne_bytes(), &[0; 4]].concat()),
        opcode::READ => {
            let (Some(offset), Some(len)) = (index_at(body, 8), u32_at(body, 16)) else { return Err(Errno::INVAL) };
            disk.read(offset..offset + usize::try_from(len).unwrap_or(0)).map_err(|_| Errno::IO)
        }
        opcode::WRITE => {
            let (Some(offset), Some(len)) = (index_at(body, 8), u32_at(body, 16)) else { return Err(Errno::INVAL) };
            let data = body.get(40..40 + usize::try_from(len).unwrap_or(0)).ok_or(Errno::INVAL)?;
            let written = disk.write(offset, data).map_err(|_| Errno::IO)?;
            Ok([u32::try_from(written).unwrap_or(0).to_ne_bytes(), [0; 4]].concat())
        }
        opcode::FSYNC => disk.flush().map(|()| Vec::new()).map_err(|_| Errno::IO),
        opcode::STATFS => Ok(vec![0; 80]),
        opcode::RELEASE | opcode::FLUSH | opcode::DESTROY => Ok(Vec::new()),
        _ => Err(Errno::NOSYS),
    }
}

fn init(body: &[u8]) -> Option<Vec<u8>> {
    /// FUSE_BIG_WRITES and FUSE_MAX_PAGES.
    const FLAGS: u32 = 1 << 5 | 1 << 22;
    let (offered, read_ahead) = (u32_at(body, 12)?, u32_at(body, 8)?);
    let mut out = Vec::with_capacity(64);
    for word in [7, 31, read_ahead, FLAGS & offered] {
        out.extend_from_slice(&word.to_ne_bytes());
    }
    // Background requests and their congestion threshold.
    out.extend_from_slice(&64_u16.to_ne_bytes());
    out.extend_from_slice(&48_u16.to_ne_bytes());
    out.extend_from_slice(&WRITE_MAX.to_ne_bytes());
    // Granularity of times.
    out.extend_from_slice(&1_u32.to_ne_bytes());
    out.extend_from_slice(&u16::try_from(WRITE_MAX / 4096).ok()?.to_ne_bytes());
    out.resize(64, 0);
    Some(out)
}

fn entry(disk: &Disk) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    for word in [DISK, 0, u64::MAX, u64::MAX, 0] {
        out.extend_from_slice(&word.to_ne_bytes());
    }
    out.extend_from_slice(&attributes(DISK, disk));
    out
}

fn attributes(node: u64, disk: &Disk) -> Vec<u8> {
    let (mode, links, len): (u32, u32, u64) =
        if node == ROOT { (0o40_755, 2, 0) } else { (0o100_600, 1, u64::try_from(disk.len()).unwrap_or(0)) };
    let mut out = Vec::with_capacity(88);
    for word in [node, len, len.div_ceil(512), 0, 0, 0] {
        out.extend_from_slice(&word.to_ne_bytes());
    }
    for word in [0, 0, 0, mode, links, 0, 0, 0, 4096, 0] {
        out.extend_from_slice(&word.to_ne_bytes());
    }
    out
}
