//! The keys of a run: what clients name, by partition.

use windrow_core::types::{HashSeed, PartitionMap, Slot};

use crate::rng::Rng;
use crate::swarm::Swarm;

/// The hash seed under which the pairs below collide.
const COLLIDING_SEED: HashSeed = HashSeed([3; 16]);
/// Numbers of keys whose hashes agree in all the bits that the index keeps. Found by trying nine million keys.
const COLLIDING: [(u32, u32); 12] = [
    (3_066_474, 5_983_739),
    (2_698_117, 4_433_769),
    (1_535_762, 4_681_913),
    (785_572, 1_941_522),
    (273_786, 2_032_110),
    (634_118, 2_039_049),
    (2_966_720, 3_429_658),
    (188_216, 2_357_539),
    (1_351_901, 3_025_373),
    (2_979_490, 3_511_651),
    (1_272_346, 1_637_829),
    (494_987, 8_545_019),
];
/// Colliding pairs that one partition uses.
const PAIRS_MAX: usize = 3;

fn name(number: impl std::fmt::Display) -> Vec<u8> {
    format!("k{number}").into_bytes()
}

/// The hash seed of a replica in this run.
pub(crate) fn hash_seed(swarm: &Swarm, rng: &mut Rng) -> HashSeed {
    if swarm.keys_collide {
        return COLLIDING_SEED;
    }
    let mut seed = [0; 16];
    seed[..8].copy_from_slice(&rng.next().to_le_bytes());
    seed[8..].copy_from_slice(&rng.next().to_le_bytes());
    HashSeed(seed)
}

/// The keys of each partition. Those that collide come first, where clients are busiest.
pub(crate) fn keys(swarm: &Swarm, map: PartitionMap, rng: &mut Rng) -> Vec<Vec<Vec<u8>>> {
    let home = |key: &[u8]| usize::from(map.partition_of(Slot::of(key)).get());
    let mut keys = vec![Vec::new(); usize::from(map.count())];
    if swarm.keys_collide {
        let skipped = rng.index(COLLIDING.len());
        for (first, second) in COLLIDING.iter().cycle().skip(skipped).take(COLLIDING.len()) {
            let (first, second) = (name(first), name(second));
            let keys: &mut Vec<Vec<u8>> = &mut keys[home(&first)];
            if home(&first) == home(&second) && keys.len() < 2 * PAIRS_MAX {
                keys.extend([first, second]);
            }
        }
    }
    let mut number = 0;
    while number < swarm.keys || keys.iter().any(Vec::is_empty) {
        let key = name(number);
        keys[home(&key)].push(key);
        number += 1;
    }
    keys
}

#[cfg(test)]
mod tests {
    use windrow_core::index::Fragment;

    use super::*;

    #[test]
    fn the_keys_that_should_collide_do() {
        for (first, second) in COLLIDING {
            let [first, second] = [first, second].map(|number| Fragment::of(COLLIDING_SEED.hash(&name(number))));
            assert_eq!(first, second, "search again: the hash has changed");
        }
    }
}
