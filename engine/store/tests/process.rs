//! What a process does when its disk, its limits or its rights are not what it needs.
//!
//! Each case runs in a process of its own: this test binary again, told by a variable which case it is.

use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Output};

use windrow_core::log::SegmentMemory;
use windrow_core::types::Lsn;
use windrow_store::{
    BuildMode, DataDir, DataDirError, EXIT_IO_ERROR, FillMode, FlushFailed, NewDataDir, PrepareError, create_segment,
    fatal_flush, install_signal_handlers,
};

const CASE: &str = "WINDROW_TEST_CASE";
const DIR: &str = "WINDROW_TEST_DIR";
const NEW: NewDataDir = NewDataDir { cluster: None, replica: None, partitions: 1, mode: BuildMode::Embedded };

fn run(case: &str, dir: &Path) -> Output {
    let this = std::env::current_exe().unwrap();
    Command::new(this)
        .args(["child", "--exact", "--nocapture", "--test-threads=1"])
        .env(CASE, case)
        .env(DIR, dir)
        .output()
        .unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Not a test by itself: does what the variable says, in a process of its own.
#[test]
fn child() {
    let Ok(case) = std::env::var(CASE) else { return };
    let dir = std::env::var_os(DIR).unwrap();
    let dir = Path::new(&dir);
    match case.as_str() {
        "segment truncated" => {
            assert!(install_signal_handlers());
            let mut segment = create_segment(dir, Lsn::ZERO, 8192, FillMode::Write4K).unwrap();
            segment.publish(8192);
            File::options().write(true).open(segment.path()).unwrap().set_len(0).unwrap();
            eprintln!("read {}", segment.published(5000..5001)[0]);
        }
        "other mapping truncated" => {
            assert!(install_signal_handlers());
            let _segment = create_segment(dir, Lsn::ZERO, 8192, FillMode::Write4K).unwrap();
            let file = File::options().read(true).write(true).create_new(true).open(dir.join("other")).unwrap();
            file.set_len(8192).unwrap();
            let map = memmap2::MmapOptions::new().len(8192).map_raw(&file).unwrap();
            file.set_len(0).unwrap();
            // SAFETY: the pointer is that of a mapping; that it cannot be read is what is tested.
            eprintln!("read {}", unsafe { map.as_ptr().read_volatile() });
        }
        "flush failed" => fatal_flush(&FlushFailed {
            path: "/data/partition-0000/00000000000000000000.seg".into(),
            source: std::io::Error::from_raw_os_error(5),
        }),
        "file size limit" => {
            assert!(install_signal_handlers());
            let limit = rustix::process::Rlimit { current: Some(64 << 10), maximum: Some(64 << 10) };
            rustix::process::setrlimit(rustix::process::Resource::Fsize, limit).unwrap();
            for fill in FillMode::ALL {
                let refused = create_segment(dir, Lsn::ZERO, 128 << 10, fill);
                assert!(matches!(refused, Err(PrepareError::NoSpace { .. })), "{refused:?}");
                create_segment(dir, Lsn::ZERO, 64 << 10, fill).unwrap();
                std::fs::remove_file(dir.join(windrow_store::segment_file_name(Lsn::ZERO))).unwrap();
            }
        }
        "no rights" => {
            if rustix::process::geteuid().is_root() {
                // SAFETY: changes the user of this process, which runs nothing else.
                assert_eq!(unsafe { libc::setuid(65534) }, 0);
            }
            match DataDir::open(dir) {
                Err(DataDirError::File(error)) => {
                    assert_eq!(error.source.kind(), std::io::ErrorKind::PermissionDenied, "{error}");
                }
                other => panic!("{other:?}"),
            }
        }
        other => panic!("no such case: {other}"),
    }
}

#[test]
fn a_truncated_segment_ends_the_process_with_a_message_that_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let output = run("segment truncated", dir.path());
    assert_eq!(output.status.code(), Some(EXIT_IO_ERROR), "{}", stderr(&output));
    let segment = dir.path().join("00000000000000000000.seg");
    assert!(stderr(&output).contains(&format!("{}: cannot be read or written at byte 5000", segment.display())));
}

#[test]
fn a_fault_elsewhere_is_nothing_of_ours() {
    let dir = tempfile::tempdir().unwrap();
    let output = run("other mapping truncated", dir.path());
    assert_eq!(output.status.signal(), Some(libc::SIGBUS), "{}", stderr(&output));
}

#[test]
fn a_failed_flush_ends_the_process_with_a_message_that_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let output = run("flush failed", dir.path());
    assert_eq!(output.status.code(), Some(EXIT_IO_ERROR));
    for part in ["flushing /data/partition-0000", "Input/output error", "start again"] {
        assert!(stderr(&output).contains(part), "{}", stderr(&output));
    }
}

#[test]
fn a_file_size_limit_is_no_space() {
    let dir = tempfile::tempdir().unwrap();
    let output = run("file size limit", dir.path());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left behind");
}

#[test]
fn a_directory_of_somebody_else_says_permission_denied() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    // The way there is open to everybody, the directory itself is not.
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = dir.path().join("data");
    drop(DataDir::open_or_create(&path, &NEW).unwrap());
    if !rustix::process::geteuid().is_root() {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).unwrap();
    }
    let output = run("no rights", &path);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn a_read_only_file_system_can_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let mount = |options: &[&str]| Command::new("mount").args(options).arg(dir.path()).status();
    if !mount(&["-t", "tmpfs", "windrow"]).is_ok_and(|status| status.success()) {
        eprintln!("skipped: mounting a tmpfs needs root");
        return;
    }
    let path = dir.path().join("data");
    drop(DataDir::open_or_create(&path, &NEW).unwrap());
    assert!(mount(&["-o", "remount,ro"]).unwrap().success());
    let for_writing = DataDir::open(&path);
    let for_reading = DataDir::open_read_only(&path);
    assert!(Command::new("umount").arg(dir.path()).status().unwrap().success());
    assert!(matches!(for_writing, Err(DataDirError::Lock(_))), "{for_writing:?}");
    for_reading.unwrap();
}
