use std::sync::atomic::AtomicUsize;
use std::thread;

use super::*;

fn progress(committed: u64) -> Progress {
    let (appended, durable) = (Lsn::new(committed + 200), Lsn::new(committed + 100));
    Progress { appended, durable, committed: Lsn::new(committed), epoch: Epoch::new(7) }
}

const ID: PartitionId = PartitionId::new(3);

#[test]
fn readers_see_what_the_writer_publishes_and_what_the_last_one_left() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(ControlReader::open(dir.path(), ID), Err(ControlError::File(_))));
    assert!(matches!(ControlFollower::open(dir.path(), ID), Err(ControlError::File(_))));
    let writer = ControlWriter::open(dir.path(), ID).unwrap();
    let reader = ControlReader::open(dir.path(), ID).unwrap();
    assert_eq!(reader.progress(), Progress::default());
    assert_eq!(reader.writer_pid(), std::process::id());
    writer.publish(&progress(100));
    assert_eq!(reader.progress(), progress(100));
    drop(writer);
    let _next = ControlWriter::open(dir.path(), ID).unwrap();
    assert_eq!(reader.progress(), progress(100));
}

#[test]
fn a_foreign_page_is_refused_by_readers_and_taken_over_by_the_writer() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(CONTROL_FILE);
    std::fs::write(&path, b"short").unwrap();
    assert!(matches!(ControlReader::open(dir.path(), ID), Err(ControlError::Foreign { .. })));
    assert!(matches!(ControlFollower::open(dir.path(), ID), Err(ControlError::Foreign { .. })));
    let _other = ControlWriter::open(dir.path(), PartitionId::new(1)).unwrap();
    assert!(matches!(ControlReader::open(dir.path(), ID), Err(ControlError::Foreign { .. })));
    let own = ControlWriter::open(dir.path(), ID).unwrap();
    let follower = ControlFollower::open(dir.path(), ID).unwrap();
    assert_eq!(follower.progress(), Progress::default());
    own.publish(&progress(100));
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[8] = 1;
    // In place: the file is mapped.
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().write_all_at(&bytes, 0).unwrap();
    assert!(matches!(follower.check(), Err(ControlError::Version { found: 1, .. })));
    assert!(matches!(ControlReader::open(dir.path(), ID), Err(ControlError::Version { found: 1, .. })));
}

#[test]
fn a_follower_is_attached_as_long_as_it_holds_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let writer = ControlWriter::open(dir.path(), ID).unwrap();
    let follower = ControlFollower::open(dir.path(), ID).unwrap();
    assert_eq!(writer.attached(), []);
    let places: Vec<PlaceLock> = (0..FOLLOWERS_MAX).map(|_| follower.take_place().unwrap().unwrap()).collect();
    assert!(follower.take_place().unwrap().is_none(), "all places are taken");
    follower.attach(places[5].place(), 6380, Lsn::new(64));
    let attached = Attached { place: 5, pid: std::process::id(), port: 6380, position: Lsn::new(64) };
    assert_eq!(writer.attached(), [attached], "the others have not said anything");
    follower.report(5, Lsn::new(80));
    assert_eq!(writer.attached()[0].position, Lsn::new(80));
    drop(places);
    assert_eq!(writer.attached(), [], "what it said is a remnant");
    assert_eq!(follower.take_place().unwrap().unwrap().place(), 0);
}

#[test]
fn nobody_sleeps_on_what_is_there_already() {
    let dir = tempfile::tempdir().unwrap();
    let writer = ControlWriter::open(dir.path(), ID).unwrap();
    let follower = ControlFollower::open(dir.path(), ID).unwrap();
    writer.publish(&progress(100));
    assert_eq!(follower.prepare_sleep(Lsn::new(50)), None);
    let sequence = follower.prepare_sleep(Lsn::new(100)).unwrap();
    writer.publish(&progress(100));
    assert_eq!(follower.prepare_sleep(Lsn::new(100)), Some(sequence), "nothing new wakes nobody");
    writer.publish(&progress(200));
    let page = follower.mapped.page();
    assert_eq!(page.waiting.load(Ordering::Relaxed), 0, "the flag is taken down");
    assert_eq!(page.sequence.load(Ordering::Relaxed), sequence + 1);
    writer.publish(&progress(300));
    assert_eq!(page.sequence.load(Ordering::Relaxed), sequence + 1, "nobody sleeps, nobody is woken");
}

#[test]
fn an_orderly_end_is_told_from_a_death() {
    let dir = tempfile::tempdir().unwrap();
    let writer = ControlWriter::open(dir.path(), ID).unwrap();
    let follower = ControlFollower::open(dir.path(), ID).unwrap();
    assert!(follower.is_written());
    drop(writer);
    assert!(follower.is_written(), "a writer that dies says nothing");
    ControlWriter::open(dir.path(), ID).unwrap().end_in_order();
    assert!(!follower.is_written());
    thread::scope(|scope| {
        let waiter = scope.spawn(|| follower.wait_for_writer());
        let _next = ControlWriter::open(dir.path(), ID).unwrap();
        waiter.join().unwrap();
    });
}

/// A lost wake would leave a sleeper in its futex for ever.
#[test]
fn no_wake_is_lost_between_a_writer_and_two_followers() {
    const ROUNDS: u64 = 20_000;
    let dir = tempfile::tempdir().unwrap();
    let writer = ControlWriter::open(dir.path(), ID).unwrap();
    let seen = [AtomicUsize::new(0), AtomicUsize::new(0)];
    thread::scope(|scope| {
        for seen in &seen {
            let follower = ControlFollower::open(dir.path(), ID).unwrap();
            scope.spawn(move || {
                let mut end = Lsn::ZERO;
                while end.get() < ROUNDS {
                    if let Some(sequence) = follower.prepare_sleep(end) {
                        let page = follower.mapped.page();
                        let slept = rustix::thread::futex::wait(
                            &page.sequence,
                            rustix::thread::futex::Flags::empty(),
                            sequence,
                            None,
                        );
                        assert!(matches!(slept, Ok(()) | Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR)));
                    }
                    end = follower.committed();
                    seen.fetch_max(usize::try_from(end.get()).unwrap(), Ordering::Relaxed);
                }
            });
        }
        for round in 1..=ROUNDS {
            writer.publish(&progress(round));
            // So that they do sleep in between, now and then.
            while round % 64 == 0 && seen.iter().any(|seen| (seen.load(Ordering::Relaxed) as u64) < round) {
                thread::yield_now();
            }
        }
    });
}
