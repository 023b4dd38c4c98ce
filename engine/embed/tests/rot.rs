//! Bits that flip under an open store, in the file and so in its mapping: no damaged record is shown.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use windrow::{
    Batch, Change, Condition, Damaged, Feed, FeedError, FillMode, FlushMode, Lsn, Options, ReadError, UnixMillis,
    Windrow, WriteError,
};

const KEYS: u64 = 60;
/// Bytes of a record in front of its body.
const HEADER_LEN: u64 = 48;

fn key(number: u64) -> String {
    format!("key {number:02}")
}

fn value(number: u64) -> String {
    format!("value {number:02}").repeat(60)
}

/// A store of several segments, most of them sealed, whose pages are those of their files.
struct Place {
    db: Windrow,
    dir: PathBuf,
    options: Options,
    _root: tempfile::TempDir,
}

impl Place {
    fn empty(change: impl FnOnce(Options) -> Options) -> Self {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("data");
        let options = Options::new().segment_len(16 << 10).segments_ahead(1).fill(FillMode::Write4K);
        let options = change(options.flush(FlushMode::Explicit));
        Self { db: options.open(&dir).unwrap(), dir, options, _root: root }
    }

    fn filled(change: impl FnOnce(Options) -> Options) -> Self {
        let place = Self::empty(change);
        place.put(0..KEYS);
        place.db.sync().unwrap();
        assert!(place.db.stats().unwrap().partitions[0].partition.segments > 2);
        place
    }

    fn verified() -> Self {
        Self::filled(|options| options)
    }

    fn put(&self, numbers: Range<u64>) {
        for number in numbers {
            self.db.put(key(number), value(number)).unwrap();
        }
    }

    fn segment(&self) -> PathBuf {
        self.dir.join("partition-0000").join("00000000000000000000.seg")
    }

    /// Where the record with the newest version of a key is.
    fn lsn_of(&self, number: u64) -> u64 {
        self.db.get_item(key(number)).unwrap().unwrap().version.get()
    }

    /// Flips a bit of the first segment; once more, and it is as it was.
    fn flip(&self, at: u64) {
        let file = File::options().read(true).write(true).open(self.segment()).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 4], at).unwrap();
    }

    /// Where `wanted` is in the first segment, from `from` on.
    fn find(&self, wanted: &[u8], from: u64) -> u64 {
        let bytes = std::fs::read(self.segment()).unwrap();
        let from = usize::try_from(from).unwrap();
        let at = bytes[from..].windows(wanted.len()).position(|bytes| bytes == wanted);
        u64::try_from(from + at.unwrap()).unwrap()
    }

    fn flip_value(&self, number: u64) -> u64 {
        let at = self.find(value(number).as_bytes(), self.lsn_of(number)) + 100;
        self.flip(at);
        at
    }

    fn flip_key(&self, number: u64) -> u64 {
        let at = self.find(key(number).as_bytes(), self.lsn_of(number)) + 5;
        self.flip(at);
        at
    }

    /// That nothing is shown of this key and nothing written to it, and that all others are served.
    fn check_refused(&self, number: u64, lsn: u64) {
        let (db, key_of, key) = (&self.db, key, key(number));
        let read = [db.get(&key).map(|_| ()).unwrap_err(), db.get_item(&key).map(|_| ()).unwrap_err()];
        for error in read {
            let ReadError::Damaged(damaged) = error else { panic!("{error}") };
            self.check_place(&damaged, lsn);
        }
        let mut batch = Batch::new();
        batch.put("another key", "x").delete(key.as_str());
        let before = db.len().unwrap();
        let written = [
            db.put(&key, "new").map(|_| ()),
            db.put_expiring(&key, "new", UnixMillis::MAX).map(|_| ()),
            db.put_if(&key, "new", Condition::Absent).map(|_| ()),
            db.put_if(&key, "new", Condition::Present).map(|_| ()),
            db.delete(&key).map(|_| ()),
            db.expire(&key, UnixMillis::MAX).map(|_| ()),
            db.persist(&key).map(|_| ()),
            db.write(&batch),
        ];
        for outcome in written {
            let Err(WriteError::Damaged(damaged)) = outcome else { panic!("{outcome:?}") };
            self.check_place(&damaged, lsn);
        }
        assert_eq!(db.len().unwrap(), before);
        assert!(db.get("another key").unwrap().is_none());
        for other in (0..KEYS).filter(|&other| other != number) {
            assert_eq!(db.get(key_of(other)).unwrap().unwrap(), value(other));
        }
        db.put("one more", "x").unwrap();
        assert!(db.delete("one more").unwrap());
    }

    fn check_place(&self, damaged: &Damaged, lsn: u64) {
        assert_eq!((damaged.partition, damaged.offset, damaged.lsn), (0, lsn, Lsn::new(lsn)));
        assert_eq!(damaged.file, self.segment());
        let text = damaged.to_string();
        for part in ["partition 0", "00000000000000000000.seg", &lsn.to_string(), "windrow log verify"] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    fn feed(&self, from: Lsn) -> Feed {
        self.db.subscribe(0, from).unwrap()
    }
}

