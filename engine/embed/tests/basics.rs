//! Each operation of the library by itself.

use std::time::Duration;

use windrow::{
    Batch, Change, Condition, FillMode, FlushMode, Lsn, Options, PutOutcome, ReadError, RefreshError, UnixMillis,
    Version, Windrow, WriteError,
};

const FAR: UnixMillis = UnixMillis::MAX;
const PAST: UnixMillis = UnixMillis::new(1).unwrap();

fn small() -> Options {
    Options::new().segment_len(16 << 10).segments_ahead(1).fill(FillMode::Write4K)
}

fn place() -> (tempfile::TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data");
    (dir, path)
}

#[test]
fn keys_are_set_read_and_deleted_in_every_flush_mode_and_found_again() {
    for mode in [FlushMode::GroupCommit, FlushMode::EachWrite, FlushMode::Explicit] {
        let (_dir, path) = place();
        let options = small().partitions(3).flush(mode);
        let db = options.open(&path).unwrap();
        for number in 0..300 {
            db.put(format!("key{number}"), format!("value{number}")).unwrap();
        }
        db.put("", "the empty key").unwrap();
        db.put("empty value", "").unwrap();
        assert!(db.delete("key7").unwrap());
        assert!(!db.delete("key7").unwrap());
        db.close().unwrap();
        let db = options.open(&path).unwrap();
        assert_eq!(db.len().unwrap(), 301);
        for number in 0..300 {
            let found = db.get(format!("key{number}")).unwrap();
            assert_eq!(found.map(|value| value.to_vec()), (number != 7).then(|| format!("value{number}").into_bytes()));
        }
        assert_eq!(db.get("").unwrap().unwrap(), "the empty key");
        assert!(db.get("empty value").unwrap().unwrap().is_empty());
        db.clear().unwrap();
        assert!(db.is_empty().unwrap() && db.get("key1").unwrap().is_none());
    }
}

#[test]
fn a_value_outlives_its_key_its_store_and_its_directory() {
    let (dir, path) = place();
    let db = small().open(&path).unwrap();
    db.put("key", "first").unwrap();
    let value = db.get("key").unwrap().unwrap();
    db.put("key", "second").unwrap();
    db.close().unwrap();
    drop(dir);
    assert_eq!(value, "first");
    assert_eq!(std::thread::spawn(move || value.to_vec()).join().unwrap(), b"first");
}

#[test]
fn conditions_decide_on_what_is_there() {
    let (_dir, path) = place();
    let db = small().open(&path).unwrap();
    assert_eq!(db.put_if("k", "1", Condition::Present).unwrap(), PutOutcome::Refused { found: None });
    let PutOutcome::Written(first) = db.put_if("k", "1", Condition::Absent).unwrap() else { panic!("absent") };
    assert_eq!(db.put_if("k", "2", Condition::Absent).unwrap(), PutOutcome::Refused { found: Some(first) });
    assert!(!db.put_if("k", "2", Condition::Value(b"x")).unwrap().is_written());
    let PutOutcome::Written(second) = db.put_if("k", "2", Condition::Value(b"1")).unwrap() else { panic!("equal") };
    assert!(second > first);
    assert_eq!(db.put_if("k", "3", Condition::Version(first)).unwrap(), PutOutcome::Refused { found: Some(second) });
    assert!(db.put_if("k", "3", Condition::Version(second)).unwrap().is_written());
    assert!(db.put_if("k", "4", Condition::Present).unwrap().is_written());
    let item = db.get_item("k").unwrap().unwrap();
    assert_eq!(item.value, "4");
    assert_eq!(Version::new(item.version.get()), item.version);
    db.put_expiring("k", "5", PAST).unwrap();
    assert!(db.put_if("k", "6", Condition::Absent).unwrap().is_written(), "what has expired is absent");
}

