//! [`Server`] as a shard calls it.

use std::sync::Arc;
use std::time::Duration;

use windrow_proto::command::{TABLE, resolve};
use windrow_proto::resp::Protocol;

use super::testing::{Cores, Request, node, now, session};
use super::{Node, Phase, Server};
use crate::shard::{Effect, ServerCommands, Session};

struct Client {
    server: Server,
    session: Session,
}

impl Client {
    fn of(node: &Arc<Node>, core: usize) -> Self {
        Self { server: Server::new(Arc::clone(node), core), session: session() }
    }

    fn run(&mut self, args: &[&[u8]]) -> (Vec<u8>, Effect) {
        let request = Request::new(args);
        let command = resolve(request.args()).unwrap();
        let mut reply = Vec::new();
        let effect = self.server.execute(now(), &mut self.session, command, request.args(), &mut reply);
        (reply, effect)
    }

    /// The reply, after all cores have done their part.
    fn ask(&mut self, line: &str) -> String {
        let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let (mut reply, effect) = self.run(&args);
        Cores::with_sessions(&[&[7]]).finish(effect, &mut self.session, &mut reply);
        String::from_utf8(reply).unwrap()
    }
}

#[test]
fn every_server_command_of_the_table_is_answered_in_both_protocols() {
    let node = node(1);
    let all = TABLE.iter().flat_map(|command| std::iter::once(*command).chain(command.subcommands));
    let is_server = |name: &str| {
        let data_groups = ["string", "generic", "transactions"];
        let data = ["dbsize", "flushall", "flushdb", "memory|usage", "shutdown", "quit"];
        let command = TABLE.iter().find(|command| command.name == name.split('|').next().unwrap()).unwrap();
        // They are answered by the cores that host the partitions.
        let waits = ["wait", "waitaof"].contains(&name);
        !waits && !data_groups.contains(&command.group.name()) && !data.contains(&name)
    };
    let mut answered = 0;
    for command in all.filter(|command| is_server(command.name) && command.subcommands.is_empty()) {
        for protocol in [Protocol::Resp2, Protocol::Resp3] {
            let mut client = Client::of(&node, 0);
            client.session.protocol = protocol;
            let mut line = command.name.replace('|', " ");
            let given = line.split(' ').count();
            for _ in given..usize::from(command.arity.unsigned_abs()) {
                line.push_str(" 1");
            }
            let reply = client.ask(&line);
            assert!(!reply.contains("no server command"), "{line}: {reply}");
            assert!(!reply.is_empty() || matches!(command.name, "client|reply"), "{line} has no reply");
            answered += 1;
        }
    }
    assert!(answered > 100, "{answered}");
}

#[test]
fn containers_explain_themselves() {
    let mut client = Client::of(&node(1), 0);
    for container in TABLE.iter().filter(|command| !command.subcommands.is_empty() && command.name != "object") {
        let reply = client.ask(&format!("{} HELP", container.name));
        let title = format!("+{} <subcommand> [<arg> [value] [opt] ...].", container.name.to_ascii_uppercase());
        assert!(reply.contains(&title), "{reply}");
    }
}

#[test]
fn clients_are_let_in_by_address_and_password() {
    let node = node(2);
    let mut client = Client::of(&node, 0);
    client.session.authenticated = false;
    assert_eq!(client.server.connected(&mut client.session), Ok(()));
    assert!(client.session.authenticated);
    client.session.peer = "192.0.2.1:1000".parse().unwrap();
    assert_eq!(client.server.connected(&mut client.session), Err(crate::auth::DENIED));

    let mut other = Client::of(&node, 1);
    assert_eq!(other.ask("config set requirepass secret"), "+OK\r\n");
    assert_eq!(client.server.connected(&mut client.session), Ok(()), "a password lets strangers try");
    assert!(!client.session.authenticated);
    let (reply, effect) = client.run(&[b"auth", b"wrong"]);
    assert!(reply.starts_with(b"-WRONGPASS ") && matches!(effect, Effect::After(time) if time > Duration::ZERO));
    assert_eq!(node.metrics.sum(|core| core.authentication_failures.get()), 1);
    assert_eq!(client.ask("auth secret"), "+OK\r\n");
    assert!(client.session.authenticated);
    assert_eq!(client.ask("reset"), "+RESET\r\n");
    assert!(!client.session.authenticated);
}

