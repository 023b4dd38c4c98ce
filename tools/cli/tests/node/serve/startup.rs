//! Starting, refusing to start, and stopping.

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};

use windrow_core::superblock::FORMAT_VERSION;

use crate::support::{Client, Place, Reply, Server, bulk, ok, until, windrow};

/// Runs a server that is expected to refuse to start.
fn refused(dir: &Path, extra: &[&str]) -> (Option<i32>, String) {
    let base = ["serve", "--admin-port", "0", "--dir", dir.to_str().unwrap()];
    let port: &[&str] = if extra.contains(&"--port") { &[] } else { &["--port", "0"] };
    let Output { status, stderr, .. } = windrow(&[&base, port, extra].concat()).output().unwrap();
    (status.code(), String::from_utf8(stderr).unwrap())
}

impl Place {
    /// A data directory of two partitions, with one key, whose server was stopped in order.
    fn with_data() -> Self {
        let place = Self::new();
        let server = Server::start(&place.dir(), &["--partitions", "2", "--segment-size", "4KiB"]);
        assert_eq!(server.connect().call(&["SET", "key", "value"]).unwrap(), ok());
        server.signal("TERM");
        assert_eq!(server.wait().0.code(), Some(0));
        place
    }
}

#[test]
fn it_says_what_runs_where_the_data_is_and_what_to_type() {
    let place = Place::new();
    let server = Server::start(&place.dir(), &["--partitions", "3"]);
    let greeting = &server.greeting;
    assert!(greeting.starts_with(&format!("Windrow {} (shared-", env!("CARGO_PKG_VERSION"))), "{greeting}");
    assert!(greeting.contains(&format!("data        {} (3 partitions", place.dir().display())), "{greeting}");
    assert!(greeting.contains("durability  commit: a write is confirmed once it is on disk"), "{greeting}");
    assert!(greeting.contains(&format!("-p {} SET greeting hello", server.address.port())), "{greeting}");
    assert_eq!(server.connect().call(&["PING"]).unwrap(), Reply::Simple("PONG".to_owned()));
}

#[test]
fn signals_end_it_in_order_and_the_data_is_there_again() {
    for signal in ["TERM", "INT"] {
        let place = Place::new();
        let server = Server::start(&place.dir(), &[]);
        let mut client = server.connect();
        for number in 0..100 {
            assert_eq!(client.call(&["SET", &format!("key{number}"), "value"]).unwrap(), ok());
        }
        server.signal(signal);
        let (status, said) = server.wait();
        assert_eq!(status.code(), Some(0), "{said}");
        assert!(said.contains("stopped in order"), "{said}");
        let server = Server::start(&place.dir(), &[]);
        let mut client = server.connect();
        for number in 0..100 {
            assert_eq!(client.call(&["GET", &format!("key{number}")]).unwrap(), bulk("value"));
        }
    }
}

#[test]
fn shutdown_ends_it_in_order() {
    let place = Place::new();
    let server = Server::start(&place.dir(), &[]);
    let mut client = server.connect();
    client.send(&[&["SET", "key", "value"], &["SHUTDOWN"]]).unwrap();
    assert_eq!(client.receive().unwrap(), ok());
    assert!(client.receive().is_err(), "the connection ends without a reply");
    assert_eq!(server.wait().0.code(), Some(0));
    assert_eq!(Server::start(&place.dir(), &[]).connect().call(&["GET", "key"]).unwrap(), bulk("value"));
}

#[test]
fn a_taken_port_ends_with_status_69() {
    let place = Place::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let (status, said) = refused(&place.dir(), &["--port", &port]);
    assert_eq!(status, Some(69), "{said}");
    assert!(said.contains(&port) && said.contains("what to do: "), "{said}");
}

#[test]
fn a_directory_in_use_ends_with_status_75() {
    let place = Place::new();
    let server = Server::start(&place.dir(), &[]);
    let (status, said) = refused(&place.dir(), &[]);
    assert_eq!(status, Some(75), "{said}");
    assert!(said.contains("in use by process"), "{said}");
    // The one that runs is not disturbed.
    assert_eq!(server.connect().call(&["SET", "key", "value"]).unwrap(), ok());
}