#[test]
fn expiries_come_go_and_are_swept() {
    let (_dir, path) = place();
    let db = small().open(&path).unwrap();
    db.put_expiring("gone", "x", PAST).unwrap();
    assert!(db.get("gone").unwrap().is_none());
    assert!(!db.expire("gone", FAR).unwrap() && !db.persist("gone").unwrap());
    db.put("k", "v").unwrap();
    assert!(db.expire("k", FAR).unwrap());
    assert_eq!(db.get_item("k").unwrap().unwrap().expires_at, Some(FAR));
    assert!(db.persist("k").unwrap());
    let item = db.get_item("k").unwrap().unwrap();
    assert_eq!((item.expires_at, item.value.to_vec()), (None, b"v".to_vec()));
    assert!(db.persist("k").unwrap(), "it is there, with or without an expiry");
    assert!(db.expire("k", PAST).unwrap());
    assert!(db.get("k").unwrap().is_none());
    assert_eq!(db.len().unwrap(), 2);
    assert_eq!(db.sweep_expired(100).unwrap(), 2);
    assert_eq!(db.sweep_expired(100).unwrap(), 0);
    assert!(db.is_empty().unwrap());
}

#[test]
fn a_batch_is_atomic_and_stays_in_one_partition() {
    let (_dir, path) = place();
    let db = small().partitions(8).open(&path).unwrap();
    db.put("{a}3", "old").unwrap();
    let mut batch = Batch::new();
    batch.put("{a}1", "x").put("{a}2", "y").put("{a}1", "z").delete("{a}3").delete("{a}4");
    batch.put_expiring("{a}5", "e", FAR);
    assert_eq!(batch.len(), 6);
    db.write(&batch).unwrap();
    assert_eq!(db.get("{a}1").unwrap().unwrap(), "z", "the later write to a key counts");
    assert!(db.get("{a}3").unwrap().is_none());
    assert_eq!(db.get_item("{a}5").unwrap().unwrap().expires_at, Some(FAR));
    assert_eq!(db.get_item("{a}1").unwrap().unwrap().version, db.get_item("{a}2").unwrap().unwrap().version);
    db.write(&Batch::new()).unwrap();
    let other =
        (0..).map(|number| format!("k{number}")).find(|key| db.partition_of(key.as_bytes()) != db.partition_of(b"{a}"));
    let other = other.unwrap();
    let mut torn = Batch::new();
    torn.put("{a}1", "never").put(other.as_str(), "never");
    let error = db.write(&torn).unwrap_err();
    assert!(matches!(error, WriteError::CrossPartition { .. }));
    assert!(error.to_string().contains("{order7}"), "it says how hash tags help: {error}");
    assert_eq!(db.get("{a}1").unwrap().unwrap(), "z");
}

#[test]
fn what_no_segment_can_hold_is_refused_and_changes_nothing() {
    let (_dir, path) = place();
    let db = small().open(&path).unwrap();
    assert!(matches!(db.put("k", vec![0; 17 << 10]), Err(WriteError::Refused(_))));
    assert!(matches!(db.put(vec![0; (64 << 10) + 1], ""), Err(WriteError::Refused(_))));
    assert!(db.get("k").unwrap().is_none());
    db.put("k", vec![1; 16_000]).unwrap();
    assert_eq!(db.get("k").unwrap().unwrap().len(), 16_000);
}

#[test]
fn scans_visit_every_key_once_if_nobody_writes() {
    let (_dir, path) = place();
    let db = small().partitions(4).open(&path).unwrap();
    let mut expected: Vec<String> = (0..2000).map(|number| format!("{}:{number}", number % 3)).collect();
    for chunk in expected.chunks(100) {
        for key in chunk {
            db.put(key, key).unwrap();
        }
    }
    db.put_expiring("0:expired", "", PAST).unwrap();
    expected.sort_unstable();
    let keys = |scan: windrow::Scan| {
        let mut keys: Vec<String> = scan
            .map(|item| {
                let item = item.unwrap();
                assert_eq!(item.key, item.value);
                String::from_utf8(item.key.to_vec()).unwrap()
            })
            .collect();
        keys.sort_unstable();
        keys
    };
    assert_eq!(keys(db.scan()), expected);
    expected.retain(|key| key.starts_with("1:"));
    assert_eq!(keys(db.scan_prefix("1:")), expected);
    assert!(keys(db.scan_prefix("9")).is_empty());
}

