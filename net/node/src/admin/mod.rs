//! The admin endpoint: metrics and health over HTTP, on a port and threads of its own.
//!
//! It never touches a core: what it shows are the published numbers of [`metrics`](crate::metrics). It is bounded in
//! every way: [`HEADER_LEN_MAX`] bytes of request, [`CONNECTIONS_MAX`] connections at once, [`REQUEST_WITHIN`] for a
//! request and [`ANSWER_WITHIN`] for its answer, one request per connection. It changes nothing and asks for no
//! password; who may reach it is decided by the address that it is bound to, which is loopback unless set.

mod http;

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

pub use http::HEADER_LEN_MAX;
use http::{Request, RequestError, Response, read_request, write_response};

/// Connections served at once; further ones are answered 503.
pub const CONNECTIONS_MAX: usize = 8;
/// A request must be there within this time.
pub const REQUEST_WITHIN: Duration = Duration::from_secs(5);
/// An answer must be taken within this time for every part that the kernel accepts.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// How often a waiting read looks at its deadline.
const READ_STEP: Duration = Duration::from_millis(250);
/// How long accepting pauses when the system cannot give another descriptor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Whether something is as it should be, and why not.
pub type Health = Result<(), String>;

/// What the endpoint shows.
pub trait Source: Send + Sync + 'static {
    /// The page for Prometheus, in text format 0.0.4.
    fn metrics(&self) -> String;
    /// Whether the process works: an `Err` should have it restarted.
    fn health(&self) -> Health;
    /// Whether clients should be sent here.
    fn readiness(&self) -> Health;
    /// A line that says what is running.
    fn title(&self) -> String;
}

/// The running endpoint. Dropping it leaves it running; see [`Admin::stop`].
#[derive(Debug)]
pub struct Admin {
    address: SocketAddr,
    stopping: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Admin {
    /// Serves on `listener`, from a thread of its own.
    ///
    /// # Errors
    /// The thread cannot be started, or the listener has no address.
    pub fn start(listener: TcpListener, source: Arc<dyn Source>) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let stopping = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stopping);
        let thread =
            thread::Builder::new().name("windrow-admin".to_owned()).spawn(move || accept(&listener, &source, &seen))?;
        Ok(Self { address, stopping, thread })
    }

    /// The address that it serves on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops accepting and frees the port. Answers that are under way are finished by their own threads.
    pub fn stop(self) {
        self.stopping.store(true, Ordering::Release);
        // The listener only looks at the flag when somebody comes. Where nobody can, it ends with the process.
        let mut address = self.address;
        if address.ip().is_unspecified() {
            address.set_ip(match address {
                SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
                SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
            });
        }
        if TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok() {
            let _ = self.thread.join();
        }
    }
}

fn accept(listener: &TcpListener, source: &Arc<dyn Source>, stopping: &AtomicBool) {
    let open = Arc::new(AtomicUsize::new(0));
    loop {
        let accepted = listener.accept();
        if stopping.load(Ordering::Acquire) {
            return;
        }
        match accepted {
            Ok((stream, _)) => serve(stream, source, &open),
            Err(error) => {
                tracing::warn!(%error, "the admin endpoint could not accept a connection");
                thread::sleep(ACCEPT_PAUSE);
            }
        }
    }
}

fn serve(mut stream: TcpStream, source: &Arc<dyn Source>, open: &Arc<AtomicUsize>) {
    let prepared =
        stream.set_read_timeout(Some(READ_STEP)).and_then(|()| stream.set_write_timeout(Some(ANSWER_WITHIN)));
    if prepared.is_err() {
        return;
    }
    let place = Place::take(open);
    let Some(place) = place else {
        // Small enough for the socket's buffer, so that this does not wait.
        let _ =
            write_response(&mut stream, &Response::text("503 Service Unavailable", "too many connections\n"), false);
        return;
    };
    let source = Arc::clone(source);
    let spawned = thread::Builder::new().name("windrow-admin".to_owned()).spawn(move || {
        let _place = place;
        if let Err(error) = answer(&mut stream, &*source) {
            tracing::debug!(%error, "an admin connection failed");
        }
    });
    if let Err(error) = spawned {
        tracing::warn!(%error, "the admin endpoint could not start a thread");
    }
}

