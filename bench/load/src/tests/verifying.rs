//! Wrong values are noticed, and right ones are not called wrong.

use std::collections::BTreeMap;

use super::plan;
use super::stub::{Lie, Stub};
use crate::result::RunResult;
use crate::run::run;
use crate::values::{self, Damage};
use crate::verify::{Fault, Floor, Rules, Table};

const MIX: &str = "run --verify --mix get=50,set=30,rmw=20 --keys 40 --value 24..300 --connections 8 --threads 2 \
                   --pipeline 8 --requests 8k";

fn result(stub: &Stub, line: &str) -> RunResult {
    run(&plan(stub.address(), line)).expect("a run").result
}

fn faults_of(lie: Lie) -> BTreeMap<Fault, u64> {
    let stub = Stub::start();
    stub.lie(lie);
    let verify = result(&stub, MIX).verify.expect("findings");
    assert!(verify.checked > 4000);
    assert_eq!(verify.examples.len().min(1), verify.faults.len().min(1));
    verify.faults
}

#[test]
fn a_server_that_keeps_its_word_is_believed() {
    assert_eq!(faults_of(|_, value| value), BTreeMap::new());
    let stub = Stub::start();
    result(&stub, "load --keys 200 --value 24..500");
    let check = result(&stub, "check --keys 200").verify.expect("findings");
    assert_eq!((check.checked, check.faults), (200, BTreeMap::new()));
    // Later runs go on from what earlier ones left.
    let again = result(&stub, &format!("{MIX} --present")).verify.expect("findings");
    assert_eq!(again.faults, BTreeMap::new(), "{:?}", again.examples);
}

#[test]
fn planted_faults_are_each_called_by_name() {
    let flipped = faults_of(|_, value| {
        value.map(|mut value| {
            let last = value.len() - 1;
            value[last] ^= 1;
            value
        })
    });
    assert!(flipped.contains_key(&Fault::Torn) && !flipped.contains_key(&Fault::Stale), "{flipped:?}");
    let cut = faults_of(|_, value| value.map(|value| value[..value.len() - 1].to_vec()));
    assert_eq!(cut.keys().collect::<Vec<_>>(), [&Fault::Length]);
    let gone = faults_of(|_, _| None);
    assert_eq!(gone.keys().collect::<Vec<_>>(), [&Fault::Missing]);
    let foreign = faults_of(|_, value| {
        let mut other = Vec::new();
        values::write(1_000_000, 1, 100, &mut other);
        value.map(|_| other)
    });
    assert_eq!(foreign.keys().collect::<Vec<_>>(), [&Fault::OtherKey]);
}

#[test]
fn a_single_wrong_value_among_many_is_found() {
    let stub = Stub::start();
    result(&stub, "load --keys 300 --value 50");
    let mut wrong = Vec::new();
    values::write(7, 3, 50, &mut wrong);
    wrong[30] ^= 0x80;
    stub.put("key:000000000007", &wrong);
    let check = result(&stub, "check --keys 300").verify.expect("findings");
    assert_eq!(check.faults, BTreeMap::from([(Fault::Torn, 1)]));
    assert!(check.examples[0].starts_with("key 7: Torn"), "{:?}", check.examples);
    let missing = result(&stub, "check --keys 301").verify.expect("findings");
    assert_eq!(missing.faults, BTreeMap::from([(Fault::Torn, 1), (Fault::Missing, 1)]));
}

#[test]
fn every_changed_byte_of_a_value_is_noticed() {
    for size in [24, 25, 31, 32, 100] {
        let mut value = Vec::new();
        values::write(5, 77, size, &mut value);
        assert_eq!(values::check(5, &value), Ok(77));
        assert_eq!(values::check(6, &value), Err(Damage::OtherKey));
        for at in 0..value.len() {
            value[at] ^= 0x10;
            assert!(values::check(5, &value).is_err(), "byte {at} of {size}");
            value[at] ^= 0x10;
        }
        let mut newer = Vec::new();
        values::write(5, 78, size, &mut newer);
        if size > 24 {
            newer.truncate(24);
            newer.extend_from_slice(&value[24..]);
            assert_eq!(values::check(5, &newer), Err(Damage::Torn), "head of one, body of another, {size} bytes");
        }
        assert_eq!(values::check(5, &value[..20]), Err(Damage::Length));
    }
}

fn value(version: u64) -> Vec<u8> {
    let mut out = Vec::new();
    values::write(1, version, 40, &mut out);
    out
}

const RULES: Rules = Rules { stale_ns: 0, present: false, base: 1000 };

#[test]
fn what_was_confirmed_may_not_be_older_when_it_is_read() {
    let table = Table::new(RULES);
    assert_eq!(table.check(1, table.floor(1, 0), Some(&value(900))), Ok(()), "an earlier run's");
    assert_eq!(table.check(1, Floor(0), Some(&value(1001))), Err(Fault::NeverWritten));
    assert_eq!(table.begin_write(1), Some(1001));
    assert_eq!(table.begin_write(1), None, "one write at a time");
    let before = table.floor(1, 5);
    assert_eq!(table.check(1, before, Some(&value(1001))), Ok(()), "under way, and already to be seen");
    assert_eq!(table.check(1, before, Some(&value(900))), Ok(()));
    table.confirm_write(1, 1001, 10);
    let after = table.floor(1, 11);
    assert_eq!(table.check(1, after, Some(&value(900))), Err(Fault::Stale));
    assert_eq!(table.check(1, after, None), Err(Fault::Missing));
    assert_eq!(table.check(1, before, Some(&value(900))), Ok(()), "sent before the confirmation");
}

#[test]
fn a_lagging_replica_has_its_time_and_no_more() {
    let table = Table::new(Rules { stale_ns: 100, ..RULES });
    assert_eq!(table.begin_write(1), Some(1001));
    table.confirm_write(1, 1001, 1000);
    assert_eq!(table.check(1, table.floor(1, 1099), Some(&value(900))), Ok(()));
    assert_eq!(table.check(1, table.floor(1, 1100), Some(&value(900))), Err(Fault::Stale));
}

#[test]
fn a_write_that_may_still_take_effect_makes_nothing_stale() {
    let table = Table::new(RULES);
    assert_eq!(table.begin_write(1), Some(1001));
    table.lose_write(1);
    assert_eq!(table.begin_write(1), Some(1002));
    table.confirm_write(1, 1002, 10);
    assert_eq!(table.check(1, table.floor(1, 20), Some(&value(1001))), Ok(()));
    assert_eq!(table.check(1, table.floor(1, 20), Some(&value(1003))), Err(Fault::NeverWritten));
}