#[test]
fn a_damaged_value_is_an_error_and_other_keys_are_served() {
    for fill in [FillMode::Write4K, FillMode::Direct] {
        let place = Place::filled(|options| options.fill(fill));
        let lsn = place.lsn_of(5);
        let at = place.flip_value(5);
        place.check_refused(5, lsn);
        place.flip(at);
        assert_eq!(place.db.get(key(5)).unwrap().unwrap(), value(5), "nothing was written to it");
        assert_eq!(place.lsn_of(5), lsn);
    }
}

#[test]
fn a_key_with_a_damaged_record_is_not_absent() {
    let place = Place::verified();
    let lsn = place.lsn_of(5);
    let at = place.flip_key(5);
    place.check_refused(5, lsn);
    place.flip(at);
    for at in lsn..lsn + HEADER_LEN {
        place.flip(at);
        assert!(matches!(place.db.get(key(5)), Err(ReadError::Damaged(_))), "byte {at}");
        place.flip(at);
    }
    assert_eq!(place.db.get(key(5)).unwrap().unwrap(), value(5));
}

#[test]
fn every_key_of_a_damaged_batch_is_refused() {
    let place = Place::empty(|options| options);
    let mut batch = Batch::new();
    for number in 0..10 {
        batch.put(key(number), value(number));
    }
    place.db.write(&batch).unwrap();
    place.db.put(key(0), "another record").unwrap();
    place.flip_value(7);
    assert_eq!(place.db.get(key(0)).unwrap().unwrap(), "another record");
    for number in 1..10 {
        assert!(matches!(place.db.get(key(number)), Err(ReadError::Damaged(_))));
    }
    assert!(matches!(place.db.write(&batch), Err(WriteError::Damaged(_))));
    assert_eq!(place.db.get(key(0)).unwrap().unwrap(), "another record", "all of it or nothing");
}

#[test]
fn what_is_not_to_be_verified_is_shown_as_it_is() {
    let place = Place::filled(|options| options.unverified_len(u64::MAX));
    let at = place.flip_value(5);
    let shown = place.db.get(key(5)).unwrap().unwrap();
    assert!(shown.len() == value(5).len() && shown != value(5));
    place.flip(at);
    place.flip_key(6);
    assert!(place.db.get(key(6)).unwrap().is_none());
    let (shown, damage) = scanned(&place.db);
    assert_eq!((u64::try_from(shown.len()).unwrap(), damage), (KEYS - 1, Vec::new()));
    place.db.put(key(6), "new").unwrap();
}

#[test]
fn only_what_is_old_is_verified_where_the_rest_is_trusted() {
    let place = Place::filled(|options| options.unverified_len(12 << 10));
    place.flip_value(0);
    assert!(matches!(place.db.get(key(0)), Err(ReadError::Damaged(_))));
    let place = Place::empty(|options| options.unverified_len(12 << 10));
    place.put(0..3);
    place.flip_value(0);
    assert_ne!(place.db.get(key(0)).unwrap().unwrap(), value(0));
}

