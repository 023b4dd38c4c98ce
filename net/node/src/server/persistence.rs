//! SAVE, BGSAVE, LASTSAVE, SHUTDOWN, TIME: what Redis asks of its persistence.
//!
//! Every confirmed write is on disk already (or, with durability `memory`, will be in a moment), so there is nothing
//! to save; SAVE waits until it is so.

use std::time::{SystemTime, UNIX_EPOCH};

use windrow_proto::resp::{Args, Encoder};

use super::node::Node;
use crate::shard::{Effect, Now};

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

/// `TIME`.
pub(super) fn time(encoder: &mut Encoder<'_>) -> Effect {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    encoder.array(2);
    encoder.bulk_fmt(format_args!("{}", time.as_secs()));
    encoder.bulk_fmt(format_args!("{}", time.subsec_micros()));
    Effect::Reply
}

#[cfg(test)]
mod tests {
    use super::super::testing::Request;
    use super::*;

    fn ask(args: &[&[u8]], run: impl FnOnce(Args<'_>, &mut Encoder<'_>) -> Effect) -> (String, Effect) {
        let mut effect = Effect::Reply;
        let reply = Request::new(args).run(|args, encoder| effect = run(args, encoder));
        (reply, effect)
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
    fn bgsave_and_time() {
        assert_eq!(ask(&[b"bgsave"], bgsave).0, "+Background saving started\r\n");
        assert_eq!(ask(&[b"bgsave", b"SCHEDULE"], bgsave).0, "+Background saving started\r\n");
        assert_eq!(ask(&[b"bgsave", b"x"], bgsave).0, "-ERR syntax error\r\n");
        assert!(ask(&[], |_, encoder| time(encoder)).0.starts_with("*2\r\n$10\r\n"));
    }
}
