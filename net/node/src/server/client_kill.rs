//! CLIENT KILL.

use std::net::SocketAddr;

use windrow_proto::resp::{Args, Encoder, parse_i64};

use super::client_list::{is_normal_type, unknown_type};
use crate::auth::DEFAULT_USER;
use crate::shard::{Effect, Session};

/// Which clients are closed: those that all of these hold for.
#[derive(Clone, Debug)]
struct Filter {
    id: Option<u64>,
    address: Option<SocketAddr>,
    local_address: Option<SocketAddr>,
    /// No client here can match: another user, another type, an address that is none.
    nobody: bool,
    /// The asking client, if it is spared.
    except: Option<u64>,
}

impl Filter {
    fn matches(&self, session: &Session) -> bool {
        !self.nobody
            && self.id.is_none_or(|id| id == session.id)
            && self.address.is_none_or(|address| address == session.peer)
            && self.local_address.is_none_or(|address| address == session.local)
            && self.except != Some(session.id)
    }
}

/// `CLIENT KILL address`, or `CLIENT KILL` and filters.
pub(super) fn kill(session: &Session, args: Args<'_>, encoder: &mut Encoder<'_>) -> Effect {
    let old_form = args.len() == 3;
    let filter = if old_form {
        let mut filter = Filter { id: None, address: None, local_address: None, nobody: false, except: None };
        set_address(&mut filter.address, &mut filter.nobody, args.at(2));
        Some(filter)
    } else {
        parse(session, args, encoder)
    };
    let Some(filter) = filter else { return Effect::Reply };
    Effect::every_core(
        move |core| {
            let mut killed = 0_usize;
            core.visit_sessions(&mut |session| {
                if filter.matches(session) {
                    session.killed = true;
                    killed += 1;
                }
            });
            killed
        },
        move |session, killed, reply| {
            let killed: usize = killed.into_iter().sum();
            let mut encoder = Encoder::new(reply, session.protocol);
            match (old_form, killed) {
                (false, count) => encoder.count(count),
                (true, 0) => encoder.error("ERR No such client"),
                (true, _) => encoder.ok(),
            }
        },
    )
}

fn parse(session: &Session, args: Args<'_>, encoder: &mut Encoder<'_>) -> Option<Filter> {
    let mut filter = Filter { id: None, address: None, local_address: None, nobody: false, except: Some(session.id) };
    let mut at = 2;
    while let Some(option) = args.get(at) {
        let Some(value) = args.get(at + 1) else {
            encoder.error("ERR syntax error");
            return None;
        };
        let is = |name: &[u8]| option.eq_ignore_ascii_case(name);
        if is(b"id") {
            let Some(id) = parse_i64(value).and_then(|id| u64::try_from(id).ok()).filter(|&id| id > 0) else {
                encoder.error("ERR client-id should be greater than 0");
                return None;
            };
            filter.id = Some(id);
        } else if is(b"type") {
            let Some(normal) = is_normal_type(value) else {
                unknown_type(value, encoder);
                return None;
            };
            filter.nobody |= !normal;
        } else if is(b"addr") {
            set_address(&mut filter.address, &mut filter.nobody, value);
        } else if is(b"laddr") {
            set_address(&mut filter.local_address, &mut filter.nobody, value);
        } else if is(b"user") {
            if value != DEFAULT_USER {
                encoder.error_with(|out| {
                    out.extend_from_slice(b"ERR No such user '");
                    out.extend_from_slice(value.get(..128).unwrap_or(value));
                    out.push(b'\'');
                });
                return None;
            }
        } else if is(b"skipme") && value.eq_ignore_ascii_case(b"yes") {
            filter.except = Some(session.id);
        } else if is(b"skipme") && value.eq_ignore_ascii_case(b"no") {
            filter.except = None;
        } else {
            encoder.error("ERR syntax error");
            return None;
        }
        at += 2;
    }
    Some(filter)
}

/// Redis compares addresses as text; a text that is no address is therefore nobody's.
fn set_address(slot: &mut Option<SocketAddr>, nobody: &mut bool, text: &[u8]) {
    *slot = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    *nobody |= slot.is_none();
}

#[cfg(test)]
mod tests {
    use windrow_proto::resp::Protocol;

    use super::super::testing::{Cores, Request, session};
    use super::*;

    /// The reply, and who is left. The asking client has number 7, the address of client `n` ends in `:5000n`.
    fn ask(args: &[&[u8]]) -> (String, Vec<u64>) {
        let mut cores = Cores::with_sessions(&[&[5, 7], &[9]]);
        let line: Vec<&[u8]> = [&b"client"[..], b"kill"].into_iter().chain(args.iter().copied()).collect();
        let request = Request::new(&line);
        let mut reply = Vec::new();
        let effect = kill(&session(), request.args(), &mut Encoder::new(&mut reply, Protocol::Resp2));
        cores.finish(effect, &mut session(), &mut reply);
        let left = cores.sessions().filter(|session| !session.killed).map(|session| session.id).collect();
        (String::from_utf8(reply).unwrap(), left)
    }

    #[test]
    fn the_old_form_kills_one_address() {
        assert_eq!(ask(&[b"127.0.0.1:50009"]), ("+OK\r\n".to_owned(), vec![5, 7]));
        assert_eq!(ask(&[b"127.0.0.1:50007"]), ("+OK\r\n".to_owned(), vec![5, 9]));
        assert_eq!(ask(&[b"127.0.0.1:1"]).0, "-ERR No such client\r\n");
        assert_eq!(ask(&[b"nonsense"]), ("-ERR No such client\r\n".to_owned(), vec![5, 7, 9]));
    }

    #[test]
    fn filters_are_combined_and_spare_the_asking_client() {
        assert_eq!(ask(&[b"ID", b"5"]), (":1\r\n".to_owned(), vec![7, 9]));
        assert_eq!(ask(&[b"type", b"normal"]), (":2\r\n".to_owned(), vec![7]));
        assert_eq!(ask(&[b"type", b"normal", b"skipme", b"no"]), (":3\r\n".to_owned(), vec![]));
        assert_eq!(ask(&[b"id", b"5", b"addr", b"127.0.0.1:50009"]), (":0\r\n".to_owned(), vec![5, 7, 9]));
        assert_eq!(ask(&[b"laddr", b"127.0.0.1:6379"]), (":2\r\n".to_owned(), vec![7]));
        assert_eq!(ask(&[b"type", b"pubsub"]).1, vec![5, 7, 9]);
        assert_eq!(ask(&[b"user", b"default"]).1, vec![7]);
    }

    #[test]
    fn wrong_filters_kill_nobody() {
        for (args, error) in [
            (&[&b"id"[..], b"0"][..], "client-id should be greater than 0"),
            (&[b"id", b"x"], "client-id should be greater than 0"),
            (&[b"type", b"x"], "Unknown client type 'x'"),
            (&[b"user", b"x"], "No such user 'x'"),
            (&[b"skipme", b"x"], "syntax error"),
            (&[b"id", b"5", b"addr"], "syntax error"),
            (&[b"x", b"y"], "syntax error"),
        ] {
            assert_eq!(ask(args), (format!("-ERR {error}\r\n"), vec![5, 7, 9]));
        }
    }
}
