//! Why another server is ahead: what was measured of both, beside what their settings say.

use super::document::Reasons;
use super::load::Load;
use super::samples::Samples;
use super::server::{Kind, Mode};
use super::tables::digits;

const OWN: &str = "windrow";
/// Less than this share of the time is not called idle: it may be the way in which both are measured.
const IDLE_MIN: f64 = 0.05;

/// One sentence or two.
pub(crate) fn server(samples: &Samples, load: &Load, kind: Kind) -> String {
    let of = |who: &str, metric: &str| samples.median(load.id, who, metric);
    let mut text = match (load.command, kind.mode) {
        ("set", Mode::Never) => "it answers from memory. ",
        ("set", Mode::Later) => "it answers before the flush. ",
        _ => "",
    }
    .to_owned();
    let (Some(rate), Some(cpu), Some(theirs)) = (of(OWN, "rps"), of(OWN, "cpu"), of(kind.id, "cpu")) else {
        return if text.is_empty() { "not known.".to_owned() } else { text.trim_end().to_owned() };
    };
    // All threads count, also those that may run elsewhere: the core itself was idle for longer.
    let idle = 1.0 - rate * cpu / 1e6;
    if of(OWN, "client-limit").is_some_and(|limit| limit > 0.5) {
        text.push_str("The client was the limit with Windrow");
    } else if idle >= IDLE_MIN {
        let waits =
            if load.command == "set" { "waiting for the flush or for the client" } else { "waiting for the client" };
        text.push_str(&format!("Windrow's core was idle for {:.0}% of the time or more, {waits}", idle * 100.0));
    } else {
        text.push_str("Windrow's core was busy throughout");
    }
    text.push_str(&format!("; a request took {} µs of processor time, and {} µs there.", digits(cpu), digits(theirs)));
    text
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
        assert_eq!(server(&samples, load, redis), "it answers from memory.");
        assert_eq!(server(&samples, load, always), "not known.");
        for (who, rate, cpu) in
            [("windrow", 500_000.0, 1.5), ("redis-none", 600_000.0, 1.25), ("redis-always", 1.0, 2.0)]
        {
            samples.add(load.id, who, "rps", 0, rate);
            samples.add(load.id, who, "cpu", 0, cpu);
        }
        let said = server(&samples, load, redis);
        assert!(said.starts_with("it answers from memory. Windrow's core was idle for 25% of the time"), "{said}");
        assert!(said.ends_with("1.50 µs of processor time, and 1.25 µs there."), "{said}");
        samples.add(load.id, "windrow", "cpu", 1, 2.4);
        assert!(server(&samples, load, always).starts_with("Windrow's core was busy throughout"));
        samples.add(load.id, "windrow", "client-limit", 0, 1.0);
        assert!(server(&samples, load, redis).contains("The client was the limit"));
    }
}
