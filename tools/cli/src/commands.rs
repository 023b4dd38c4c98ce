//! The command line. Help, completions and the manual all come from here, the settings from the node's own table.

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use clap_complete::Shell;
use windrow_node::settings::{FIELDS, Field, Kind, Settings, find};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::{init, leave_set, output, promote};

const NAME: &str = "windrow";
/// How the cores of one box work together in this build.
pub(crate) const MODE: &str = if cfg!(feature = "shared-nothing") { "shared-nothing" } else { "shared-memory" };

/// All of it.
pub(crate) fn root() -> Command {
    Command::new(NAME)
        .version(env!("CARGO_PKG_VERSION"))
        .about("A durable, partitioned key-value store that Redis clients can talk to")
        .long_about(
            "A durable, partitioned key-value store that Redis clients can talk to. No reply ever shows or confirms \
             a write that a crash could still take back. Without a command, it serves with its defaults.",
        )
        .after_help(format!("This build: {MODE}. Exit statuses and metrics are described in docs/operations.md."))
        .disable_help_subcommand(true)
        .subcommand(with_settings(
            Command::new("serve").about("Serve clients (also what happens without a command)").after_help(
                "Every setting can also stand in the settings file, as `name = value`, and in the environment, as \
                 WINDROW_NAME. Flags overrule the environment, which overrules the file.",
            ),
        ))
        .subcommands(standby())
        .subcommand(init::command())
        .subcommand(promote::command())
        .subcommand(leave_set::command())
        .subcommand(log())
        .subcommand(
            with_settings(
                Command::new("doctor").about("Check whether this machine can run a node with these settings"),
            )
            .arg(json()),
        )
        .subcommand(
            Command::new("hash-password").about("Read a password from stdin and print what to store in requirepass"),
        )
        .subcommand(
            Command::new("completions").about("Print completions for a shell").arg(
                Arg::new("SHELL").required(true).value_parser(value_parser!(Shell)).help("The shell to complete in"),
            ),
        )
        .subcommand(Command::new("man").about("Print the manual page, for `windrow man > windrow.1`"))
}

/// Only where the cores of a box share memory, and so can processes.
#[cfg(not(feature = "shared-memory"))]
const fn standby() -> Option<Command> {
    None
}

/// Only where the cores of a box share memory, and so can processes.
#[cfg(feature = "shared-memory")]
fn standby() -> Option<Command> {
    let yes_no = |name: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .value_name("YES|NO")
            .value_parser(PossibleValuesParser::new(["yes", "no"]))
            .default_value("yes")
            .help(help)
    };
    let command = with_settings(
        Command::new("standby")
            .about("Follow the leader of a data directory on this machine, serve reads, and take over when it is gone")
            .after_help(
                "Takes the settings of `serve`, with which it goes on when it leads. Listens on port 6380 and on the \
                 admin port 9122 unless told otherwise. Needs Linux 6.7 or later.",
            ),
    );
    // It is the leader's.
    let command = command.mut_arg("dir", |dir| dir.hide(true));
    let own = |command: Command, (name, default): (&'static str, &str)| match find(name) {
        Some(field) => command.mut_arg(name, |arg| arg.help(setting_help(field, default))),
        None => command,
    };
    let command = crate::standby::DEFAULTS.into_iter().fold(command, own);
    Some(
        command
            .arg(
                Arg::new("of")
                    .long("of")
                    .value_name("DIR")
                    .required(true)
                    .help("The data directory of the leader, which must have been started on it before"),
            )
            .arg(yes_no("take-leader-address", "Serve clients at the leader's addresses, too, once it is gone"))
            .arg(yes_no(
                "take-over-after-shutdown",
                "Take over from a leader that has ended in order, too; otherwise wait for the next leader",
            )),
    )
}

fn log() -> Command {
    let path = || {
        Arg::new("PATH")
            .default_value("windrow-data")
            .value_parser(value_parser!(PathBuf))
            .help("A data directory, the directory of a partition, or one segment")
    };
    let lsn = |name: &'static str| Arg::new(name).long(name).value_name("LSN").value_parser(value_parser!(u64));
    Command::new("log")
        .about("Look at logs on disk, also while a node runs and where data is damaged; repair them")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .subcommand(
            Command::new("inspect").about("Show segments, records, chain and watermarks").arg(path()).arg(json()),
        )
        .subcommand(
            Command::new("verify")
                .about("Check every checksum; status 1 where a node would refuse to start")
                .arg(path())
                .arg(
                    Arg::new("against")
                        .long("against")
                        .value_name("DIR")
                        .value_parser(value_parser!(PathBuf))
                        .conflicts_with("json")
                        .help("Another copy: also check that both hold the same bytes, as far as both go"),
                )
                .arg(json()),
        )
        .subcommand(
            Command::new("repair")
                .about(
                    "Replace damaged sealed segments by another replica's copies, where these are whole and fit; the damaged \
                     ones are kept. No node may run on PATH",
                )
                .arg(path().help("A data directory"))
                .arg(
                    Arg::new("from")
                        .long("from")
                        .value_name("DIR")
                        .required(true)
                        .value_parser(value_parser!(PathBuf))
                        .help("A data directory of the same cluster, or a copy of it; a node may run on it"),
                ),
        )
        .subcommand(
            Command::new("dump")
                .about("Write records as JSON lines, also those behind damage; status 1 where there is any")
                .arg(path())
                .arg(lsn("from").help("Start at the first record from this position on"))
                .arg(lsn("to").help("End before this position"))
                .arg(Arg::new("keys-only").long("keys-only").action(ArgAction::SetTrue).help("Leave values out")),
        )
}

