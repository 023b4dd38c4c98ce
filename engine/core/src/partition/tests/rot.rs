//! Pages of the log that come back from the disk with other bytes: reads stay within the log and do not panic, and
//! scans that doubt what they read show nothing that was not written.

use core::cell::{Cell, OnceCell};
use core::ops::Range;

use super::*;
use crate::log::Unverified;

/// Memory whose bytes are others once they have rotted.
struct Rotting {
    good: VecMemory,
    rotten: OnceCell<VecMemory>,
    /// How often it was read from its front on, as whoever verifies a record does.
    verified: Cell<usize>,
}

impl Rotting {
    fn zeroed(len: u64) -> Self {
        let good = VecMemory::zeroed(usize::try_from(len).unwrap());
        Self { good, rotten: OnceCell::new(), verified: Cell::new(0) }
    }

    fn rot(&self, bytes: &[u8]) {
        let mut rotten = VecMemory::from_bytes(bytes);
        rotten.publish(self.good.published_end());
        assert!(self.rotten.set(rotten).is_ok(), "it rots once");
    }
}

impl SegmentMemory for Rotting {
    fn segment_len(&self) -> u64 {
        self.good.segment_len()
    }

    fn unverified(&self) -> Unverified<'_> {
        self.good.unverified()
    }

    fn published(&self, range: Range<usize>) -> &[u8] {
        self.verified.set(self.verified.get() + usize::from(range.start == 0));
        self.rotten.get().unwrap_or(&self.good).published(range)
    }

    fn published_end(&self) -> usize {
        self.good.published_end()
    }

    fn publish(&mut self, end: usize) {
        self.good.publish(end);
    }

    fn retract(&mut self, end: usize) {
        self.good.retract(end);
    }

    fn write(&mut self, range: Range<usize>) -> &mut [u8] {
        self.good.write(range)
    }
}

const NOW: UnixMillis = UnixMillis::ZERO;
/// Keys of a log that is filled.
const KEYS: usize = 33;

fn act(partition: &mut Partition<Rotting>) {
    while let Some(action) = partition.poll_action() {
        match action {
            Action::Prepare { base, len } => {
                partition.handle_prepared(base, Rotting::zeroed(len));
            }
            Action::WriteSuperblock(superblock) => partition.handle_superblock_written(superblock.generation),
        }
    }
}

/// The number of a key and its value, which says whose it is.
fn value_of(key: u64) -> String {
    std::format!("value of {key}")
}

fn empty() -> Partition<Rotting> {
    let mut recovered = RecoveredPartition::new(blank_superblock(), CONFIG, Vec::new()).unwrap();
    recovered.repair();
    let superblock = recovered.next_superblock().unwrap();
    let mut partition = recovered.into_writable(superblock);
    act(&mut partition);
    partition.start_epoch(NOW).unwrap();
    partition
}

