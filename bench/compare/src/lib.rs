//! What the comparison with other embedded stores is made of.
//!
//! Every store gets the same work through [`Store`]: keys of 16 bytes in no order, values of 100 bytes, one thread.
//! Settings are the defaults, save for when a write is confirmed, which [`Engine::durable_setting`] states, and
//! compression, which is off. A store that fails ends the process: there is nothing to compare then.

pub mod facts;
pub mod flushes;
mod stores;

use std::path::Path;

pub use stores::{Durability, Engine, Store};

/// Bytes of a key.
pub const KEY_LEN: usize = 16;
/// Bytes of a value.
pub const VALUE_LEN: usize = 100;
/// Puts of a batch.
pub const BATCH: u64 = 100;

/// A number that looks random, drawn from `seed` and `count` (SplitMix64): no two counts of a seed give the same.
#[must_use]
pub const fn scrambled(seed: u64, count: u64) -> u64 {
    let mut mixed = seed.wrapping_add(count.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// The key number `number`: hexadecimal digits, so that keys that follow one another lie far apart.
#[must_use]
pub fn key(number: u64) -> [u8; KEY_LEN] {
    let mut rest = scrambled(7, number);
    let mut key = [0; KEY_LEN];
    for digit in &mut key {
        *digit = b"0123456789abcdef"[(rest & 15) as usize];
        rest >>= 4;
    }
    key
}

/// A value that says which key it belongs to and which version of it this is.
#[must_use]
pub fn value(number: u64, version: u64) -> [u8; VALUE_LEN] {
    let mut value = [b'v'; VALUE_LEN];
    value[..8].copy_from_slice(&number.to_le_bytes());
    value[8..16].copy_from_slice(&version.to_le_bytes());
    value
}

/// Opens `engine` in `dir` and gives it `keys` keys, in batches, durable at the end.
#[must_use]
pub fn loaded(engine: Engine, dir: &Path, durability: Durability, keys: u64) -> Box<dyn Store> {
    let mut store = engine.open(dir, durability);
    write_range(&mut *store, 0, keys, 0);
    store.sync();
    store
}

/// Writes the keys from `first` to `end` in batches of [`BATCH`].
pub fn write_range(store: &mut dyn Store, first: u64, end: u64, version: u64) {
    let mut number = first;
    while number < end {
        let next = end.min(number + BATCH);
        let batch: Vec<_> = (number..next).map(|number| (key(number), value(number, version))).collect();
        store.put_batch(&batch);
        number = next;
    }
}

#[cfg(test)]
mod tests;
