//! Scans by hash and by log: what they visit while others write, and where the index has only hints.

use super::*;

fn put(value: &str) -> Change<'_> {
    Change::Put { value: value.as_bytes(), expires_at: None }
}

/// What happens between two steps of a walk.
#[derive(Clone, Debug)]
enum Between {
    Put(u8),
    Delete(u8),
    Batch(Vec<u8>),
    Flush,
    Step(usize),
}

fn between() -> impl Strategy<Value = Between> {
    prop_oneof![
        3 => (0..30_u8).prop_map(Between::Put),
        1 => (0..30_u8).prop_map(Between::Delete),
        1 => prop::collection::vec(0..30_u8, 1..8).prop_map(Between::Batch),
        1 => Just(Between::Flush),
        6 => (1..9_usize).prop_map(Between::Step),
    ]
}

fn name(key: u8) -> String {
    std::format!("k{key}")
}

fn write(driver: &mut Driver, keys: &[u8]) {
    let keys: BTreeSet<String> = keys.iter().map(|key| name(*key)).collect();
    let ops: Vec<(&str, Change<'_>)> = keys.iter().map(|key| (key.as_str(), put("v"))).collect();
    driver.apply(&ops);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_walk_visits_what_is_there_throughout_and_ends(
        before in prop::collection::vec(prop::collection::vec(0..30_u8, 1..8), 0..30),
        steps in prop::collection::vec(between(), 0..200),
    ) {
        let mut driver = Driver::create();
        before.iter().for_each(|keys| write(&mut driver, keys));
        let mut throughout: BTreeSet<String> = driver.keys().into_iter().collect();
        let mut untouched = throughout.clone();
        let mut visited: BTreeMap<String, usize> = BTreeMap::new();
        let mut walk = LogWalk::default();
        let mut is_over = false;
        // The walk begins before anything else is written.
        let steps = std::iter::once(Between::Step(1)).chain(steps).chain(std::iter::repeat_n(Between::Step(50), 40));
        for step in steps {
            match step {
                Between::Put(key) => {
                    write(&mut driver, &[key]);
                    untouched.remove(&name(key));
                }
                Between::Batch(keys) => {
                    write(&mut driver, &keys);
                    untouched.retain(|known| keys.iter().all(|key| name(*key) != *known));
                }
                Between::Delete(key) => {
                    driver.apply(&[(&name(key), Change::Delete)]);
                    untouched.remove(&name(key));
                    throughout.remove(&name(key));
                }
                Between::Flush => driver.flush(),
                Between::Step(_) if is_over => {}
                Between::Step(budget) => {
                    let there: BTreeSet<String> = driver.keys().into_iter().collect();
                    let step = driver.partition.walk(&mut walk, budget, driver.now(), &mut |entry| {
                        *visited.entry(String::from_utf8(entry.key.to_vec()).unwrap()).or_default() += 1;
                        assert!(!entry.value.is_empty());
                    });
                    is_over = step.walked == Walked::All;
                    prop_assert!(visited.keys().all(|key| there.contains(key) || !untouched.contains(key)));
                }
            }
        }
        prop_assert!(is_over, "it ends where the log ended when it began");
        for key in &throughout {
            prop_assert!(visited.contains_key(key), "{} was there throughout", key);
        }
        for key in &untouched {
            prop_assert_eq!(visited.get(key), Some(&1), "{} was not written meanwhile", key);
        }
    }
}

/// How many keys there are, counted one by one, and what to wait for.
fn each(driver: &Driver) -> (usize, Lsn) {
    let mut count = 0;
    let wait = driver.partition.for_each(driver.now(), &mut |_| count += 1).unwrap();
    (count, wait)
}

#[test]
fn a_walk_over_a_log_that_was_overwritten_shows_each_key_once() {
    let mut driver = Driver::create();
    for round in 0..50 {
        (0..20).for_each(|key| driver.put(&name(key), &std::format!("{round}")));
    }
    assert!(!driver.partition.is_mostly_live());
    assert_eq!(driver.keys().len(), 20);
    assert_eq!(each(&driver), (20, driver.partition.appended()));
    let walk = &mut LogWalk::default();
    let mut values = BTreeSet::new();
    let step = driver.partition.walk(walk, 100_000, driver.now(), &mut |entry| {
        values.insert(entry.value.to_vec());
    });
    assert!(step.walked == Walked::All && values.len() == 1, "only the newest versions");
    assert_eq!(step.wait, driver.partition.appended(), "none of which is committed yet");
    let mut fresh = Driver::create();
    (0..20).for_each(|key| fresh.put(&name(key), &"v".repeat(100)));
    assert!(fresh.partition.is_mostly_live());
    assert_eq!(each(&fresh), (20, fresh.partition.appended()));
}

#[test]
fn a_walk_whose_place_is_gone_is_lost() {
    let mut driver = Driver::create();
    (0..20).for_each(|key| driver.put(&name(key), "v"));
    let mut walk = LogWalk::default();
    assert_eq!(driver.partition.walk(&mut walk, 10, driver.now(), &mut |_| {}).walked, Walked::More);
    // What was not flushed is gone, and the log goes on with records of other lengths.
    let mut driver = driver.reopen();
    (0..30).for_each(|key| driver.put(&name(key), "another value"));
    let step = driver.partition.walk(&mut walk, 7, driver.now(), &mut |_| panic!("nothing is known of what is here"));
    assert_eq!(step.walked, Walked::Lost);
    assert_eq!(driver.keys().len(), 30);
}

#[test]
fn hints_that_were_swapped_hide_nothing() {
    let mut driver = Driver::create();
    let (one, two) = colliding_keys(&driver);
    let others: Vec<String> = (0..40).map(|number| std::format!("n62077{number}")).collect();
    for written_again in [&one, &two] {
        let keys: BTreeSet<&str> = others.iter().map(String::as_str).chain([one.as_str(), two.as_str()]).collect();
        let ops: Vec<(&str, Change<'_>)> = keys.iter().map(|key| (*key, put("old"))).collect();
        driver.apply(&ops);
        driver.put(written_again, "new");
        let expected: Vec<String> = keys.iter().map(|key| String::from(*key)).collect();
        assert_eq!(driver.keys(), expected);
        let mut drawn = BTreeSet::new();
        for number in 0..5_000_u64 {
            let draw = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            drawn.insert(driver.partition.random(draw, driver.now()).unwrap().entry.unwrap().key.to_vec());
        }
        assert_eq!(drawn.len(), keys.len());
    }
}

#[test]
fn keys_of_large_batches_are_found_and_scanned() {
    let mut driver = Driver::create();
    let keys: Vec<String> = (0..80).map(|number| std::format!("{number}")).collect();
    for chunk in [80, 17, 16, 15, 3, 2] {
        for some in keys.chunks(chunk) {
            driver.flush();
            let ops: Vec<(&str, Change<'_>)> = some.iter().map(|key| (key.as_str(), put("v"))).collect();
            driver.apply(&ops);
        }
        assert!(keys.iter().all(|key| driver.get(key).is_some()));
        assert_eq!(driver.get("no such key"), None);
        assert_eq!(driver.keys().len(), 80);
    }
    driver.flush();
    assert_eq!(driver.reopen().keys().len(), 80);
}
