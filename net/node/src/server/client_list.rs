//! CLIENT LIST and CLIENT INFO.

use std::fmt::Write as _;
use std::time::Instant;

use windrow_proto::resp::{Args, Encoder, Protocol, parse_i64};

use crate::shard::{Effect, Session};

/// The kinds of clients that Redis knows. Here, every client is a normal one.
const CLIENT_TYPES: [&[u8]; 5] = [b"normal", b"master", b"replica", b"slave", b"pubsub"];

/// Whether `name` is a kind of client, and whether clients here are of that kind; `None` where Redis knows none.
pub(super) fn is_normal_type(name: &[u8]) -> Option<bool> {
    let at = CLIENT_TYPES.iter().position(|known| name.eq_ignore_ascii_case(known))?;
    Some(at == 0)
}

/// Tells that there is no such kind of client.
pub(super) fn unknown_type(name: &[u8], encoder: &mut Encoder<'_>) {
    encoder.error_with(|out| {
        out.extend_from_slice(b"ERR Unknown client type '");
        out.extend_from_slice(name.get(..128).unwrap_or(name));
        out.push(b'\'');
    });
}

/// Which clients CLIENT LIST shows.
enum Chosen {
    All,
    Nobody,
    These(Vec<u64>),
}

/// `CLIENT LIST [TYPE type] | [ID id …]`.
pub(super) fn list(args: Args<'_>, encoder: &mut Encoder<'_>) -> Effect {
    let Some(chosen) = chosen(args, encoder) else { return Effect::Reply };
    Effect::every_core(
        move |core| {
            let now = core.now().instant;
            let mut lines: Vec<(u64, String)> = Vec::new();
            core.visit_sessions(&mut |session| {
                let wanted = match &chosen {
                    Chosen::All => true,
                    Chosen::Nobody => false,
                    Chosen::These(ids) => ids.contains(&session.id),
                };
                if wanted {
                    let mut line = String::new();
                    describe(session, now, &mut line);
                    lines.push((session.id, line));
                }
            });
            lines
        },
        |session, cores, reply| {
            let mut lines: Vec<(u64, String)> = cores.into_iter().flatten().collect();
            lines.sort_unstable_by_key(|(id, _)| *id);
            let text: String = lines.into_iter().map(|(_, line)| line).collect();
            Encoder::new(reply, session.protocol).verbatim(*b"txt", text.as_bytes());
        },
    )
}

fn chosen(args: Args<'_>, encoder: &mut Encoder<'_>) -> Option<Chosen> {
    let option = args.at(2);
    if args.len() == 2 {
        return Some(Chosen::All);
    }
    if args.len() == 4 && option.eq_ignore_ascii_case(b"type") {
        let normal = is_normal_type(args.at(3));
        if normal.is_none() {
            unknown_type(args.at(3), encoder);
        }
        return normal.map(|normal| if normal { Chosen::All } else { Chosen::Nobody });
    }
    if args.len() > 3 && option.eq_ignore_ascii_case(b"id") {
        let ids: Option<Vec<u64>> = args.from(3).map(|id| u64::try_from(parse_i64(id)?).ok()).collect();
        if ids.is_none() {
            encoder.error("ERR Invalid client ID");
        }
        return ids.map(Chosen::These);
    }
    encoder.error("ERR syntax error");
    None
}

