//! Which commands a client sends.

use std::collections::VecDeque;

use super::Request;
use crate::rng::Rng;
use crate::swarm::Swarm;

pub(crate) struct Generator {
    swarm: Swarm,
    /// The keys of each partition.
    keys: Vec<Vec<Vec<u8>>>,
    /// Commands that follow one another: a transaction.
    plan: VecDeque<Request>,
}

fn words(words: &[&[u8]]) -> Request {
    words.iter().map(|word| word.to_vec()).collect()
}

impl Generator {
    pub(crate) const fn new(swarm: Swarm, keys: Vec<Vec<Vec<u8>>>) -> Self {
        Self { swarm, keys, plan: VecDeque::new() }
    }

    pub(super) fn reset(&mut self) {
        self.plan.clear();
    }

    pub(super) fn in_transaction(&self) -> bool {
        !self.plan.is_empty()
    }

    pub(super) fn wants_scan(&self, rng: &mut Rng) -> bool {
        self.plan.is_empty() && rng.percent(self.swarm.scan_percent)
    }

    /// A step of a scan for keys that begin with `prefix`.
    pub(super) fn scan(&self, cursor: &[u8], prefix: &[u8], rng: &mut Rng) -> Request {
        let mut request = words(&[rng.pick::<&[u8]>(&[b"SCAN", b"scan"]), cursor]);
        if !prefix.is_empty() {
            request.extend([b"MATCH".to_vec(), [prefix, b"*"].concat()]);
        }
        if rng.percent(70) {
            request.extend([b"COUNT".to_vec(), rng.log_uniform(1..40).to_string().into_bytes()]);
        }
        request
    }

    /// A command that there is not, or that is not called like this.
    fn nonsense(&self, rng: &mut Rng) -> Request {
        words(rng.pick::<&[&[u8]]>(&[&[b"NOSUCH", b"x"], &[b"GET"], &[b"SET", b"k"], &[b"OBJECT", b"nosuch", b"k"]]))
    }

    pub(crate) fn next(&mut self, now: u64, rng: &mut Rng) -> Request {
        if let Some(request) = self.plan.pop_front() {
            return request;
        }
        let home = rng.index(self.keys.len());
        if rng.percent(self.swarm.transaction_percent) {
            self.plan_transaction(home, now, rng);
            return self.plan.pop_front().expect("just planned");
        }
        if rng.ppm(self.swarm.clear_ppm) {
            return words(if rng.percent(50) { &[b"FLUSHALL"] } else { &[b"flushdb", b"sync"] });
        }
        match rng.within(0..100) {
            0 => return words(&[b"DBSIZE"]),
            1 => return words(&[b"RANDOMKEY"]),
            2 if rng.percent(30) => {
                return words(rng.pick::<&[&[u8]]>(&[&[b"KEYS", b"*"], &[b"keys", b"k1*"], &[b"KEYS", b"none*"]]));
            }
            3 => return words(&[b"PING"]),
            4 if rng.percent(30) => return self.nonsense(rng),
            _ => {}
        }
        self.command(home, now, rng)
    }

    fn plan_transaction(&mut self, home: usize, now: u64, rng: &mut Rng) {
        if rng.percent(50) {
            let mut watch = words(&[b"WATCH"]);
            (0..rng.size(1..3)).for_each(|_| watch.push(self.key(home, rng)));
            self.plan.push_back(watch);
            if rng.percent(20) {
                let read = self.key(home, rng);
                self.plan.push_back(words(&[b"GET", &read]));
            }
        }
        self.plan.push_back(words(&[b"MULTI"]));
        for _ in 0..rng.size(0..6) {
            // Now and then one that belongs elsewhere.
            let home = if rng.percent(3) { rng.index(self.keys.len()) } else { home };
            let request = if rng.percent(1) { self.nonsense(rng) } else { self.command(home, now, rng) };
            self.plan.push_back(request);
        }
        self.plan.push_back(words(match rng.within(0..12) {
            0 => &[b"DISCARD"],
            _ => &[b"EXEC"],
        }));
    }

    fn key(&self, home: usize, rng: &mut Rng) -> Vec<u8> {
        let keys = &self.keys[home];
        // A few keys are busy.
        let index = if rng.percent(40) { rng.index(keys.len().min(4)) } else { rng.index(keys.len()) };
        keys[index].clone()
    }