#[test]
fn the_feed_gives_every_change_in_order_and_resumes_anywhere() {
    let (_dir, path) = place();
    let options = small();
    let db = options.open(&path).unwrap();
    for number in 0..200 {
        db.put(format!("k{}", number % 10), format!("{number}")).unwrap();
    }
    db.delete("k3").unwrap();
    db.clear().unwrap();
    let mut feed = db.subscribe(0, Lsn::ZERO).unwrap();
    let mut records = Vec::new();
    while let Some(record) = feed.try_next().unwrap() {
        assert!(
            records.last().is_none_or(|last: &windrow::Record| last.next <= record.lsn && last.time <= record.time)
        );
        records.push(record);
    }
    assert_eq!(records.len(), 202);
    for (number, record) in records[..200].iter().enumerate() {
        let [Change::Put { key, value, expires_at: None }] = &record.changes[..] else { panic!("{record:?}") };
        assert_eq!(
            (key.to_vec(), value.to_vec()),
            (format!("k{}", number % 10).into_bytes(), format!("{number}").into_bytes())
        );
    }
    assert!(matches!(&records[200].changes[..], [Change::Delete { key }] if *key == "k3"));
    assert_eq!(records[201].changes, [Change::Clear]);
    let (middle, end) = (records[100].next, feed.position());
    drop((feed, records));
    db.close().unwrap();
    let db = options.open(&path).unwrap();
    let next = db.subscribe(0, middle).unwrap().try_next().unwrap().unwrap();
    assert!(matches!(&next.changes[..], [Change::Put { value, .. }] if *value == "101"));
    let mut feed = db.subscribe(0, end).unwrap();
    assert!(feed.try_next().unwrap().is_none());
    db.put("new", "x").unwrap();
    assert_eq!(feed.next_within(Duration::from_secs(60)).unwrap().unwrap().changes.len(), 1);
    assert!(feed.next_within(Duration::from_millis(1)).unwrap().is_none());
    assert!(db.subscribe(1, Lsn::ZERO).is_err());
    assert!(db.subscribe(0, Lsn::new(136)).unwrap().try_next().is_err(), "no record starts there");
}

#[test]
fn a_feed_waits_for_what_another_thread_writes_and_shows_only_what_is_flushed() {
    let (_dir, path) = place();
    let db = small().flush(FlushMode::Explicit).open(&path).unwrap();
    let mut feed = db.subscribe(0, Lsn::ZERO).unwrap();
    db.put("k", "v").unwrap();
    assert_eq!(db.get("k").unwrap().unwrap(), "v");
    assert!(feed.try_next().unwrap().is_none(), "not flushed, so not shown");
    let waiter = std::thread::spawn(move || feed.next_within(Duration::from_secs(60)).unwrap().unwrap());
    db.sync().unwrap();
    assert_eq!(waiter.join().unwrap().changes.len(), 1);
}

#[test]
fn many_threads_write_and_share_flushes() {
    let (_dir, path) = place();
    let options = small().partitions(2);
    let db = options.open(&path).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let db = &db;
            scope.spawn(move || {
                for number in 0..100 {
                    let key = format!("{thread}:{number}");
                    db.put(&key, &key).unwrap();
                    assert_eq!(db.get(&key).unwrap().unwrap(), key);
                }
            });
        }
    });
    let stats = db.stats().unwrap();
    assert_eq!(stats.keys(), 800);
    let (writes, flushes) =
        stats.partitions.iter().fold((0, 0), |sum, shard| (sum.0 + shard.writes, sum.1 + shard.flushes));
    assert_eq!(writes, 800);
    assert!(flushes <= writes, "{flushes} flushes");
    drop(db);
    assert_eq!(options.open(&path).unwrap().len().unwrap(), 800);
}

#[test]
fn a_counter_that_many_threads_raise_loses_nothing() {
    let (_dir, path) = place();
    let db = small().open(&path).unwrap();
    db.put("counter", 0_u64.to_le_bytes()).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..50 {
                    loop {
                        let item = db.get_item("counter").unwrap().unwrap();
                        let count = u64::from_le_bytes(item.value[..].try_into().unwrap()) + 1;
                        let condition = Condition::Version(item.version);
                        if db.put_if("counter", count.to_le_bytes(), condition).unwrap().is_written() {
                            break;
                        }
                    }
                }
            });
        }
    });
    assert_eq!(db.get("counter").unwrap().unwrap(), 200_u64.to_le_bytes());
}

