//! Clients: what they send, and what they may rely on.

mod generate;

use std::collections::{BTreeSet, VecDeque};

use crate::model::{Item, parse_reply};
use crate::rng::Rng;
pub(crate) use generate::Generator;

/// A command as a client sends it.
pub(crate) type Request = Vec<Vec<u8>>;

/// One client, which connects again whenever it has lost its connection.
pub(crate) struct Client {
    pub(crate) rng: Rng,
    pub(crate) connection: Option<u64>,
    generator: Generator,
    /// Sent on this connection and not answered yet.
    outstanding: VecDeque<Request>,
    /// How many of them the server has executed, and what it answered.
    answers: VecDeque<Vec<u8>>,
    received: Vec<u8>,
    scan: Option<Scan>,
}

/// A loop of SCAN from cursor 0 to cursor 0.
struct Scan {
    begun: u64,
    cursor: Vec<u8>,
    prefix: &'static [u8],
    seen: BTreeSet<Vec<u8>>,
    waiting: bool,
}

/// A loop that has come to its end: whatever has been there since `begun` must be among `seen`.
pub(crate) struct ScanLoop {
    pub(crate) begun: u64,
    pub(crate) prefix: &'static [u8],
    pub(crate) seen: BTreeSet<Vec<u8>>,
}

impl Client {
    pub(crate) fn new(rng: Rng, swarm: &crate::swarm::Swarm, keys: &[Vec<Vec<u8>>]) -> Self {
        Self {
            rng,
            connection: None,
            generator: Generator::new(swarm.clone(), keys.to_vec()),
            outstanding: VecDeque::new(),
            answers: VecDeque::new(),
            received: Vec::new(),
            scan: None,
        }
    }

    pub(crate) fn connected(&mut self, connection: u64) {
        self.connection = Some(connection);
    }

    /// What was outstanding may have been done or not: nobody will say.
    pub(crate) fn connection_lost(&mut self) {
        self.outstanding.clear();
        self.answers.clear();
        self.received.clear();
        self.generator.reset();
        if let Some(scan) = &mut self.scan {
            scan.waiting = false;
        }
    }

    pub(crate) fn outstanding(&self) -> usize {
        self.outstanding.len()
    }

    /// The next command, as the bytes that are sent. `now` is the wall clock, `step` numbers the steps of the run.
    pub(crate) fn request(&mut self, now: u64, step: u64) -> Vec<u8> {
        let request = match &mut self.scan {
            Some(scan) if !scan.waiting && !self.generator.in_transaction() && self.rng.percent(60) => {
                scan.waiting = true;
                self.generator.scan(&scan.cursor, scan.prefix, &mut self.rng)
            }
            None if self.generator.wants_scan(&mut self.rng) => {
                let prefix = *self.rng.pick::<&[u8]>(&[b"", b"", b"k1"]);
                self.scan =
                    Some(Scan { begun: step, cursor: b"0".to_vec(), prefix, seen: BTreeSet::new(), waiting: true });
                self.generator.scan(b"0", prefix, &mut self.rng)
            }
            _ => self.generator.next(now, &mut self.rng),
        };
        let bytes = encode(&request, &mut self.rng);
        self.outstanding.push_back(request);
        bytes
    }

    /// The server has executed a command of this client: it must be the next one.
    pub(crate) fn executed(&mut self, args: &Request, answer: &[u8]) {
        let next = self.outstanding.get(self.answers.len());
        let next = next.unwrap_or_else(|| panic!("a command is executed that was not sent: {args:?}"));
        assert!(next == args, "{args:?} is executed, {next:?} was sent");
        self.answers.push_back(answer.to_vec());
    }

    /// Bytes have come from the server. Returns how many replies are complete, and the scans that have ended.
    pub(crate) fn receive(&mut self, bytes: &[u8]) -> (u64, Vec<ScanLoop>) {
        self.received.extend_from_slice(bytes);
        let (mut replies, mut ended) = (0, Vec::new());
        while let Some(answer) = self.answers.front() {
            let len = answer.len().min(self.received.len());
            assert!(
                self.received[..len] == answer[..len],
                "a client received {} instead of {}",
                self.received[..len].escape_ascii(),
                answer.escape_ascii()
            );
            if len < answer.len() {
                break;
            }
            let answer = self.answers.pop_front().expect("looked at above");
            self.received.drain(..len);
            let request = self.outstanding.pop_front().expect("answers belong to commands");
            replies += 1;
            if request[0].eq_ignore_ascii_case(b"scan") {
                ended.extend(self.scanned(&answer));
            }
        }
        if self.answers.is_empty() {
            assert!(self.received.is_empty(), "a client received what it did not ask for");
        }
        (replies, ended)
    }

    fn scanned(&mut self, answer: &[u8]) -> Option<ScanLoop> {
        let Some((Item::Array(items), _)) = parse_reply(answer) else { panic!("SCAN is answered with an array") };
        let [Item::Text(cursor), Item::Array(keys)] = items.as_slice() else { panic!("SCAN answers cursor and keys") };
        let scan = self.scan.as_mut()?;
        scan.waiting = false;
        scan.cursor.clone_from(cursor);
        scan.seen
            .extend(keys.iter().filter_map(|key| if let Item::Text(key) = key { Some(key.clone()) } else { None }));
        if cursor == b"0" {
            return self.scan.take().map(|scan| ScanLoop { begun: scan.begun, prefix: scan.prefix, seen: scan.seen });
        }
        None
    }
}

/// A command as RESP, or now and then as a line where it can be typed.
fn encode(request: &Request, rng: &mut Rng) -> Vec<u8> {
    let plain = |arg: &Vec<u8>| !arg.is_empty() && arg.iter().all(u8::is_ascii_alphanumeric);
    if rng.percent(5) && request.iter().all(plain) {
        return [request.join(&b' '), if rng.percent(50) { b"\r\n".to_vec() } else { b"\n".to_vec() }].concat();
    }
    let mut bytes = format!("*{}\r\n", request.len()).into_bytes();
    for arg in request {
        bytes.extend(format!("${}\r\n", arg.len()).bytes());
        bytes.extend_from_slice(arg);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}
