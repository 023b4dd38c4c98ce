//! Cores of one node: no wake-up is lost, no message is lost or overtaken.

use windrow_model::shared;

/// Every order with at most this many switches away from a thread that could go on. More find hardly more, and take
/// minutes instead of seconds.
const SWITCHES_MAX: usize = 3;

fn model(switches: Option<usize>, scenario: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = switches;
    builder.check(scenario);
}

#[test]
fn one_thread_tells_a_core() {
    model(None, || shared::nothing_left_for_a_core_is_overlooked(1));
}

#[test]
fn two_threads_tell_a_core() {
    model(Some(SWITCHES_MAX), || shared::nothing_left_for_a_core_is_overlooked(2));
}

/// That the model can fail: a core that stays asleep for ever is a deadlock.
#[test]
#[should_panic(expected = "deadlock")]
fn a_lost_wake_up_is_found() {
    model(None, || shared::a_core_that_looks_before_it_sleeps(1));
}

#[test]
fn messages_through_full_rings_arrive_in_order() {
    model(Some(SWITCHES_MAX), || shared::messages_arrive_in_order(3));
}
