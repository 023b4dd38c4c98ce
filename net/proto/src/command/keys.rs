//! Which arguments of a command are keys.

use super::{Command, KeySpec, resolve::resolve_container};
use crate::resp::{Args, Encoder};

/// The keys among the arguments of a command, each with its place and with what happens to it.
#[derive(Clone, Debug)]
pub struct Keys<'a> {
    args: Args<'a>,
    specs: &'static [KeySpec],
    /// The next argument that is a key by the first of `specs`; 0 before that has begun.
    next: usize,
}

/// One key among the arguments of a command.
#[derive(Clone, Copy, Debug)]
pub struct KeyArg<'a> {
    /// Which argument it is.
    pub index: usize,
    /// The key.
    pub key: &'a [u8],
    /// What happens to it, as COMMAND INFO names it.
    pub flags: &'static [&'static str],
}

/// The keys of `command` among `args`.
#[must_use]
pub const fn keys_of<'a>(command: &'static Command, args: Args<'a>) -> Keys<'a> {
    Keys { args, specs: command.keys, next: 0 }
}

impl<'a> Iterator for Keys<'a> {
    type Item = KeyArg<'a>;

    fn next(&mut self) -> Option<KeyArg<'a>> {
        loop {
            let (spec, rest) = self.specs.split_first()?;
            let first = usize::from(spec.first);
            let index = if self.next == 0 { first } else { self.next };
            let distance = usize::from(spec.last.unsigned_abs());
            let end = if spec.last < 0 { (self.args.len() + 1).saturating_sub(distance) } else { first + distance + 1 };
            match self.args.get(index) {
                Some(key) if index < end => {
                    self.next = index + usize::from(spec.step);
                    return Some(KeyArg { index, key, flags: spec.flags });
                }
                _ => {
                    self.specs = rest;
                    self.next = 0;
                }
            }
        }
    }
}

/// Why a command line has no keys to show.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// There is no such command.
    #[error("ERR Invalid command specified")]
    UnknownCommand,
    /// The command takes no keys.
    #[error("ERR The command has no key arguments")]
    NoKeys,
    /// The command does not take so many arguments.
    #[error("ERR Invalid number of arguments specified for command")]
    Arity,
}

fn keys_in_line(line: Args<'_>) -> Result<Keys<'_>, KeyError> {
    let command = resolve_container(line).ok_or(KeyError::UnknownCommand)?;
    if command.keys.is_empty() {
        return Err(KeyError::NoKeys);
    }
    if !command.takes(line.len()) {
        return Err(KeyError::Arity);
    }
    Ok(keys_of(command, line))
}

/// COMMAND GETKEYS: the keys of `line`, a whole command.
pub fn write_keys(line: Args<'_>, encoder: &mut Encoder<'_>) {
    match keys_in_line(line) {
        Ok(keys) => {
            encoder.array(keys.clone().count());
            keys.for_each(|found| encoder.bulk(found.key));
        }
        Err(error) => encoder.error_fmt(format_args!("{error}")),
    }
}

/// COMMAND GETKEYSANDFLAGS: the keys of `line`, a whole command, each with what happens to it.
pub fn write_keys_and_flags(line: Args<'_>, encoder: &mut Encoder<'_>) {
    match keys_in_line(line) {
        Ok(keys) => {
            encoder.array(keys.clone().count());
            for found in keys {
                encoder.array(2);
                encoder.bulk(found.key);
                encoder.set(found.flags.len());
                found.flags.iter().for_each(|flag| encoder.simple(flag));
            }
        }
        Err(error) => encoder.error_fmt(format_args!("{error}")),
    }
}
