//! The disk does to its users what it says.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::{Disk, FileSystem, FileSystemKind, WriteFault, missing};

#[test]
fn what_is_not_flushed_can_be_lost_and_what_is_flushed_cannot() {
    let (mut lost, mut kept, mut torn) = (0, 0, 0);
    for seed in 0..200 {
        let disk = Disk::new(64 << 10, seed);
        disk.cache_writes();
        disk.write(0, &[1; 16 << 10]).unwrap();
        disk.flush().unwrap();
        disk.write(4096, &[2; 8 << 10]).unwrap();
        disk.write(4096, &[3; 4 << 10]).unwrap();
        assert_eq!(disk.read(4096..4097).unwrap(), [3], "a reader sees the cache");
        disk.cut();
        assert!(disk.read(0..1).is_err() && disk.write(0, &[9]).is_err() && disk.flush().is_err(), "the power is off");
        disk.reset();
        let found = disk.read(0..64 << 10).unwrap();
        assert!(found[..4096].iter().all(|&byte| byte == 1), "flushed, not written since");
        assert!(found[4096..8192].iter().all(|byte| [1, 2, 3].contains(byte)), "one of the versions");
        assert!(found[12 << 10..16 << 10].iter().all(|&byte| byte == 1));
        let page = &found[4096..8192];
        lost += usize::from(page.iter().all(|&byte| byte == 1));
        kept += usize::from(page.iter().all(|&byte| byte == 3));
        torn += usize::from(page.chunks(512).any(|sector| sector[0] != page[0]));
        assert!(page.chunks(512).all(|sector| sector.iter().all(|byte| *byte == sector[0])), "sectors are whole");
    }
    assert!(lost > 20 && kept > 20 && torn > 0, "{lost} lost, {kept} kept, {torn} torn");
}

#[test]
fn a_cut_comes_at_the_request_that_it_was_set_to() {
    let disk = Disk::new(8192, 1);
    disk.cache_writes();
    disk.cut_after(2);
    assert!(disk.write(0, &[1]).is_ok() && disk.flush().is_ok());
    assert!(!disk.await_cut(Duration::ZERO));
    assert!(disk.write(1, &[2]).is_err(), "the third");
    assert!(disk.await_cut(Duration::ZERO));
    disk.reset();
    let found = disk.read(0..2).unwrap();
    assert!(found == [1, 0] || found == [1, 2], "what was being written may be there: {found:?}");
}

#[test]
fn commanded_errors_hit_what_they_should() {
    let disk = Disk::new(8192, 1);
    disk.cache_writes();
    disk.set_write_fault(WriteFault::FailData);
    assert!(disk.write(0, b"metadata").is_ok() && disk.write(0, b"a chunk: of data").is_err());
    disk.set_write_fault(WriteFault::Fail);
    assert!(disk.write(0, b"metadata").is_err());
    disk.set_flush_fails(true);
    assert!(disk.flush().is_err());
    disk.cut();
    disk.reset();
    assert!(disk.write(0, b"metadata").is_ok() && disk.flush().is_ok());
    assert_eq!(disk.counts().failed, 3);
    disk.flip(3, 0);
    assert_eq!(disk.read(0..8).unwrap(), b"met`data");
    assert_eq!(disk.find(b"t`d"), [2]);
}

#[test]
fn a_frozen_disk_answers_when_it_is_thawed() {
    let disk = Disk::new(8192, 1);
    disk.freeze();
    let frozen = disk.clone();
    let (done, waiting) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        frozen.write(0, b"late").unwrap();
        done.send(()).unwrap();
    });
    assert!(waiting.try_recv().is_err());
    assert_eq!(disk.counts().writes, 0);
    disk.thaw();
    waiting.recv_timeout(Duration::from_secs(60)).unwrap();
    thread.join().unwrap();
    assert_eq!(disk.read(0..4).unwrap(), b"late");
}

/// The file system above: what `fdatasync` promised is there after every cut, and what it did not promise is not always.
#[test]
fn a_file_system_on_it_loses_what_was_not_synced() {
    for kind in [FileSystemKind::Ext4, FileSystemKind::Xfs] {
        if let Some(reason) = missing(kind) {
            eprintln!("skipped: {}: {reason}", kind.name());
            continue;
        }
        let mut lost = 0;
        let mut system = FileSystem::new(kind, 7).unwrap();
        for round in 0..8_u8 {
            let path = system.path().join("synced");
            let mut synced = File::create(&path).unwrap();
            synced.write_all(&[round; 20_000]).unwrap();
            synced.sync_all().unwrap();
            File::open(system.path()).unwrap().sync_all().unwrap();
            let unsynced = system.path().join(format!("unsynced{round}"));
            fs::write(&unsynced, [round; 20_000]).unwrap();
            drop(synced);
            system.disk.cut();
            system.restart().unwrap();
            assert_eq!(fs::read(&path).unwrap(), [round; 20_000], "{}: synced, and lost", kind.name());
            lost += usize::from(fs::read(&unsynced).ok() != Some(vec![round; 20_000]));
        }
        assert_eq!(system.disk.counts().cuts, 8);
        assert!(lost > 0, "{}: nothing was ever lost, so these were no power cuts", kind.name());
    }
}

/// A process that has a copy of the mount namespace of whoever calls this.
struct Copier(Child);

impl Copier {
    fn new() -> Self {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", "echo copied; read line"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = [0; 6];
        child.stdout.take().unwrap().read_exact(&mut said).unwrap();
        assert_eq!(&said, b"copied");
        Self(child)
    }
}

impl Drop for Copier {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Whoever copies the mount namespace of the machine does not get the file system with it: else it would outlive the
/// cut, with its page cache and its errors.
#[test]
fn nobody_else_keeps_the_file_system() {
    let (ask, asked) = std::sync::mpsc::channel::<()>();
    let (give, given) = std::sync::mpsc::channel();
    // It stays in the namespace of the machine.
    let outside = std::thread::spawn(move || asked.iter().for_each(|()| give.send(Copier::new()).unwrap()));
    for kind in [FileSystemKind::Ext4, FileSystemKind::Xfs] {
        if let Some(reason) = missing(kind) {
            eprintln!("skipped: {}: {reason}", kind.name());
            continue;
        }
        let mut system = FileSystem::new(kind, 5).unwrap();
        ask.send(()).unwrap();
        let copier = given.recv().unwrap();
        fs::write(system.path().join("unsynced"), [1; 20_000]).unwrap();
        system.disk.set_write_fault(WriteFault::Fail);
        system.disk.cut();
        system.restart().unwrap();
        assert!(!system.path().join("unsynced").exists(), "{}: that was no power cut", kind.name());
        let after = File::create(system.path().join("after")).unwrap();
        after.sync_all().unwrap();
        drop(copier);
    }
    drop(ask);
    outside.join().unwrap();
}

/// And if somebody does, from within, that is said instead of mounting what never went away.
#[test]
fn a_file_system_that_somebody_keeps_is_not_mounted_again() {
    if let Some(reason) = missing(FileSystemKind::Ext4) {
        eprintln!("skipped: {reason}");
        return;
    }
    let mut system = FileSystem::new(FileSystemKind::Ext4, 6).unwrap();
    let copier = Copier::new();
    system.disk.cut();
    let refused = system.restart().unwrap_err();
    assert!(refused.to_string().contains("still mounted somewhere"), "{refused}");
    drop(copier);
    system.restart().unwrap();
}
