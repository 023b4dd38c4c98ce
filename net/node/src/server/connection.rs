//! PING, ECHO, HELLO, AUTH, SELECT, QUIT, RESET.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use windrow_proto::resp::{Args, Encoder, Protocol, parse_i64};

use super::client::set_name;
use super::identity::Identity;
use crate::auth::{DEFAULT_USER, NO_PASSWORD_SET, PasswordHash, Throttle, WRONGPASS};
use crate::role::Access;
use crate::shard::{Effect, ReplyMode, Session};

const HELLO_NOAUTH: &str = "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO \
                            <proto> AUTH <user> <pass> option can be used to authenticate the client and select the \
                            RESP protocol version at the same time";

/// What checking a password needs.
#[derive(Debug)]
pub(super) struct Gate<'a> {
    /// The right one.
    pub(super) password: Option<&'a PasswordHash>,
    /// Who gave wrong ones.
    pub(super) throttle: &'a mut Throttle,
    /// The time of this tick.
    pub(super) now: Instant,
}

/// A password was wrong; the reply to it must be late by this much.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Wrong(pub(super) Duration);

impl Gate<'_> {
    /// Lets the session in, if user name and password are right. Without a password, everybody is the default user.
    fn check(&mut self, session: &mut Session, user: &[u8], password: &[u8]) -> Result<(), Wrong> {
        let right = user == DEFAULT_USER && self.password.is_none_or(|hash| hash.matches(password));
        let peer: IpAddr = session.peer.ip();
        if !right {
            return Err(Wrong(self.throttle.failed(peer, self.now)));
        }
        self.throttle.succeeded(peer);
        session.authenticated = true;
        Ok(())
    }
}

/// `PING [message]`.
pub(super) fn ping(args: Args<'_>, encoder: &mut Encoder<'_>) {
    match args.len() {
        0 | 1 => encoder.simple("PONG"),
        2 => encoder.bulk(args.at(1)),
        _ => encoder.error("ERR wrong number of arguments for 'ping' command"),
    }
}

/// `SELECT index`.
pub(super) fn select(session: &mut Session, args: Args<'_>, encoder: &mut Encoder<'_>) {
    match parse_i64(args.at(1)).map(i32::try_from) {
        Some(Ok(0)) => {
            session.database = 0;
            encoder.ok();
        }
        Some(Ok(_)) => encoder.error("ERR DB index is out of range"),
        Some(Err(_)) => {
            encoder.error("ERR value is out of range, value must between -2147483648 and 2147483647");
        }
        None => encoder.error("ERR value is not an integer or out of range"),
    }
}

/// `AUTH [user] password`. The result says how late an error has to go out.
pub(super) fn auth(
    gate: &mut Gate<'_>,
    session: &mut Session,
    args: Args<'_>,
    encoder: &mut Encoder<'_>,
) -> Result<(), Wrong> {
    let (user, password) = match args.len() {
        2 if gate.password.is_none() => {
            encoder.error(NO_PASSWORD_SET);
            return Ok(());
        }
        2 => (DEFAULT_USER, args.at(1)),
        3 => (args.at(1), args.at(2)),
        _ => {
            encoder.error("ERR syntax error");
            return Ok(());
        }
    };
    let checked = gate.check(session, user, password);
    match checked {
        Ok(()) => encoder.ok(),
        Err(_) => encoder.error(WRONGPASS),
    }
    checked
}

/// What HELLO asks for.
#[derive(Default)]
struct Hello<'a> {
    version: Option<Protocol>,
    credentials: Option<(&'a [u8], &'a [u8])>,
    name: Option<&'a [u8]>,
}

impl<'a> Hello<'a> {
    fn parse(args: Args<'a>, encoder: &mut Encoder<'_>) -> Option<Self> {
        let mut hello = Self::default();
        if let Some(version) = args.get(1) {
            hello.version = match parse_i64(version) {
                Some(2) => Some(Protocol::Resp2),
                Some(3) => Some(Protocol::Resp3),
                Some(_) => {
                    encoder.error("NOPROTO unsupported protocol version");
                    return None;
                }
                None => {
                    encoder.error("ERR Protocol version is not an integer or out of range");
                    return None;
                }
            };
        }
        let mut at = 2;
        while let Some(option) = args.get(at) {
            match (args.get(at + 1), args.get(at + 2)) {
                (Some(user), Some(password)) if option.eq_ignore_ascii_case(b"auth") => {
                    hello.credentials = Some((user, password));
                    at += 3;
                }
                (Some(name), _) if option.eq_ignore_ascii_case(b"setname") => {
                    hello.name = Some(name);
                    at += 2;
                }
                _ => {
                    encoder.error_with(|out| {
                        out.extend_from_slice(b"ERR Syntax error in HELLO option '");
                        out.extend_from_slice(option.get(..128).unwrap_or(option));
                        out.push(b'\'');
                    });
                    return None;
                }
            }
        }
        Some(hello)
    }
}

