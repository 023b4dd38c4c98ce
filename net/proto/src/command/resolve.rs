//! From a command line to the command that it calls.

use super::{Command, lookup};
use crate::resp::{Args, Encoder};

/// How much of a command that is not known is repeated to the client, in bytes.
const QUOTED_LEN_MAX: usize = 128;

/// Why a command line calls no command.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum ResolveError {
    /// There is no command of that name.
    UnknownCommand,
    /// The command has no subcommand of that name.
    UnknownSubcommand(&'static Command),
    /// The command or subcommand does not take so many arguments.
    Arity(&'static Command),
}

/// The command that `args` call: with its subcommand found, and the number of arguments checked.
///
/// # Errors
/// When there is none; [`ResolveError::write`] says so to the client.
#[inline]
pub fn resolve(args: Args<'_>) -> Result<&'static Command, ResolveError> {
    let command = lookup(args.at(0)).ok_or(ResolveError::UnknownCommand)?;
    let command = match args.get(1) {
        Some(name) if !command.subcommands.is_empty() => {
            command.subcommand(name).ok_or(ResolveError::UnknownSubcommand(command))?
        }
        _ => command,
    };
    if command.takes(args.len()) { Ok(command) } else { Err(ResolveError::Arity(command)) }
}

/// The command that `line` calls, whether or not it has the right number of arguments.
pub(super) fn resolve_container(line: Args<'_>) -> Option<&'static Command> {
    match resolve(line) {
        Ok(command) | Err(ResolveError::Arity(command)) => Some(command),
        Err(_) => None,
    }
}

/// The command called `name`, or the subcommand called `command|subcommand`, in any case.
pub(super) fn resolve_name(name: &[u8]) -> Option<&'static Command> {
    let mut parts = name.splitn(2, |&byte| byte == b'|');
    let command = lookup(parts.next().unwrap_or_default())?;
    match parts.next() {
        Some(subcommand) => command.subcommand(subcommand),
        None => Some(command),
    }
}

/// Whether `args`, which call no command, are the start of an HTTP request: somebody makes a browser talk to this
/// port. The connection must be closed before anything that such a request carries is taken for a command.
#[must_use]
pub fn is_http(args: Args<'_>) -> bool {
    let name = args.at(0);
    name.eq_ignore_ascii_case(b"post") || name.eq_ignore_ascii_case(b"host:")
}

impl ResolveError {
    /// Tells the client, in the words of Redis.
    pub fn write(self, args: Args<'_>, encoder: &mut Encoder<'_>) {
        match self {
            Self::UnknownCommand => write_unknown(args, encoder),
            Self::UnknownSubcommand(command) => encoder.error_with(|out| {
                out.extend_from_slice(b"ERR unknown subcommand '");
                out.extend_from_slice(head(args.at(1), QUOTED_LEN_MAX));
                out.extend_from_slice(b"'. Try ");
                out.extend(command.name.bytes().map(|byte| byte.to_ascii_uppercase()));
                out.extend_from_slice(b" HELP.");
            }),
            Self::Arity(command) => write_arity_error(command, encoder),
        }
    }
}

/// Tells the client that `command` does not take so many arguments.
pub fn write_arity_error(command: &Command, encoder: &mut Encoder<'_>) {
    encoder.error_fmt(format_args!("ERR wrong number of arguments for '{}' command", command.name));
}

fn write_unknown(args: Args<'_>, encoder: &mut Encoder<'_>) {
    encoder.error_with(|out| {
        out.extend_from_slice(b"ERR unknown command '");
        out.extend_from_slice(head(args.at(0), QUOTED_LEN_MAX));
        out.extend_from_slice(b"', with args beginning with: ");
        let start = out.len();
        for arg in args.from(1) {
            let Some(room) = QUOTED_LEN_MAX.checked_sub(out.len() - start).filter(|&room| room > 0) else { break };
            out.push(b'\'');
            out.extend_from_slice(head(arg, room));
            out.extend_from_slice(b"' ");
        }
    });
}

fn head(bytes: &[u8], len: usize) -> &[u8] {
    bytes.get(..len).unwrap_or(bytes)
}
