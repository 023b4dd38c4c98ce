//! What readers are told of keys that have expired.

use super::*;

/// A reader is told that a key has expired; then the power goes, and the clock steps back.
#[test]
fn what_was_shown_to_have_expired_stays_so() {
    let at = |millis| UnixMillis::new(millis).unwrap();
    let mut driver = Driver::create();
    driver.put_until("gone", "v", Some(at(5_000)));
    driver.put_until("later", "v", Some(at(9_000)));
    driver.flush();
    driver.now = 4_999;
    assert_eq!((driver.get("gone").as_deref(), driver.wait("gone")), (Some("v"), Lsn::ZERO));
    driver.now = 5_000;
    let (end, wait) = (driver.partition.appended(), driver.wait("gone"));
    assert_eq!((driver.get("gone"), wait), (None, end.plus(1)), "a record of this time is to be written");
    let settled = driver.partition.settle(driver.now(), wait).unwrap();
    assert!(settled >= wait && settled == driver.partition.appended());
    assert_eq!(driver.wait("gone"), settled, "it is written, and not flushed");
    assert_eq!(driver.partition.settle(driver.now(), settled), Ok(settled), "one is enough");
    driver.flush();
    assert_eq!(driver.wait("gone"), Lsn::ZERO);
    driver.now = 1_000;
    let mut driver = driver.reopen();
    assert_eq!((driver.get("gone"), driver.get("later").as_deref()), (None, Some("v")));
    // What has expired since the newest record is shown by a scan and a draw, too.
    driver.now = 9_000;
    let end = driver.partition.appended();
    let step = driver.partition.scan(ScanCursor::START, 100, driver.now(), &mut |_| panic!("nothing is left"));
    assert_eq!((step.wait, driver.partition.random(7, driver.now()).unwrap().wait), (end.plus(1), end.plus(1)));
    // A write says what time it is as well.
    driver.put("other", "v");
    assert_eq!(driver.wait("later"), driver.partition.appended());
}

#[test]
fn nobody_waits_for_an_expiry_that_cannot_be_logged() {
    let mut driver = Driver::create();
    driver.put_until("key", "v", UnixMillis::new(5_000));
    driver.flush();
    let segments = driver.disk.iter().map(|(base, bytes)| (*base, VecMemory::from_bytes(bytes))).collect();
    driver.now = 6_000;
    // Somebody else's log.
    let other = RecoveredPartition::new(driver.superblock, CONFIG, segments).unwrap().into_read_only();
    let lookup = other.get(other.hash(b"key"), b"key", driver.now());
    assert_eq!((lookup.entry, lookup.wait), (None, Lsn::ZERO));
    // A full disk.
    while driver.partition.log().prepared_count() > 0 {
        let key = [b'k'; 900];
        let hash = driver.partition.hash(&key);
        let put = Change::Put { value: &[b'v'; 900], expires_at: None };
        driver.partition.append(UnixMillis::new(2_000).unwrap(), &mut [Op { hash, key: &key, change: put }]).unwrap();
    }
    let Some(Action::Prepare { base, .. }) = driver.partition.poll_action() else { panic!("a segment is due") };
    driver.partition.handle_prepare_failed(base, PrepareFailure::NoSpace);
    let fills = |driver: &mut Driver| driver.partition.start_epoch(UnixMillis::new(2_000).unwrap());
    while fills(&mut driver).is_ok() {}
    driver.flush();
    assert_eq!((driver.get("key"), driver.wait("key")), (None, Lsn::ZERO));
    let end = driver.partition.appended();
    assert_eq!(driver.partition.settle(driver.now(), end.plus(1)), Ok(end), "it was full a moment later");
}

#[test]
fn a_draw_finds_the_last_key_among_the_expired() {
    let mut driver = Driver::create();
    let soon = UnixMillis::new(5_000);
    for number in 0..1_500 {
        driver.put_until(&std::format!("expired{number}"), "", soon);
    }
    driver.put_until("left", "v", UnixMillis::new(9_000));
    let draw = |driver: &Driver, number: u64| {
        let drawn = driver.partition.random(number.wrapping_mul(0x9E37_79B9_7F4A_7C15), driver.now()).unwrap().entry;
        drawn.map(|entry| String::from_utf8(entry.key.to_vec()).unwrap())
    };
    driver.now = 6_000;
    for number in 0..50 {
        assert_eq!(draw(&driver, number).as_deref(), Some("left"));
    }
    driver.now = 9_500;
    assert_eq!(draw(&driver, 1), None);
    driver.now = 9_600;
    driver.put("for ever", "v");
    for number in 0..50 {
        assert_eq!(draw(&driver, number).as_deref(), Some("for ever"));
    }
}
