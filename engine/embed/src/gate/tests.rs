use std::sync::Barrier;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use super::*;

#[test]
fn many_threads_share_flushes_and_one_runs_at_a_time() {
    const THREADS: u64 = 8;
    const ROUNDS: u64 = 500;
    let gate = Gate::new(Lsn::ZERO);
    let appended = AtomicU64::new(0);
    let (running, flushes) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let start = Barrier::new(usize::try_from(THREADS).unwrap());
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                start.wait();
                for _ in 0..ROUNDS {
                    let target = Lsn::new(appended.fetch_add(16, Ordering::SeqCst) + 16);
                    let flush = || {
                        assert_eq!(running.fetch_add(1, Ordering::SeqCst), 0, "one flush at a time");
                        let upto = appended.load(Ordering::SeqCst);
                        std::thread::yield_now();
                        flushes.fetch_add(1, Ordering::SeqCst);
                        running.fetch_sub(1, Ordering::SeqCst);
                        Ok(Lsn::new(upto))
                    };
                    gate.wait_committed(target, flush).unwrap();
                    assert!(gate.committed() >= target);
                }
            });
        }
    });
    assert_eq!(gate.committed().get(), THREADS * ROUNDS * 16);
    assert!(flushes.load(Ordering::SeqCst) as u64 <= THREADS * ROUNDS);
}

#[test]
fn a_failed_flush_ends_every_wait_but_not_what_was_committed_before() {
    let gate = Gate::new(Lsn::new(100));
    let failed = || {
        let path = "x".into();
        Err(Failed::from(FlushFailed { path, source: std::io::Error::from_raw_os_error(5) }))
    };
    assert!(matches!(gate.wait_committed(Lsn::new(200), failed), Err(ReadError::Failed(_))));
    let unreachable = || panic!("no flush is tried after one has failed");
    assert!(matches!(gate.wait_committed(Lsn::new(300), unreachable), Err(ReadError::Failed(_))));
    gate.wait_committed(Lsn::new(100), unreachable).unwrap();
    assert!(matches!(gate.check(), Err(ReadError::Failed(_))));
    assert!(matches!(gate.wait_event(0), Err(ReadError::Failed(_))));
    gate.finish(ReadError::Closed);
    assert!(matches!(gate.check(), Err(ReadError::Failed(_))), "the first reason stays");
}

#[test]
fn a_flush_that_unwinds_lets_the_next_one_in() {
    let gate = Gate::new(Lsn::ZERO);
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        gate.wait_committed(Lsn::new(16), || panic!("in a flush"))
    }));
    assert!(caught.is_err());
    gate.wait_committed(Lsn::new(16), || Ok(Lsn::new(16))).unwrap();
}

#[test]
fn a_result_that_comes_before_the_wait_is_not_missed() {
    let gate = Gate::new(Lsn::ZERO);
    let seen = gate.events();
    gate.event(None);
    gate.wait_event(seen).unwrap();
    let seen = gate.events();
    std::thread::scope(|scope| {
        scope.spawn(|| gate.wait_event(seen).unwrap());
        gate.event(None);
    });
}

#[test]
fn growth_is_waited_for_until_the_deadline() {
    let gate = Gate::new(Lsn::new(16));
    gate.wait_growth(Lsn::ZERO, Instant::now()).unwrap();
    gate.wait_growth(Lsn::new(16), Instant::now() + Duration::from_millis(1)).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| gate.wait_growth(Lsn::new(16), Instant::now() + Duration::from_secs(600)).unwrap());
        gate.advance(Lsn::new(32));
    });
}
