//! Memory a key, and opening after a crash.

use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use super::samples::Samples;
use super::server::{Kind, Programs, Scratch, Server, ask};

const VALUE: [u8; 100] = [b'v'; 100];
const BATCH: u64 = 1_000;
/// How often the node is killed and opened again. Before each further time, some keys are written once more: a log that has
/// just been opened opens quicker.
const OPENINGS: usize = 5;
const WRITTEN_BETWEEN: u64 = 100_000;

/// Writes `keys` keys, looks at the memory, kills the node and opens the log again, some times.
pub(crate) fn measure(keys: u64, programs: &Programs, samples: &mut Samples) -> Result<(), String> {
    println!("bench: {keys} keys for memory and opening");
    let kind = Kind::named("windrow").ok_or("there is no such server")?;
    let scratch = Scratch::new("memory")?;
    let mut server = Server::start(kind, programs, &scratch)?;
    let empty = server.anonymous_bytes();
    let stopped = |error| format!("the node stopped answering: {error}");
    fill(server.port, keys).map_err(stopped)?;
    #[expect(clippy::cast_precision_loss, reason = "a count far below 2^52")]
    let count = keys as f64;
    let mut add = |metric: &str, round: usize, value: f64| samples.add("node", "windrow", metric, round, value);
    add("keys", 0, count);
    add("bytes-per-key", 0, (server.anonymous_bytes() - empty) / count);
    for opening in 0..OPENINGS {
        if opening > 0 {
            fill(server.port, keys.min(WRITTEN_BETWEEN)).map_err(stopped)?;
        }
        // What was appended: not the segments that stand prepared.
        let log_gb = info_number(server.port, "master_repl_offset").unwrap_or(f64::NAN) / 1e9;
        drop(server);
        let started = Instant::now();
        server = Server::start(kind, programs, &scratch)?;
        let seconds = started.elapsed().as_secs_f64();
        println!("  opening {}: {log_gb:.2} GB of log in {seconds:.2} s", opening + 1);
        add("log-gb", opening, log_gb);
        add("open-seconds", opening, seconds);
        add("open-gb-per-second", opening, log_gb / seconds);
    }
    Ok(())
}

/// Sets every key once, a batch of them in flight.
pub(crate) fn fill(port: u16, keys: u64) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_nodelay(true)?;
    let mut replies = BufReader::new(stream.try_clone()?);
    let mut request = Vec::new();
    let mut done = 0;
    while done < keys {
        let count = BATCH.min(keys - done);
        request.clear();
        for key in done..done + count {
            write!(request, "*3\r\n$3\r\nSET\r\n$16\r\nkey:{key:012}\r\n$100\r\n")?;
            request.extend_from_slice(&VALUE);
            request.extend_from_slice(b"\r\n");
        }
        stream.write_all(&request)?;
        for _ in 0..count {
            let mut reply = [0; 5];
            replies.read_exact(&mut reply)?;
            if &reply != b"+OK\r\n" {
                return Err(std::io::Error::other("a SET was refused"));
            }
        }
        done += count;
    }
    Ok(())
}

/// One number of `INFO`.
fn info_number(port: u16, field: &str) -> Option<f64> {
    let text = ask(port, "INFO everything\r\nQUIT\r\n")?;
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    line.trim().parse().ok()
}
