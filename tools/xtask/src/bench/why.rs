//! Why another server is ahead: what was measured of both, beside what their settings say.

use super::document::Reasons;
use super::load::Load;
use super::samples::Samples;
use super::server::{Kind, Mode};
use super::tables::digits;

const OWN: &str = "windrow";
/// Less than this share of the time is not called idle: it may be the way in which both are measured.
const IDLE_MIN: f64 = 0.05;

/// What Windrow's core did meanwhile, for the line above those who are ahead.
pub(crate) fn own(samples: &Samples, load: &Load) -> String {
    let of = |metric: &str| samples.median(load.id, OWN, metric);
    let (Some(rate), Some(cpu)) = (of("rps"), of("cpu")) else { return "Windrow".to_owned() };
    // All threads count, also those that may run elsewhere: the core itself was idle for longer.
    let idle = 1.0 - rate * cpu / 1e6;
    let state = if of("client-limit").is_some_and(|limit| limit > 0.5) {
        "with which the client was the limit".to_owned()
    } else if idle >= IDLE_MIN {
        let waits = if load.command == "set" { "the flush or the client" } else { "the client" };
        format!("whose core was idle for {:.0}% of the time or more, waiting for {waits}", idle * 100.0)
    } else {
        "whose core was busy throughout".to_owned()
    };
    format!("Windrow, {state}, and which took {} µs of processor time a request", digits(cpu))
}

/// What another one does otherwise, and what a request took there.
pub(crate) fn server(samples: &Samples, load: &Load, kind: Kind) -> String {
    let does = match (load.command, kind.mode) {
        ("set", Mode::Never) => Some("it answers from memory".to_owned()),
        ("set", Mode::Later) => Some("it answers before the flush".to_owned()),
        _ => None,
    };
    let took = samples.median(load.id, kind.id, "cpu").map(|cpu| format!("{} µs a request", digits(cpu)));
    match does.into_iter().chain(took).collect::<Vec<_>>() {
        parts if parts.is_empty() => "not known.".to_owned(),
        parts => format!("{}.", parts.join("; ")),
    }
}

/// The reason that the template has, with the flushes of a commit that were counted of both.
pub(crate) fn store(samples: &Samples, reasons: &Reasons<'_>, work: &str, store: &str, metric: &str) -> String {
    let flushes = |who: &str| samples.said(&format!("{who}-flushes")).unwrap_or("what was not counted").to_owned();
    reasons.find(work, store, metric).replace("{theirs}", &flushes(store)).replace("{ours}", &flushes(OWN))
}

#[cfg(test)]
mod tests {
    use super::super::load::LOADS;
    use super::*;

    #[test]
    fn counted_flushes_are_told() {
        let reasons = Reasons::of("put * *: {theirs} there, {ours} here.\n");
        let mut samples = Samples::default();
        samples.say("redb-flushes", "2 fsync");
        assert_eq!(store(&samples, &reasons, "put", "redb", "ns"), "2 fsync there, what was not counted here.");
    }

    #[test]
    fn what_is_said_follows_from_what_was_measured() {
        let load = LOADS.iter().find(|load| load.command == "set").unwrap();
        let (redis, always) = (Kind::named("redis-none").unwrap(), Kind::named("redis-always").unwrap());
        let mut samples = Samples::default();
        assert_eq!(own(&samples, load), "Windrow");
        assert_eq!(server(&samples, load, redis), "it answers from memory.");
        assert_eq!(server(&samples, load, always), "not known.");
        for (who, rate, cpu) in
            [("windrow", 500_000.0, 1.5), ("redis-none", 600_000.0, 1.25), ("redis-always", 1.0, 2.0)]
        {
            samples.add(load.id, who, "rps", 0, rate);
            samples.add(load.id, who, "cpu", 0, cpu);
        }
        assert_eq!(server(&samples, load, redis), "it answers from memory; 1.25 µs a request.");
        assert_eq!(server(&samples, load, always), "2.00 µs a request.");
        let idle = "Windrow, whose core was idle for 25% of the time or more, waiting for the flush or the client, and \
                    which took 1.50 µs of processor time a request";
        assert_eq!(own(&samples, load), idle);
        samples.add(load.id, "windrow", "cpu", 1, 2.4);
        assert!(own(&samples, load).contains("busy throughout"));
        samples.add(load.id, "windrow", "client-limit", 0, 1.0);
        assert!(own(&samples, load).contains("the client was the limit"));
    }
}