#[test]
fn a_reader_beside_the_writer_verifies_too() {
    let place = Place::verified();
    let reader = place.options.clone().read_only(true).open(&place.dir).unwrap();
    assert_eq!(reader.get(key(5)).unwrap().unwrap(), value(5));
    place.flip_value(5);
    assert!(matches!(reader.get(key(5)), Err(ReadError::Damaged(_))));
    assert_eq!(reader.get(key(6)).unwrap().unwrap(), value(6));
}

/// What a scan showed, and the damage that it spoke of.
fn scanned(db: &Windrow) -> (Vec<(String, String)>, Vec<Damaged>) {
    let (mut shown, mut damage) = (Vec::new(), Vec::new());
    for item in db.scan() {
        match item {
            Ok(item) => {
                let text = |value: &[u8]| String::from_utf8(value.to_vec()).unwrap();
                shown.push((text(&item.key), text(&item.value)));
            }
            Err(ReadError::Damaged(damaged)) => damage.push(*damaged),
            Err(error) => panic!("{error}"),
        }
    }
    shown.sort();
    shown.dedup();
    (shown, damage)
}

#[test]
fn a_scan_says_that_a_record_is_damaged_and_shows_the_others() {
    // Little of the log is overwritten, or most of it: the two orders of a scan.
    for times in [1, 14] {
        let place = Place::verified();
        for _ in 1..times {
            place.put(20..KEYS);
        }
        let all: Vec<_> = (0..KEYS).map(|number| (key(number), value(number))).collect();
        assert_eq!(scanned(&place.db), (all.clone(), Vec::new()));
        let lsn = place.lsn_of(5);
        let others: Vec<_> = all.iter().filter(|(key_of, _)| *key_of != key(5)).cloned().collect();
        let flips: [fn(&Place) -> u64; 3] = [
            |place| place.flip_value(5),
            |place| place.flip_key(5),
            |place| {
                let at = place.lsn_of(5) + 12;
                place.flip(at);
                at
            },
        ];
        for flip in flips {
            let at = flip(&place);
            let (shown, damage) = scanned(&place.db);
            assert_eq!(shown, others);
            let [damaged] = &damage[..] else { panic!("{damage:?}") };
            place.check_place(damaged, lsn);
            place.flip(at);
        }
        assert_eq!(scanned(&place.db), (all, Vec::new()));
    }
}

#[test]
fn a_feed_returns_what_is_before_a_damaged_record_and_stays_there() {
    let place = Place::verified();
    let lsn = place.lsn_of(5);
    let at = place.flip_value(5);
    let mut feed = place.feed(Lsn::ZERO);
    for number in 0..5 {
        let record = feed.try_next().unwrap().unwrap();
        assert!(matches!(&record.changes[..], [Change::Put { key: found, .. }] if *found == key(number)));
    }
    assert_eq!(feed.position(), Lsn::new(lsn));
    for feed in [&mut feed, &mut place.feed(Lsn::new(lsn))] {
        for _ in 0..2 {
            let Err(FeedError::Damaged(damaged)) = feed.try_next() else { panic!("it is damaged") };
            place.check_place(&damaged, lsn);
            assert_eq!(feed.position(), Lsn::new(lsn));
        }
    }
    place.flip(at);
    assert_eq!(feed.try_next().unwrap().unwrap().lsn, Lsn::new(lsn));
}

#[test]
fn a_feed_tells_a_damaged_header_from_a_position_that_never_was_one_where_it_came_there_itself() {
    let place = Place::verified();
    let lsn = place.lsn_of(5);
    place.flip(lsn);
    let mut feed = place.feed(Lsn::ZERO);
    (0..5).for_each(|_| assert!(feed.try_next().unwrap().is_some()));
    let Err(FeedError::Damaged(damaged)) = feed.try_next() else { panic!("it is damaged") };
    place.check_place(&damaged, lsn);
    assert!(matches!(place.feed(Lsn::new(lsn)).try_next(), Err(FeedError::Log(_))));
    assert!(matches!(place.feed(Lsn::new(lsn + 8)).try_next(), Err(FeedError::Log(_))));
}