/// One of the [`CONNECTIONS_MAX`] places, given back when dropped.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(open: &Arc<AtomicUsize>) -> Option<Self> {
        let more = |count| (count < CONNECTIONS_MAX).then_some(count + 1);
        open.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).ok().map(|_| Self(Arc::clone(open)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

fn answer(stream: &mut TcpStream, source: &dyn Source) -> io::Result<()> {
    let (response, head) = match read_request(stream, Instant::now() + REQUEST_WITHIN) {
        Ok(request) => (page(&request, source), request.head),
        Err(RequestError::Io(error)) => return Err(error),
        Err(RequestError::Method) => (Response::text("405 Method Not Allowed", "only GET and HEAD\n"), false),
        Err(RequestError::TooSlow) => (Response::text("408 Request Timeout", "too slow\n"), false),
        Err(RequestError::TooLarge) => {
            (Response::text("431 Request Header Fields Too Large", "the request is too large\n"), false)
        }
        Err(RequestError::Malformed) => (Response::text("400 Bad Request", "not understood\n"), false),
    };
    write_response(stream, &response, head)
}

fn page(request: &Request, source: &dyn Source) -> Response {
    match request.path.as_str() {
        "/metrics" => Response {
            status: "200 OK",
            content_type: "text/plain; version=0.0.4; charset=utf-8",
            body: source.metrics(),
        },
        "/healthz" => health(source.health()),
        "/readyz" => health(source.readiness()),
        "/" => {
            let index = "\n\n/metrics  for Prometheus\n/healthz  200 while the process works\n\
                         /readyz   200 while it serves clients\n";
            Response::text("200 OK", source.title() + index)
        }
        _ => Response::text("404 Not Found", "there are /, /metrics, /healthz and /readyz\n"),
    }
}

fn health(health: Health) -> Response {
    match health {
        Ok(()) => Response::text("200 OK", "ok\n"),
        Err(why) => Response::text("503 Service Unavailable", why + "\n"),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::sync::Mutex;

    use super::*;

    struct Fixed(Mutex<Health>);

    impl Source for Fixed {
        fn metrics(&self) -> String {
            "windrow_info 1\n".to_owned()
        }
        fn health(&self) -> Health {
            Ok(())
        }
        fn readiness(&self) -> Health {
            self.0.lock().unwrap().clone()
        }
        fn title(&self) -> String {
            "windrow test".to_owned()
        }
    }

    fn start() -> (Admin, Arc<Fixed>) {
        let source = Arc::new(Fixed(Mutex::new(Ok(()))));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        (Admin::start(listener, Arc::clone(&source) as Arc<dyn Source>).unwrap(), source)
    }

    fn ask(admin: &Admin, request: &str) -> String {
        let mut stream = TcpStream::connect(admin.address()).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        // Who is turned away may see a reset in place of an orderly end.
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8(answer).unwrap()
    }

    fn get(admin: &Admin, path: &str) -> String {
        ask(admin, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
    }

    #[test]
    fn the_pages_are_served_over_a_socket() {
        let (admin, source) = start();
        let metrics = get(&admin, "/metrics");
        assert!(metrics.starts_with("HTTP/1.1 200 OK\r\n"), "{metrics}");
        assert!(metrics.contains("Content-Type: text/plain; version=0.0.4"), "{metrics}");
        assert!(metrics.ends_with("\r\n\r\nwindrow_info 1\n"), "{metrics}");
        assert!(get(&admin, "/").contains("windrow test"));
        assert!(get(&admin, "/healthz").ends_with("ok\n"));
        assert!(get(&admin, "/readyz").ends_with("ok\n"));
        *source.0.lock().unwrap() = Err("shutting down".to_owned());
        let ready = get(&admin, "/readyz");
        assert!(ready.starts_with("HTTP/1.1 503 ") && ready.ends_with("shutting down\n"), "{ready}");
        assert!(get(&admin, "/secret").starts_with("HTTP/1.1 404 "));
        assert!(ask(&admin, "DELETE / HTTP/1.1\r\n\r\n").contains("Allow: GET, HEAD\r\n"));
        admin.stop();
    }

    #[test]
    fn connections_beyond_the_bound_are_turned_away_and_places_come_back() {
        let (admin, _) = start();
        let idle: Vec<_> = (0..CONNECTIONS_MAX).map(|_| TcpStream::connect(admin.address()).unwrap()).collect();
        // Accepted in order, so this one comes when all places are taken.
        assert!(ask(&admin, "").starts_with("HTTP/1.1 503 "));
        drop(idle);
        let deadline = Instant::now() + Duration::from_secs(30);
        while !get(&admin, "/healthz").starts_with("HTTP/1.1 200 ") {
            assert!(Instant::now() < deadline, "no place came back");
            thread::yield_now();
        }
        admin.stop();
    }

    #[test]
    fn stopping_frees_the_port() {
        let (admin, _) = start();
        let address = admin.address();
        admin.stop();
        TcpListener::bind(address).unwrap();
    }
}
