//! Which partitions a command needs.

use windrow_core::types::{PartitionId, PartitionMap, Slot};

use super::whole::scan_position;
use crate::{
    command::{Command, Id, keys_of},
    resp::Args,
};

/// What the client is told when keys that must change together cannot.
pub const CROSS_SLOT: &str = "CROSSSLOT Keys in request don't hash to the same slot: they belong to different \
     partitions, and the command must do all or nothing. Keys that share a hash tag share a slot, such as {user1}:name \
     and {user1}:mail";

/// What the keys of one command must have in common.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    /// The partition: the cores of one box behind one endpoint.
    Partition,
    /// The slot: every core an endpoint of its own, as in Redis Cluster. Commands on several keys are not split.
    Slot,
}

/// Which partitions a command needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Route {
    /// None: it is about the connection or the server.
    AnyNode,
    /// One.
    One {
        /// The partition.
        partition: PartitionId,
        /// The slot of its first key; `None` where it has no key, and where one partition has all slots and the unit is
        /// the partition, so that nobody asks.
        slot: Option<Slot>,
    },
    /// Several, each for its own keys: [`split`](super::split) it.
    Split,
    /// Every partition of the node.
    All,
    /// Several, which it may not: refuse it with [`CROSS_SLOT`].
    Cross,
}

/// Which partitions `command` needs, called with `args`, whose number has been checked.
#[must_use]
#[inline]
pub fn route(command: &'static Command, args: Args<'_>, map: PartitionMap, unit: Unit) -> Route {
    if unit == Unit::Partition && map.count() == 1 && keys_of(command, args).next().is_some() {
        return Route::One { partition: PartitionId::new(0), slot: None };
    }
    let mut keys = keys_of(command, args).map(|found| Slot::of(found.key));
    let Some(slot) = keys.next() else { return route_without_keys(command, args, map) };
    let partition = map.partition_of(slot);
    let fits = match unit {
        Unit::Partition => keys.all(|other| map.partition_of(other) == partition),
        Unit::Slot => keys.all(|other| other == slot),
    };
    match (fits, unit) {
        (true, _) => Route::One { partition, slot: Some(slot) },
        (false, Unit::Partition) if is_split(command) => Route::Split,
        (false, _) => Route::Cross,
    }
}

const fn is_split(command: &Command) -> bool {
    matches!(command.id, Id::Del | Id::Exists | Id::Mget | Id::Touch | Id::Unlink)
}

fn route_without_keys(command: &Command, args: Args<'_>, map: PartitionMap) -> Route {
    match command.id {
        Id::Dbsize | Id::Flushall | Id::Flushdb | Id::Keys | Id::Randomkey => Route::All,
        Id::Scan => {
            // A cursor that is none goes anywhere, to be refused there.
            let partition = scan_position(args.at(1), map).map_or(PartitionId::new(0), |(partition, _)| partition);
            Route::One { partition, slot: None }
        }
        _ => Route::AnyNode,
    }
}

impl Route {
    /// The route of a transaction that needs both this and `other`.
    ///
    /// A transaction is one record of one partition (and of one slot where `unit` says so), so more is
    /// [`Route::Cross`].
    #[must_use]
    pub fn and(self, other: Self, unit: Unit) -> Self {
        match (self, other) {
            (Self::AnyNode, route) | (route, Self::AnyNode) => match route {
                Self::AnyNode | Self::One { .. } => route,
                Self::Split | Self::All | Self::Cross => Self::Cross,
            },
            (Self::One { partition, slot }, Self::One { partition: second, slot: second_slot }) => {
                let fits = match unit {
                    Unit::Partition => partition == second,
                    Unit::Slot => slot == second_slot,
                };
                if fits { self } else { Self::Cross }
            }
            _ => Self::Cross,
        }
    }
}
