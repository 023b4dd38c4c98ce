//! What is looked at.

use std::net::TcpListener;
use std::path::{Path, PathBuf};

use windrow_node::ring;
use windrow_node::runtime;
use windrow_node::settings::Settings;
use windrow_store::{DataDir, DataDirError, PartitionDir, Preflight, become_flush_thread, preflight};

use super::Finding;
use crate::text::bytes;

/// The oldest kernel that has all that is used.
const KERNEL_MIN: (u32, u32) = (6, 1);
/// File systems that are not on a disk of this machine, and why that matters.
const UNFIT: [(&str, &str); 5] = [
    ("tmpfs", "it is memory: nothing in it survives a restart of the machine"),
    ("overlay", "it is a container's scratch layer, which goes away with the container"),
    ("nfs", "what a network file system keeps after a power cut is not up to this machine"),
    ("9p", "what a shared folder keeps after a power cut is not up to this machine"),
    ("fuse", "what it keeps after a power cut is up to the program behind it"),
];
/// Descriptors that are not connections: segments, rings, listeners.
const OTHER_DESCRIPTORS: u64 = 1_000;

/// All of it, in the order in which a start would meet it.
pub(super) fn all(settings: &Settings) -> Vec<Finding> {
    let mut findings = Vec::new();
    io_uring(&mut findings);
    let cores = cores(settings, &mut findings);
    let place = nearest_existing(&settings.dir);
    match preflight(&place) {
        Ok(found) => {
            findings.push(kernel(&found));
            findings.push(open_files(settings, &found));
            findings.extend(locked_memory(&found));
            findings.push(file_system(&found, &place));
            findings.push(file_operations(&found, &place));
            findings.push(space(settings, &found, cores));
            findings.extend(file_size(settings, &found));
        }
        Err(error) => findings.push(Finding::fatal("data directory", error, "choose a directory that can be used")),
    }
    findings.push(flush_priority());
    let is_running = data_dir(settings, &mut findings);
    if is_running {
        findings.push(Finding::good("addresses", "not looked at: a node is running in this data directory"));
    } else {
        findings.extend(addresses(settings));
    }
    findings.push(access(settings));
    findings
}

fn kernel(found: &Preflight) -> Finding {
    let (major, minor) = KERNEL_MIN;
    match found.kernel_version {
        Some(version) if version >= KERNEL_MIN => Finding::good("kernel", &found.kernel_release),
        _ => Finding::fatal(
            "kernel",
            format_args!("`{}`, but {major}.{minor} or later is needed", found.kernel_release),
            "run a newer kernel",
        ),
    }
}

fn io_uring(findings: &mut Vec<Finding>) {
    let capabilities = match ring::probe() {
        Ok(capabilities) => capabilities,
        Err(error) => {
            let error = error.to_string();
            let (found, remedy) = error.split_once("Remedy: ").unwrap_or((&error, "see docs/operations.md"));
            return findings.push(Finding::fatal("io_uring", found.trim_end(), remedy));
        }
    };
    for capability in capabilities.iter().filter(|capability| !capability.present) {
        let found = format!("{} is missing", capability.name);
        findings.push(if capability.required {
            Finding::fatal("io_uring", found, "run Linux 6.1 or later, and allow all of io_uring")
        } else {
            Finding::warning("io_uring", found, "large replies are copied once more; a newer kernel has it")
        });
    }
    if capabilities.iter().all(|capability| capability.present || !capability.required) {
        findings.push(Finding::good("io_uring", "every operation that is needed"));
    }
}

fn flush_priority() -> Finding {
    // Asked on a thread of its own, which ends with the answer.
    match std::thread::spawn(|| become_flush_thread(&[])).join() {
        Ok(Ok(())) => Finding::good("flushes", "go before ordinary threads"),
        Ok(Err(error)) => Finding::warning(
            "flushes",
            format_args!("wait for the processor like ordinary threads: {error}"),
            "for faster durable writes on busy cores: LimitRTPRIO=1 of the service, or CAP_SYS_NICE",
        ),
        Err(_) => Finding::warning("flushes", "could not be looked at", "see docs/operations.md"),
    }
}

/// Also returns how many there will be.
fn cores(settings: &Settings, findings: &mut Vec<Finding>) -> usize {
    let available = runtime::available();
    let chosen = match &settings.cores {
        None => Ok(available.clone()),
        Some(choice) => choice.resolve(&available),
    };
    match chosen {
        Ok(cores) => {
            findings.push(Finding::good("cores", format_args!("{} of {}", cores.len(), available.len())));
            cores.len()
        }
        Err(error) => {
            findings.push(Finding::fatal("cores", error, "change `cores`, or what the process may use (taskset)"));
            available.len()
        }
    }
}

