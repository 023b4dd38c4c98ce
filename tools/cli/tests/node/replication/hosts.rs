//! Hosts that are network namespaces, each with a link to a switch, and what can happen to the links.
//!
//! Names are unique, and everything is removed when this is dropped, also by a panic. Needs root, `ip`, `nft` and `tc`.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::support::skipped;

/// Hosts that can reach each other.
pub(crate) struct Hosts {
    /// The namespaces: the switch, and behind it the hosts.
    names: Vec<String>,
}

/// What happens to the packets that a host is sent by another one.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Link {
    /// None of them arrives.
    Cut,
    /// Every connection is reset by the next one.
    Reset,
    /// So many of a hundred do not arrive.
    Loses(u32),
}

impl Hosts {
    /// So many hosts, or `None`, and a line that says why, where they cannot be made.
    pub(crate) fn new(count: usize) -> Option<Self> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let mut hosts = Self { names: Vec::new() };
        let prefix = format!("windrow-{}-{number}", std::process::id());
        let made = hosts.add(format!("{prefix}-switch")).and_then(|()| hosts.build(&prefix, count));
        match made {
            Ok(()) => Some(hosts),
            Err(why) => {
                skipped(&format!("no hosts in network namespaces can be made here (needs root, ip, nft): {why}"));
                None
            }
        }
    }

    fn build(&mut self, prefix: &str, count: usize) -> Result<(), String> {
        ip(&["-n", &self.names[0], "link", "add", "switch", "type", "bridge"])?;
        ip(&["-n", &self.names[0], "link", "set", "switch", "up"])?;
        for number in 0..count {
            let name = format!("{prefix}-{number}");
            self.add(name.clone())?;
            let (switch, port) = (&self.names[0], port(number));
            ip(&["-n", switch, "link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns", &name])?;
            ip(&["-n", switch, "link", "set", &port, "master", "switch", "up"])?;
            ip(&["-n", &name, "addr", "add", &format!("{}/24", Self::address(number)), "dev", "eth0"])?;
            ip(&["-n", &name, "link", "set", "eth0", "up"])?;
            ip(&["-n", &name, "link", "set", "lo", "up"])?;
        }
        self.filter(0, "")
    }

    fn add(&mut self, name: String) -> Result<(), String> {
        ip(&["netns", "add", &name])?;
        self.names.push(name);
        Ok(())
    }

    fn name(&self, host: usize) -> &str {
        &self.names[1 + host]
    }

    /// The address of a host.
    pub(crate) fn address(host: usize) -> String {
        format!("10.77.0.{}", host + 1)
    }

    /// What a program is to be run by, so that it runs on a host.
    pub(crate) fn command(&self, host: usize) -> [&str; 4] {
        ["ip", "netns", "exec", self.name(host)]
    }

    /// Does something on a host. Sockets stay where they were made.
    pub(crate) fn on<T: Send>(&self, host: usize, what: impl FnOnce() -> T + Send) -> T {
        let namespace = File::open(format!("/run/netns/{}", self.name(host))).unwrap();
        let there = move || {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            what()
        };
        // A thread of its own, since a thread that has moved stays there.
        thread::scope(|scope| scope.spawn(there).join()).unwrap()
    }

    /// From now on this happens to what `host` is sent by each of `others`, and nothing else.
    pub(crate) fn disturb(&self, host: usize, others: &[usize], link: Link) {
        let what = match link {
            Link::Cut => "counter drop".to_owned(),
            Link::Reset => "meta l4proto tcp counter reject with tcp reset".to_owned(),
            Link::Loses(percent) => format!("numgen random mod 100 < {percent} counter drop"),
        };
        let rules = others.iter().map(|&other| format!("ip saddr {} {what}\n", Self::address(other)));
        self.filter(host, &rules.collect::<String>()).unwrap();
    }

    /// What `host` is sent arrives again.
    pub(crate) fn heal(&self, host: usize) {
        self.filter(host, "").unwrap();
    }

    /// How many packets have met what was done to the links of `host`, since it was done.
    pub(crate) fn disturbed(&self, host: usize) -> u64 {
        let args = ["netns", "exec", self.name(host), "nft", "list", "ruleset"];
        let output = Command::new("ip").args(args).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let counts = text.split("counter packets ").skip(1);
        counts.map(|rest| rest.split_whitespace().next().unwrap().parse::<u64>().unwrap()).sum()
    }

    /// What goes to `host` goes no faster than this, as `tc` writes it.
    pub(crate) fn slow(&self, host: usize, rate: &str) {
        let port = port(host);
        let queue = ["tbf", "rate", rate, "burst", "16kb", "limit", "64kb"];
        let args = [&["netns", "exec", &self.names[0], "tc", "qdisc", "replace", "dev", &port, "root"][..], &queue];
        ip(&args.concat()).unwrap();
    }

    /// What goes to `host` goes at full speed.
    pub(crate) fn speed_up(&self, host: usize) {
        ip(&["netns", "exec", &self.names[0], "tc", "qdisc", "del", "dev", &port(host), "root"]).unwrap();
    }

    fn filter(&self, host: usize, rules: &str) -> Result<(), String> {
        let text = format!(
            "flush ruleset\ntable inet test {{\nchain input {{\ntype filter hook input priority 0;\n{rules}}}\n}}\n"
        );
        let mut command = Command::new("ip");
        command.args(["netns", "exec", self.name(host), "nft", "-f", "-"]);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| error.to_string())?;
        // If it is not there, its status says so.
        let _written = child.stdin.take().map(|mut stdin| stdin.write_all(text.as_bytes()));
        outcome("nft", child.wait_with_output())
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        for name in self.names.iter().rev() {
            if let Err(why) = ip(&["netns", "del", name]) {
                eprintln!("{why}");
            }
        }
    }
}

/// The switch's end of a host's link.
fn port(host: usize) -> String {
    format!("port{host}")
}

fn ip(args: &[&str]) -> Result<(), String> {
    let output = Command::new("ip").args(args).stdin(Stdio::null()).output();
    outcome(&format!("ip {}", args.join(" ")), output)
}

fn outcome(what: &str, output: std::io::Result<std::process::Output>) -> Result<(), String> {
    let output = output.map_err(|error| format!("{what}: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("{what}: {} {}", output.status, said.trim())) }
}
