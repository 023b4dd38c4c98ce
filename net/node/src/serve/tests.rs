//! How partitions are dealt to cores.

use super::ground::owners;
use super::*;

#[test]
fn partitions_are_dealt_evenly_and_neighbours_stay_together() {
    assert_eq!(owners(4, 2), [0, 0, 1, 1]);
    assert_eq!(owners(2, 4), [0, 1]);
    assert_eq!(owners(5, 2), [0, 0, 0, 1, 1]);
    assert_eq!(owners(1, 1), [0]);
    for (partitions, cores) in [(7, 3), (3, 7), (1024, 5), (64, 64)] {
        let owners = owners(partitions, cores);
        assert!(owners.is_sorted());
        for core in 0..cores.min(usize::from(partitions)) {
            let own = owners.iter().filter(|&&owner| owner == core).count();
            let fair = usize::from(partitions) / cores.min(usize::from(partitions));
            assert!((fair..=fair + 1).contains(&own), "{own} of {partitions} on core {core} of {cores}");
        }
    }
}

#[test]
fn a_core_numbers_its_own_partitions() {
    assert_eq!(places(&[0, 0, 1, 1], 1), [Place::There(0), Place::There(0), Place::Here(0), Place::Here(1)]);
}
