//! `redis-cli`, as a person would use it.

use std::process::{Command, Stdio};

use crate::support::Server;

fn redis_cli(server: &Server, args: &[&str]) -> String {
    let port = server.address.port().to_string();
    let output = Command::new("redis-cli")
        .args(["-p", &port])
        .args(args)
        .stdin(Stdio::null())
        .output()
        .expect("these tests need redis-cli, which most systems have in a package redis-tools");
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_first_steps_of_the_readme_work() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    assert_eq!(redis_cli(&server, &["SET", "a", "1"]), "OK\n");
    server.kill();
    let server = Server::start(dir.path(), &[]);
    assert_eq!(redis_cli(&server, &["GET", "a"]), "1\n");
    assert_eq!(redis_cli(&server, &["-3", "HELLO"]).lines().next(), Some("server redis").or(Some("server")));
}

#[test]
fn both_protocols_are_shown_alike() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    redis_cli(&server, &["SET", "a", "1"]);
    for version in ["-2", "-3"] {
        assert_eq!(redis_cli(&server, &[version, "--no-raw", "GET", "a"]), "\"1\"\n");
        assert_eq!(redis_cli(&server, &[version, "--no-raw", "GET", "nothing"]), "(nil)\n");
        assert_eq!(redis_cli(&server, &[version, "--no-raw", "INCR", "n"]).split(' ').next(), Some("(integer)"));
        assert!(redis_cli(&server, &[version, "INFO", "server"]).contains("redis_version:7.2.0"));
        assert!(redis_cli(&server, &[version, "CONFIG", "GET", "save"]).starts_with("save"));
        assert!(redis_cli(&server, &[version, "CLIENT", "HELP"]).starts_with("CLIENT <subcommand>"));
    }
}

#[test]
fn its_own_modes_work() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    for number in 0..50 {
        redis_cli(&server, &["SET", &format!("k:{number}"), "v"]);
    }
    assert_eq!(redis_cli(&server, &["--scan", "--pattern", "k:*"]).lines().count(), 50);
    let biggest = redis_cli(&server, &["--bigkeys"]);
    assert!(biggest.contains("50 strings"), "{biggest}");
}

#[test]
fn a_shutdown_keeps_what_was_confirmed() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    redis_cli(&server, &["MSET", "{t}a", "1", "{t}b", "2"]);
    redis_cli(&server, &["SHUTDOWN", "NOSAVE"]);
    let (status, said) = server.wait();
    assert!(status.success(), "{status}: {said}");
    let server = Server::start(dir.path(), &[]);
    assert_eq!(redis_cli(&server, &["MGET", "{t}a", "{t}b"]), "1\n2\n");
}

#[test]
fn inline_commands_are_understood() {
    use std::io::{Read, Write};

    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    let mut stream = std::net::TcpStream::connect(server.address).unwrap();
    stream.write_all(b"SET \"a b\" 'c'\r\nGET \"a b\"\n\r\nPING\r\nQUIT\r\n").unwrap();
    let mut replies = String::new();
    stream.read_to_string(&mut replies).unwrap();
    assert_eq!(replies, "+OK\r\n$1\r\nc\r\n+PONG\r\n+OK\r\n");
}