/// The superuser may do everything, so the server is started as nobody there, from a copy that nobody may run.
#[test]
fn wrong_permissions_end_with_status_77() {
    const NOBODY: u32 = 65_534;
    let place = Place::new();
    let copy = place.0.path().join("windrow");
    fs::copy(env!("CARGO_BIN_EXE_windrow"), &copy).unwrap();
    fs::set_permissions(place.0.path(), Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(place.dir()).unwrap();
    fs::set_permissions(place.dir(), Permissions::from_mode(0o000)).unwrap();
    let mut command = Command::new(&copy);
    if fs::metadata(place.0.path()).unwrap().uid() == 0 {
        command.uid(NOBODY).gid(NOBODY);
    }
    let output =
        command.args(["serve", "--port", "0", "--admin-port", "0", "--dir"]).arg(place.dir()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(77), "{said}");
    assert!(said.contains("Permission denied") && said.contains("what to do: run as the owner"), "{said}");
}

#[test]
fn no_descriptors_left_ends_with_status_71() {
    let place = Place::new();
    let (program, dir) = (env!("CARGO_BIN_EXE_windrow"), place.dir());
    let script = "ulimit -Sn 12 && ulimit -Hn 12 && exec \"$0\" serve --port 0 --admin-port 0 --cores 1 --dir \"$1\"";
    let output = Command::new("sh").args(["-c", script, program]).arg(dir).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(71), "{said}");
    assert!(said.contains("what to do: "), "{said}");
}

/// No segment can be made beyond the limit on the size of files, which is like a disk that is full.
#[test]
fn without_room_for_a_segment_it_serves_reads_and_refuses_writes() {
    let place = Place::with_data();
    let script = "ulimit -f 16 && exec \"$0\" \"$@\"";
    let shell = ["sh", "-c", script, env!("CARGO_BIN_EXE_windrow")];
    let server = Server::start_by(&shell, &place.dir(), &["--segment-size", "1MiB"]);
    let mut client = server.connect();
    assert_eq!(client.call(&["GET", "key"]).unwrap(), bulk("value"));
    let large = "x".repeat(3_000);
    let mut refused = 0;
    for number in 0..20 {
        match client.call(&["SET", &format!("key{number}"), &large]).unwrap() {
            Reply::Error(text) => {
                assert!(text.starts_with("ERR no space left"), "{text}");
                refused += 1;
            }
            reply => assert_eq!(reply, ok()),
        }
    }
    assert!(refused > 10, "two segments of 4 KiB hold one such value each at most, not {}", 20 - refused);
    assert_eq!(client.call(&["GET", "key"]).unwrap(), bulk("value"));
    server.signal("TERM");
    assert_eq!(server.wait().0.code(), Some(0));
    // With room, writes work again.
    let server = Server::start(&place.dir(), &["--segment-size", "1MiB"]);
    assert_eq!(server.connect().call(&["SET", "other", &large]).unwrap(), ok());
}

/// Something is in the way of a segment: it cannot be made, though there is room.
#[test]
fn a_segment_that_cannot_be_made_is_not_taken_for_a_full_disk() {
    const LEN: u64 = 64 << 10;
    let place = Place::new();
    let server = Server::start(&place.dir(), &["--segment-size", "64KiB", "--partitions", "1", "--cores", "1"]);
    let obstacle = place.dir().join("partition-0000").join(format!("{:020}.seg", 8 * LEN));
    fs::create_dir(&obstacle).unwrap();
    let mut client = server.connect();
    let large = "x".repeat(3_000);
    let refused = (0..1_000).find_map(|number| match client.call(&["SET", &format!("key{number}"), &large]).unwrap() {
        Reply::Error(text) => Some(text),
        reply => {
            assert_eq!(reply, ok());
            None
        }
    });
    let refused = refused.expect("there is no ninth segment");
    assert!(refused.starts_with("ERR the disk of the data directory refuses a new log segment"), "{refused}");
    assert_eq!(client.call(&["GET", "key0"]).unwrap(), bulk(&large), "reads go on");
    let says = |client: &mut Client, wanted: &str| {
        let Reply::Bulk(Some(info)) = client.call(&["INFO", "persistence"]).unwrap() else { panic!("INFO is text") };
        info.contains(wanted)
    };
    until("INFO tells of it", || says(&mut client, "segment_failure:refused"));
    assert!(says(&mut client, "aof_last_write_status:err"));
    fs::remove_dir(&obstacle).unwrap();
    until("writes resume", || client.call(&["SET", "other", &large]).unwrap() == ok());
    until("INFO tells of that", || says(&mut client, "segment_failure:none"));
    server.signal("TERM");
    let (status, said) = server.wait();
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(said.contains("until the disk takes one") && said.contains("there is such a file already"), "{said}");
}

