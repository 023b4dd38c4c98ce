//! Whole runs on the stub.

use super::plan;
use super::stub::Stub;
use crate::result::RunResult;
use crate::run::run;

fn result(stub: &Stub, line: &str) -> RunResult {
    run(&plan(stub.address(), line)).expect("a run").result
}

#[test]
fn load_writes_every_key_once() {
    let stub = Stub::start();
    let result = result(&stub, "load --keys 1000 --connections 7 --threads 3 --pipeline 5");
    assert_eq!((result.counts.completed, stub.keys(), stub.seen("SET")), (1000, 1000, 1000));
    assert_eq!(result.latency.count, 1000);
    assert!(result.seconds > 0.0 && result.requests_per_second > 0.0);
}

#[test]
fn a_mix_is_sent_in_its_proportions() {
    let stub = Stub::start();
    let line = "run --mix get=90,set=10 --requests 20k --pipeline 16 --keys 50 --connections 4 --threads 2";
    let result = result(&stub, line);
    assert_eq!(stub.seen("GET") + stub.seen("SET"), 20_000);
    // Ten percent of 20,000, five standard deviations apart.
    assert!(stub.seen("SET").abs_diff(2000) < 212, "{}", stub.seen("SET"));
    assert_eq!(result.counts.hits + result.counts.misses, stub.seen("GET"));
    assert_eq!(result.operations.iter().map(|operation| operation.latency.count).sum::<u64>(), 20_000);
}

#[test]
fn batches_are_whole_and_a_fixed_rate_is_kept() {
    let stub = Stub::start();
    assert_eq!(result(&stub, "run --requests 5k --pipeline 16 --batched --connections 3").counts.completed, 5000);
    let open = result(&stub, "run --rate 2k --arrivals poisson --duration 500ms --warmup 100ms --interval 100ms");
    // Poisson: the mean of 1000, give or take five standard deviations.
    assert!(open.latency.count.abs_diff(1000) < 160, "{}", open.latency.count);
    assert_eq!(open.intervals.len(), 5);
    assert_eq!(open.client.lag.count, open.latency.count);
}

/// A run of two threads that ends each batch with `WAIT`.
fn run_with_batch_end(stub: &Stub) -> RunResult {
    let line = "run --mix set=1 --requests 1k --pipeline 16 --batched --connections 3 --threads 2";
    let words = ["windrow-load"].into_iter().chain(line.split_whitespace());
    let words = words.chain(["--quiet", "--address", stub.address(), "--batch-end", "WAIT 1 0"]);
    let cli = <crate::args::Cli as clap::Parser>::try_parse_from(words).expect("a command line");
    let crate::args::Command::Run(args) = &cli.command else { panic!("a run") };
    run(&args.plan().expect("a plan")).expect("a run").result
}

#[test]
fn a_batch_is_answered_when_its_end_is() {
    let stub = Stub::start();
    let result = run_with_batch_end(&stub);
    assert_eq!((result.counts.completed, result.latency.count, stub.seen("SET")), (1000, 1000, 1000));
    // Each thread has 500 requests in batches of 16; only the last of a connection may be smaller.
    assert!((64..=66).contains(&stub.seen("WAIT")), "{}", stub.seen("WAIT"));
    stub.replicas(0);
    let result = run_with_batch_end(&stub);
    assert_eq!((result.counts.completed, result.counts.errors), (0, 1000));
    assert_eq!(result.errors, [("the batch's end was answered with less".to_owned(), 1000)]);
}

#[test]
fn ycsb_d_reads_what_has_been_inserted_and_f_writes_what_it_has_read() {
    let stub = Stub::start();
    result(&stub, "load --keys 500 --value 100");
    let latest = result(&stub, "run --workload d --keys 500 --requests 4k --value 100 --connections 8");
    assert!(stub.keys() > 600 && latest.counts.misses == 0, "{} keys, {:?}", stub.keys(), latest.counts);
    let before = (stub.seen("GET"), stub.seen("SET"));
    let modified = result(&stub, "run --workload f --keys 500 --requests 2k --connections 8");
    assert_eq!((stub.seen("GET") - before.0, modified.counts.completed), (2000, 2000));
    assert!((stub.seen("SET") - before.1).abs_diff(1000) < 112);
}

