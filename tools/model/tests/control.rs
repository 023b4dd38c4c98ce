//! The control page: no follower sleeps through the last watermark.

use windrow_model::control;

const SWITCHES_MAX: usize = 3;

fn model(switches: Option<usize>, scenario: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = switches;
    builder.check(scenario);
}

#[test]
fn one_follower_sees_one_watermark() {
    model(None, || control::followers_come_to_the_end(1, 1));
}

#[test]
fn one_follower_sees_the_last_of_two_watermarks() {
    model(Some(SWITCHES_MAX), || control::followers_come_to_the_end(1, 2));
}

#[test]
fn two_followers_see_the_last_of_two_watermarks() {
    model(Some(2), || control::followers_come_to_the_end(2, 2));
}

/// That the model can fail.
#[test]
#[should_panic(expected = "deadlock")]
fn a_lost_wake_up_is_found() {
    model(None, || control::a_writer_that_looks_before_it_publishes(1, 1));
}
