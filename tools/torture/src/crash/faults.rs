//! Disks that fail without a power cut: what the server then does, and that nothing confirmed is lost.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;

use super::cut::Bench;
use super::tally::Tally;
use crate::Error;
use crate::device::WriteFault;
use crate::node::{Node, PATIENCE, Setup};
use crate::resp::{Client, Reply, encode};

/// What a failed flush ends the server with.
const STATUS_IO: i32 = 74;
/// What a damaged log refuses the start with.
const STATUS_DATA: i32 = 65;
/// What damage to other files may refuse it with as well: a version or an identity that is not ours.
const STATUSES_DAMAGED: [i32; 3] = [STATUS_DATA, 76, 78];
/// How long a frozen disk is watched.
const FROZEN: Duration = Duration::from_millis(300);
/// How long a read may take while the disk is frozen, before it counts as held up.
const HELD_UP: Duration = Duration::from_secs(2);

/// A fault to try.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    FailingFlush,
    FullDisk,
    BitFlip,
    FrozenDisk,
}

impl Fault {
    pub(super) const ALL: [Self; 4] = [Self::FailingFlush, Self::FullDisk, Self::BitFlip, Self::FrozenDisk];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::FailingFlush => "failing flush",
            Self::FullDisk => "full disk",
            Self::BitFlip => "bit flip",
            Self::FrozenDisk => "frozen disk",
        }
    }

    pub(super) fn run(
        self,
        bench: &mut Bench,
        setup: &Setup,
        random: &mut fastrand::Rng,
        tally: &mut Tally,
    ) -> Result<(), Error> {
        let node = Node::start(setup)?;
        bench.load.check(&node.witness, bench.promise)?;
        match self {
            Self::FailingFlush => failing_flush(bench, node, setup, random, tally),
            Self::FullDisk => full_disk(bench, node, setup, random, tally),
            Self::BitFlip => bit_flip(bench, node, setup, random, tally),
            Self::FrozenDisk => frozen_disk(bench, node, setup, random, tally),
        }
    }
}

fn restart_and_check(bench: &mut Bench, setup: &Setup, tally: &mut Tally) -> Result<Node, Error> {
    let node = Node::start(setup)?;
    let lost = bench.load.check(&node.witness, bench.promise)?;
    tally.add_recovery(&node.said());
    tally.add("recoveries checked", 1);
    tally.add("unconfirmed writes lost", lost);
    Ok(node)
}

fn failing_flush(
    bench: &mut Bench,
    node: Node,
    setup: &Setup,
    random: &mut fastrand::Rng,
    tally: &mut Tally,
) -> Result<(), Error> {
    let enough = random.u64(20..800);
    let witness = node.witness.clone();
    let (name, fault): (&str, fn(&crate::device::Disk)) = match random.u32(..3) {
        0 => ("flushes failed", |disk| disk.set_flush_fails(true)),
        1 => ("writes of data failed", |disk| disk.set_write_fault(WriteFault::FailData)),
        _ => ("all writes failed", |disk| disk.set_write_fault(WriteFault::Fail)),
    };
    let Bench { fs, load, .. } = bench;
    let (ended, done) = load.run(&witness, false, |watch| {
        watch.await_confirmed(enough, "the load does not get on")?;
        fault(&fs.disk);
        node.wait()
    })?;
    match ended {
        (Some(STATUS_IO), _) => {}
        (status, said) => return Error::violation(format!("after a failed flush it ended with {status:?}: {said}")),
    }
    if bench.fs.disk.counts().failed == 0 {
        return Err(Error::Idle("no request to the disk has failed".to_owned()));
    }
    tally.add(name, 1);
    tally.add("writes confirmed", done.confirmed);
    bench.fs.disk.reset();
    if random.bool() {
        // The page cache still shows what the disk has not taken. A file system that has gone read-only is refused.
        match restart_and_check(bench, setup, tally) {
            Ok(node) => {
                node.kill();
                tally.add("restarts on the page cache after a failed flush", 1);
            }
            Err(Error::NotStarted { status: Some(status), .. }) if status != STATUS_DATA => {
                tally.add("starts refused by a read-only file system", 1);
            }
            Err(error) => return Err(error),
        }
    }
    bench.fs.disk.cut();
    bench.fs.restart()?;
    restart_and_check(bench, setup, tally)?.kill();
    Ok(())
}