    fn value(&self, rng: &mut Rng) -> Vec<u8> {
        match rng.within(0..10) {
            0 => rng.within(0..100_000).to_string().into_bytes(),
            1 => Vec::new(),
            _ => {
                let most = self.swarm.value_len_max as u64;
                let mut len = usize::try_from(rng.log_uniform(1..most + 1)).unwrap_or(1);
                if most > self.swarm.segment_len / 2 && rng.percent(5) {
                    // About as long as a segment takes.
                    len = usize::try_from(self.swarm.segment_len - rng.within(200..500)).unwrap_or(len);
                }
                let mut bytes = Vec::with_capacity(len + 8);
                while bytes.len() < len {
                    bytes.extend_from_slice(&rng.next().to_le_bytes());
                }
                bytes.truncate(len);
                bytes
            }
        }
    }

    /// An option that says when, and its number.
    fn when(&self, now: u64, rng: &mut Rng) -> (&'static [u8], Vec<u8>) {
        let millis = rng.within(1..self.swarm.expiry_ms + 1);
        let (word, number): (&[u8], u64) = match rng.within(0..8) {
            0 => (b"EX", millis.div_ceil(1000)),
            1 => (b"exat", (now + millis).div_ceil(1000)),
            2 => (b"PXAT", now + millis),
            3 => (b"pxat", now.saturating_sub(millis)),
            _ => (b"px", millis),
        };
        let number = if rng.percent(1) { "-5".into() } else { number.to_string() };
        (word, number.into_bytes())
    }

    /// A command on keys of one partition.
    fn command(&self, home: usize, now: u64, rng: &mut Rng) -> Request {
        let kind = rng.within(0..100);
        if kind < self.swarm.read_percent {
            self.read(home, rng)
        } else if rng.percent(self.swarm.delete_percent) {
            let mut request = words(&[rng.pick::<&[u8]>(&[b"DEL", b"del", b"UNLINK", b"GETDEL"])]);
            request.push(self.key(home, rng));
            while !request[0].eq_ignore_ascii_case(b"getdel") && rng.percent(30) {
                // These may be spread over partitions.
                let home = rng.index(self.keys.len());
                request.push(self.key(home, rng));
            }
            request
        } else if rng.percent(self.swarm.expiry_percent) {
            self.expire(home, now, rng)
        } else {
            self.write(home, now, rng)
        }
    }

    fn read(&self, home: usize, rng: &mut Rng) -> Request {
        let key = self.key(home, rng);
        match rng.within(0..24) {
            0 if self.swarm.value_len_max < 600 => {
                let other = self.key(home, rng);
                words(&[b"LCS", &key, &other, b"LEN"])
            }
            1 if self.swarm.value_len_max < 200 => {
                let other = self.key(home, rng);
                words(&[b"lcs", &key, &other])
            }
            2 | 3 => {
                let mut request = words(&[b"MGET", &key]);
                while rng.percent(60) {
                    let home = rng.index(self.keys.len());
                    request.push(self.key(home, rng));
                }
                request
            }
            4 => {
                let home = rng.index(self.keys.len());
                let other = self.key(home, rng);
                words(&[rng.pick::<&[u8]>(&[b"EXISTS", b"TOUCH"]), &key, &other, &key])
            }
            5 => words(&[b"STRLEN", &key]),
            6 => {
                let (from, to) = (rng.within(0..20).to_string(), rng.within(0..200).to_string());
                let sign = if rng.percent(30) { "-" } else { "" };
                words(&[b"GETRANGE", &key, format!("{sign}{from}").as_bytes(), to.as_bytes()])
            }
            7 => words(&[b"SUBSTR", &key, b"0", b"-1"]),
            8 => words(&[b"TTL", &key]),
            9 => words(&[b"PTTL", &key]),
            10 => words(&[b"EXPIRETIME", &key]),
            11 => words(&[b"PEXPIRETIME", &key]),
            12 => words(&[b"TYPE", &key]),
            13 => words(&[b"OBJECT", b"ENCODING", &key]),
            14 => words(&[b"object", rng.pick::<&[u8]>(&[b"freq", b"idletime", b"refcount"]), &key]),
            15 => words(&[b"MEMORY", b"USAGE", &key]),
            _ => words(&[b"GET", &key]),
        }
    }