#[test]
fn a_second_writer_is_refused_and_a_reader_follows_the_first() {
    let (_dir, path) = place();
    let db = small().open(&path).unwrap();
    assert!(small().open(&path).unwrap_err().to_string().contains(&std::process::id().to_string()));
    assert!(matches!(db.refresh(), Err(RefreshError::Writable)));
    let reader = small().read_only(true).open(&path).unwrap();
    let mut feed = reader.subscribe(0, Lsn::ZERO).unwrap();
    assert!(matches!(reader.put("k", "v"), Err(WriteError::ReadOnly)));
    for number in 0..300 {
        let key = format!("key{number}");
        db.put(&key, vec![7; 300]).unwrap();
        assert!(reader.get(&key).unwrap().is_none());
        reader.refresh().unwrap();
        assert_eq!(reader.get(&key).unwrap().unwrap().len(), 300);
        assert_eq!(feed.try_next().unwrap().unwrap().changes.len(), 1);
    }
    db.delete("key5").unwrap();
    db.put("key6", "new").unwrap();
    reader.refresh().unwrap();
    assert!(reader.get("key5").unwrap().is_none());
    assert_eq!(reader.get("key6").unwrap().unwrap(), "new");
    assert_eq!(reader.len().unwrap(), 299);
}

#[test]
fn a_closed_store_is_closed_for_every_handle() {
    let (_dir, path) = place();
    let db = small().open(&path).unwrap();
    let (other, mut feed) = (db.clone(), db.subscribe(0, Lsn::ZERO).unwrap());
    db.close().unwrap();
    assert!(matches!(other.put("k", "v"), Err(WriteError::Closed)));
    assert!(matches!(other.get("k"), Err(ReadError::Closed)));
    assert!(other.scan().next().unwrap().is_err());
    assert!(feed.next_within(Duration::from_secs(60)).is_err());
    assert!(small().open(&path).is_err(), "still held");
    drop((other, feed));
    small().open(&path).unwrap();
}

#[test]
fn impossible_options_are_refused_with_the_allowed_range() {
    let (_dir, path) = place();
    for (options, allowed) in [
        (small().partitions(0), "1 to 1024"),
        (small().segment_len(5000), "multiples of 4096"),
        (small().segments_ahead(0), "at least one"),
        (small().create(false), "no data directory"),
        (small().read_only(true), "no data directory"),
    ] {
        let (_fresh, fresh) = place();
        let error = options.open(&fresh).unwrap_err().to_string();
        assert!(error.contains(allowed), "{error}");
    }
    assert!(Windrow::open("/proc/windrow").is_err());
    drop(path);
}

#[test]
fn a_full_disk_stops_writes_with_a_clear_error_and_they_resume_by_themselves() {
    let dir = tempfile::tempdir().unwrap();
    let mount = |options: &[&str]| {
        let status = std::process::Command::new("mount").args(options).arg(dir.path()).status();
        status.is_ok_and(|status| status.success())
    };
    if !mount(&["-t", "tmpfs", "-o", "size=400k", "windrow"]) {
        eprintln!("skipped: mounting a tmpfs needs root");
        return;
    }
    let db = small().open(dir.path().join("data")).unwrap();
    let mut written = 0;
    let error = loop {
        match db.put(format!("k{written}"), [7; 1000]) {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, WriteError::NoSpace(_)), "{error}");
    assert!(written > 50);
    assert_eq!(db.get("k0").unwrap().unwrap(), [7; 1000], "reads go on");
    assert!(matches!(db.put("more", [7; 1000]), Err(WriteError::NoSpace(_))), "and it stays full");
    assert!(mount(&["-o", "remount,size=2m"]));
    for number in 0..200 {
        db.put(format!("more{number}"), [8; 1000]).unwrap();
    }
    db.close().unwrap();
    assert!(std::process::Command::new("umount").arg(dir.path()).status().unwrap().success());
}