fn full_disk(
    bench: &mut Bench,
    node: Node,
    setup: &Setup,
    random: &mut fastrand::Rng,
    tally: &mut Tally,
) -> Result<(), Error> {
    let ballast = bench.fs.path().join("ballast");
    fill(&ballast, bench.fs.path(), random.u64(1 << 20..8 << 20))?;
    let (address, witness) = (node.address, node.witness.clone());
    let ((), done) = bench.load.run(&witness, true, |watch| {
        watch.await_refused(20, "no write is refused on a full disk")?;
        probe_read(address)?;
        fs::remove_file(&ballast).map_err(Error::io("remove the ballast"))?;
        resumed(address)?;
        let before = watch.confirmed();
        watch.await_confirmed(before + 100, "writes do not resume although there is room again")?;
        watch.stop();
        Ok(())
    })?;
    if done.refused == 0 {
        return Err(Error::Idle("no write was refused".to_owned()));
    }
    tally.add("full disks", 1);
    tally.add("writes refused for lack of space", done.refused);
    tally.add("writes confirmed", done.confirmed);
    bench.load.check(&node.witness, bench.promise)?;
    node.kill();
    bench.fs.disk.cut();
    bench.fs.restart()?;
    restart_and_check(bench, setup, tally)?.kill();
    Ok(())
}

/// Leaves `left` bytes of the file system.
fn fill(ballast: &Path, mount: &Path, left: u64) -> Result<(), Error> {
    let action = || Error::io(format!("write {}", ballast.display()));
    let stat = rustix::fs::statvfs(mount).map_err(|errno| Error::io("ask for free space")(errno.into()))?;
    let mut room = (stat.f_bavail * stat.f_frsize).saturating_sub(left);
    let mut file = File::create(ballast).map_err(action())?;
    let block = vec![0_u8; 1 << 20];
    while room > 0 {
        let len = usize::try_from(room).unwrap_or(block.len()).min(block.len());
        file.write_all(&block[..len]).map_err(action())?;
        room -= u64::try_from(len).unwrap_or(room);
    }
    file.sync_all().map_err(action())
}

fn probe_read(address: std::net::SocketAddr) -> Result<(), Error> {
    let mut client = Client::connect(address).map_err(Error::Gone)?;
    match client.call(&[b"GET", b"{w0}:0"]).map_err(Error::Gone)? {
        Reply::Bulk(_) => Ok(()),
        other => Error::violation(format!("a read on a full disk: {other:?}")),
    }
}

/// Waits until a write of every writer's partition is confirmed.
fn resumed(address: std::net::SocketAddr) -> Result<(), Error> {
    let mut client = Client::connect(address).map_err(Error::Gone)?;
    for writer in 0..super::load::WRITERS {
        let key = format!("{{w{writer}}}:resumed");
        let begun = std::time::Instant::now();
        loop {
            match client.call(&[b"SET", key.as_bytes(), b"now"]).map_err(Error::Gone)? {
                Reply::Simple(_) => break,
                other if begun.elapsed() > PATIENCE => {
                    return Error::violation(format!("there is room again, but: {other:?}"));
                }
                _ => std::thread::sleep(Duration::from_millis(2)),
            }
        }
    }
    Ok(())
}

fn bit_flip(
    bench: &mut Bench,
    node: Node,
    setup: &Setup,
    random: &mut fastrand::Rng,
    tally: &mut Tally,
) -> Result<(), Error> {
    let enough = random.u64(100..800);
    let witness = node.witness.clone();
    let ((), done) = bench.load.run(&witness, false, |watch| {
        watch.await_confirmed(enough, "the load does not get on")?;
        watch.stop();
        Ok(())
    })?;
    tally.add("writes confirmed", done.confirmed);
    bench.load.check(&node.witness, bench.promise)?;
    node.signal(Signal::TERM);
    match node.wait()? {
        (Some(0), _) => {}
        (status, said) => return Error::violation(format!("SIGTERM ended it with {status:?}: {said}")),
    }
    let anywhere = pieces_of_files(&bench.dir(), random);
    bench.fs.unmount()?;
    let values: Vec<(usize, u8)> = (0..4).filter_map(|_| place_of_a_value(bench, random)).collect();
    if values.is_empty() {
        return Err(Error::Idle("no value was found on the disk".to_owned()));
    }
    for place in values {
        if !refuses(bench, setup, place, &[STATUS_DATA], tally)? {
            // Blocks of files that are gone: nobody reads them.
            tally.add("bit flips in free space", 1);
        }
    }
    for piece in anywhere {
        let Some(start) = random.choice(bench.fs.disk.find(&piece)) else { continue };
        let place = (start + random.usize(..piece.len()), random.u8(..8));
        if !refuses(bench, setup, place, &STATUSES_DAMAGED, tally)? {
            tally.add("bit flips that did no harm", 1);
        }
    }
    bench.fs.mount()?;
    restart_and_check(bench, setup, tally)?.kill();
    Ok(())
}

/// Flips a bit, tries to start, and flips it back. Either the start is refused, or everything is there.
fn refuses(
    bench: &mut Bench,
    setup: &Setup,
    place: (usize, u8),
    with: &[i32],
    tally: &mut Tally,
) -> Result<bool, Error> {
    bench.fs.disk.flip(place.0, place.1);
    bench.fs.mount()?;
    let refused = match restart_and_check(bench, setup, tally) {
        Err(Error::NotStarted { status: Some(status), .. }) if with.contains(&status) => {
            tally.add("bit flips refused", 1);
            true
        }
        Ok(node) => {
            node.signal(Signal::TERM);
            node.wait()?;
            false
        }
        Err(error) => return Err(error),
    };
    bench.fs.unmount()?;
    if refused {
        bench.fs.disk.flip(place.0, place.1);
    }
    Ok(refused)
}

