//! A leader with a standby, as processes.

mod following;
mod takeover;

use std::path::Path;

use crate::support::{Client, Place, Reply, Server, ok, until, windrow};

/// A data directory that is removed in the end.
impl Place {
    fn leader(&self, extra: &[&str]) -> Server {
        Server::start(&self.dir(), extra)
    }

    fn standby(&self, extra: &[&str]) -> Server {
        standby_of(&self.dir(), extra)
    }
}

/// Starts a standby on a free port, and waits until it serves.
fn standby_of(dir: &Path, extra: &[&str]) -> Server {
    let admin: &[&str] = if extra.contains(&"--admin-port") { &[] } else { &["--admin-port", "0"] };
    let args = ["standby", "--port", "0", "--of", dir.to_str().unwrap()];
    Server::start_with(windrow(&[&args, admin, extra].concat()))
}

/// Waits until a write is accepted. Returns the connection that it came through.
fn until_it_leads(standby: &Server) -> Client {
    let mut client = standby.connect();
    until("the standby leads", || match client.call(&["SET", "who leads", "this one"]).unwrap() {
        Reply::Error(text) => {
            assert!(text.starts_with("READONLY"), "{text}");
            false
        }
        reply => reply == ok(),
    });
    client
}

/// The value of a line of INFO.
fn info(client: &mut Client, section: &str, field: &str) -> String {
    let Reply::Bulk(Some(text)) = client.call(&["INFO", section]).unwrap() else { panic!("INFO") };
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{field}:")));
    line.unwrap_or_else(|| panic!("no {field} in\n{text}")).to_owned()
}
