//! `windrow serve`.

use windrow_node::settings::Configured;

use crate::exit::Exit;
use crate::failure::Failure;

/// Serves clients until it is told to stop.
pub(crate) fn run(configured: &Configured) -> Result<Exit, Failure> {
    let dir = configured.settings().dir.display();
    Err(Failure::new(Exit::System, format_args!("{dir}: this build has no server yet")))
}
