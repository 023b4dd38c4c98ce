//! A disk that fails a flush, for real: what the library says then, and what the next opening believes.
//!
//! An ext4 stands on a loop device whose file lies in a small tmpfs. Blocks that were never written are taken from
//! that file again, and the tmpfs is filled up: the next write to such a block is an I/O error, met by the flush. The
//! kernel then keeps the page, marked clean, and reports success to the next flush: the trap that this is about.
//!
//! Needs root, `mkfs.ext4` and loop devices, and is skipped with a visible line where it cannot have them.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use windrow::{FillMode, Lsn, Options, ReadError, WriteError};

fn run(program: &str, args: &[&std::ffi::OsStr]) -> bool {
    Command::new(program).args(args).status().is_ok_and(|status| status.success())
}

struct Disk {
    ballast: PathBuf,
    image: PathBuf,
    mount: PathBuf,
    tmpfs: PathBuf,
    _dir: tempfile::TempDir,
}

impl Disk {
    fn new() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let tmpfs = dir.path().join("tmpfs");
        let disk = Self {
            ballast: tmpfs.join("ballast"),
            image: tmpfs.join("image"),
            mount: dir.path().join("mount"),
            tmpfs,
            _dir: dir,
        };
        std::fs::create_dir(&disk.tmpfs).unwrap();
        std::fs::create_dir(&disk.mount).unwrap();
        let args = ["-t", "tmpfs", "-o", "size=48m", "windrow"].map(std::ffi::OsStr::new);
        if !run("mount", &[&args[..], &[disk.tmpfs.as_os_str()]].concat()) {
            return None;
        }
        File::create(&disk.image).unwrap().set_len(32 << 20).unwrap();
        let args = ["-q", "-b", "4096", "-O", "^has_journal"].map(std::ffi::OsStr::new);
        let made =
            run("mkfs.ext4", &[&args[..], &[disk.image.as_os_str()]].concat()) && disk.mount() && disk.limit_requests();
        made.then_some(disk)
    }

    fn mount(&self) -> bool {
        run("mount", &["-o".as_ref(), "loop,noatime".as_ref(), self.image.as_os_str(), self.mount.as_os_str()])
    }

    /// One page a request: a loop device takes a request that its file could hold in part for one that succeeded.
    fn limit_requests(&self) -> bool {
        let Ok(found) = Command::new("losetup").args(["-n", "-O", "NAME", "-j"]).arg(&self.image).output() else {
            return false;
        };
        let device = String::from_utf8_lossy(&found.stdout).trim().replace("/dev/", "");
        std::fs::write(format!("/sys/block/{device}/queue/max_sectors_kb"), "4").is_ok()
    }

    fn unmount(&self) -> bool {
        run("umount", &[self.mount.as_os_str()])
    }

    /// From now on a block that holds only zeros cannot be written.
    fn break_down(&self) {
        assert!(run("sync", &["-f".as_ref(), self.mount.as_os_str()]));
        assert!(run("fallocate", &["--dig-holes".as_ref(), self.image.as_os_str()]));
        let mut ballast = File::create(&self.ballast).unwrap();
        let chunk = vec![1; 4096];
        while ballast.write_all(&chunk).is_ok() {}
    }

    fn mend(&self) {
        std::fs::remove_file(&self.ballast).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        run("umount", &["-l".as_ref(), self.mount.as_os_str()]);
        run("umount", &["-l".as_ref(), self.tmpfs.as_os_str()]);
    }
}

#[test]
fn after_a_failed_flush_nothing_is_confirmed_and_the_next_opening_believes_the_disk() {
    let Some(disk) = Disk::new() else {
        eprintln!("skipped: needs root, mkfs.ext4 and loop devices");
        return;
    };
    let path = disk.mount.join("data");
    let options = Options::new().segment_len(256 << 10).segments_ahead(1).fill(FillMode::Write4K);
    let db = options.open(&path).unwrap();
    db.put("before", vec![1; 10_000]).unwrap();
    // The helper threads are done with the segment ahead, and everything it wrote is on the disk.
    while db.stats().unwrap().partitions[0].partition.segments_prepared == 0 {
        std::thread::yield_now();
    }
    disk.break_down();
    let lost = db.put("lost", vec![2; 50_000]);
    assert!(matches!(lost, Err(WriteError::Unknown(_))), "{lost:?}");
    assert!(matches!(db.put("more", "x"), Err(WriteError::Failed(_))), "not tried again");
    assert!(matches!(db.get("before"), Err(ReadError::Failed(_))), "nothing is shown any more");
    assert!(matches!(db.sync(), Err(ReadError::Failed(_))));
    drop(db);
    disk.mend();

    // The trap: the system shows the lost value as if it were there.
    let db = options.open(&path).unwrap();
    assert_eq!(db.open_reports()[0].cache_dropped, [Lsn::ZERO], "{:?}", db.open_reports());
    assert_eq!(db.get("before").unwrap().unwrap(), vec![1; 10_000]);
    assert!(db.get("lost").unwrap().is_none());
    db.put("after", vec![3; 50_000]).unwrap();
    drop(db);

    // And what the disk has is what was shown.
    assert!(disk.unmount() && disk.mount());
    let db = options.open(&path).unwrap();
    assert_eq!(db.len().unwrap(), 2);
    assert_eq!(db.get("after").unwrap().unwrap(), vec![3; 50_000]);
    assert!(db.get("lost").unwrap().is_none());
    db.close().unwrap();
}