#[test]
fn cores_that_do_not_exist_end_with_status_71() {
    let (status, said) = refused(&Place::new().dir(), &["--cores", "1022-1023"]);
    assert_eq!(status, Some(71), "{said}");
    assert!(said.contains("1022"), "{said}");
}

#[test]
fn another_number_of_partitions_ends_with_status_78() {
    let place = Place::with_data();
    let (status, said) = refused(&place.dir(), &["--partitions", "3"]);
    assert_eq!(status, Some(78), "{said}");
    assert!(said.contains("has 2 partitions, not 3"), "{said}");
    // Without the flag, or with the same number, it opens on any number of cores.
    let server = Server::start(&place.dir(), &["--partitions", "2", "--cores", "1"]);
    assert_eq!(server.connect().call(&["GET", "key"]).unwrap(), bulk("value"));
}

#[test]
fn a_directory_of_somebody_else_ends_with_status_78() {
    let place = Place::new();
    fs::create_dir(place.dir()).unwrap();
    fs::write(place.dir().join("thesis.tex"), "precious").unwrap();
    let (status, said) = refused(&place.dir(), &[]);
    assert_eq!(status, Some(78), "{said}");
    assert!(said.contains("thesis.tex"), "{said}");
}

#[test]
fn a_file_in_place_of_the_directory_is_refused() {
    let place = Place::new();
    fs::write(place.dir(), "precious").unwrap();
    let (status, said) = refused(&place.dir().join("inside"), &[]);
    assert_eq!(status, Some(74), "{said}");
    assert!(said.starts_with("windrow: cannot "), "{said}");
}

#[test]
fn damage_below_what_was_flushed_ends_with_status_65() {
    let place = Place::with_data();
    let partition = (0..2).map(|number| place.dir().join(format!("partition-000{number}")));
    for dir in partition {
        let path = dir.join("00000000000000000000.seg");
        let mut bytes = fs::read(&path).unwrap();
        bytes[150] ^= 1;
        fs::write(&path, bytes).unwrap();
    }
    let (status, said) = refused(&place.dir(), &[]);
    assert_eq!(status, Some(65), "{said}");
    assert!(said.contains("segment 00000000000000000000 is damaged at offset 128"), "{said}");
    let output = windrow(&["log", "verify", place.dir().to_str().unwrap()]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "the tool agrees with the server");
}

#[test]
fn another_format_ends_with_status_76() {
    let place = Place::with_data();
    let identity = place.dir().join("identity");
    let text = fs::read_to_string(&identity).unwrap();
    let (ours, another) = (format!("format {FORMAT_VERSION}"), format!("format {}", FORMAT_VERSION + 1));
    fs::write(&identity, text.replace(&ours, &another)).unwrap();
    let (status, said) = refused(&place.dir(), &[]);
    assert_eq!(status, Some(76), "{said}");
    assert!(said.contains(&another) && said.contains("nothing was changed"), "{said}");
}

#[test]
fn logs_can_be_json() {
    let place = Place::new();
    let server = Server::start(&place.dir(), &["--log-format", "json"]);
    server.signal("TERM");
    let (_, said) = server.wait();
    for line in said.lines() {
        let json: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        assert!(json["level"].is_string() && json["timestamp"].is_string(), "{line}");
    }
    assert!(said.contains("stopped in order"), "{said}");
}

#[test]
fn a_password_is_asked_for() {
    let place = Place::new();
    let file = place.0.path().join("password");
    fs::write(&file, "secret\n").unwrap();
    let server = Server::start(&place.dir(), &["--requirepass-file", file.to_str().unwrap()]);
    let mut client = server.connect();
    let denied = client.call(&["GET", "key"]).unwrap();
    assert!(matches!(&denied, Reply::Error(text) if text.starts_with("NOAUTH")), "{denied:?}");
    assert_eq!(client.call(&["AUTH", "secret"]).unwrap(), ok());
    assert_eq!(client.call(&["GET", "key"]).unwrap(), Reply::Bulk(None));
}
