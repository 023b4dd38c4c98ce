//! Who a node is.

use std::net::SocketAddr;

use windrow_core::types::{ClusterId, PartitionId, PartitionMap, UnixMillis};

/// What a node says about itself that does not change while it runs.
#[derive(Clone, Debug)]
pub struct Identity {
    /// 40 hexadecimal digits that no other run of any node has.
    pub run_id: String,
    /// The cluster that the data directory belongs to.
    pub cluster: ClusterId,
    /// The port that clients connect to; the first one in shared-nothing mode.
    pub port: u16,
    /// The program.
    pub executable: String,
    /// When it started.
    pub started: UnixMillis,
    /// How slots are dealt to partitions.
    pub partitions: PartitionMap,
    /// Where each core is reached, and what it owns: shared-nothing mode only, else empty.
    pub endpoints: Vec<Endpoint>,
}

/// One core as clients see it in shared-nothing mode.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endpoint {
    /// Its address.
    pub address: SocketAddr,
    /// Its partitions, rising.
    pub partitions: Vec<PartitionId>,
}

impl Identity {
    /// This node's version.
    pub const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    /// The version of Redis whose replies it gives.
    pub const REDIS_VERSION: &'static str = "7.2.0";
    /// The way that its cores work together, chosen when it was built.
    pub const MODE: &'static str = if Self::IS_CLUSTER { "shared-nothing" } else { "shared-memory" };
    /// Whether clients must find the right core by themselves.
    pub const IS_CLUSTER: bool = cfg!(feature = "shared-nothing");

    /// What `redis_mode` and HELLO say.
    #[must_use]
    pub fn redis_mode() -> &'static str {
        if Self::IS_CLUSTER { "cluster" } else { "standalone" }
    }

    /// 40 hexadecimal digits that name the history of the data.
    #[must_use]
    pub fn replication_id(&self) -> String {
        format!("{}00000000", self.cluster)
    }

    /// 40 hexadecimal digits that name one core among the nodes of a Redis cluster.
    #[must_use]
    pub fn node_id(&self, core: usize) -> String {
        format!("{}{core:08x}", self.cluster)
    }

    /// The slots of `endpoint` as ranges of first and last, neighbours joined.
    #[must_use]
    pub fn slot_ranges(&self, endpoint: &Endpoint) -> Vec<(u16, u16)> {
        let mut ranges: Vec<(u16, u16)> = Vec::new();
        for &partition in &endpoint.partitions {
            let (first, next) = self.partitions.slots_of(partition);
            match ranges.last_mut() {
                Some((_, last)) if *last + 1 == first => *last = next - 1,
                _ => ranges.push((first, next - 1)),
            }
        }
        ranges
    }
}

/// Random bytes as hexadecimal digits, for [`Identity::run_id`].
///
/// # Errors
/// The kernel gave none.
pub fn random_id() -> std::io::Result<String> {
    let bytes: [u8; 20] = crate::auth::random_bytes()?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbouring_partitions_are_one_range() {
        let identity = super::super::testing::identity(4);
        let endpoint = |partitions: &[u16]| Endpoint {
            address: SocketAddr::from(([127, 0, 0, 1], 7_000)),
            partitions: partitions.iter().map(|&number| PartitionId::new(number)).collect(),
        };
        assert_eq!(identity.slot_ranges(&endpoint(&[0, 1, 3])), [(0, 8_191), (12_288, 16_383)]);
        assert_eq!(identity.slot_ranges(&endpoint(&[])), []);
    }

    #[test]
    fn ids_have_forty_digits() {
        let identity = super::super::testing::identity(1);
        for id in [identity.replication_id(), identity.node_id(3), random_id().unwrap()] {
            assert!(id.len() == 40 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
        }
        assert_ne!(random_id().unwrap(), random_id().unwrap());
    }
}
