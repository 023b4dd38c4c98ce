//! What Windrow's benchmarks share.
//!
//! `cargo bench -p windrow-bench-micro` measures and keeps its figures in `target/criterion`. With `-- --test`, or
//! under `cargo test --benches`, every benchmark runs once at its smallest size, so that it cannot rot.

mod memory;

use std::env;
use std::time::Duration;

use criterion::Criterion;

pub use memory::{Driver, KEY, key, now};

/// Whether the benchmarks are only tried out: at their smallest size, once.
#[must_use]
pub fn is_smoke() -> bool {
    let mut measured = false;
    for argument in env::args() {
        match argument.as_str() {
            "--test" => return true,
            "--bench" => measured = true,
            _ => {}
        }
    }
    !measured
}

/// Those of `sizes` that are to be run: all, or the smallest where the benchmarks are only tried out.
#[must_use]
pub fn sizes<T: Copy>(sizes: &[T]) -> &[T] {
    if is_smoke() { &sizes[..sizes.len().min(1)] } else { sizes }
}

/// Criterion with times that let the whole set finish in minutes.
#[must_use]
pub fn criterion() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .sample_size(30)
        .configure_from_args()
}

/// Pins this thread to the core at this place among those of the process, if there is one.
pub fn pin(place: usize) {
    if let Some(core) = core_affinity::get_core_ids().and_then(|cores| cores.get(place).copied()) {
        core_affinity::set_for_current(core);
    }
}

/// A number that looks random, drawn from `seed` and `count` (SplitMix64).
#[must_use]
pub const fn scrambled(seed: u64, count: u64) -> u64 {
    let mut mixed = seed.wrapping_add(count.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}
