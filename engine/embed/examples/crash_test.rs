//! A crash test that a reader can follow: kills a process that writes, and looks whether everything that was
//! confirmed to it is there.
//!
//! `cargo run --release -p windrow --example crash_test [ROUNDS] [DIRECTORY]`; 10 rounds in a temporary directory
//! unless told otherwise.
//!
//! Each round starts this program again as a child, which opens the store and writes from several threads. Whenever a
//! write is **confirmed**, the child says so on its standard output: thread, number. The parent notes what it hears,
//! kills the child with SIGKILL at a random moment, opens the store itself, and checks:
//!
//! 1. every write that was confirmed is there, with its value or a later one of the same key;
//! 2. every batch is there whole or not at all;
//! 3. the change feed, replayed, gives exactly what the keys hold.
//!
//! A kill leaves the system's page cache as it is, so this shows that the program confirms nothing early and recovers
//! what it finds. That the disk keeps what was flushed is shown only by cutting its power.
#![expect(clippy::print_stdout, reason = "an example talks")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use windrow::{Batch, Change, FillMode, Lsn, Options, Windrow};

const CHILD: &str = "--child";
const THREADS: u64 = 4;
/// Keys that each thread writes over and over.
const KEYS: u64 = 50;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// Small segments, so that the log rolls all the time.
fn options() -> Options {
    Options::new().partitions(2).segment_len(64 << 10).fill(FillMode::Write4K)
}

fn main() -> Result<(), Error> {
    let mut args = std::env::args().skip(1);
    match args.next() {
        Some(arg) if arg == CHILD => {
            let (Some(dir), Some(first)) = (args.next(), args.next()) else { return Err("--child DIR FIRST".into()) };
            write_until_killed(Path::new(&dir), first.parse()?)
        }
        rounds => {
            let rounds = rounds.map_or(Ok(10), |rounds| rounds.parse())?;
            let temporary = tempfile::tempdir()?;
            let dir = args.next().map_or_else(|| temporary.path().join("data"), PathBuf::from);
            crash(&dir, rounds)
        }
    }
}

/// The parent.
fn crash(dir: &Path, rounds: u32) -> Result<(), Error> {
    let mut confirmed = Confirmed::default();
    let mut random = Random::new();
    for round in 1..=rounds {
        let before = confirmed.writes;
        run_and_kill(dir, &mut confirmed, Duration::from_millis(50 + random.below(400)))?;
        let opened = Instant::now();
        let db = options().open(dir)?;
        let took = opened.elapsed();
        let cuts = db.open_reports().iter().filter(|report| report.cut.is_some()).count();
        confirmed.check(&db)?;
        check_feed(&db)?;
        println!(
            "round {round}: {} writes confirmed, all there; {} keys, {cuts} torn tails, opened in {took:.1?}",
            confirmed.writes - before,
            db.len()?,
        );
        db.close()?;
    }
    if confirmed.writes < u64::from(rounds) * 100 {
        return Err(format!("only {} writes were confirmed: the test has not bitten", confirmed.writes).into());
    }
    println!("{rounds} kills, {} confirmed writes, none lost", confirmed.writes);
    Ok(())
}

/// What the children said was confirmed: of each thread's keys the last number.
#[derive(Default)]
struct Confirmed {
    last: BTreeMap<(u64, u64), u64>,
    writes: u64,
}

fn run_and_kill(dir: &Path, confirmed: &mut Confirmed, after: Duration) -> Result<(), Error> {
    // Beyond whatever the last child wrote without hearing that it was confirmed.
    let first = confirmed.last.values().max().map_or(1, |last| last + 1000);
    let mut child = Command::new(std::env::current_exe()?)
        .arg(CHILD)
        .arg(dir)
        .arg(first.to_string())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut lines = BufReader::new(child.stdout.take().ok_or("no output")?).lines();
    // The clock starts with the first confirmed write, so that every round has some.
    let mut killed_at = None;
    let mut killed = false;
    while let Some(line) = lines.next().transpose()? {
        let Some((thread, number)) = line.split_once(' ') else { continue };
        let (thread, number) = (thread.parse()?, number.parse::<u64>()?);
        confirmed.last.insert((thread, number % KEYS), number);
        confirmed.writes += 1;
        if *killed_at.get_or_insert_with(|| Instant::now() + after) <= Instant::now() && !killed {
            child.kill()?;
            killed = true;
        }
    }
    let status = child.wait()?;
    if !killed {
        return Err(format!("the child ended by itself: {status}").into());
    }
    Ok(())
}

impl Confirmed {
    fn check(&self, db: &Windrow) -> Result<(), Error> {
        for (&(thread, _), &number) in &self.last {
            let (a, b) = names(thread, number);
            let found = (read_number(db, &a)?, read_number(db, &b)?);
            if found.0 != found.1 {
                return Err(format!("a batch is there by half: {a} is {:?}, {b} is {:?}", found.0, found.1).into());
            }
            // A later number of the same key may have been written and not been confirmed.
            if found.0 < Some(number) {
                return Err(format!("{a}: {number} was confirmed, but {:?} is there", found.0).into());
            }
        }
        Ok(())
    }
}

fn check_feed(db: &Windrow) -> Result<(), Error> {
    let mut replayed = BTreeMap::new();
    for partition in 0..db.partitions() {
        let mut feed = db.subscribe(partition, Lsn::ZERO)?;
        while let Some(record) = feed.try_next()? {
            for change in record.changes {
                match change {
                    Change::Put { key, value, .. } => drop(replayed.insert(key.to_vec(), value.to_vec())),
                    other => return Err(format!("nobody wrote {other:?}").into()),
                }
            }
        }
    }
    let mut stored = BTreeMap::new();
    for item in db.scan() {
        let item = item?;
        stored.insert(item.key.to_vec(), item.value.to_vec());
    }
    if replayed != stored {
        return Err("the change feed and the keys differ".into());
    }
    Ok(())
}

/// The child.
fn write_until_killed(dir: &Path, first: u64) -> Result<(), Error> {
    let db = options().open(dir)?;
    let writers: Vec<_> = (0..THREADS)
        .map(|thread| {
            let db = db.clone();
            std::thread::spawn(move || -> Result<(), Error> {
                for number in first.. {
                    let (a, b) = names(thread, number);
                    let mut batch = Batch::new();
                    batch.put(a, number.to_string()).put(b, number.to_string());
                    db.write(&batch)?;
                    // One call, so that lines stay whole; said only after the write was confirmed.
                    std::io::stdout().write_all(format!("{thread} {number}\n").as_bytes())?;
                }
                Ok(())
            })
        })
        .collect();
    for writer in writers {
        writer.join().map_err(|_| "a writer panicked")??;
    }
    Ok(())
}

/// Two keys that are always written together: the tag in braces puts them into one partition.
fn names(thread: u64, number: u64) -> (String, String) {
    let key = number % KEYS;
    (format!("{{{thread}:{key}}}a"), format!("{{{thread}:{key}}}b"))
}

fn read_number(db: &Windrow, key: &str) -> Result<Option<u64>, Error> {
    match db.get(key)? {
        Some(value) => Ok(Some(std::str::from_utf8(&value)?.parse()?)),
        None => Ok(None),
    }
}

/// Random enough for choosing when to kill (xorshift).
struct Random(u64);

impl Random {
    fn new() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(u64::from(since.subsec_nanos()) << 20 | u64::from(std::process::id()) | 1)
    }

    const fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}
