//! COMMAND LIST.

use super::{Categories, Command, TABLE};
use crate::{
    glob,
    resp::{Args, Encoder},
};

/// Which commands COMMAND LIST names.
#[derive(Clone, Copy, Debug)]
pub enum ListFilter<'a> {
    /// All of them, subcommands left out.
    All,
    /// Those in an access category, subcommands included.
    Category(Option<Categories>),
    /// Those whose names match a pattern, subcommands included.
    Pattern(&'a [u8]),
    /// Those that a module brought: none, there are no modules.
    Module,
}

impl<'a> ListFilter<'a> {
    /// Reads `FILTERBY MODULE|ACLCAT|PATTERN x`, or nothing, from the arguments of COMMAND LIST; `None` where they are
    /// something else.
    #[must_use]
    pub fn parse(args: Args<'a>) -> Option<Self> {
        if args.len() == 2 {
            return Some(Self::All);
        }
        if args.len() != 5 || !args.at(2).eq_ignore_ascii_case(b"filterby") {
            return None;
        }
        let (kind, operand) = (args.at(3), args.at(4));
        if kind.eq_ignore_ascii_case(b"module") {
            Some(Self::Module)
        } else if kind.eq_ignore_ascii_case(b"aclcat") {
            Some(Self::Category(Categories::named(operand)))
        } else if kind.eq_ignore_ascii_case(b"pattern") {
            Some(Self::Pattern(operand))
        } else {
            None
        }
    }

    fn takes(self, command: &Command) -> bool {
        match self {
            Self::All => !command.name.contains('|'),
            Self::Category(category) => category.is_some_and(|category| command.all_categories().has(category)),
            Self::Pattern(pattern) => glob::matches_ignoring_case(pattern, command.name.as_bytes()),
            Self::Module => false,
        }
    }
}

/// COMMAND LIST: the names of the commands that `filter` takes.
pub fn write_list(filter: ListFilter<'_>, encoder: &mut Encoder<'_>) {
    let all = TABLE.iter().flat_map(|command| core::iter::once(*command).chain(command.subcommands));
    let taken = all.filter(|command| filter.takes(command));
    encoder.set(taken.clone().count());
    taken.for_each(|command| encoder.bulk(command.name.as_bytes()));
}