fn json() -> Arg {
    Arg::new("json").long("json").action(ArgAction::SetTrue).help("Write JSON")
}

fn with_settings(command: Command) -> Command {
    let config = Arg::new("config")
        .long("config")
        .value_name("PATH")
        .value_parser(value_parser!(PathBuf))
        .help("The settings file (TOML) [environment: WINDROW_CONFIG]");
    command.arg(config).args(FIELDS.iter().map(setting))
}

fn setting(field: &'static Field) -> Arg {
    Arg::new(field.name)
        .long(field.name)
        .value_name(field.kind.placeholder())
        .help(setting_help(field, &(field.get)(&Settings::default())))
        // Negative numbers are values, not flags.
        .allow_hyphen_values(matches!(field.kind, Kind::Integer(..)))
}

fn setting_help(field: &Field, default: &str) -> String {
    let default = if default.is_empty() { String::new() } else { format!(" [default: {default}]") };
    let allowed = match &field.kind {
        Kind::Path => String::new(),
        kind => format!(" [{}]", kind.allowed()),
    };
    format!("{}{allowed}{default}", field.help)
}

/// Words that can be completed. They are not checked here but with all other settings, which name their origin.
fn with_words(arg: Arg) -> Arg {
    match find(arg.get_id().as_str()).map(|field| &field.kind) {
        Some(Kind::Choice(words)) => arg.value_parser(PossibleValuesParser::new(words.iter())),
        Some(Kind::Switch) => arg.value_parser(PossibleValuesParser::new(["yes", "no"])),
        _ => arg,
    }
}

/// `windrow completions SHELL`.
pub(crate) fn completions(matches: &ArgMatches) -> Result<Exit, Failure> {
    let Some(shell) = matches.get_one::<Shell>("SHELL") else { return Ok(Exit::Usage) };
    let mut text = Vec::new();
    let mut root = root().mut_subcommands(|command| command.mut_args(with_words));
    clap_complete::generate(*shell, &mut root, NAME, &mut text);
    output::print(&String::from_utf8_lossy(&text))?;
    Ok(Exit::Ok)
}

/// `windrow man`: one page with every command.
pub(crate) fn man() -> Result<Exit, Failure> {
    output::print(&String::from_utf8_lossy(&manual().map_err(Failure::from)?))?;
    Ok(Exit::Ok)
}

fn manual() -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    let mut root = root();
    root.build();
    let man = clap_mangen::Man::new(root.clone());
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    for command in root.get_subcommands() {
        section(command, &mut text)?;
        for inner in command.get_subcommands() {
            section(inner, &mut text)?;
        }
    }
    section_of_statuses(&mut text)?;
    Ok(text)
}

fn section(command: &Command, out: &mut Vec<u8>) -> std::io::Result<()> {
    use std::io::Write;
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).replace('-', " ");
    writeln!(out, ".SH \"{}\"", name.to_uppercase())?;
    let man = clap_mangen::Man::new(command.clone());
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    writeln!(out, "{}\n.PP", about.replace('-', "\\-"))?;
    let mut options = Vec::new();
    man.render_options_section(&mut options)?;
    // As a part of this command's section, not one of its own.
    let options = String::from_utf8_lossy(&options).replace(".SH OPTIONS\n", "");
    out.write_all(options.as_bytes())
}

fn section_of_statuses(out: &mut Vec<u8>) -> std::io::Result<()> {
    use std::io::Write;
    writeln!(out, ".SH \"EXIT STATUS\"")?;
    for (_, status, meaning) in Exit::TABLE {
        writeln!(out, ".TP\n{status}\n{meaning}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definitions_are_consistent() {
        root().debug_assert();
    }

    #[cfg(feature = "shared-memory")]
    #[test]
    fn a_standby_names_the_defaults_that_it_has() {
        let root = root();
        let standby = root.find_subcommand("standby").unwrap();
        for (name, default) in crate::standby::DEFAULTS {
            let arg = standby.get_arguments().find(|arg| arg.get_long() == Some(name)).unwrap();
            let help = arg.get_help().unwrap().to_string();
            assert!(help.ends_with(&format!("[default: {default}]")), "{help}");
        }
    }

    #[test]
    fn every_setting_is_a_flag_of_serve() {
        let serve = root();
        let serve = serve.find_subcommand("serve").unwrap();
        for field in FIELDS {
            assert!(serve.get_arguments().any(|arg| arg.get_long() == Some(field.name)), "{}", field.name);
        }
    }
}
