//! Windrow's own parts, as far as the document shows them: criterion's benchmarks in `bench/micro`.

use super::samples::Samples;
use super::stores::estimate;
use crate::run;

/// Ways of committing, by their names in `bench/micro/benches/commit.rs`.
pub(crate) const COMMITS: [&str; 8] = [
    "fill_direct",
    "fill_4k",
    "fill_16k",
    "fill_64k",
    "fill_1m",
    "fill_allocate",
    "pwrite_fdatasync",
    "o_direct_o_dsync",
];
pub(crate) const COMMIT_LENS: [&str; 4] = ["128", "4096", "65536", "1048576"];

const MINUTES_MAX: u32 = 10;
const BENCHES: [&str; 2] = ["--bench", "commit"];

pub(crate) fn build() -> Result<(), String> {
    let bench = run::cargo(&[&["bench", "--locked", "-p", "windrow-bench-micro", "--no-run"][..], &BENCHES].concat());
    run::passes(bench).into_iter().next().map_or(Ok(()), Err)
}

pub(crate) fn measure(samples: &mut Samples) -> Result<(), String> {
    let mut bench = run::cargo(&[&["bench", "--locked", "-p", "windrow-bench-micro"][..], &BENCHES].concat());
    bench.args(["--", "--noplot", "--warm-up-time", "0.2", "--measurement-time", "0.7", "--sample-size", "10"]);
    run::passes(super::limited(&bench, MINUTES_MAX)).into_iter().next().map_or(Ok(()), Err)?;
    for way in COMMITS {
        for len in COMMIT_LENS {
            if let Some(nanos) = estimate(&super::target(), &["commit", way, len]) {
                samples.add("commit", way, len, 0, nanos);
            }
        }
    }
    Ok(())
}
