//! SAVE, BGSAVE, LASTSAVE, SHUTDOWN, WAIT, WAITAOF, ROLE, TIME: what Redis asks of its persistence and replicas.
//!
//! Every confirmed write is on disk already (or, with durability `memory`, will be in a moment), so there is nothing
//! to save; SAVE waits until it is so. There are no followers yet, so nobody can be waited for.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use windrow_proto::resp::{Args, Encoder, parse_i64};

use super::node::Node;
use crate::settings::Durability;
use crate::shard::{Effect, Now};

/// What WAIT waits without a time-out: as good as for ever.
const FOREVER: Duration = Duration::from_secs(100 * 366 * 86_400);

/// `BGSAVE [SCHEDULE]`.
pub(super) fn bgsave(args: Args<'_>, encoder: &mut Encoder<'_>) -> Effect {
    if args.len() > 2 || args.get(1).is_some_and(|option| !option.eq_ignore_ascii_case(b"schedule")) {
        encoder.error("ERR syntax error");
    } else {
        encoder.simple("Background saving started");
    }
    Effect::Reply
}

/// `LASTSAVE`.
pub(super) fn lastsave(node: &Node, now: Now, encoder: &mut Encoder<'_>) -> Effect {
    encoder.integer(i64::try_from(node.last_durable(now.unix)).unwrap_or(i64::MAX));
    Effect::Reply
}

/// `SHUTDOWN [NOSAVE | SAVE] [NOW] [FORCE] [ABORT]`. A shutdown always finishes what is in flight, so the options
/// change nothing; it is too short to be aborted.
pub(super) fn shutdown(args: Args<'_>, encoder: &mut Encoder<'_>) -> Effect {
    let (mut saves, mut abort, mut others) = (0_u32, false, 0_u32);
    for option in args.from(1) {
        let is = |name: &[u8]| option.eq_ignore_ascii_case(name);
        if is(b"save") || is(b"nosave") {
            saves += 1;
        } else if is(b"now") || is(b"force") {
            others += 1;
        } else if is(b"abort") {
            abort = true;
        } else {
            encoder.error("ERR syntax error");
            return Effect::Reply;
        }
    }
    if saves > 1 || (abort && saves + others > 0) {
        encoder.error("ERR syntax error");
        return Effect::Reply;
    }
    if abort {
        encoder.error("ERR No shutdown in progress.");
        return Effect::Reply;
    }
    Effect::Shutdown
}

/// `ROLE`.
pub(super) fn role(node: &Node, encoder: &mut Encoder<'_>) -> Effect {
    encoder.array(3);
    encoder.bulk(b"master");
    encoder.integer(i64::try_from(node.offset()).unwrap_or(i64::MAX));
    encoder.array(0);
    Effect::Reply
}

/// `TIME`.
pub(super) fn time(encoder: &mut Encoder<'_>) -> Effect {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    encoder.array(2);
    encoder.bulk_fmt(format_args!("{}", time.as_secs()));
    encoder.bulk_fmt(format_args!("{}", time.subsec_micros()));
    Effect::Reply
}

/// A time-out in milliseconds; 0 is none.
fn timeout(text: &[u8]) -> Result<Duration, &'static str> {
    match parse_i64(text) {
        None => Err("ERR timeout is not an integer or out of range"),
        Some(0) => Ok(FOREVER),
        Some(millis) => match u64::try_from(millis) {
            Ok(millis) => Ok(Duration::from_millis(millis).min(FOREVER)),
            Err(_) => Err("ERR timeout is negative"),
        },
    }
}

/// `WAIT replicas timeout`: there are none, so the count is 0, at once if none were asked for.
pub(super) fn wait(args: Args<'_>, encoder: &mut Encoder<'_>) -> Effect {
    let Some(wanted) = parse_i64(args.at(1)) else {
        encoder.error("ERR value is not an integer or out of range");
        return Effect::Reply;
    };
    match timeout(args.at(2)) {
        Err(error) => encoder.error(error),
        Ok(timeout) => {
            encoder.integer(0);
            if wanted > 0 {
                return Effect::After(timeout);
            }
        }
    }
    Effect::Reply
}

/// `WAITAOF local replicas timeout`: how many logs here (0 or 1) and elsewhere hold what this client wrote.
///
/// A local log is waited for until the flush, however long it takes: that is short, and the count is then true.
/// Replicas are waited for as in [`wait`], if what the client wrote is known to be on disk without looking.
pub(super) fn waitaof(durability: Durability, args: Args<'_>, encoder: &mut Encoder<'_>) -> Effect {
    let replicas = match replicas_wanted(args).and_then(|replicas| Ok((replicas, timeout(args.at(3))?))) {
        Err(error) => {
            encoder.error(error);
            return Effect::Reply;
        }
        Ok((replicas, timeout)) => (replicas > 0).then_some(timeout),
    };
    encoder.array(2);
    encoder.integer(1);
    encoder.integer(0);
    match (durability, replicas) {
        // Replies leave in order, so by then everything that this client was told is on disk.
        (Durability::Commit, Some(timeout)) => Effect::After(timeout),
        _ => Effect::WhenDurable,
    }
}