/// Appends the line that describes one client, in the order of Redis 7.2. What has no meaning here is as in a Redis
/// that does not use it.
pub(super) fn describe(session: &Session, now: Instant, line: &mut String) {
    let traffic = &session.traffic;
    let transaction = session.transaction.as_deref();
    let queued = transaction.filter(|transaction| transaction.open).map(|transaction| transaction.queued.len());
    let multi = queued.map_or_else(|| "-1".to_owned(), |count| count.to_string());
    let queued_len = transaction.map_or(0, |open| open.queued.iter().map(|queued| queued.args.memory()).sum::<usize>());
    let watched = transaction.map_or(0, |transaction| transaction.watched.len());
    let flags = match (queued.is_some(), session.killed) {
        (_, true) => "c",
        (true, _) => "x",
        _ if session.no_evict || session.no_touch => match (session.no_evict, session.no_touch) {
            (true, true) => "eT",
            (true, false) => "e",
            _ => "T",
        },
        _ => "N",
    };
    let age = now.saturating_duration_since(session.connected).as_secs();
    let idle = now.saturating_duration_since(session.last_active).as_secs();
    let memory = traffic.input_len.saturating_add(traffic.output_len).saturating_add(queued_len);
    let events = if traffic.output_len > 0 { "rw" } else { "r" };
    let user = if session.authenticated { "default" } else { "(superuser)" };
    let command = if session.last_command.is_empty() { "NULL" } else { session.last_command };
    let protocol = if session.protocol == Protocol::Resp3 { 3 } else { 2 };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    // A `String` takes everything that is written to it.
    let _ = writeln!(
        line,
        "id={} addr={} laddr={} fd=-1 name={} age={age} idle={idle} flags={flags} db={} sub=0 psub=0 ssub=0 \
         multi={multi} watch={watched} qbuf={} qbuf-free=0 argv-mem=0 multi-mem={queued_len} rbs=0 rbp=0 obl={} \
         oll={} omem={} tot-mem={memory} events={events} cmd={command} user={user} redir=-1 resp={protocol} \
         tot-net-in={} tot-net-out={} tot-cmds={} lib-name={} lib-ver={}",
        session.id,
        session.peer,
        session.local,
        text(&session.name),
        session.database,
        traffic.input_len,
        traffic.output_len,
        traffic.replies_waiting,
        traffic.output_len,
        traffic.bytes_in,
        traffic.bytes_out,
        traffic.commands,
        text(&session.lib_name),
        text(&session.lib_version),
    );
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::testing::{Cores, Request, session};
    use super::*;

    fn ask(cores: &mut Cores, args: &[&[u8]]) -> String {
        let request = Request::new(args);
        let mut reply = Vec::new();
        let effect = list(request.args(), &mut Encoder::new(&mut reply, Protocol::Resp2));
        cores.finish(effect, &mut session(), &mut reply);
        String::from_utf8(reply).unwrap()
    }

    #[test]
    fn the_clients_of_all_cores_are_listed_by_id() {
        let mut cores = Cores::with_sessions(&[&[5, 9], &[7]]);
        let ids = |reply: &str| -> Vec<String> {
            reply.lines().filter_map(|line| Some(line.strip_prefix("id=")?.split(' ').next()?.to_owned())).collect()
        };
        assert_eq!(ids(&ask(&mut cores, &[b"client", b"list"])), ["5", "7", "9"]);
        assert_eq!(ids(&ask(&mut cores, &[b"client", b"list", b"type", b"NORMAL"])), ["5", "7", "9"]);
        assert_eq!(ask(&mut cores, &[b"client", b"list", b"type", b"replica"]), "$0\r\n\r\n");
        assert_eq!(ids(&ask(&mut cores, &[b"client", b"list", b"id", b"9", b"7", b"1"])), ["7", "9"]);
    }

    #[test]
    fn wrong_choices_are_refused() {
        let mut cores = Cores::with_sessions(&[&[1]]);
        let mut ask = |args: &[&[u8]]| ask(&mut cores, args);
        assert_eq!(ask(&[b"client", b"list", b"type", b"x"]), "-ERR Unknown client type 'x'\r\n");
        assert_eq!(ask(&[b"client", b"list", b"id", b"x"]), "-ERR Invalid client ID\r\n");
        assert_eq!(ask(&[b"client", b"list", b"id"]), "-ERR syntax error\r\n");
        assert_eq!(ask(&[b"client", b"list", b"x"]), "-ERR syntax error\r\n");
    }

    #[test]
    fn a_line_has_the_fields_that_tools_read() {
        let mut session = session();
        session.name = Box::from(&b"n"[..]);
        session.last_command = "client|info";
        session.traffic.input_len = 26;
        let mut line = String::new();
        describe(&session, session.connected + Duration::from_secs(3), &mut line);
        let start = "id=7 addr=127.0.0.1:50000 laddr=127.0.0.1:6379 fd=-1 name=n age=3 idle=3 flags=N db=0 ";
        assert!(line.starts_with(start), "{line}");
        for field in [" multi=-1 ", " qbuf=26 ", " cmd=client|info ", " user=default ", " resp=2 "] {
            assert!(line.contains(field), "{field} is not in {line}");
        }
        assert!(line.ends_with(" lib-name= lib-ver=\n"), "{line}");
    }
}
