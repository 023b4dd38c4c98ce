//! What happened, as one number: two runs that agree on it went through the same events.

use crate::rng::split_mix;

/// Folds every event of a run into a hash, and prints them where that was asked for.
#[derive(Debug)]
pub(crate) struct Trace {
    hash: u64,
    events: u64,
    verbose: bool,
    pub(crate) time_us: u64,
}

impl Trace {
    pub(crate) const fn new(verbose: bool) -> Self {
        Self { hash: 0, events: 0, verbose, time_us: 0 }
    }

    pub(crate) const fn hash(&self) -> u64 {
        self.hash
    }

    fn fold(&mut self, value: u64) {
        let mut state = self.hash ^ value;
        self.hash = split_mix(&mut state).wrapping_add(self.hash.rotate_left(17));
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        // FNV-1a.
        let sum = bytes
            .iter()
            .fold(0xCBF2_9CE4_8422_2325_u64, |sum, &byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3));
        self.fold(sum);
    }

    #[expect(clippy::print_stdout, reason = "printing events is what a verbose run is for")]
    pub(crate) fn event(&mut self, what: &'static str, numbers: &[u64]) {
        self.events += 1;
        self.fold(self.time_us);
        self.bytes(what.as_bytes());
        for &number in numbers {
            self.fold(number);
        }
        if self.verbose {
            println!("{:>12} {what} {numbers:?}", self.time_us);
        }
    }

    #[expect(clippy::print_stdout, reason = "printing events is what a verbose run is for")]
    pub(crate) fn note(&self, text: impl FnOnce() -> String) {
        if self.verbose {
            println!("{:>12}   {}", self.time_us, text());
        }
    }
}
