//! The promise, tested on the real binary: kill -9 under load, start again, and look for every confirmed write.
//!
//! `CRASH_ROUNDS` says how many rounds (8 unless set), `CRASH_SEED` repeats the choices of an earlier run.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{Client, PATIENCE, Reply, Server, windrow};

const WRITERS: usize = 4;
const KEYS: usize = 32;
/// Commands that one writer sends before it reads their replies.
const PIPELINE: usize = 8;
/// So many confirmed writes at least before a round's kill; the most is this much more.
const WRITES_MIN: u64 = 200;
const WRITES_SPREAD: u64 = 3_000;

/// What is known about one key: its versions are numbered, and each is written once, in order.
#[derive(Clone, Copy, Default, Debug)]
struct History {
    /// The newest version that was sent.
    sent: u64,
    /// The newest version whose reply has come.
    confirmed: u64,
    /// The newest version that a reader on another connection was shown.
    shown: u64,
}

fn key_name(writer: usize, key: usize) -> String {
    format!("w{writer}:{key}")
}

/// Every fifth version is a deletion.
fn is_deletion(version: u64) -> bool {
    version.is_multiple_of(5)
}

impl History {
    /// The newest version that nobody may miss any more. What was shown counts like what was confirmed.
    fn promised(&self) -> u64 {
        self.confirmed.max(self.shown)
    }

    /// Whether a server that has come back may hold `found`: a version from the promised one on that was sent.
    fn allows(&self, found: Option<u64>) -> bool {
        (self.promised()..=self.sent).any(|version| match found {
            Some(number) => number == version && !is_deletion(version),
            None => is_deletion(version),
        })
    }
}

struct Random(u64);

impl Random {
    /// Xorshift, by George Marsaglia.
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// One writer's keys, kept over all rounds.
#[derive(Clone)]
struct Writer {
    number: usize,
    keys: [History; KEYS],
    /// Two keys of one slot that are always written together.
    pair: History,
}

impl Writer {
    fn key(&self, key: usize) -> String {
        key_name(self.number, key)
    }

    fn pair_key(&self, half: &str) -> String {
        format!("{{p{}}}:{half}", self.number)
    }

    /// Writes and reads until the connection ends.
    fn run(&mut self, address: std::net::SocketAddr, seed: u64, confirmed: &AtomicU64) {
        let mut random = Random(seed | 1);
        let Ok(mut client) = Client::connect(address) else { return };
        while self.burst(&mut client, &mut random, confirmed).is_ok() {}
    }

    fn burst(&mut self, client: &mut Client, random: &mut Random, confirmed: &AtomicU64) -> std::io::Result<()> {
        let first = usize::try_from(random.next()).unwrap_or(0) % KEYS;
        let chosen: Vec<usize> = (0..PIPELINE).map(|step| (first + step * 3) % KEYS).collect();
        for &key in &chosen {
            self.keys[key].sent += 1;
            let (name, version) = (self.key(key), self.keys[key].sent);
            let value = format!("{version}:{}", "x".repeat(usize::try_from(version % 300).unwrap_or(0)));
            let command: &[&str] = if is_deletion(version) { &["DEL", &name] } else { &["SET", &name, &value] };
            client.send(&[command])?;
        }
        self.pair.sent += 1;
        let (a, b, version) = (self.pair_key("a"), self.pair_key("b"), self.pair.sent.to_string());
        client.send(&[&["MULTI"], &["SET", &a, &version], &["SET", &b, &version], &["EXEC"]])?;

        for &key in &chosen {
            refuse_error(&client.receive()?);
            self.keys[key].confirmed += 1;
            confirmed.fetch_add(1, Ordering::Relaxed);
        }
        for _ in 0..3 {
            refuse_error(&client.receive()?);
        }
        match client.receive()? {
            Reply::Array(replies) if replies.len() == 2 => self.pair.confirmed += 1,
            other => panic!("EXEC: {other:?}"),
        }
        confirmed.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Looks for everything that was promised, and takes what is there as the new beginning.
    fn verify(&mut self, client: &mut Client) {
        for key in 0..KEYS {
            let found = version_of(&client.call(&["GET", &self.key(key)]).unwrap());
            let history = &mut self.keys[key];
            assert!(history.allows(found), "key {key} of writer {}: {found:?}, but {history:?}", self.number);
            // Versions that were sent but are not there will never be: the log goes on without them.
            history.confirmed = history.sent;
            history.shown = 0;
            if found != Some(history.sent) {
                history.sent = history.sent.next_multiple_of(5);
                history.confirmed = history.sent;
                assert!(!matches!(client.call(&["DEL", &self.key(key)]).unwrap(), Reply::Error(_)));
            }
        }
        let halves = ["a", "b"].map(|half| version_of(&client.call(&["GET", &self.pair_key(half)]).unwrap()));
        let found = halves[0].unwrap_or(0);
        assert_eq!(halves[0], halves[1], "a transaction was done half");
        assert!((self.pair.confirmed..=self.pair.sent).contains(&found), "{found}, but {:?}", self.pair);
        self.pair.confirmed = found;
        self.pair.sent = found;
    }
}

/// The newest version of every key that a reader was shown.
struct Shown(Vec<AtomicU64>);

impl Shown {
    fn nothing() -> Self {
        Self((0..WRITERS * KEYS).map(|_| AtomicU64::new(0)).collect())
    }

