//! `windrow init`: makes a data directory, and says what it is.

use std::path::{Path, PathBuf};

use clap::{Arg, ArgMatches, Command, value_parser};
use windrow_core::types::ClusterId;
use windrow_core::types::limits::PARTITIONS_MAX;
use windrow_store::{BuildMode, DataDir, DataDirError, NewDataDir};

use crate::commands::MODE;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output;
use crate::start;

/// The command's options.
pub(crate) fn command() -> Command {
    Command::new("init")
        .about("Make a data directory and print its cluster and replica, which other nodes are told of")
        .after_help(
            "A directory that exists is left as it is and described. A replica's number stands for what its directory \
             holds: a directory that is lost and made anew is another replica.",
        )
        .arg(
            Arg::new("dir")
                .long("dir")
                .value_name("PATH")
                .default_value("windrow-data")
                .value_parser(value_parser!(PathBuf))
                .help("The data directory"),
        )
        .arg(
            Arg::new("cluster").long("cluster").value_name("HEX").help(
                "The cluster that it joins: what `windrow init` has printed for the first node [default: a new one]",
            ),
        )
        .arg(
            Arg::new("partitions")
                .long("partitions")
                .value_name("NUMBER")
                .value_parser(value_parser!(u16).range(1..=PARTITIONS_MAX as i64))
                .help("How many partitions; the same on all nodes of a cluster [default: one per core]"),
        )
}

/// Runs it.
pub(crate) fn run(matches: &ArgMatches) -> Result<Exit, Failure> {
    let dir = matches.get_one::<PathBuf>("dir").map_or(Path::new("windrow-data"), PathBuf::as_path);
    let cluster = match matches.get_one::<String>("cluster") {
        None => None,
        Some(text) => Some(cluster_from_hex(text).ok_or_else(|| {
            Failure::new(Exit::Usage, format_args!("`{text}` is no cluster"))
                .remedy("give the 32 hexadecimal digits that `windrow init` has printed for the first node")
        })?),
    };
    let partitions = matches.get_one::<u16>("partitions").copied();
    let data_dir = match DataDir::open_read_only(dir) {
        Ok(found) => check(dir, found, cluster, partitions)?,
        Err(DataDirError::Absent { .. }) => {
            let cores =
                std::thread::available_parallelism().map_or(1, |count| u16::try_from(count.get()).unwrap_or(u16::MAX));
            let mode = if MODE == "shared-nothing" { BuildMode::SharedNothing } else { BuildMode::SharedMemory };
            let new = NewDataDir { cluster, replica: None, partitions: partitions.unwrap_or(cores), mode };
            DataDir::open_or_create(dir, &new).map_err(|error| failure(&error))?
        }
        Err(error) => return Err(failure(&error)),
    };
    let replica = data_dir.replica().map_err(|error| Failure::new(Exit::Data, error))?;
    let identity = data_dir.identity();
    let (cluster, count) = (identity.cluster, identity.partitions);
    output::print(&format!("cluster {cluster}\nreplica {replica}\npartitions {count}\n"))?;
    Ok(Exit::Ok)
}

/// A directory that exists must be what is asked for.
fn check(dir: &Path, found: DataDir, cluster: Option<ClusterId>, partitions: Option<u16>) -> Result<DataDir, Failure> {
    let identity = found.identity();
    let other = |what: &str| {
        Failure::new(Exit::Settings, format_args!("{}: exists already, with {what}", dir.display()))
            .remedy("choose another --dir")
    };
    if cluster.is_some_and(|cluster| cluster != identity.cluster) {
        return Err(other(&format!("cluster {}", identity.cluster)));
    }
    if partitions.is_some_and(|partitions| partitions != identity.partitions) {
        return Err(other(&format!("{} partitions", identity.partitions)));
    }
    Ok(found)
}

fn failure(error: &DataDirError) -> Failure {
    Failure::new(start::of_data_dir(error), error)
}

fn cluster_from_hex(text: &str) -> Option<ClusterId> {
    let mut bytes = [0; 16];
    let is_plain = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_plain.then_some(())?;
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(ClusterId(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_is_read_as_it_is_printed() {
        let cluster = ClusterId([0xab; 16]);
        assert_eq!(cluster_from_hex(&cluster.to_string()), Some(cluster));
        for bad in ["", "ab", "zb000000000000000000000000000000", "é0000000000000000000000000000000"] {
            assert_eq!(cluster_from_hex(bad), None, "{bad}");
        }
    }
}