#[test]
fn slow_commands_are_kept_above_the_thresholds() {
    let node = node(1);
    let mut client = Client::of(&node, 0);
    assert_eq!(client.server.slow_threshold(), Some(Duration::from_millis(10)));
    client.ask("config set latency-monitor-threshold 5");
    client.ask("ping");
    assert_eq!(client.server.slow_threshold(), Some(Duration::from_millis(5)));
    let request = Request::new(&[b"keys", b"*"]);
    client.server.slow(now(), &client.session, request.args(), Duration::from_millis(7));
    assert_eq!(client.ask("slowlog len"), ":0\r\n");
    client.server.slow(now(), &client.session, request.args(), Duration::from_millis(12));
    assert_eq!(client.ask("slowlog len"), ":1\r\n");
    assert!(client.ask("latency latest").contains("$7\r\ncommand\r\n:1700000000\r\n:12\r\n:12\r\n"));
    client.ask("config set slowlog-log-slower-than -1 latency-monitor-threshold 0");
    client.ask("ping");
    assert_eq!(client.server.slow_threshold(), None);
}

#[test]
fn a_shutdown_ends_readiness() {
    let node = node(1);
    node.enter(Phase::Serving);
    let (reply, effect) = Client::of(&node, 0).run(&[b"shutdown", b"nosave"]);
    assert!(reply.is_empty() && matches!(effect, Effect::Shutdown));
    assert_eq!(node.phase(), Phase::Stopping);
}

#[test]
fn a_tick_shows_what_the_core_has() {
    let node = node(1);
    let mut client = Client::of(&node, 0);
    client.server.metrics().flush_time(Duration::from_millis(30));
    client.ask("config set latency-monitor-threshold 20");
    Cores::with_sessions(&[&[1, 2, 3]]).visit(|core| client.server.tick(now(), core));
    assert_eq!(node.metrics.sum(|core| core.connections.get()), 3);
    assert!(client.ask("latency latest").contains("$5\r\nflush\r\n"));
    assert!(client.ask("info stats").contains("total_commands_processed:0\r\n"));
    assert!(client.ask("lastsave").starts_with(":1700000000"));
}

#[test]
fn statistics_are_reset_on_request() {
    let node = node(1);
    let mut client = Client::of(&node, 0);
    client.server.metrics().counters().keyspace_hits.add(3);
    assert!(client.ask("info stats").contains("keyspace_hits:3\r\n"));
    assert_eq!(client.ask("config resetstat"), "+OK\r\n");
    assert!(client.ask("info stats").contains("keyspace_hits:0\r\n"));
}

/// Xorshift, by George Marsaglia.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(bound).unwrap()).unwrap()
    }
}

#[test]
fn no_arguments_make_a_server_command_panic() {
    let words: Vec<Vec<u8>> = [
        "",
        "0",
        "1",
        "-1",
        "3",
        "9223372036854775807",
        "-9223372036854775808",
        "18446744073709551616",
        "1e308",
        "nan",
        "*",
        "[",
        "\\",
        "a b",
        "default",
        "id",
        "type",
        "addr",
        "laddr",
        "user",
        "skipme",
        "yes",
        "no",
        "normal",
        "auth",
        "setname",
        "lib-name",
        "on",
        "off",
        "skip",
        "sleep",
        "help",
        "filterby",
        "aclcat",
        "pattern",
        "get",
        "mset",
        "object",
        "all",
        "everything",
        "timeout",
        "requirepass",
        "maxclients",
        "appendonly",
        "sha256:",
        "slowlog-log-slower-than",
        "nosave",
        "abort",
        "command",
        "flush",
        "127.0.0.1:50007",
        "[::1]:0",
        "\r\n",
    ]
    .iter()
    .map(|word| word.as_bytes().to_vec())
    .chain([vec![0xff, 0xfe, 0x00], vec![b'x'; 3_000]])
    .collect();
    let commands: Vec<_> =
        TABLE.iter().flat_map(|command| std::iter::once(*command).chain(command.subcommands)).collect();
    let node = node(2);
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    for _ in 0..20_000 {
        let command = commands[random.below(commands.len())];
        let mut line: Vec<&[u8]> = command.name.split('|').map(str::as_bytes).collect();
        for _ in 0..random.below(7) {
            line.push(&words[random.below(words.len())]);
        }
        let request = Request::new(&line);
        if resolve(request.args()).is_err() {
            continue;
        }
        let mut client = Client::of(&node, random.below(2));
        client.session.protocol = if random.below(2) == 0 { Protocol::Resp2 } else { Protocol::Resp3 };
        let (mut reply, effect) = client.run(&line);
        client.server.slow(now(), &client.session, request.args(), Duration::from_secs(1));
        Cores::with_sessions(&[&[7], &[9]]).finish(effect, &mut client.session, &mut reply);
        assert!(reply.is_empty() || reply.ends_with(b"\r\n"), "{line:?}");
    }
}