    /// Reads keys of all writers until the connection ends.
    fn read(&self, address: std::net::SocketAddr, seed: u64) {
        let mut random = Random(seed | 1);
        let Ok(mut client) = Client::connect(address) else { return };
        loop {
            let at = usize::try_from(random.next() % self.0.len() as u64).unwrap();
            let Ok(reply) = client.call(&["GET", &key_name(at / KEYS, at % KEYS)]) else { return };
            if let Some(version) = version_of(&reply) {
                self.0[at].fetch_max(version, Ordering::Relaxed);
            }
        }
    }

    fn tell(&self, writers: &mut [Writer]) {
        for (at, shown) in self.0.iter().enumerate() {
            writers[at / KEYS].keys[at % KEYS].shown = shown.load(Ordering::Relaxed);
        }
    }
}

fn refuse_error(reply: &Reply) {
    assert!(!matches!(reply, Reply::Error(_)), "{reply:?}");
}

fn version_of(reply: &Reply) -> Option<u64> {
    match reply {
        Reply::Bulk(Some(value)) => Some(value.split(':').next().unwrap().parse().unwrap()),
        Reply::Bulk(None) => None,
        other => panic!("GET: {other:?}"),
    }
}

/// One round: load, kill. Returns how many writes were confirmed.
fn round(server: Server, writers: &mut [Writer], random: &mut Random) -> u64 {
    let confirmed = AtomicU64::new(0);
    let enough = WRITES_MIN + random.next() % WRITES_SPREAD;
    let address = server.address;
    let shown = Shown::nothing();
    thread::scope(|scope| {
        let (seed, shown) = (random.next(), &shown);
        scope.spawn(move || shown.read(address, seed));
        for writer in writers.iter_mut() {
            let (seed, confirmed) = (random.next(), &confirmed);
            scope.spawn(move || writer.run(address, seed, confirmed));
        }
        let started = Instant::now();
        while confirmed.load(Ordering::Relaxed) < enough && started.elapsed() < PATIENCE {
            // Only waits; what is tested does not depend on how long.
            thread::sleep(Duration::from_millis(1));
        }
        server.kill();
    });
    shown.tell(writers);
    confirmed.into_inner()
}

fn verify_log(dir: &Path) {
    let output = windrow(&["log", "verify", dir.to_str().unwrap()]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text}: not a number")))
}

#[test]
fn every_confirmed_write_survives_kill_9() {
    let rounds = number("CRASH_ROUNDS").unwrap_or(8);
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let seed = number("CRASH_SEED").unwrap_or(u64::from(clock.subsec_nanos()));
    eprintln!("CRASH_SEED={seed}");
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("data");
    let blank = |number| Writer { number, keys: [History::default(); KEYS], pair: History::default() };
    let mut writers: Vec<Writer> = (0..WRITERS).map(blank).collect();
    let settings = ["--partitions", "3", "--segment-size", "64KiB"];
    let mut total = 0;
    for _ in 0..rounds {
        // The end of a process takes nothing back in either mode: what is not flushed is in the kernel's page cache.
        let durability = ["commit", "commit", "memory"][usize::try_from(random.next() % 3).unwrap()];
        let server = Server::start(&dir, &[&settings[..], &["--durability", durability]].concat());
        let mut client = server.connect();
        writers.iter_mut().for_each(|writer| writer.verify(&mut client));
        total += round(server, &mut writers, &mut random);
        verify_log(&dir);
    }
    let server = Server::start(&dir, &settings);
    let mut client = server.connect();
    writers.iter_mut().for_each(|writer| writer.verify(&mut client));
    eprintln!("{rounds} kills, {total} confirmed writes, all there");
    assert!(total >= rounds * WRITES_MIN, "too little load to mean anything");
}
