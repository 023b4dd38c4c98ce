//! The binary as people and scripts meet it: help, errors, statuses, the log tools.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use windrow_core::partition::{Change, Op};
use windrow_core::types::limits::SEGMENT_LEN_MIN;
use windrow_core::types::{PartitionId, UnixMillis};
use windrow_store::{BuildMode, DataDir, FillMode, FlushTask, NewDataDir, OpenConfig, open_partition};

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_windrow"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("WINDROW_")) {
        command.env_remove(name);
    }
    command.args(args).stdin(Stdio::null());
    command
}

fn windrow(args: &[&str]) -> Output {
    command(args).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A data directory with two partitions of three puts each, every one flushed.
fn make_log(dir: &Path) {
    let new = NewDataDir { cluster: None, replica: None, partitions: 2, mode: BuildMode::Embedded };
    let data_dir = DataDir::open_or_create(dir, &new).unwrap();
    let config = OpenConfig { segment_len: SEGMENT_LEN_MIN, segments_ahead: 1, fill: FillMode::Write4K };
    for number in 0..2 {
        let mut open = open_partition(&data_dir, PartitionId::new(number), &config, UnixMillis::ZERO).unwrap();
        for key in ["a", "b", "c"] {
            let hash = open.partition.hash(key.as_bytes());
            let change = Change::Put { value: b"value", expires_at: None };
            open.partition.append(UnixMillis::ZERO, &mut [Op { hash, key: key.as_bytes(), change }]).unwrap();
            let request = open.partition.poll_flush().unwrap();
            let ticket = FlushTask::new(&open.partition, &request).run().unwrap();
            open.partition.handle_flushed(ticket);
        }
    }
}

fn damage(dir: &Path) {
    let segment = dir.join("partition-0001/00000000000000000000.seg");
    let mut bytes = fs::read(&segment).unwrap();
    bytes[200] ^= 1;
    fs::write(&segment, bytes).unwrap();
}

#[test]
fn help_names_every_command_and_version_the_version() {
    let output = windrow(&["--help"]);
    assert_eq!(output.status.code(), Some(0));
    for name in ["serve", "log", "doctor", "hash-password", "completions", "man"] {
        assert!(stdout(&output).contains(&format!("\n  {name} ")), "{name}");
    }
    assert_eq!(stdout(&windrow(&["--version"])), format!("windrow {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_wrong_command_line_is_told_so_with_status_2() {
    for args in [&["sever"][..], &["serve", "--prot", "1"], &["log"], &["log", "dump", "--from", "x"], &["completions"]]
    {
        let output = windrow(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(stderr(&output).contains("--help") || stderr(&output).contains("Usage: "), "{args:?}");
    }
    assert!(stderr(&windrow(&["serve", "--prot", "1"])).contains("--port"));
}

#[test]
fn wrong_settings_name_their_origin_with_status_78() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("w.toml");
    fs::write(&file, "\nmax-clients = 0\n").unwrap();
    let output = windrow(&["serve", "--config", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(78));
    let expected = format!(
        "windrow: {}:2: `max-clients` cannot be `0`; allowed: 1 to 1000000\nwindrow: what to do: `windrow serve \
         --help` lists every setting with what is allowed\n",
        file.display()
    );
    assert_eq!(stderr(&output), expected);

    let output = command(&[]).env("WINDROW_DURABILITY", "maybe").output().unwrap();
    assert_eq!(output.status.code(), Some(78));
    assert!(stderr(&output).starts_with(
        "windrow: environment variable WINDROW_DURABILITY: `durability` cannot be `maybe`; allowed: commit, memory\n"
    ));
    let output = windrow(&["doctor", "--durability", "maybe"]);
    assert_eq!(output.status.code(), Some(78));
    assert!(stderr(&output).starts_with("windrow: flag --durability: "));
    // A password is not repeated in a message.
    let output = windrow(&["serve", "--requirepass", "sha256:pssst"]);
    assert_eq!(output.status.code(), Some(78));
    assert!(!stderr(&output).contains("pssst"));
}

#[test]
fn logs_are_inspected_verified_and_dumped() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("data");
    let path = dir.to_str().unwrap();
    make_log(&dir);

    let output = windrow(&["log", "verify", path]);
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""));
    assert_eq!(stdout(&output).matches(": clean: whole to its end").count(), 2);

    let output = windrow(&["log", "inspect", path, "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["logs"][1]["partition"], 1);
    assert_eq!(json["logs"][1]["segments"][0]["puts"], 3);
    let text = stdout(&windrow(&["log", "inspect", path]));
    assert!(text.contains("3 puts, 0 deletes"), "{text}");

    let output = windrow(&["log", "dump", dir.join("partition-0000").to_str().unwrap(), "--keys-only"]);
    let records: Vec<serde_json::Value> =
        stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kinds: Vec<&str> = records.iter().map(|record| record["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["epoch", "batch", "batch", "batch"]);
    assert_eq!(records[3]["ops"][0]["key"], "c");
    assert_eq!(records[3]["ops"][0].get("value"), None);

    let (from, to) = (records[2]["lsn"].to_string(), records[3]["lsn"].to_string());
    let output = windrow(&["log", "dump", path, "--from", &from, "--to", &to]);
    assert_eq!(stdout(&output).lines().count(), 2, "one record of each partition");
    assert!(stdout(&output).contains(r#""key":"b","op":"put","value":"value""#), "{}", stdout(&output));
}

#[test]
fn damage_is_found_with_status_1_and_read_around() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("data");
    let path = dir.to_str().unwrap();
    make_log(&dir);
    damage(&dir);

    let output = windrow(&["log", "verify", path]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).contains("CORRUPT"), "{}", stdout(&output));
    assert!(stdout(&output).contains("! 00000000000000000000.seg: offset 176 (LSN 176)"), "{}", stdout(&output));
    let output = windrow(&["log", "verify", path, "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((json["ok"].as_bool(), output.status.code()), (Some(false), Some(1)));
    assert_eq!(json["logs"][0]["verdict"], "clean");
    assert_eq!(json["logs"][1]["verdict"], "corrupt");

    assert_eq!(windrow(&["log", "inspect", path]).status.code(), Some(0), "looking is no failure");
    let output = windrow(&["log", "dump", path]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stdout(&output).matches("\"batch\"").count(), 5, "all but the damaged one");
    assert!(stderr(&output).contains("whole records again from LSN"), "{}", stderr(&output));
}

#[test]
fn what_is_not_there_ends_with_status_66() {
    let parent = tempfile::tempdir().unwrap();
    for name in ["", "none"] {
        let path = parent.path().join(name);
        let output = windrow(&["log", "verify", path.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(66), "{name}");
        assert!(stderr(&output).starts_with("windrow: "));
    }
}

#[test]
fn a_closed_pipe_is_no_error() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("data");
    make_log(&dir);
    let mut child =
        command(&["log", "dump", dir.to_str().unwrap()]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""));
}

#[test]
fn doctor_finds_what_keeps_a_node_from_running() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("data");
    let args = ["doctor", "--json", "--port", "0", "--admin-port", "0", "--dir"];
    let findings = |output: &Output| -> Vec<(String, String)> {
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let list = json["findings"].as_array().unwrap().iter();
        list.map(|finding| (finding["what"].as_str().unwrap().into(), finding["level"].as_str().unwrap().into()))
            .collect()
    };
    let good = windrow(&[&args[..], &[dir.to_str().unwrap()]].concat());
    assert!(findings(&good).contains(&("data directory".to_owned(), "ok".to_owned())));
    assert!(!dir.exists(), "looking makes nothing");

    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("identity"), "thesis").unwrap();
    let bad = windrow(&[&args[..], &[dir.to_str().unwrap()]].concat());
    assert_eq!(bad.status.code(), Some(1));
    assert!(findings(&bad).contains(&("data directory".to_owned(), "fatal".to_owned())));
}

#[test]
fn a_password_is_hashed_and_accepted_as_a_setting() {
    let mut child = command(&["hash-password"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"secret\n").unwrap();
    let hash = stdout(&child.wait_with_output().unwrap());
    assert!(hash.starts_with("sha256:") && !hash.contains("secret"), "{hash}");
    let output = windrow(&["doctor", "--port", "0", "--admin-port", "0", "--requirepass", hash.trim()]);
    assert!([Some(0), Some(1)].contains(&output.status.code()), "{}", stderr(&output));
    let empty = windrow(&["hash-password"]);
    assert_eq!(empty.status.code(), Some(2));
}

#[test]
fn completions_and_manual_know_the_settings() {
    for shell in ["bash", "zsh", "fish"] {
        let text = stdout(&windrow(&["completions", shell]));
        assert!(text.contains("segment-fill") && text.contains("allocate"), "{shell}");
    }
    let manual = stdout(&windrow(&["man"]));
    assert!(manual.contains("WINDROW LOG VERIFY") && manual.contains("segment\\-fill"), "{manual}");
    assert!(manual.contains("EXIT STATUS"));
}