/// Bytes of arbitrary places in the files of a data directory, zeros left out.
fn pieces_of_files(dir: &Path, random: &mut fastrand::Rng) -> Vec<Vec<u8>> {
    let mut files = Vec::new();
    super::cut::collect(dir, &mut files);
    let mut pieces = Vec::new();
    for _ in 0..200 {
        let Some((path, _)) = random.choice(&files) else { break };
        let Ok(bytes) = fs::read(path) else { continue };
        let start = random.usize(..bytes.len().div_ceil(16)) * 16;
        let piece = &bytes[start..bytes.len().min(start + 48)];
        if piece.iter().filter(|&&byte| byte != 0).count() > 8 {
            pieces.push(piece.to_vec());
        }
        if pieces.len() == 4 {
            break;
        }
    }
    pieces
}

/// A byte and a bit within the first page of a value on the disk.
fn place_of_a_value(bench: &mut Bench, random: &mut fastrand::Rng) -> Option<(usize, u8)> {
    for _ in 0..20 {
        let value = bench.load.any_value()?;
        let needle = &value[..value.len().min(60)];
        if let Some(start) = random.choice(bench.fs.disk.find(needle)) {
            // A file's next page may be elsewhere.
            let in_page = (4096 - start % 4096).min(value.len());
            return Some((start + random.usize(..in_page), random.u8(..8)));
        }
    }
    None
}

fn frozen_disk(
    bench: &mut Bench,
    node: Node,
    setup: &Setup,
    random: &mut fastrand::Rng,
    tally: &mut Tally,
) -> Result<(), Error> {
    let (enough, cut) = (random.u64(50..800), random.bool());
    let (address, witness) = (node.address, node.witness.clone());
    let mut node = Some(node);
    let disk = bench.fs.disk.clone();
    let mut held_up = 0;
    let ((), done) = bench.load.run(&witness, false, |watch| {
        watch.await_confirmed(enough, "the load does not get on")?;
        let mut client = Client::connect(address).map_err(Error::Gone)?;
        client.call(&[b"SET", b"{w0}:quiet", b"there"]).map_err(Error::Gone)?;
        disk.freeze();
        held_up = u64::from(!serves_reads(address)?);
        let confirmed = confirms_a_write(&mut client, &disk)?;
        if cut {
            disk.cut();
            if let Some(node) = node.take() {
                node.kill();
            }
            return Ok(());
        }
        disk.thaw();
        if !confirmed {
            match client.receive() {
                Ok(Reply::Simple(_)) => {}
                other => return Error::violation(format!("the disk is thawed, but the waiting write: {other:?}")),
            }
        }
        let before = watch.confirmed();
        watch.await_confirmed(before + 100, "the load does not go on after the disk was thawed")?;
        watch.stop();
        Ok(())
    })?;
    tally.add("frozen disks", 1);
    tally.add("frozen disks that held up a read", held_up);
    tally.add("writes confirmed", done.confirmed);
    if let Some(node) = node {
        bench.load.check(&node.witness, bench.promise)?;
        node.kill();
        bench.fs.disk.cut();
    } else {
        tally.add("power cuts of a frozen disk", 1);
    }
    bench.fs.restart()?;
    restart_and_check(bench, setup, tally)?.kill();
    Ok(())
}

/// Whether a read of a key that nobody writes is answered in time. Never with something else.
fn serves_reads(address: std::net::SocketAddr) -> Result<bool, Error> {
    let mut client = Client::connect(address).map_err(Error::Gone)?;
    client.set_patience(HELD_UP).map_err(Error::Gone)?;
    match client.call(&[b"GET", b"{w0}:quiet"]) {
        Ok(Reply::Bulk(Some(value))) if value == b"there" => Ok(true),
        Ok(other) => Error::violation(format!("a read while the disk is frozen: {other:?}")),
        Err(_) => Ok(false),
    }
}

/// Whether a write is confirmed while the disk is frozen, which it may be only by a flush that had been done before.
fn confirms_a_write(client: &mut Client, disk: &crate::device::Disk) -> Result<bool, Error> {
    let before = disk.counts().flushes;
    let mut request = Vec::new();
    encode(&mut request, &[b"SET", b"{w0}:probe", b"value"]);
    client.send(&request).map_err(Error::Gone)?;
    client.set_patience(FROZEN).map_err(Error::Gone)?;
    let reply = client.receive();
    client.set_patience(PATIENCE).map_err(Error::Gone)?;
    match reply {
        Ok(Reply::Simple(_)) if disk.counts().flushes == before => {
            Error::violation("a write was confirmed while the disk was frozen")
        }
        Ok(Reply::Simple(_)) => Ok(true),
        Ok(other) => Error::violation(format!("a write while the disk is frozen: {other:?}")),
        Err(_) => Ok(false),
    }
}