/// `HELLO [version [AUTH user password] [SETNAME name]]`. The result is as that of [`auth`].
pub(super) fn hello(
    gate: &mut Gate<'_>,
    session: &mut Session,
    args: Args<'_>,
    reply: &mut Vec<u8>,
) -> Result<(), Wrong> {
    let mut encoder = Encoder::new(reply, session.protocol);
    let Some(hello) = Hello::parse(args, &mut encoder) else { return Ok(()) };
    if let Some((user, password)) = hello.credentials {
        let checked = gate.check(session, user, password);
        if checked.is_err() {
            encoder.error(WRONGPASS);
            return checked;
        }
    }
    if !session.authenticated {
        encoder.error(HELLO_NOAUTH);
        return Ok(());
    }
    if let Some(Err(error)) = hello.name.map(|name| set_name(session, name)) {
        encoder.error(error);
        return Ok(());
    }
    session.protocol = hello.version.unwrap_or(session.protocol);
    welcome(session, &mut Encoder::new(reply, session.protocol));
    Ok(())
}

fn welcome(session: &Session, encoder: &mut Encoder<'_>) {
    encoder.map(7);
    let mut text = |name: &str, value: &str| {
        encoder.bulk(name.as_bytes());
        encoder.bulk(value.as_bytes());
    };
    text("server", "redis");
    text("version", Identity::REDIS_VERSION);
    encoder.bulk(b"proto");
    encoder.integer(if session.protocol == Protocol::Resp3 { 3 } else { 2 });
    encoder.bulk(b"id");
    encoder.integer(i64::try_from(session.id).unwrap_or(i64::MAX));
    let mut text = |name: &str, value: &str| {
        encoder.bulk(name.as_bytes());
        encoder.bulk(value.as_bytes());
    };
    text("mode", Identity::redis_mode());
    text("role", "master");
    encoder.bulk(b"modules");
    encoder.array(0);
}

/// `RESET`: the session becomes as a new one, which has to authenticate where there is a password.
pub(super) fn reset(password_set: bool, session: &mut Session, reply: &mut Vec<u8>) {
    session.authenticated = !password_set;
    session.protocol = Protocol::Resp2;
    session.reply_mode = ReplyMode::On;
    session.name = Box::default();
    session.database = 0;
    session.no_evict = false;
    session.no_touch = false;
    session.durability = None;
    session.access = Access::default();
    session.transaction = None;
    Encoder::new(reply, session.protocol).simple("RESET");
}

