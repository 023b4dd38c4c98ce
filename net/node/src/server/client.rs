//! CLIENT: what a connection says about itself, and what is done to others.

use windrow_proto::command::Id;
use windrow_proto::resp::{Args, Encoder};

use super::client_kill::kill;
use super::client_list::{describe, list};
use super::replication::staleness;
use crate::settings::Durability;
use crate::shard::{Effect, Now, ReplyMode, Session};

/// The longest name that a connection can take, in bytes.
pub const CLIENT_NAME_LEN_MAX: usize = 1 << 10;
const NAME_CHARACTERS: &str = "ERR Client names cannot contain spaces, newlines or special characters.";
const NAME_LEN: &str = "ERR Client names cannot be longer than 1024 bytes.";

/// Executes the subcommand `id` of CLIENT.
pub(super) fn execute(
    now: Now,
    session: &mut Session,
    node_durability: Durability,
    id: Id,
    args: Args<'_>,
    reply: &mut Vec<u8>,
) -> Effect {
    let encoder = &mut Encoder::new(reply, session.protocol);
    match id {
        Id::ClientId => encoder.integer(i64::try_from(session.id).unwrap_or(i64::MAX)),
        Id::ClientInfo => {
            let mut line = String::new();
            describe(session, now.instant, &mut line);
            encoder.verbatim(*b"txt", line.as_bytes());
        }
        Id::ClientList => return list(args, encoder),
        Id::ClientKill => return kill(session, args, encoder),
        Id::ClientGetname if session.name.is_empty() => encoder.null(),
        Id::ClientGetname => encoder.bulk(&session.name),
        Id::ClientSetname => match set_name(session, args.at(2)) {
            Ok(()) => encoder.ok(),
            Err(error) => encoder.error(error),
        },
        Id::ClientSetinfo => set_info(session, args, encoder),
        Id::ClientReply => reply_mode(session, args.at(2), encoder),
        Id::ClientNoEvict => switch(&mut session.no_evict, args.at(2), encoder),
        Id::ClientDurability => durability(session, node_durability, args, encoder),
        Id::ClientStaleness => staleness(session, args, encoder),
        Id::ClientNoTouch => switch(&mut session.no_touch, args.at(2), encoder),
        _ => encoder.error("ERR syntax error"),
    }
    Effect::Reply
}

/// Chooses when this connection's replies go out; without an argument, says when they do.
fn durability(session: &mut Session, of_node: Durability, args: Args<'_>, encoder: &mut Encoder<'_>) {
    match (args.len(), args.get(2)) {
        (2, _) => encoder.bulk(session.durability.unwrap_or(of_node).name().as_bytes()),
        (3, Some(choice)) => {
            session.durability = match choice {
                _ if choice.eq_ignore_ascii_case(b"commit") => Some(Durability::Commit),
                _ if choice.eq_ignore_ascii_case(b"memory") => Some(Durability::Memory),
                _ if choice.eq_ignore_ascii_case(b"default") => None,
                _ => return encoder.error("ERR CLIENT DURABILITY takes commit, memory or default"),
            };
            encoder.ok();
        }
        _ => encoder.error("ERR syntax error"),
    }
}

/// Names the connection; an empty name takes its name away.
pub(super) fn set_name(session: &mut Session, name: &[u8]) -> Result<(), &'static str> {
    if !is_plain(name) {
        return Err(NAME_CHARACTERS);
    }
    if name.len() > CLIENT_NAME_LEN_MAX {
        return Err(NAME_LEN);
    }
    session.name = name.into();
    Ok(())
}

/// Neither spaces nor line ends, so that a line of CLIENT LIST stays one line of words.
fn is_plain(text: &[u8]) -> bool {
    text.iter().all(|byte| (b'!'..=b'~').contains(byte))
}

fn set_info(session: &mut Session, args: Args<'_>, encoder: &mut Encoder<'_>) {
    let (option, value) = (args.at(2), args.at(3));
    let (name, slot) = if option.eq_ignore_ascii_case(b"lib-name") {
        ("lib-name", &mut session.lib_name)
    } else if option.eq_ignore_ascii_case(b"lib-ver") {
        ("lib-ver", &mut session.lib_version)
    } else {
        return encoder.error_with(|out| {
            out.extend_from_slice(b"ERR Unrecognized option '");
            out.extend_from_slice(option.get(..128).unwrap_or(option));
            out.push(b'\'');
        });
    };
    if value.len() > CLIENT_NAME_LEN_MAX || !is_plain(value) {
        return encoder.error_fmt(format_args!("ERR {name} cannot contain spaces, newlines or special characters."));
    }
    *slot = value.into();
    encoder.ok();
}

fn reply_mode(session: &mut Session, mode: &[u8], encoder: &mut Encoder<'_>) {
    if mode.eq_ignore_ascii_case(b"on") {
        session.reply_mode = ReplyMode::On;
        encoder.ok();
    } else if mode.eq_ignore_ascii_case(b"off") {
        session.reply_mode = ReplyMode::Off;
    } else if mode.eq_ignore_ascii_case(b"skip") {
        if session.reply_mode == ReplyMode::On {
            session.reply_mode = ReplyMode::SkipNext;
        }
    } else {
        encoder.error("ERR syntax error");
    }
}