fn open_files(settings: &Settings, found: &Preflight) -> Finding {
    let needed = OTHER_DESCRIPTORS.saturating_add(u64::try_from(settings.max_clients).unwrap_or(u64::MAX));
    match found.limits.open_files {
        Some(limit) if limit < needed => Finding::warning(
            "open files",
            format_args!("at most {limit}, for {} clients and the segments {needed} are needed", settings.max_clients),
            format_args!("raise the limit: `ulimit -n {needed}`, or LimitNOFILE= of the service; or lower max-clients"),
        ),
        Some(limit) => Finding::good("open files", limit),
        None => Finding::good("open files", "unlimited"),
    }
}

/// Kernels from 5.12 on do not count rings here, but older limits show up in containers and are cheap to mend.
fn locked_memory(found: &Preflight) -> Option<Finding> {
    const ENOUGH: u64 = 8 << 20;
    match found.limits.locked_memory_bytes {
        Some(limit) if limit < ENOUGH => Some(Finding::warning(
            "locked memory",
            format_args!("at most {}", bytes(limit)),
            "raise the limit: `ulimit -l unlimited`, or LimitMEMLOCK=infinity of the service",
        )),
        Some(limit) => Some(Finding::good("locked memory", bytes(limit))),
        None => Some(Finding::good("locked memory", "unlimited")),
    }
}

fn file_system(found: &Preflight, place: &Path) -> Finding {
    let kind = &found.file_system.kind;
    let shown = format!("{kind} at {}", place.display());
    match UNFIT.iter().find(|(name, _)| name == kind) {
        Some((_, why)) => {
            Finding::warning("file system", format_args!("{shown}: {why}"), "put the data on ext4 or xfs")
        }
        None => Finding::good("file system", shown),
    }
}

fn file_operations(found: &Preflight, place: &Path) -> Finding {
    let system = &found.file_system;
    let steps = [("make files", &system.create), ("allocate space", &system.allocate), ("map files", &system.map)];
    let failed = steps.iter().find_map(|(what, result)| Some((what, result.as_ref().err()?)));
    match failed {
        None => Finding::good("file operations", "files can be made, allocated and mapped"),
        Some((what, error)) => Finding::fatal(
            "file operations",
            format_args!("cannot {what} in {}: {error}", place.display()),
            "check owner and mode of the directory, and whether the file system is writable and local",
        ),
    }
}

/// Room for the segments that a new directory starts with. Only the operator knows how much the data will need.
fn space(settings: &Settings, found: &Preflight, cores: usize) -> Finding {
    let partitions = settings.partitions.map_or(cores, usize::from);
    let segments = u64::try_from(partitions.saturating_mul(settings.segments_ahead + 1)).unwrap_or(u64::MAX);
    let needed = segments.saturating_mul(settings.segment_size);
    let available = found.file_system.available_bytes;
    if available < needed {
        return Finding::warning(
            "free space",
            format_args!(
                "{}; {partitions} partitions begin with {} each of {segments} segments in all, {}",
                bytes(available),
                bytes(settings.segment_size),
                bytes(needed)
            ),
            "make room, or choose a smaller segment-size or fewer partitions",
        );
    }
    Finding::good("free space", format_args!("{} of {}", bytes(available), bytes(found.file_system.total_bytes)))
}

fn file_size(settings: &Settings, found: &Preflight) -> Option<Finding> {
    let limit = found.limits.file_bytes.filter(|limit| *limit < settings.segment_size)?;
    Some(Finding::fatal(
        "file size",
        format_args!("at most {}, a segment has {}", bytes(limit), bytes(settings.segment_size)),
        "raise the limit (`ulimit -f unlimited`), or choose a smaller segment-size",
    ))
}

/// Also returns whether a node is running there.
fn data_dir(settings: &Settings, findings: &mut Vec<Finding>) -> bool {
    let dir = &settings.dir;
    let what = "data directory";
    match DataDir::open_read_only(dir) {
        Ok(opened) => {
            let identity = opened.identity();
            let shown = format!("{}: {} partitions, cluster {}", dir.display(), identity.partitions, identity.cluster);
            let is_running = crate::log::has_writer(&opened.partition_path(windrow_core::types::PartitionId::new(0)));
            let state = if is_running { "; a node is running" } else { "" };
            findings.push(Finding::good(what, shown + state));
            findings.extend(aside(&opened));
            is_running
        }
        Err(DataDirError::Absent { .. }) => {
            findings.push(Finding::good(what, format_args!("{}: will be made", dir.display())));
            false
        }
        Err(error) => {
            findings.push(Finding::fatal(what, error, "`windrow log inspect` shows what is there"));
            false
        }
    }
}

/// What replicas have cut from their logs is kept until somebody removes it.
fn aside(opened: &DataDir) -> Option<Finding> {
    let partitions = (0..opened.identity().partitions).map(windrow_core::types::PartitionId::new);
    let dirs = partitions.filter_map(|id| PartitionDir::open(&opened.partition_path(id), id, false).ok());
    let bytes: u64 = dirs.map(|dir| dir.aside_bytes()).sum();
    (bytes > 0).then(|| {
        Finding::warning(
            "kept aside",
            format_args!(
                "{} that were cut from logs, in directories `aside-*` of partitions",
                crate::text::bytes(bytes)
            ),
            "remove these directories once nobody misses what is in them",
        )
    })
}