fn replicas_wanted(args: Args<'_>) -> Result<i64, &'static str> {
    let number = |text| parse_i64(text).ok_or("ERR value is not an integer or out of range");
    let local = number(args.at(1))?;
    if !(0..=1).contains(&local) {
        return Err("ERR value is out of range, value must between 0 and 1");
    }
    let replicas = number(args.at(2))?;
    if replicas < 0 {
        return Err("ERR value is out of range, must be positive");
    }
    Ok(replicas)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Request, node};
    use super::*;

    fn ask(args: &[&[u8]], run: impl FnOnce(Args<'_>, &mut Encoder<'_>) -> Effect) -> (String, Effect) {
        let mut effect = Effect::Reply;
        let reply = Request::new(args).run(|args, encoder| effect = run(args, encoder));
        (reply, effect)
    }

    #[test]
    fn wait_counts_nobody_and_takes_its_time() {
        let (reply, effect) = ask(&[b"wait", b"1", b"250"], wait);
        assert_eq!(reply, ":0\r\n");
        assert!(matches!(effect, Effect::After(time) if time == Duration::from_millis(250)));
        assert!(matches!(ask(&[b"wait", b"0", b"250"], wait), (_, Effect::Reply)));
        assert!(matches!(ask(&[b"wait", b"2", b"0"], wait).1, Effect::After(FOREVER)));
        assert!(matches!(ask(&[b"wait", b"2", b"9223372036854775807"], wait).1, Effect::After(FOREVER)));
        assert_eq!(ask(&[b"wait", b"x", b"0"], wait).0, "-ERR value is not an integer or out of range\r\n");
        assert_eq!(ask(&[b"wait", b"1", b"-1"], wait).0, "-ERR timeout is negative\r\n");
        assert_eq!(ask(&[b"wait", b"1", b"x"], wait).0, "-ERR timeout is not an integer or out of range\r\n");
    }

    #[test]
    fn waitaof_promises_what_is_on_disk() {
        let commit = |args: &[&[u8]]| ask(args, |args, encoder| waitaof(Durability::Commit, args, encoder));
        let (reply, effect) = commit(&[b"waitaof", b"1", b"0", b"0"]);
        assert_eq!(reply, "*2\r\n:1\r\n:0\r\n");
        assert!(matches!(effect, Effect::WhenDurable));
        assert!(matches!(commit(&[b"waitaof", b"1", b"1", b"50"]).1, Effect::After(_)));
        let memory = |args: &[&[u8]]| ask(args, |args, encoder| waitaof(Durability::Memory, args, encoder));
        assert!(matches!(memory(&[b"waitaof", b"0", b"1", b"50"]).1, Effect::WhenDurable));
        let range = "-ERR value is out of range, value must between 0 and 1\r\n";
        assert_eq!(commit(&[b"waitaof", b"2", b"0", b"0"]).0, range);
        assert_eq!(commit(&[b"waitaof", b"1", b"-1", b"0"]).0, "-ERR value is out of range, must be positive\r\n");
        assert_eq!(commit(&[b"waitaof", b"1", b"0", b"-1"]).0, "-ERR timeout is negative\r\n");
    }

    #[test]
    fn shutdown_takes_the_options_of_redis() {
        for args in [&[&b"shutdown"[..]][..], &[b"shutdown", b"NOSAVE", b"now", b"Force"], &[b"shutdown", b"save"]] {
            let (reply, effect) = ask(args, shutdown);
            assert!(reply.is_empty() && matches!(effect, Effect::Shutdown), "{reply}");
        }
        assert_eq!(ask(&[b"shutdown", b"abort"], shutdown).0, "-ERR No shutdown in progress.\r\n");
        for args in
            [&[&b"shutdown"[..], b"x"][..], &[b"shutdown", b"save", b"nosave"], &[b"shutdown", b"abort", b"now"]]
        {
            assert!(matches!(ask(args, shutdown), (reply, Effect::Reply) if reply == "-ERR syntax error\r\n"));
        }
    }

    #[test]
    fn the_role_is_that_of_a_leader_without_followers() {
        let node = node(1);
        node.metrics.partitions()[0].committed_lsn.set(100);
        node.metrics.partitions()[1].committed_lsn.set(28);
        assert_eq!(ask(&[], |_, encoder| role(&node, encoder)).0, "*3\r\n$6\r\nmaster\r\n:128\r\n*0\r\n");
    }

    #[test]
    fn bgsave_and_time() {
        assert_eq!(ask(&[b"bgsave"], bgsave).0, "+Background saving started\r\n");
        assert_eq!(ask(&[b"bgsave", b"SCHEDULE"], bgsave).0, "+Background saving started\r\n");
        assert_eq!(ask(&[b"bgsave", b"x"], bgsave).0, "-ERR syntax error\r\n");
        assert!(ask(&[], |_, encoder| time(encoder)).0.starts_with("*2\r\n$10\r\n"));
    }
}
