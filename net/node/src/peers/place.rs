//! Where another node is: an address, or a name that may lead to another address tomorrow.
//!
//! Names are looked up on a thread of its own, because a resolver may take any time and a core must not wait for it. A
//! name is looked up at the start and whenever an attempt to connect has failed; what was found is used for the next
//! attempt. While connections work, nobody asks.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// A name is looked up no more often than this.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Where another node is.
#[derive(Clone, Debug)]
pub struct Place(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Fixed(SocketAddr),
    Named { name: Arc<Name>, thread: Sender<Arc<Name>> },
}

#[derive(Debug)]
struct Name {
    host: String,
    port: u16,
    /// It is being looked up, or waits for that.
    asked: AtomicBool,
    found: Mutex<Found>,
}

#[derive(Default, Debug)]
struct Found {
    address: Option<SocketAddr>,
    /// All addresses that the name had, in their order.
    all: Vec<SocketAddr>,
    /// How often they were others than before.
    moves: u64,
    /// When it was asked for the last time.
    asked_at: Option<Instant>,
    /// Why the last attempt found nothing.
    trouble: Option<String>,
}

/// Looks names up.
#[derive(Clone, Debug)]
pub struct Resolver {
    thread: Sender<Arc<Name>>,
}

impl Resolver {
    /// Starts its thread, which ends when the last place is gone that has a name.
    ///
    /// # Errors
    /// What the system says.
    pub fn start() -> io::Result<Self> {
        Self::with(|host, port| Ok((host, port).to_socket_addrs()?.collect()))
    }

    /// As [`start`](Self::start), with another way to look a name up.
    pub(super) fn with(
        look_up: impl Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + 'static,
    ) -> io::Result<Self> {
        let (thread, asked) = channel();
        thread::Builder::new().name("windrow-names".to_owned()).spawn(move || resolve(&asked, look_up))?;
        Ok(Self { thread })
    }

    /// The place of a node: `host` is an address, or a name that is looked up from now on.
    #[must_use]
    pub fn place(&self, host: &str, port: u16) -> Place {
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Place::from(SocketAddr::new(ip, port));
        }
        let name = Name { host: host.to_owned(), port, asked: AtomicBool::new(false), found: Mutex::default() };
        let place = Place(Kind::Named { name: Arc::new(name), thread: self.thread.clone() });
        place.look_again(Instant::now());
        place
    }
}

/// What the thread does.
fn resolve(asked: &Receiver<Arc<Name>>, look_up: impl Fn(&str, u16) -> io::Result<Vec<SocketAddr>>) {
    for name in asked {
        let looked_up = look_up(&name.host, name.port);
        let mut found = name.found();
        match looked_up.map(|addresses| (next_of(&addresses, found.address), addresses)) {
            Ok((Some(address), mut all)) => {
                all.sort_unstable();
                found.moves += u64::from(all != found.all);
                found.all = all;
                found.address = Some(address);
                found.trouble = None;
            }
            // What it led to before may be right again before the resolver is.
            Ok((None, _)) => found.trouble = Some("the name has no address".to_owned()),
            Err(error) => found.trouble = Some(error.to_string()),
        }
        drop(found);
        name.asked.store(false, Ordering::Release);
    }
}

/// The address behind the one that did not work, around in a circle.
fn next_of(addresses: &[SocketAddr], before: Option<SocketAddr>) -> Option<SocketAddr> {
    let place = addresses.iter().position(|address| Some(*address) == before);
    let next = place.map_or(0, |place| (place + 1) % addresses.len());
    addresses.get(next).copied()
}

impl Found {
    fn is_due(&self, now: Instant) -> bool {
        self.asked_at.is_none_or(|at| now.saturating_duration_since(at) >= LOOK_EVERY)
    }
}

impl Name {
    fn found(&self) -> MutexGuard<'_, Found> {
        // Held for a few instructions: the thread looks the name up before.
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// The address to connect to.
    ///
    /// # Errors
    /// A name that has not led to one yet.
    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        match &self.0 {
            Kind::Fixed(address) => Ok(*address),
            Kind::Named { name, .. } => {
                let found = name.found();
                let trouble = || found.trouble.clone().unwrap_or_else(|| "it is being looked up".to_owned());
                found.address.ok_or_else(|| {
                    io::Error::new(
                        io::ErrorKind::NotFound,
                        format!("no address of {} is known: {}", name.host, trouble()),
                    )
                })
            }
        }
    }

    /// How often its name has come to lead elsewhere.
    pub(super) fn moves(&self) -> u64 {
        match &self.0 {
            Kind::Fixed(_) => 0,
            Kind::Named { name, .. } => name.found().moves,
        }
    }

    /// It could not be connected to: its name is looked up again, if it has one and was not looked up a moment ago.
    /// Does not wait.
    pub(super) fn look_again(&self, now: Instant) {
        if let Kind::Named { name, thread } = &self.0
            && name.found().is_due(now)
            && !name.asked.swap(true, Ordering::AcqRel)
        {
            name.found().asked_at = Some(now);
            // The thread lives as long as anybody can ask it.
            let _sent = thread.send(Arc::clone(name));
        }
    }
}

