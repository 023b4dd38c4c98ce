//! What the superblock says of a partition while it is written.

use std::string::String;
use std::vec::Vec;

use super::*;

#[test]
fn the_superblock_keeps_up_with_the_number_of_keys_though_the_log_is_never_idle() {
    let mut driver = Driver::create();
    driver.act();
    let mut written = 0;
    for batch in 0..3_000 {
        let keys: Vec<String> = (0..50).map(|number| std::format!("{batch}.{number}")).collect();
        let changes: Vec<_> =
            keys.iter().map(|key| (key.as_str(), Change::Put { value: b"", expires_at: None })).collect();
        driver.apply(&changes);
        let generation = driver.superblock.generation;
        driver.partition.handle_tick(driver.now());
        driver.act();
        written += driver.superblock.generation - generation;
        let (keys, hint) = (driver.partition.len(), driver.superblock.keys);
        assert!(keys - hint < (1 << 16) + keys / 16, "{keys} keys, and the superblock names {hint}");
    }
    assert!((1..10).contains(&written), "{written} superblocks for 150 000 keys");
    driver.partition.clear(driver.now()).unwrap();
    driver.partition.handle_tick(driver.now());
    driver.act();
    assert_eq!(driver.superblock.keys, 0, "and when there are far fewer");
}
