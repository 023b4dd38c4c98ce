use windrow_core::types::{PartitionId, PartitionMap, Slot};

use super::harness::words;
use crate::{
    command::resolve,
    data::{CROSS_SLOT, Route, Unit, route},
};

fn routed(line: &str, partitions: u16, unit: Unit) -> Route {
    let args = words(line);
    route(resolve(args.args()).unwrap(), args.args(), PartitionMap::new(partitions).unwrap(), unit)
}

fn one(key: &str, partitions: u16) -> Route {
    let slot = Slot::of(key.as_bytes());
    Route::One { partition: PartitionMap::new(partitions).unwrap().partition_of(slot), slot: Some(slot) }
}

/// Where one partition has all slots, nobody works out which.
fn only() -> Route {
    Route::One { partition: PartitionId::new(0), slot: None }
}

#[test]
fn commands_go_where_their_keys_are() {
    // Slots of a, b, c: 15495, 3300, 7365.
    use Unit::{Partition, Slot};
    assert_eq!(routed("PING", 4, Partition), Route::AnyNode);
    assert_eq!(routed("CONFIG GET x", 4, Slot), Route::AnyNode);
    assert_eq!(routed("GET a", 4, Partition), one("a", 4));
    assert_eq!(routed("OBJECT ENCODING b", 4, Slot), one("b", 4));
    assert_eq!(routed("MEMORY USAGE c", 4, Slot), one("c", 4));
    assert_eq!(routed("MSET a 1 a 2", 4, Slot), one("a", 4));
    assert_eq!(routed("MSET {a}1 1 {a}2 2", 4, Slot), one("a", 4));
    assert_eq!(routed("MSET a 1 b 2", 1, Partition), only());
    for line in ["MSET a 1 b 2", "MSETNX a 1 b 2", "RENAME a b", "RENAMENX a b", "COPY a b", "LCS a b", "WATCH a b"] {
        assert_eq!(routed(line, 4, Partition), Route::Cross, "{line}");
        assert_eq!(routed(line, 1, Slot), Route::Cross, "{line}");
    }
    for line in ["MGET a b", "DEL a b", "UNLINK a b", "EXISTS a b", "TOUCH a b a"] {
        assert_eq!(routed(line, 4, Partition), Route::Split, "{line}");
        assert_eq!(routed(line, 1, Partition), only(), "{line}");
        assert_eq!(routed(line, 1, Slot), Route::Cross, "{line}");
    }
    for line in ["KEYS *", "DBSIZE", "FLUSHALL", "FLUSHDB", "RANDOMKEY"] {
        assert_eq!(routed(line, 4, Partition), Route::All, "{line}");
    }
    assert!(CROSS_SLOT.starts_with("CROSSSLOT Keys in request don't hash to the same slot"));
}

#[test]
fn a_scan_goes_on_in_the_partition_of_its_cursor() {
    let at = |number: u16| Route::One { partition: PartitionId::new(number), slot: None };
    let scan = |cursor: u64| routed(&alloc::format!("SCAN {cursor}"), 4, Unit::Partition);
    assert_eq!(scan(0), at(0));
    assert_eq!(scan((1 << 40) - 1), at(0));
    assert_eq!(scan(1 << 40), at(1));
    assert_eq!(scan((3 << 40) + 77), at(3));
    assert_eq!(scan(4 << 40), at(0), "to be refused there");
    assert_eq!(routed("SCAN x", 4, Unit::Partition), at(0));
}

#[test]
fn a_transaction_needs_what_its_commands_need() {
    let all = |lines: &[&str], unit| {
        lines.iter().map(|line| routed(line, 4, unit)).fold(Route::AnyNode, |sum, route| sum.and(route, unit))
    };
    use Unit::{Partition, Slot};
    assert_eq!(all(&[], Partition), Route::AnyNode);
    assert_eq!(all(&["PING", "GET a", "PING", "SET {a}b 1"], Slot), one("a", 4));
    assert_eq!(all(&["GET a", "GET b"], Partition), Route::Cross);
    assert_eq!(all(&["GET a", "MGET a b"], Partition), Route::Cross);
    assert_eq!(all(&["DBSIZE"], Partition), Route::Cross);
    // Two slots of one partition.
    let map = PartitionMap::new(4).unwrap();
    let slot = |key: &str| windrow_core::types::Slot::of(key.as_bytes());
    let other = (0..1000)
        .map(|number| alloc::format!("{number}"))
        .find(|key| slot(key) != slot("b") && map.partition_of(slot(key)) == map.partition_of(slot("b")));
    let other = alloc::format!("GET {}", other.expect("a thousand keys spread over four partitions"));
    assert_eq!(all(&["GET b", &other], Partition), one("b", 4));
    assert_eq!(all(&["GET b", &other], Slot), Route::Cross);
}
