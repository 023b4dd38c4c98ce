//! A server that stalls is charged for everything that waited; a client that is late owns up.

use std::thread;
use std::time::Duration;

use super::plan;
use super::stub::Stub;
use crate::measure::{Counts, histogram};
use crate::result::Limit;
use crate::run::run;
use crate::summary::verdict;

const STALL: Duration = Duration::from_millis(400);
const MS: u64 = 1_000_000;

fn run_with_stall(line: &str) -> crate::result::RunResult {
    let stub = Stub::start();
    let plan = plan(stub.address(), line);
    thread::scope(|scope| {
        scope.spawn(|| {
            while stub.seen("GET") < 100 {
                thread::yield_now();
            }
            stub.stall(STALL);
        });
        run(&plan).expect("a run").result
    })
}

#[test]
fn a_stall_is_charged_to_every_request_that_was_due_meanwhile() {
    let result = run_with_stall("run --mix get=1 --rate 2k --duration 2s --connections 4 --keys 100");
    let (counts, latency) = (&result.counts, &result.latency);
    // Every request that was due is accounted for, once.
    assert_eq!(counts.completed + counts.completed_late + counts.unanswered + counts.unsent, 4000);
    assert_eq!(latency.count, 4000);
    assert!(latency.max >= 390 * MS, "{}", latency.max);
    // Of 4000 requests, 800 were due while nothing was answered: the one in the middle of them waited for half of it.
    let waited = latency.histogram.iter().filter(|(value, _)| *value >= 100 * MS).map(|(_, count)| count).sum::<u64>();
    assert!(waited >= 580, "{waited} requests waited for 100 ms or longer, due are 600");
}

#[test]
fn a_full_window_does_not_stop_the_clock() {
    // One request under way on one connection: all others wait on our side, and are charged all the same.
    let result = run_with_stall("run --mix get=1 --rate 2k --duration 2s --connections 1 --pipeline 1 --keys 100");
    assert!(result.counts.held_back >= 580, "{:?}", result.counts);
    let latency = &result.latency;
    let waited = latency.histogram.iter().filter(|(value, _)| *value >= 100 * MS).map(|(_, count)| count).sum::<u64>();
    assert!(waited >= 580, "{waited} requests waited for 100 ms or longer, due are 600");
}

#[test]
fn a_closed_loop_sees_one_slow_reply_for_each_connection() {
    let result = run_with_stall("run --mix get=1 --requests 2000 --connections 1 --keys 100");
    let slow = result.latency.histogram.iter().filter(|(value, _)| *value >= 300 * MS).map(|(_, count)| count);
    assert_eq!(slow.sum::<u64>(), 1);
    assert_eq!(result.counts.completed, 2000);
}

#[test]
fn what_never_got_an_answer_counts_with_the_time_that_it_waited() {
    let stub = Stub::start();
    let plan = plan(
        stub.address(),
        "run --mix get=1 --rate 100 --duration 300ms --drain 200ms --late 10s --connections 2 --pipeline 4 --keys 10",
    );
    let result = thread::scope(|scope| {
        let (closed, is_closed) = std::sync::mpsc::channel();
        let (ended, has_ended) = std::sync::mpsc::channel();
        let stub = &stub;
        scope.spawn(move || stub.stall_until(&closed, &has_ended));
        is_closed.recv().expect("a closed gate");
        let result = run(&plan).expect("a run").result;
        ended.send(()).expect("a stalled server");
        result
    });
    let counts = &result.counts;
    assert_eq!((counts.completed, counts.unanswered, counts.unsent), (0, 8, 22));
    assert_eq!(result.latency.count, 30);
    assert!(result.latency.max >= 490 * MS && result.latency.min >= 200 * MS, "{:?}", result.latency);
    assert_eq!(result.client.limit, Limit::Server);
}

#[test]
fn a_run_by_number_on_a_server_that_hangs_ends_and_says_so() {
    let stub = Stub::start();
    let line = "run --mix get=1 --requests 100 --stall 200ms --connections 2 --pipeline 4 --keys 10";
    let plan = plan(stub.address(), line);
    let error = thread::scope(|scope| {
        let (closed, is_closed) = std::sync::mpsc::channel();
        let (ended, has_ended) = std::sync::mpsc::channel();
        let stub = &stub;
        scope.spawn(move || stub.stall_until(&closed, &has_ended));
        is_closed.recv().expect("a closed gate");
        let error = run(&plan).map(|_| ()).expect_err("nothing is ever answered");
        ended.send(()).expect("a stalled server");
        error.to_string()
    });
    assert!(error.contains("has answered nothing for") && error.contains("8 requests under way"), "{error}");
    assert!(error.contains("92 still to be sent"), "{error}");
}

#[test]
fn a_late_client_is_named_as_the_limit() {
    let plan = plan("127.0.0.1:1", "run --rate 1000 --duration 1s");
    let mut lag = histogram();
    lag.saturating_record_n(10_000, 980);
    lag.saturating_record_n(5 * MS, 20);
    let counts = Counts { completed: 1000, late_by_client: 20, ..Counts::default() };
    assert_eq!(verdict(&plan, &counts, &lag, 1000.0, 0.5).0, Limit::Client);
    let counts = Counts { completed: 1000, late_by_client: 5, ..Counts::default() };
    assert_eq!(verdict(&plan, &counts, &lag, 1000.0, 0.5).0, Limit::Rate);
    let counts = Counts { completed: 500, held_back: 700, ..Counts::default() };
    assert_eq!(verdict(&plan, &counts, &lag, 500.0, 0.5).0, Limit::Server);
}

#[test]
fn in_a_closed_loop_a_thread_without_rest_is_the_limit() {
    let plan = plan("127.0.0.1:1", "run --duration 1s");
    assert_eq!(verdict(&plan, &Counts::default(), &histogram(), 1000.0, 0.99).0, Limit::Client);
    assert_eq!(verdict(&plan, &Counts::default(), &histogram(), 1000.0, 0.6).0, Limit::Server);
}
