//! `windrow promote`: asks a running node to lead, and says what has come of it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output;

/// How often it is asked what has come of it.
const ASK_EVERY: Duration = Duration::from_millis(100);
/// The longest reply that is read.
const REPLY_LEN_MAX: usize = 1 << 20;

/// The command's options.
pub(crate) fn command() -> Command {
    Command::new("promote")
        .about("Ask a follower to lead; without a flag, only if a majority agrees and nothing confirmed is lost")
        .arg(
            Arg::new("host").long("host").value_name("HOST").default_value("127.0.0.1").help("Where it serves clients"),
        )
        .arg(
            Arg::new("port")
                .long("port")
                .value_name("PORT")
                .default_value("6379")
                .value_parser(value_parser!(u16))
                .help("The port on which it serves clients"),
        )
        .arg(
            Arg::new("password-file")
                .long("password-file")
                .value_name("PATH")
                .value_parser(value_parser!(PathBuf))
                .help("A file whose first line is the password of clients"),
        )
        .arg(
            Arg::new("within")
                .long("within")
                .value_name("SECONDS")
                .default_value("30")
                .value_parser(value_parser!(u64).range(1..=3_600))
                .help("How long to wait for the outcome"),
        )
        .arg(
            Arg::new("losing-committed-writes")
                .long("losing-committed-writes")
                .action(ArgAction::SetTrue)
                .help("Lead with the log that is there: confirmed writes that only other nodes hold are lost"),
        )
}

/// Runs it.
pub(crate) fn run(matches: &ArgMatches) -> Result<Exit, Failure> {
    let host = matches.get_one::<String>("host").map_or("127.0.0.1", String::as_str);
    let port = matches.get_one::<u16>("port").copied().unwrap_or(6_379);
    let within = Duration::from_secs(matches.get_one::<u64>("within").copied().unwrap_or(30));
    let mut node = Node::connect(host, port)?;
    if let Some(path) = matches.get_one::<PathBuf>("password-file") {
        let text = std::fs::read_to_string(path).map_err(|error| Failure::io("read", path, &error))?;
        node.ask(&["AUTH", text.lines().next().unwrap_or_default()])?;
    }
    let loses = matches.get_flag("losing-committed-writes");
    if loses {
        node.ask(&["REPLICAOF", "NO", "ONE", "LOSING-COMMITTED-WRITES"])?;
    } else {
        node.ask(&["REPLICAOF", "NO", "ONE"])?;
    }
    let since = Instant::now();
    loop {
        let info = node.ask(&["INFO", "replication"])?;
        let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let part = field("replication_part").unwrap_or_default();
        if ["leader", "alone", "leader-without-quorum"].contains(&part) {
            let epoch = field("replication_epoch").unwrap_or("0");
            let waits = if part.ends_with("quorum") { ", and waits for a majority of the nodes" } else { "" };
            let kept = if loses { kept(&info) } else { String::new() };
            output::print(&format!("leads in epoch {epoch}{waits}\n{kept}"))?;
            return Ok(Exit::Ok);
        }
        let refusal = field("replication_refusal").unwrap_or_default();
        if !refusal.is_empty() || since.elapsed() >= within {
            let cause = if refusal.is_empty() { "nothing has come of it in time" } else { refusal };
            return Err(Failure::new(Exit::Unavailable, format_args!("the node does not lead ({part}): {cause}"))
                .remedy("promote the replica with the longest log, or have a majority of the nodes up"));
        }
        std::thread::sleep(ASK_EVERY);
    }
}

/// What a promotion by force has kept of each partition and what is lost, a line for each, by what the node says in INFO.
fn kept(info: &str) -> String {
    info.lines().filter_map(|line| kept_of(line.strip_prefix("replication_forced")?)).collect()
}

/// `partition:epoch=…,kept=…,committed=…,leader_committed=…` for people.
fn kept_of(line: &str) -> Option<String> {
    let (partition, fields) = line.split_once(':')?;
    let field = |name: &str| fields.split(',').find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
    let number = |name: &str| field(name)?.parse::<u64>().ok();
    let (epoch, kept) = (number("epoch")?, number("kept")?);
    let (committed, leader_committed) = (number("committed")?, number("leader_committed")?);
    let lost = if leader_committed > committed {
        format!(
            "The last leader had confirmed writes up to {leader_committed}, and this log is sure to have them up to \
             {committed} only: those behind that are lost, unless they stand in it, and whatever was confirmed later"
        )
    } else {
        format!(
            "All that this node knows to be confirmed, up to {committed}, is kept. What was confirmed without its \
             knowledge, and is not in this log, is lost"
        )
    };
    Some(format!("partition {partition}: leads in epoch {epoch} with the log up to {kept}. {lost}\n"))
}

/// A connection with a node.
struct Node {
    stream: BufReader<TcpStream>,
}

impl Node {
    fn connect(host: &str, port: u16) -> Result<Self, Failure> {
        let failed = |error| Failure::io("talk to", Path::new(&format!("{host}:{port}")), &error);
        let stream = TcpStream::connect((host, port)).map_err(failed)?;
        stream.set_read_timeout(Some(Duration::from_secs(10))).map_err(failed)?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Sends a command, and returns the text of its reply.
    fn ask(&mut self, args: &[&str]) -> Result<String, Failure> {
        let mut line = format!("*{}\r\n", args.len());
        for arg in args {
            line.push_str(&format!("${}\r\n{arg}\r\n", arg.len()));
        }
        let reply =
            self.exchange(line.as_bytes()).map_err(|error| Failure::io("talk to", Path::new("the node"), &error))?;
        match reply.strip_prefix('-') {
            Some(error) => Err(Failure::new(Exit::Unavailable, format_args!("the node says: {error}"))),
            None => Ok(reply),
        }
    }

    fn exchange(&mut self, line: &[u8]) -> std::io::Result<String> {
        self.stream.get_mut().write_all(line)?;
        let mut first = String::new();
        self.stream.read_line(&mut first)?;
        let first = first.trim_end().to_owned();
        if first.is_empty() {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let Some(len) = first.strip_prefix('$') else { return Ok(first) };
        let len = len.parse::<usize>().ok().filter(|&len| len <= REPLY_LEN_MAX);
        let len = len.ok_or(std::io::ErrorKind::InvalidData)?;
        let mut text = vec![0; len + 2];
        self.stream.read_exact(&mut text)?;
        text.truncate(len);
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_and_what_is_lost_is_said_of_each_partition() {
        let info = "replication_epoch:9\r\nreplication_forced0:epoch=9,kept=640,committed=640,leader_committed=640\r\n\
                    replication_forced3:epoch=8,kept=640,committed=600,leader_committed=704\r\nother:1\r\n";
        let said = kept(info);
        let lines: Vec<&str> = said.lines().collect();
        let [whole, lossy] = lines[..] else { panic!("{said}") };
        assert!(whole.starts_with("partition 0: leads in epoch 9 with the log up to 640. All"), "{whole}");
        assert!(
            lossy.starts_with("partition 3: leads in epoch 8 ")
                && lossy.contains("up to 704")
                && lossy.contains("up to 600 only"),
            "{lossy}"
        );
        assert_eq!(kept("replication_epoch:9\r\nreplication_forced0:epoch=9\r\n"), "");
    }
}
