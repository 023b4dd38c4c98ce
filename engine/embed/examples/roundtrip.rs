//! A key-value round trip: writes, closes, opens again, reads.
//!
//! `cargo run --release -p windrow --example roundtrip [DIRECTORY]`; without a directory, in a temporary one.
#![expect(clippy::print_stdout, reason = "an example talks")]

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use windrow::{Batch, Condition, Options, PutOutcome, UnixMillis, Windrow};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let temporary = tempfile::tempdir()?;
    let path = std::env::args_os().nth(1).map_or_else(|| temporary.path().join("data"), PathBuf::from);
    println!("opening {}", path.display());
    // A small segment, so that this takes no time to prepare; the default is 64 MiB.
    let options = Options::new().partitions(2).segment_len(1 << 20);
    let db = options.open(&path)?;

    // Confirmed means on the disk: `put` returns after the flush.
    let version = db.put("greeting", "hello")?;
    println!("put greeting, version {}", version.get());

    // Reads refer to the log; copy out what is to be kept for long.
    if let Some(value) = db.get("greeting")? {
        println!("get greeting: {}", String::from_utf8_lossy(&value));
    }

    // All or nothing. The part in braces decides the partition, so these keys share one.
    let mut batch = Batch::new();
    batch.put("{cart9}:apples", "4").put("{cart9}:pears", "2").delete("{cart9}:empty");
    db.write(&batch)?;

    // A condition on what is there: only who saw this version may change it.
    match db.put_if("greeting", "hello, world", Condition::Version(version))? {
        PutOutcome::Written(version) => println!("changed greeting, version {}", version.get()),
        PutOutcome::Refused { found } => println!("somebody was faster: {found:?}"),
    }

    db.put_expiring("session", "ends in a minute", in_future(Duration::from_secs(60)))?;
    db.close()?;

    let db: Windrow = options.open(&path)?;
    println!("opened again; {} keys:", db.len()?);
    for item in db.scan() {
        let item = item?;
        let (key, value) = (String::from_utf8_lossy(&item.key), String::from_utf8_lossy(&item.value));
        println!("  {key} = {value}{}", if item.expires_at.is_some() { " (expires)" } else { "" });
    }
    println!("in the cart:");
    for item in db.scan_prefix("{cart9}:") {
        let item = item?;
        println!("  {} = {}", String::from_utf8_lossy(&item.key), String::from_utf8_lossy(&item.value));
    }
    db.close()?;
    Ok(())
}

fn in_future(after: Duration) -> UnixMillis {
    let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() + after;
    u64::try_from(at.as_millis()).ok().and_then(UnixMillis::new).unwrap_or(UnixMillis::MAX)
}
