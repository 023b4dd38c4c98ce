//! Seeds that run with every test, and proof that the simulator repeats itself and finds what it should.

use std::ops::Range;

use windrow_sim::{Kind, Mutation, Passed, Stats, run};

fn passes(kind: Kind, seed: u64) -> Passed {
    let flag = if kind == Kind::Cluster { "--cluster " } else { "" };
    run(kind, seed, None).unwrap_or_else(|failure| {
        panic!(
            "seed {seed} at {} µs: {}\nrepeat it with: cargo xtask sim {flag}--seed {seed}",
            failure.time_us, failure.problem
        )
    })
}

fn all_pass(kind: Kind, seeds: Range<u64>) -> Stats {
    let mut total = Stats::default();
    seeds.for_each(|seed| total.add(&passes(kind, seed).stats));
    total
}

#[test]
fn everything_holds_and_every_fault_has_hit() {
    let total = all_pass(Kind::Node, 0..180);
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
    all_pass(Kind::Node, 100_000..100_040);
}

#[test]
fn replicas_stay_the_same_and_every_fault_has_hit() {
    let total = all_pass(Kind::Cluster, 0..80);
    for kind in [
        "power-cut",
        "power-cut-of-all",
        "kill",
        "cut-in-open",
        "failed-flush",
        "slow-flush",
        "disk-full",
        "clock-jump",
        "pause",
        "isolated",
        "new-leader-crashed",
        "one-way-cut",
        "pair-cut",
        "stopped-amid-a-write",
        "bit-rot",
        "corruption-refused",
        "damage-taken-back",
        "disk-lost",
        "disk-replaced",
        "reset",
        "message-lost",
        "message-repeated",
        "bit-flipped",
        "bad-bytes",
        "promotion",
        "led",
        "deposed",
        "cut-by-leader",
        "read-without-lease",
        "newest-superblock-lost",
        "older-superblock-lost",
        "both-superblocks-lost",
        "led-by-force",
        "lost-by-force",
        "loss-refused",
        "loss-permitted",
    ] {
        assert!(total.faults.get(kind).is_some_and(|&count| count > 0), "no {kind} in {total}");
    }
    assert!(total.operations > 20_000 && total.replies > 10_000 && total.recoveries > 300, "{total}");
}

#[test]
fn other_seeds_of_replicas_pass_too() {
    all_pass(Kind::Cluster, 100_000..100_060);
}

/// As they are today these seeds are other runs than when they failed; what they found has tests of its own.
#[test]
fn seeds_of_replicas_that_once_failed_pass() {
    for seed in [9, 30, 1_495, 2_292, 2_656, 20_114] {
        passes(Kind::Cluster, seed);
    }
}

#[test]
fn a_seed_decides_everything() {
    for kind in [Kind::Node, Kind::Cluster] {
        let traces: Vec<u64> = (0..12).map(|seed| passes(kind, seed).trace).collect();
        for (seed, trace) in (0..12).zip(&traces) {
            assert_eq!(passes(kind, seed).trace, *trace, "seed {seed} went differently the second time");
        }
        let mut distinct = traces.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), traces.len(), "different seeds go different ways");
    }
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
        (Mutation::SkipEpochSuperblock, 60),
        (Mutation::SkipRepair, 80),
        (Mutation::SplitTransactions, 20),
        (Mutation::AckBeforeFlush, 10),
        (Mutation::ReplyAtDurable, 10),
        (Mutation::ServeWithoutLease, 200),
        (Mutation::KeepLeading, 10),
        (Mutation::PromiseBeforeDurable, 10),
        (Mutation::SkipMoveAside, 60),
    ] {
        let kind = if mutation.is_of_cluster() { Kind::Cluster } else { Kind::Node };
        let found = (0..seeds).any(|seed| run(kind, seed, Some(mutation)).is_err());
        assert!(found, "{mutation:?} is not found in {seeds} seeds");
    }
}
