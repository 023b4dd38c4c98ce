//! Seeds that run with every test, and proof that the simulator repeats itself and finds what it should.

use std::ops::Range;

use windrow_sim::{Mutation, Passed, Stats, run};

fn passes(seed: u64) -> Passed {
    run(seed, None).unwrap_or_else(|failure| {
        panic!(
            "seed {seed} at {} µs: {}\nrepeat it with: cargo xtask sim --seed {seed}",
            failure.time_us, failure.problem
        )
    })
}

fn all_pass(seeds: Range<u64>) -> Stats {
    let mut total = Stats::default();
    seeds.for_each(|seed| total.add(&passes(seed).stats));
    total
}

#[test]
fn everything_holds_and_every_fault_has_hit() {
    let total = all_pass(0..120);
    for kind in [
        "power-cut",
        "kill",
        "cut-in-open",
        "torn-tail",
        "dirty-at-power-cut",
        "failed-flush",
        "slow-flush",
        "lost-write",
        "misdirected-write",
        "bit-rot",
        "bit-rot-superblock",
        "corruption-refused",
        "disk-full",
        "prepare-refused",
        "log-not-ready",
        "clock-jump",
        "pause",
        "reset",
    ] {
        assert!(total.faults.get(kind).is_some_and(|&count| count > 0), "no {kind} in {total}");
    }
    assert!(total.operations > 100_000 && total.rolls > 500 && total.recoveries > 500, "{total}");
}

#[test]
fn other_seeds_pass_too() {
    all_pass(100_000..100_100);
}

#[test]
fn a_seed_decides_everything() {
    let traces: Vec<u64> = (0..12).map(|seed| passes(seed).trace).collect();
    for (seed, trace) in (0..12).zip(&traces) {
        assert_eq!(passes(seed).trace, *trace, "seed {seed} went differently the second time");
    }
    let mut distinct = traces.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), traces.len(), "different seeds go different ways");
}

/// Each known bug with the number of seeds within which it must be found.
#[test]
fn known_bugs_are_found() {
    for (mutation, seeds) in [
        (Mutation::ReleaseAtSubmitted, 10),
        (Mutation::AbsenceDoesNotWait, 10),
        (Mutation::FlushLastSegmentOnly, 20),
        (Mutation::RetryFailedFlush, 120),
        (Mutation::TrustCache, 120),
        (Mutation::SkipDirectorySync, 20),
        (Mutation::SkipEpochSuperblock, 40),
        (Mutation::SkipRepair, 80),
        (Mutation::SplitTransactions, 20),
    ] {
        let found = (0..seeds).any(|seed| run(seed, Some(mutation)).is_err());
        assert!(found, "{mutation:?} is not found in {seeds} seeds");
    }
}
