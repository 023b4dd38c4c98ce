//! Which command has which index in the metrics.

use windrow_proto::command::{Command, TABLE};

/// The index of `command` in a core's metrics: see [`CoreMetrics::executed`](super::CoreMetrics::executed).
#[inline]
#[must_use]
pub fn index_of(command: &Command) -> usize {
    command.id as usize
}

/// The names of all commands and subcommands by their indices.
#[must_use]
pub fn command_names() -> Vec<&'static str> {
    let all = || TABLE.iter().flat_map(|command| std::iter::once(*command).chain(command.subcommands));
    let count = all().map(|command| index_of(command) + 1).max().unwrap_or(0);
    let mut names = vec![""; count];
    all().for_each(|command| names[index_of(command)] = command.name);
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_an_index_of_its_own() {
        let names = command_names();
        for command in TABLE {
            assert_eq!(names[index_of(command)], command.name);
            for subcommand in command.subcommands {
                assert_eq!(names[index_of(subcommand)], subcommand.name);
            }
        }
        assert!(names.iter().all(|name| !name.is_empty()), "an index without a command");
    }
}