/// What follows an attempt to authenticate.
pub(super) fn effect_of(checked: Result<(), Wrong>) -> Effect {
    match checked {
        Ok(()) => Effect::Reply,
        Err(Wrong(delay)) => Effect::After(delay),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Request, session};
    use super::*;
    use crate::auth::DELAY_FIRST;

    struct Door {
        password: Option<PasswordHash>,
        throttle: Throttle,
        session: Session,
    }

    impl Door {
        fn new(password: Option<&str>) -> Self {
            let mut session = session();
            session.authenticated = password.is_none();
            let password = password.map(|text| PasswordHash::new(text.as_bytes(), [1; 16]));
            Self { password, throttle: Throttle::default(), session }
        }

        fn run(&mut self, args: &[&[u8]]) -> (String, Result<(), Wrong>) {
            let request = Request::new(args);
            let mut reply = Vec::new();
            let now = Instant::now();
            let mut gate = Gate { password: self.password.as_ref(), throttle: &mut self.throttle, now };
            let checked = if args[0] == b"auth" {
                let protocol = self.session.protocol;
                auth(&mut gate, &mut self.session, request.args(), &mut Encoder::new(&mut reply, protocol))
            } else {
                hello(&mut gate, &mut self.session, request.args(), &mut reply)
            };
            (String::from_utf8(reply).unwrap(), checked)
        }
    }

    #[test]
    fn the_right_password_lets_in_and_wrong_ones_are_answered_late() {
        let mut door = Door::new(Some("secret"));
        let wrongpass = format!("-{WRONGPASS}\r\n");
        assert_eq!(door.run(&[b"auth", b"no"]), (wrongpass.clone(), Err(Wrong(DELAY_FIRST))));
        assert_eq!(door.run(&[b"auth", b"root", b"secret"]), (wrongpass, Err(Wrong(DELAY_FIRST * 2))));
        assert!(!door.session.authenticated);
        assert_eq!(door.run(&[b"auth", b"default", b"secret"]), ("+OK\r\n".to_owned(), Ok(())));
        assert!(door.session.authenticated);
        assert_eq!(door.run(&[b"auth", b"a", b"b", b"c"]).0, "-ERR syntax error\r\n");
        door.run(&[b"auth", b"no"]).1.unwrap_err();
        assert!(door.session.authenticated, "a failure does not take away what there is");
    }

    #[test]
    fn without_a_password_auth_says_so() {
        let mut door = Door::new(None);
        assert_eq!(door.run(&[b"auth", b"x"]).0, format!("-{NO_PASSWORD_SET}\r\n"));
        assert_eq!(door.run(&[b"auth", b"default", b"x"]).0, "+OK\r\n");
    }

    #[test]
    fn hello_switches_the_protocol_once_all_is_well() {
        let mut door = Door::new(Some("secret"));
        assert_eq!(door.run(&[b"hello", b"3"]).0, format!("-{HELLO_NOAUTH}\r\n"));
        assert!(door.run(&[b"hello", b"3", b"auth", b"default", b"no"]).1.is_err());
        assert_eq!(door.session.protocol, Protocol::Resp2);
        let (reply, _) = door.run(&[b"hello", b"3", b"AUTH", b"default", b"secret", b"SetName", b"me"]);
        let mode = Identity::redis_mode();
        let expected = format!(
            "%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$5\r\n7.2.0\r\n$5\r\nproto\r\n:3\r\n$2\r\nid\r\n:7\r\n\
             $4\r\nmode\r\n${}\r\n{mode}\r\n$4\r\nrole\r\n$6\r\nmaster\r\n$7\r\nmodules\r\n*0\r\n",
            mode.len()
        );
        assert_eq!(reply, expected);
        assert_eq!(&*door.session.name, b"me");
        assert!(door.run(&[b"hello", b"2"]).0.starts_with("*14\r\n"));
        assert!(door.run(&[b"hello"]).0.starts_with("*14\r\n"));
    }

    #[test]
    fn hello_refuses_what_it_does_not_know() {
        let mut door = Door::new(None);
        assert_eq!(door.run(&[b"hello", b"4"]).0, "-NOPROTO unsupported protocol version\r\n");
        let error = "-ERR Protocol version is not an integer or out of range\r\n";
        assert_eq!(door.run(&[b"hello", b"x"]).0, error);
        assert_eq!(door.run(&[b"hello", b"3", b"auth", b"a"]).0, "-ERR Syntax error in HELLO option 'auth'\r\n");
        let error = "-ERR Client names cannot contain spaces, newlines or special characters.\r\n";
        assert_eq!(door.run(&[b"hello", b"3", b"setname", b"a b"]).0, error);
        assert_eq!(door.session.protocol, Protocol::Resp2);
    }

    #[test]
    fn reset_leaves_a_new_session() {
        let mut session = session();
        session.protocol = Protocol::Resp3;
        session.name = Box::from(&b"x"[..]);
        let mut reply = Vec::new();
        reset(true, &mut session, &mut reply);
        assert_eq!(reply, b"+RESET\r\n");
        assert!(!session.authenticated && session.name.is_empty() && session.protocol == Protocol::Resp2);
        reset(false, &mut session, &mut reply);
        assert!(session.authenticated);
    }

    #[test]
    fn ping_and_select() {
        let ask = |args: &[&[u8]]| Request::new(args).run(ping);
        assert_eq!(ask(&[b"ping"]), "+PONG\r\n");
        assert_eq!(ask(&[b"ping", b"a\r\n"]), "$3\r\na\r\n\r\n");
        assert!(ask(&[b"ping", b"a", b"b"]).starts_with("-ERR wrong number of arguments for 'ping'"));
        let mut session = session();
        let mut ask = |index: &[u8]| Request::new(&[b"select", index]).run(|args, out| select(&mut session, args, out));
        assert_eq!(ask(b"0"), "+OK\r\n");
        assert_eq!(ask(b"1"), "-ERR DB index is out of range\r\n");
        assert_eq!(ask(b"-1"), "-ERR DB index is out of range\r\n");
        assert_eq!(ask(b"x"), "-ERR value is not an integer or out of range\r\n");
    }
}
