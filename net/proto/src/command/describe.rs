//! What COMMAND INFO, COMMAND DOCS and the HELP subcommands say.

use super::{CATEGORY_NAMES, Command, FLAG_NAMES, KeySpec, TABLE, resolve::resolve_name};
use crate::resp::Encoder;

/// COMMAND INFO of `names`; of every command where there are none.
pub fn write_info<'a>(names: impl ExactSizeIterator<Item = &'a [u8]>, encoder: &mut Encoder<'_>) {
    if names.len() == 0 {
        encoder.array(TABLE.len());
        TABLE.iter().for_each(|command| info(command, encoder));
        return;
    }
    encoder.array(names.len());
    for name in names {
        match resolve_name(name) {
            Some(command) => info(command, encoder),
            None => encoder.null_array(),
        }
    }
}

fn info(command: &Command, encoder: &mut Encoder<'_>) {
    encoder.array(10);
    encoder.bulk(command.name.as_bytes());
    encoder.integer(command.arity.into());
    let flags = FLAG_NAMES.iter().filter(|(flag, _)| command.flags.has(*flag));
    encoder.set(flags.clone().count());
    flags.for_each(|(_, name)| encoder.simple(name));
    let (first, last, step) = command.key_range();
    encoder.integer(first);
    encoder.integer(last);
    encoder.integer(step);
    let all = command.all_categories();
    let categories = CATEGORY_NAMES.iter().filter(|(category, _)| all.has(*category));
    encoder.set(categories.clone().count());
    categories.for_each(|(_, name)| encoder.simple_fmt(format_args!("@{name}")));
    encoder.set(command.tips.len());
    command.tips.iter().for_each(|tip| encoder.bulk(tip.as_bytes()));
    encoder.set(command.keys.len());
    command.keys.iter().for_each(|spec| key_spec(spec, encoder));
    encoder.array(command.subcommands.len());
    command.subcommands.iter().for_each(|subcommand| info(subcommand, encoder));
}

fn key_spec(spec: &KeySpec, encoder: &mut Encoder<'_>) {
    encoder.map(3);
    encoder.bulk(b"flags");
    encoder.set(spec.flags.len());
    spec.flags.iter().for_each(|flag| encoder.simple(flag));
    encoder.bulk(b"begin_search");
    encoder.map(2);
    entry(encoder, "type", "index");
    encoder.bulk(b"spec");
    encoder.map(1);
    number(encoder, "index", spec.first.into());
    encoder.bulk(b"find_keys");
    encoder.map(2);
    entry(encoder, "type", "range");
    encoder.bulk(b"spec");
    encoder.map(3);
    number(encoder, "lastkey", spec.last.into());
    number(encoder, "keystep", spec.step.into());
    number(encoder, "limit", 0);
}

/// COMMAND DOCS of `names`; of every command where there are none. Names that are not known are left out.
pub fn write_docs<'a>(names: impl ExactSizeIterator<Item = &'a [u8]> + Clone, encoder: &mut Encoder<'_>) {
    if names.len() == 0 {
        encoder.map(TABLE.len());
        TABLE.iter().for_each(|command| docs(command, encoder));
        return;
    }
    let known = names.filter_map(resolve_name);
    encoder.map(known.clone().count());
    known.for_each(|command| docs(command, encoder));
}

fn docs(command: &Command, encoder: &mut Encoder<'_>) {
    encoder.bulk(command.name.as_bytes());
    encoder.map(if command.subcommands.is_empty() { 4 } else { 5 });
    entry(encoder, "summary", command.summary);
    entry(encoder, "since", command.since);
    entry(encoder, "group", command.group.name());
    entry(encoder, "complexity", command.complexity);
    if !command.subcommands.is_empty() {
        encoder.bulk(b"subcommands");
        encoder.map(command.subcommands.len());
        command.subcommands.iter().for_each(|subcommand| docs(subcommand, encoder));
    }
}

fn entry(encoder: &mut Encoder<'_>, name: &str, value: &str) {
    encoder.bulk(name.as_bytes());
    encoder.bulk(value.as_bytes());
}

fn number(encoder: &mut Encoder<'_>, name: &str, value: i64) {
    encoder.bulk(name.as_bytes());
    encoder.integer(value);
}

/// The HELP subcommand of a container: each subcommand and what it does.
pub fn write_help(container: &Command, encoder: &mut Encoder<'_>) {
    encoder.array(1 + container.subcommands.len() * 2);
    let name = container.name.to_ascii_uppercase();
    encoder.simple_fmt(format_args!("{name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"));
    for subcommand in container.subcommands {
        encoder.simple(&subcommand.short_name().to_ascii_uppercase());
        encoder.simple_fmt(format_args!("    {}", subcommand.summary));
    }
}