    fn expire(&self, home: usize, now: u64, rng: &mut Rng) -> Request {
        let key = self.key(home, rng);
        let (word, number) = self.when(now, rng);
        match rng.within(0..6) {
            0 => words(&[b"PERSIST", &key]),
            1 => words(&[b"GETEX", &key, word, &number]),
            2 => words(if rng.percent(50) { &[b"GETEX", &[], b"PERSIST"] } else { &[b"getex", &[]] })
                .into_iter()
                .map(|arg| if arg.is_empty() { key.clone() } else { arg })
                .collect(),
            _ => {
                let name: &[u8] = match word.to_ascii_lowercase().as_slice() {
                    b"ex" => b"EXPIRE",
                    b"px" => b"PEXPIRE",
                    b"exat" => b"EXPIREAT",
                    _ => b"PEXPIREAT",
                };
                let mut request = words(&[name, &key, &number]);
                if rng.percent(30) {
                    request.push(rng.pick::<&[u8]>(&[b"NX", b"XX", b"GT", b"LT"]).to_vec());
                }
                request
            }
        }
    }

    fn write(&self, home: usize, now: u64, rng: &mut Rng) -> Request {
        let (key, value) = (self.key(home, rng), self.value(rng));
        match rng.within(0..30) {
            0 => words(&[b"APPEND", &key, &value[..value.len().min(40)]]),
            1 => words(&[b"SETNX", &key, &value]),
            2 | 3 => self.pairs(b"MSET", home, rng),
            4 => self.pairs(b"MSETNX", home, rng),
            5 => words(&[b"GETSET", &key, &value]),
            6 => {
                let offset = rng.within(0..self.swarm.value_len_max as u64).to_string();
                words(&[b"SETRANGE", &key, offset.as_bytes(), &value[..value.len().min(20)]])
            }
            7 => words(&[rng.pick::<&[u8]>(&[b"INCR", b"DECR"]), &key]),
            8 => {
                let number = rng.within(0..1000).to_string();
                words(&[rng.pick::<&[u8]>(&[b"INCRBY", b"DECRBY"]), &key, number.as_bytes()])
            }
            9 => {
                let key = &self.keys[home][self.keys[home].len() - 1];
                words(&[b"INCRBYFLOAT", key, rng.pick::<&[u8]>(&[b"1", b"0.5", b"-2.25", b"10"])])
            }
            10 => {
                let other = self.key(home, rng);
                words(&[rng.pick::<&[u8]>(&[b"RENAME", b"RENAMENX"]), &key, &other])
            }
            11 => {
                let other = self.key(home, rng);
                let mut request = words(&[b"COPY", &key, &other]);
                if rng.percent(50) {
                    request.push(b"REPLACE".to_vec());
                }
                request
            }
            12 => words(&[b"SETEX", &key, b"1", &value]),
            13 => words(&[b"PSETEX", &key, rng.within(1..self.swarm.expiry_ms + 1).to_string().as_bytes(), &value]),
            14..18 => self.set_with_options(key, &value, now, rng),
            _ => words(&[b"SET", &key, &value]),
        }
    }

    fn pairs(&self, name: &[u8], home: usize, rng: &mut Rng) -> Request {
        let mut request = words(&[name]);
        for _ in 0..rng.size(1..6) {
            let home = if rng.percent(2) { rng.index(self.keys.len()) } else { home };
            request.push(self.key(home, rng));
            let mut value = self.value(rng);
            value.truncate(self.swarm.value_len_max / 3);
            request.push(value);
        }
        request
    }

    fn set_with_options(&self, key: Vec<u8>, value: &[u8], now: u64, rng: &mut Rng) -> Request {
        let mut request = words(&[b"SET", &key, value]);
        if rng.percent(50) {
            request.push(rng.pick::<&[u8]>(&[b"NX", b"xx"]).to_vec());
        }
        if rng.percent(30) {
            request.push(b"GET".to_vec());
        }
        if rng.percent(self.swarm.expiry_percent) {
            let (word, number) = self.when(now, rng);
            request.push(word.to_vec());
            request.push(number);
        } else if rng.percent(30) {
            request.push(b"KEEPTTL".to_vec());
        }
        request
    }
}