impl From<SocketAddr> for Place {
    fn from(address: SocketAddr) -> Self {
        Self(Kind::Fixed(address))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Fixed(address) => write!(f, "{address}"),
            Kind::Named { name, .. } => match name.found().address {
                Some(address) => write!(f, "{}:{} ({})", name.host, name.port, address.ip()),
                None => write!(f, "{}:{}", name.host, name.port),
            },
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A resolver, and what has it say that the name of a place leads to the address with this number, long after it was
    /// asked the last time.
    pub(in crate::peers) fn scripted() -> (Resolver, impl Fn(&Place, Instant, u8)) {
        let (answer, answers) = channel::<io::Result<Vec<SocketAddr>>>();
        let resolver = Resolver::with(move |_, _| answers.recv().unwrap_or_else(|_| Ok(Vec::new()))).unwrap();
        let say = move |place: &Place, now: Instant, last: u8| {
            let Kind::Named { name, .. } = &place.0 else { panic!("it has a name") };
            name.found().asked_at = None;
            place.look_again(now);
            answer.send(Ok(vec![address(last)])).unwrap();
            until(|| !name.asked.load(Ordering::Acquire));
        };
        (resolver, say)
    }

    fn address(last: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, last], 7))
    }

    fn until(mut so: impl FnMut() -> bool) {
        let since = Instant::now();
        while !so() {
            assert!(since.elapsed() < Duration::from_secs(30), "it never came to that");
            thread::yield_now();
        }
    }

    fn is_asked(place: &Place) -> bool {
        matches!(&place.0, Kind::Named { name, .. } if name.asked.load(Ordering::Acquire))
    }

    #[test]
    fn a_name_leads_to_its_addresses_in_turn() {
        let all = [address(1), address(2)];
        assert_eq!(next_of(&all, None), Some(address(1)));
        assert_eq!(next_of(&all, Some(address(1))), Some(address(2)));
        assert_eq!(next_of(&all, Some(address(2))), Some(address(1)));
        assert_eq!(next_of(&all, Some(address(9))), Some(address(1)));
        assert_eq!(next_of(&[], Some(address(9))), None);
    }

    #[test]
    fn nobody_waits_for_a_resolver_that_takes_its_time() {
        let (answer, answers) = channel::<io::Result<Vec<SocketAddr>>>();
        let resolver = Resolver::with(move |_, _| answers.recv().unwrap_or_else(|_| Ok(Vec::new()))).unwrap();
        let place = resolver.place("node-2", 7);
        // The resolver hangs, and asking again does not pile up.
        let mut now = Instant::now();
        (0..1_000).for_each(|second| place.look_again(now + LOOK_EVERY * second));
        assert!(place.address().unwrap_err().to_string().contains("being looked up"));
        answer.send(Ok(vec![address(1)])).unwrap();
        until(|| place.address().is_ok());
        assert_eq!(place.address().unwrap(), address(1));
        // It is not asked for again at once, and then it is.
        until(|| !is_asked(&place));
        place.look_again(now + LOOK_EVERY / 2);
        assert!(!is_asked(&place));
        // It moves. Until that is known, it is looked for where it was.
        now += LOOK_EVERY;
        place.look_again(now);
        assert!(is_asked(&place));
        assert_eq!(place.address().unwrap(), address(1));
        answer.send(Err(io::ErrorKind::TimedOut.into())).unwrap();
        until(|| {
            now += LOOK_EVERY;
            place.look_again(now);
            answer.send(Ok(vec![address(3)])).unwrap();
            place.address().is_ok_and(|found| found == address(3))
        });
        assert_eq!(place.to_string(), "node-2:7 (10.0.0.3)");
    }

    #[test]
    fn an_address_is_not_looked_up() {
        let resolver = Resolver::with(|_, _| panic!("nobody asks")).unwrap();
        assert_eq!(resolver.place("10.0.0.1", 7).address().unwrap(), address(1));
        assert_eq!(resolver.place("::1", 7).address().unwrap(), "[::1]:7".parse::<SocketAddr>().unwrap());
    }
}