/// Appends one record of these changes. Returns where it is.
fn append(partition: &mut Partition<Rotting>, changes: &[(&str, Change<'_>)]) -> Lsn {
    let mut ops: Vec<Op<'_>> = changes
        .iter()
        .map(|(key, change)| Op { hash: partition.hash(key.as_bytes()), key: key.as_bytes(), change: *change })
        .collect();
    let appended = partition.append(NOW, &mut ops).unwrap();
    act(partition);
    appended.lsn
}

/// Flips a bit of the record at `lsn`, so many bytes behind its start.
fn rot_record(partition: &Partition<Rotting>, lsn: Lsn, at: usize) {
    let (base, segment) = partition.segment_holding(lsn).unwrap();
    let mut bytes = segment.good.bytes().to_vec();
    bytes[usize::try_from(lsn.since(base)).unwrap() + at] ^= 1;
    segment.rot(&bytes);
}

/// A log of two segments with records of one and of several keys, some of them deleted, overwritten or to expire.
fn filled() -> Partition<Rotting> {
    let mut partition = empty();
    let mut number = 0;
    while partition.log().segments().len() < 2 || partition.log().segments().next_back().unwrap().record_count() < 6 {
        let count = [1, 1, 3, 20][usize::try_from(number % 4).unwrap()];
        let names: Vec<(String, String)> =
            (number..number + count).map(|key| (std::format!("{}", key % 70), value_of(key % 70))).collect();
        let expires_at = number.is_multiple_of(5).then_some(UnixMillis::MAX);
        let change = |value| if number % 7 == 6 { Change::Delete } else { Change::Put { value, expires_at } };
        let changes: Vec<(&str, Change<'_>)> =
            names.iter().map(|(key, value)| (key.as_str(), change(value.as_bytes()))).collect();
        append(&mut partition, &changes);
        number += 1;
    }
    while let Some(request) = partition.poll_flush() {
        partition.handle_flushed(request.ticket);
    }
    partition
}

/// Keys and values.
type Shown = Vec<(Vec<u8>, Vec<u8>)>;

/// Reads all that can be read. Returns what the scans showed, and whether one of them met damage.
fn read_all(partition: &Partition<Rotting>) -> (Shown, bool) {
    let mut is_refused = false;
    for key in 0..80 {
        let key = std::format!("{key}");
        let hash = partition.hash(key.as_bytes());
        is_refused |= partition.verify_candidates(&[hash]).is_err();
        let found = partition.get(hash, key.as_bytes(), NOW);
        assert!(found.wait <= partition.appended().plus(1));
        partition
            .for_each_candidate(hash, |lsn| assert!(partition.verify_at(lsn).is_ok() || lsn < partition.appended()));
    }
    let (mut shown, mut damaged) = (Shown::new(), false);
    let mut cursor = Some(ScanCursor::START);
    while let Some(from) = cursor {
        let step = partition.scan(from, 9, NOW, &mut |entry| shown.push((entry.key.to_vec(), entry.value.to_vec())));
        damaged |= step.damage.is_some();
        cursor = step.next;
    }
    let walk = &mut LogWalk::default();
    let mut walked = Walked::More;
    while walked == Walked::More {
        let step = partition.walk(walk, 9, NOW, &mut |entry| shown.push((entry.key.to_vec(), entry.value.to_vec())));
        walked = step.walked;
    }
    damaged |= walked == Walked::Lost;
    let mut count = 0;
    let is_whole = partition.for_each(NOW, &mut |_| count += 1).is_ok();
    assert!(partition.is_mostly_live(), "it walks over the log");
    assert!(!is_whole || count == KEYS || !partition.has_doubted(), "{count} keys, and no word of damage");
    damaged |= !is_whole;
    assert!(!is_refused || damaged, "a key is refused, and scans pass over it without a word");
    for draw in 0..16_u64 {
        match partition.random(draw << 60, NOW) {
            Ok(drawn) => shown.extend(drawn.entry.map(|entry| (entry.key.to_vec(), entry.value.to_vec()))),
            Err(_) => damaged = true,
        }
    }
    (shown, damaged)
}

/// Changes bytes of the first segment, and reads all with and without doubts. Returns whether the damage was noticed.
fn check(change: impl FnOnce(&mut [u8])) -> bool {
    let mut partition = filled();
    let segment = partition.segment(Lsn::ZERO).unwrap();
    let mut bytes = segment.good.bytes().to_vec();
    change(&mut bytes);
    segment.rot(&bytes);
    read_all(&partition);
    partition.doubt_beyond(0);
    let (shown, damaged) = read_all(&partition);
    for (key, value) in shown {
        let number: u64 = core::str::from_utf8(&key).unwrap().parse().unwrap();
        assert_eq!(value, value_of(number).as_bytes());
    }
    damaged
}

#[test]
fn what_has_not_rotted_is_shown_whole() {
    assert!(!check(|_| {}));
    let (shown, damaged) = read_all(&filled());
    assert!(!damaged && shown.len() > 2 * 30, "{} entries", shown.len());
}

#[test]
fn every_byte_may_rot() {
    let len = filled().segment(Lsn::ZERO).unwrap().good.bytes().len();
    let noticed = (0..len).step_by(13).filter(|&at| check(|bytes| bytes[at] ^= [0xFF, 1, 0x80][at % 3])).count();
    assert!(noticed > len / 26, "{noticed} of {len}");
}

#[test]
fn a_walk_is_lost_where_the_newest_version_of_a_key_has_rotted() {
    for at in [0, 12, 50, 55] {
        let mut partition = filled();
        partition.doubt_beyond(0);
        let (mut last, walk) = (Vec::new(), &mut LogWalk::default());
        while partition.walk(walk, 9, NOW, &mut |entry| last = entry.key.to_vec()).walked == Walked::More {}
        let walk = &mut LogWalk::default();
        assert_eq!(partition.walk(walk, 1, NOW, &mut |_| {}).walked, Walked::More);
        // Behind the end of the walk, which is shown where the walk comes to the old version.
        let change = Change::Put { value: b"newer", expires_at: None };
        let newest = append(&mut partition, &[(core::str::from_utf8(&last).unwrap(), change)]);
        rot_record(&partition, newest, at);
        let mut walked = Walked::More;
        while walked == Walked::More {
            walked = partition.walk(walk, 9, NOW, &mut |entry| assert_ne!(entry.key, last)).walked;
        }
        assert_eq!(walked, Walked::Lost, "byte {at}");
    }
}

#[test]
fn a_walk_verifies_a_record_with_newer_versions_once_a_step() {
    const COUNT: usize = 40;
    let put = Change::Put { value: b"v", expires_at: None };
    let names: Vec<String> = (0..COUNT).map(|key| std::format!("{key}")).collect();
    let changes: Vec<(&str, Change<'_>)> = names.iter().map(|key| (key.as_str(), put)).collect();
    let (even, odd): (Vec<_>, Vec<_>) = changes.iter().enumerate().partition(|(number, _)| number % 2 == 0);
    let mut partition = empty();
    partition.doubt_beyond(0);
    append(&mut partition, &changes);
    let walk = &mut LogWalk::default();
    assert_eq!(partition.walk(walk, 1, NOW, &mut |_| {}).walked, Walked::More);
    for half in [even, odd] {
        append(&mut partition, &half.into_iter().map(|(_, change)| *change).collect::<Vec<_>>());
    }
    let verified = || -> usize { partition.log().segments().map(|segment| segment.memory().verified.get()).sum() };
    let (before, mut shown) = (verified(), 0);
    assert_eq!(partition.walk(walk, 2 * COUNT, NOW, &mut |_| shown += 1).walked, Walked::All);
    assert_eq!((shown, verified() - before), (COUNT - 1, 3), "the record of the walk and the two behind it");
}

#[test]
fn an_old_version_is_not_shown_for_a_newer_one_that_has_rotted() {
    // Where another key of the old version's record collides, the index still leads there. It is not shown either: a
    // newer version of it may be in the damaged record as well.
    let [one, two] = [COLLIDING.0, COLLIDING.1].map(|number| std::format!("n{number}"));
    let put = |value: &'static str| Change::Put { value: value.as_bytes(), expires_at: None };
    for newer in [put("new"), Change::Delete] {
        for at in 0..64 {
            let mut partition = empty();
            partition.doubt_beyond(0);
            append(&mut partition, &[(&one, put("old")), (&two, put("two"))]);
            while partition.log().segments().len() < 2 {
                append(&mut partition, &[("other", put("value"))]);
            }
            let newest = append(&mut partition, &[(&one, newer)]);
            rot_record(&partition, newest, at);
            let mut shown = Vec::new();
            let step = partition.scan(ScanCursor::START, 1_000, NOW, &mut |entry| shown.push(entry.key.to_vec()));
            assert!(step.next.is_none() && step.damage.is_some(), "byte {at}");
            assert_eq!(shown, [b"other"], "byte {at}");
            for draw in 0..32_u64 {
                let drawn = partition.random(draw << 59, NOW).ok().and_then(|drawn| drawn.entry);
                assert!(drawn.is_none_or(|entry| entry.key == b"other"), "byte {at}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn a_page_may_come_back_as_anything(
        at in 0_usize..4_000,
        bytes in prop::collection::vec(any::<u8>(), 1..200),
        small in any::<bool>(),
    ) {
        check(|page| {
            let len = bytes.len().min(page.len() - at);
            // Small numbers make lengths and pointers that nearly fit.
            let bytes = bytes[..len].iter().map(|byte| if small { byte % 4 } else { *byte });
            page[at..at + len].iter_mut().zip(bytes).for_each(|(old, new)| *old = new);
        });
    }
}