fn addresses(settings: &Settings) -> Vec<Finding> {
    let mut wanted: Vec<_> = settings.bind.iter().map(|address| (*address, settings.port, "port")).collect();
    if settings.admin_port != 0 {
        wanted.push((settings.admin_bind, settings.admin_port, "admin-port"));
    }
    let findings = wanted.into_iter().map(|(address, port, setting)| {
        let shown = std::net::SocketAddr::new(address, port);
        match TcpListener::bind(shown) {
            Ok(_) => Finding::good("address", format_args!("{shown} is free")),
            Err(error) => Finding::fatal(
                "address",
                format_args!("{shown}: {error}"),
                format_args!("stop what listens there (`ss -ltnp`), or choose another `{setting}` or address"),
            ),
        }
    });
    findings.collect()
}

fn access(settings: &Settings) -> Finding {
    let is_open = settings.bind.iter().any(|address| !Settings::is_local(*address));
    match (is_open, settings.requirepass.is_some(), settings.protected_mode) {
        (true, false, true) => Finding::warning(
            "access",
            "listens beyond this machine without a password: protected mode refuses clients from elsewhere",
            "set requirepass (see `windrow hash-password`)",
        ),
        (true, false, false) => Finding::warning(
            "access",
            "listens beyond this machine without a password, and protected mode is off: anybody who can reach it \
             can do everything",
            "set requirepass (see `windrow hash-password`)",
        ),
        (true, true, _) => Finding::warning(
            "access",
            "listens beyond this machine with a password, but without encryption",
            "keep the network private, or put a tunnel in front",
        ),
        (false, ..) => Finding::good("access", "only from this machine"),
    }
}

fn nearest_existing(dir: &Path) -> PathBuf {
    let absolute = std::path::absolute(dir).unwrap_or_else(|_| dir.to_path_buf());
    absolute.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("/")).to_path_buf()
}

#[cfg(test)]
mod tests {
    use windrow_store::{BuildMode, NewDataDir};

    use super::*;
    use crate::doctor::Level;

    fn settings(dir: &Path) -> Settings {
        Settings { dir: dir.to_path_buf(), port: 0, admin_port: 0, ..Settings::default() }
    }

    #[test]
    fn a_taken_port_is_fatal_and_named() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let found = addresses(&Settings { port, ..settings(Path::new("x")) });
        assert_eq!(found[0].level, Level::Fatal);
        assert!(found[0].found.contains(&port.to_string()));
        drop(listener);
        assert_eq!(addresses(&Settings { port, ..settings(Path::new("x")) })[0].level, Level::Good);
    }

    #[test]
    fn a_foreign_directory_is_fatal() {
        let dir = tempfile::tempdir().unwrap();
        let mut findings = Vec::new();
        assert!(!data_dir(&settings(dir.path()), &mut findings));
        std::fs::create_dir(dir.path().join("partition-0000")).unwrap();
        std::fs::write(dir.path().join("partition-0000/00000000000000000000.seg"), "x").unwrap();
        data_dir(&settings(dir.path()), &mut findings);
        let levels: Vec<Level> = findings.iter().map(|finding| finding.level).collect();
        assert_eq!(levels, [Level::Good, Level::Fatal]);
    }

    #[test]
    fn what_was_cut_is_pointed_out() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("data");
        let new = NewDataDir { cluster: None, replica: None, partitions: 2, mode: BuildMode::Embedded };
        drop(DataDir::open_or_create(&dir, &new).unwrap());
        let mut findings = Vec::new();
        data_dir(&settings(&dir), &mut findings);
        assert_eq!(findings.len(), 1);
        let aside = dir.join("partition-0001/aside-00000000000000000007");
        std::fs::create_dir(&aside).unwrap();
        std::fs::write(aside.join("00000000000000000128-00000000000000002128.part"), [7; 2_000]).unwrap();
        data_dir(&settings(&dir), &mut findings);
        assert_eq!((findings[2].level, findings[2].what), (Level::Warning, "kept aside"));
        assert!(findings[2].found.starts_with("1.9 KiB that were cut"), "{}", findings[2].found);
    }

    #[test]
    fn cores_that_are_not_there_are_fatal() {
        let mut findings = Vec::new();
        let wanted = Some(runtime::CoreChoice::List(vec![1_023]));
        cores(&Settings { cores: wanted, ..settings(Path::new("x")) }, &mut findings);
        assert_eq!(findings[0].level, Level::Fatal);
    }

    #[test]
    fn listening_to_the_world_needs_a_password() {
        let open = Settings { bind: vec!["0.0.0.0".parse().unwrap()], ..Settings::default() };
        assert_eq!(access(&open).level, Level::Warning);
        assert_eq!(access(&Settings::default()).level, Level::Good);
    }

    #[test]
    fn a_directory_still_to_be_made_is_judged_by_its_parent() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(nearest_existing(&dir.path().join("a/b")), dir.path());
    }
}
