//! A change feed: one thread writes, another keeps a sum up to date, stops, and resumes where it was.
//!
//! `cargo run --release -p windrow --example change_feed`
#![expect(clippy::print_stdout, reason = "an example talks")]

use std::collections::BTreeMap;
use std::time::Duration;

use windrow::{Change, Lsn, Options, Windrow};

/// What the subscriber makes of the changes: a copy of the store, and the place in the log that it stands for.
///
/// An application would keep both in its own database, written together: then every change counts exactly once,
/// whatever crashes.
#[derive(Default)]
struct Mirror {
    position: Lsn,
    accounts: BTreeMap<Vec<u8>, i64>,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let temporary = tempfile::tempdir()?;
    let db = Options::new().segment_len(1 << 20).open(temporary.path().join("data"))?;
    let mut mirror = Mirror::default();

    let writer = std::thread::spawn({
        let db = db.clone();
        move || pay(&db, 0..200)
    });
    follow(&db, &mut mirror, 120)?;
    println!("stopped at position {} with {} accounts", mirror.position, mirror.accounts.len());
    writer.join().map_err(|_| "the writer panicked")??;

    // Any position that is still in the log is a place to resume.
    pay(&db, 200..300)?;
    db.delete("account-3")?;
    follow(&db, &mut mirror, usize::MAX)?;
    println!("caught up at position {} with {} accounts:", mirror.position, mirror.accounts.len());

    for (account, balance) in &mirror.accounts {
        let stored = db.get(account)?.map(|value| String::from_utf8_lossy(&value).into_owned());
        println!("  {} = {balance} (stored: {})", String::from_utf8_lossy(account), stored.as_deref().unwrap_or("-"));
        assert_eq!(stored, Some(balance.to_string()), "the mirror is what the store is");
    }
    db.close()?;
    Ok(())
}

/// Applies up to `count` records, and stops when none comes for a while.
fn follow(db: &Windrow, mirror: &mut Mirror, count: usize) -> Result<(), Box<dyn std::error::Error>> {
    let mut feed = db.subscribe(0, mirror.position)?;
    for _ in 0..count {
        let Some(record) = feed.next_within(Duration::from_millis(300))? else { break };
        for change in record.changes {
            match change {
                Change::Put { key, value, .. } => {
                    mirror.accounts.insert(key.to_vec(), std::str::from_utf8(&value)?.parse()?);
                }
                Change::Delete { key } => {
                    mirror.accounts.remove(&*key);
                }
                Change::Clear => mirror.accounts.clear(),
                other => println!("a kind of change that this program does not know: {other:?}"),
            }
        }
        mirror.position = feed.position();
    }
    Ok(())
}

fn pay(db: &Windrow, numbers: std::ops::Range<i64>) -> Result<(), windrow::WriteError> {
    for number in numbers {
        db.put(format!("account-{}", number % 7), (number * 10).to_string())?;
    }
    Ok(())
}