fn switch(on: &mut bool, word: &[u8], encoder: &mut Encoder<'_>) {
    if word.eq_ignore_ascii_case(b"on") {
        *on = true;
    } else if word.eq_ignore_ascii_case(b"off") {
        *on = false;
    } else {
        return encoder.error("ERR syntax error");
    }
    encoder.ok();
}

#[cfg(test)]
mod tests {
    use windrow_proto::command::resolve;

    use super::super::testing::{Request, now, session};
    use super::*;

    fn ask(session: &mut Session, args: &[&[u8]]) -> String {
        let request = Request::new(args);
        let command = resolve(request.args()).unwrap();
        let mut reply = Vec::new();
        assert!(matches!(
            execute(now(), session, Durability::Commit, command.id, request.args(), &mut reply),
            Effect::Reply
        ));
        String::from_utf8(reply).unwrap()
    }

    #[test]
    fn a_connection_can_be_named_and_unnamed() {
        let session = &mut session();
        assert_eq!(ask(session, &[b"client", b"getname"]), "$-1\r\n");
        assert_eq!(ask(session, &[b"client", b"setname", b"a-1"]), "+OK\r\n");
        assert_eq!(ask(session, &[b"CLIENT", b"GETNAME"]), "$3\r\na-1\r\n");
        for bad in [&b"a b"[..], b"a\n", b"\xc3\xa9", b"\x7f"] {
            assert_eq!(ask(session, &[b"client", b"setname", bad]), format!("-{NAME_CHARACTERS}\r\n"));
        }
        assert_eq!(ask(session, &[b"client", b"setname", &[b'a'; 1_025]]), format!("-{NAME_LEN}\r\n"));
        assert_eq!(ask(session, &[b"client", b"setname", b""]), "+OK\r\n");
        assert_eq!(ask(session, &[b"client", b"getname"]), "$-1\r\n");
        assert_eq!(ask(session, &[b"client", b"id"]), ":7\r\n");
    }

    #[test]
    fn a_connection_chooses_when_it_is_answered() {
        let session = &mut session();
        assert_eq!(ask(session, &[b"client", b"durability"]), "$6\r\ncommit\r\n");
        assert_eq!(ask(session, &[b"client", b"durability", b"MEMORY"]), "+OK\r\n");
        assert_eq!(ask(session, &[b"client", b"durability"]), "$6\r\nmemory\r\n");
        assert_eq!(session.durability, Some(Durability::Memory));
        assert!(ask(session, &[b"client", b"durability", b"soon"]).starts_with("-ERR CLIENT DURABILITY takes"));
        assert_eq!(ask(session, &[b"client", b"durability", b"default"]), "+OK\r\n");
        assert_eq!(session.durability, None);
    }

    #[test]
    fn libraries_say_who_they_are() {
        let session = &mut session();
        assert_eq!(ask(session, &[b"client", b"setinfo", b"LIB-NAME", b"redis-py"]), "+OK\r\n");
        assert_eq!(ask(session, &[b"client", b"setinfo", b"lib-ver", b"5.0"]), "+OK\r\n");
        let error = "-ERR lib-ver cannot contain spaces, newlines or special characters.\r\n";
        assert_eq!(ask(session, &[b"client", b"setinfo", b"lib-ver", b"5 0"]), error);
        assert_eq!(ask(session, &[b"client", b"setinfo", b"x", b"y"]), "-ERR Unrecognized option 'x'\r\n");
        let info = ask(session, &[b"client", b"info"]);
        assert!(info.contains(" lib-name=redis-py lib-ver=5.0\n"), "{info}");
    }

    #[test]
    fn replies_and_switches() {
        let session = &mut session();
        assert_eq!(ask(session, &[b"client", b"reply", b"skip"]), "");
        assert_eq!(session.reply_mode, ReplyMode::SkipNext);
        assert_eq!(ask(session, &[b"client", b"reply", b"off"]), "");
        assert_eq!(ask(session, &[b"client", b"reply", b"skip"]), "");
        assert_eq!(session.reply_mode, ReplyMode::Off, "off stays off");
        assert_eq!(ask(session, &[b"client", b"reply", b"on"]), "+OK\r\n");
        assert_eq!(ask(session, &[b"client", b"reply", b"x"]), "-ERR syntax error\r\n");
        assert_eq!(ask(session, &[b"client", b"no-evict", b"ON"]), "+OK\r\n");
        assert_eq!(ask(session, &[b"client", b"no-touch", b"on"]), "+OK\r\n");
        assert_eq!(ask(session, &[b"client", b"no-touch", b"maybe"]), "-ERR syntax error\r\n");
        assert!(session.no_evict && session.no_touch);
    }
}
