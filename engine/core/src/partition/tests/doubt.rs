//! What is taken to be in memory, and what is taken to be overwritten soon.

use std::format;

use super::*;

#[test]
fn what_is_old_or_went_past_the_page_cache_is_doubted_and_nothing_else() {
    let mut driver = Driver::create();
    let mut lsns = Vec::new();
    for number in 0..200 {
        driver.put(&format!("key {number}"), "value");
        let hash = driver.partition.hash(format!("key {number}").as_bytes());
        lsns.push(driver.partition.likely_candidate(hash).unwrap());
    }
    let partition = &mut driver.partition;
    let doubted = |partition: &Partition<VecMemory>| -> Vec<usize> {
        let is_led_there = |number: &usize| {
            let key = format!("key {number}");
            let leads = partition.leads_to_doubted(partition.hash(key.as_bytes()));
            assert!(leads >= partition.is_doubted(lsns[*number]), "a lookup of {key}");
            leads
        };
        let doubted: Vec<usize> = (0..200).filter(is_led_there).filter(|&at| partition.is_doubted(lsns[at])).collect();
        assert!(doubted.is_empty() || partition.has_doubted());
        doubted
    };
    assert!(doubted(partition).is_empty() && !partition.has_doubted(), "all of it is in memory");
    partition.doubt_in(lsns[50]..lsns[60]);
    assert_eq!(doubted(partition), (50..60).collect::<Vec<_>>());
    partition.doubt_beyond(partition.appended().since(lsns[20]));
    assert_eq!(doubted(partition), (0..20).chain(50..60).collect::<Vec<_>>());
    partition.doubt_beyond(partition.appended().since(lsns[55]));
    assert_eq!(doubted(partition), (0..60).collect::<Vec<_>>());
    partition.doubt_in(Lsn::ZERO..Lsn::ZERO);
    assert_eq!(doubted(partition), (0..55).collect::<Vec<_>>());
}

#[test]
fn what_is_overwritten_soon_is_known_by_what_was_written_so_long_before() {
    let mut driver = Driver::create();
    let len = CONFIG.segment_len;
    let segments = |driver: &Driver| driver.partition.log().segments().len() as u64;
    let overwrite = |driver: &mut Driver, upto: u64| {
        for number in 0.. {
            driver.put(&format!("key {}", number % 4), "value");
            if segments(driver) == upto {
                return;
            }
        }
    };
    overwrite(&mut driver, 3);
    assert!(!driver.partition.is_overwritten_within(3 * len), "nothing was written so long before");
    // The segment in use holds what is current.
    overwrite(&mut driver, 6);
    for behind in 1..5 {
        assert!(driver.partition.is_overwritten_within(behind * len), "{behind} segments behind");
    }
    driver.put("one that stays", "value");
    let kept = segments(&driver);
    overwrite(&mut driver, kept + 4);
    let (first, end) = (driver.partition.log().start(), driver.partition.appended());
    let kept_end = first.plus(kept * len);
    assert!(!driver.partition.is_overwritten_within(end.since(kept_end)), "it has a key that stays");
    assert!(driver.partition.is_overwritten_within(end.since(kept_end) - len), "the segments behind it");
    assert!(driver.partition.is_overwritten_within(end.since(kept_end) + 1), "those before it");
    driver.partition.clear(driver.now()).unwrap();
    assert!(driver.partition.is_overwritten_within(end.since(kept_end)), "nothing is current");
}
