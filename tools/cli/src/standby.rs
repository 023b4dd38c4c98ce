//! `windrow standby`.

use clap::ArgMatches;
use windrow_node::standby::StandbyChoice;
use windrow_node::{Serving, serve_as_standby};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output;
use crate::serve::{greeting, start_logging, tell};
use crate::settings;
use crate::start::failure_of;

/// What a standby listens on where nothing is said: beside a leader that has its defaults.
pub(crate) const DEFAULTS: [(&str, &str); 2] = [("port", "6380"), ("admin-port", "9122")];

/// Follows, and leads when it must, until it is told to stop.
pub(crate) fn run(matches: &ArgMatches) -> Result<Exit, Failure> {
    let dir = matches.get_one::<String>("of").map(String::as_str).unwrap_or_default();
    let configured = settings::load_over(&DEFAULTS, Some(matches), &[("dir", dir)])?;
    let says_yes = |name: &str| matches.get_one::<String>(name).is_some_and(|word| word == "yes");
    let choice = StandbyChoice {
        leader_address: says_yes("take-leader-address"),
        after_shutdown: says_yes("take-over-after-shutdown"),
    };
    let settings = configured.settings().clone();
    start_logging(&settings);
    let ready = |serving: &Serving| {
        tell(serving);
        // A standby whose greeting nobody reads stands by all the same.
        let _unimportant = output::print(&greeting(&settings, serving));
    };
    let reason = serve_as_standby(configured, choice, ready).map_err(|error| failure_of(&error))?;
    tracing::info!(?reason, "stopped in order");
    Ok(Exit::Ok)
}
