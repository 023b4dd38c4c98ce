//! The admin endpoint of a running server.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use crate::support::{PATIENCE, Server, free_port};

fn get(port: u16, path: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn metrics_follow_what_clients_do() {
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let server = Server::start(dir.path(), &["--admin-port", &port.to_string()]);
    let mut client = server.connect();
    for _ in 0..10 {
        client.call(&["SET", "k", "v"]).unwrap();
    }
    assert!(get(port, "/healthz").starts_with("HTTP/1.1 200 "));
    assert!(get(port, "/readyz").starts_with("HTTP/1.1 200 "));
    // What a core publishes is at most two ticks old.
    let deadline = Instant::now() + PATIENCE;
    let page = loop {
        let page = get(port, "/metrics");
        if sample(&page, "windrow_partition_log_durable_bytes") > 0.0 {
            break page;
        }
        assert!(Instant::now() < deadline, "nothing is published: {page}");
    };
    assert!(sample(&page, "windrow_commands_total") >= 10.0, "{page}");
    assert!(sample(&page, "windrow_flushes_total") >= 10.0, "each write waited for a flush of its own");
    assert!(sample(&page, "windrow_connections_accepted_total") >= 1.0);
    assert!(page.contains("windrow_command_calls_total{command=\"set\",outcome=\"done\"} 10\n"), "{page}");
}

/// The sum of all samples of one name.
fn sample(page: &str, name: &str) -> f64 {
    let samples = page.lines().filter(|line| line.split(['{', ' ']).next() == Some(name));
    samples.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}