#[test]
fn custom_commands_errors_and_resp3_are_understood() {
    let stub = Stub::start();
    let template = ["--command", "1:SETEX {key} 60 {value}"];
    let mut words = vec!["windrow-load", "run", "-q", "--resp3", "--user", "me", "--password", "secret", "-n", "100"];
    words.extend(["--mix", "incr=1", "--address", stub.address()]);
    words.extend(template);
    let cli = <crate::args::Cli as clap::Parser>::try_parse_from(words).expect("a command line");
    let crate::args::Command::Run(args) = &cli.command else { panic!("a run") };
    let refused = run(&args.plan().expect("a plan")).map(|_| ()).expect_err("HELLO with AUTH is unknown to the stub");
    assert!(refused.to_string().contains("unknown command"), "{refused}");
    let result = result(&stub, "run --resp3 --mix incr=1,get=1 --requests 200");
    assert_eq!(stub.seen("HELLO"), 50 + 1);
    assert_eq!(result.counts.errors, stub.seen("INCR"));
    assert_eq!(result.errors, [("ERR unknown command".to_owned(), stub.seen("INCR"))]);
}

#[test]
fn moved_leads_to_the_other_node_and_is_remembered() {
    let (first, second) = (Stub::start(), Stub::start());
    let port = |stub: &Stub| stub.address().rsplit_once(':').expect("a port").1.to_owned();
    first.slots(format!("*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$0\r\n\r\n:{}\r\n", port(&first)));
    // Slot 12182 belongs to "foo"; all keys share its tag, so one redirection is enough for all that follow.
    first.redirect(format!("MOVED 12182 {}", second.address()));
    let line = "run --cluster --key-prefix {foo} --keys 1000 --requests 500 --connections 1 --mix set=1";
    let result = result(&first, line);
    assert_eq!((result.counts.completed, result.counts.redirected, second.seen("SET")), (500, 1, 500));
}

#[test]
fn a_broken_connection_costs_what_was_under_way_and_is_opened_again() {
    let stub = Stub::start();
    let result = std::thread::scope(|scope| {
        scope.spawn(|| {
            while stub.seen("SET") < 200 {
                std::thread::yield_now();
            }
            stub.cut();
        });
        result(&stub, "run --mix set=1 --requests 20k --connections 4 --keys 100")
    });
    let counts = &result.counts;
    assert!((1..=4).contains(&counts.reconnects), "{counts:?}");
    assert!(counts.lost <= counts.reconnects, "{counts:?}");
    assert_eq!(counts.completed + counts.lost, 20_000);
}

#[test]
fn a_server_that_is_not_there_is_an_error() {
    let error = run(&plan("127.0.0.1:1", "run --duration 1s")).map(|_| ()).expect_err("nobody listens");
    assert!(error.to_string().starts_with("cannot reach 127.0.0.1:1"), "{error}");
}

#[test]
fn settings_that_do_not_go_together_are_refused() {
    for (line, part) in [
        ("run --workload e", "no order that can be scanned"),
        ("run --keys 1M --key-size 9", "at least 10"),
        ("run --verify --value 8", "at least 24"),
        ("run --verify --mix del=1", "not del"),
        ("run --threads 4 --connections 2", "at least one"),
        ("run --rate 10 --batched", "without --rate"),
        ("run --batched --batch-end PING --mix rmw=1", "without rmw"),
        ("run --stall 0s --requests 5", "more than nothing"),
        ("run --theta 1", "below 1"),
        ("run --mix get=0", "no operation"),
    ] {
        let words = ["windrow-load"].into_iter().chain(line.split_whitespace());
        let cli = <crate::args::Cli as clap::Parser>::try_parse_from(words).expect(line);
        let crate::args::Command::Run(args) = &cli.command else { panic!("a run") };
        let error = args.plan().map(|_| ()).expect_err(line);
        assert!(error.to_string().contains(part), "{line}: {error}");
    }
}
