//! CLUSTER.
//!
//! In shared-memory mode the node is no cluster and says so in the words of Redis; only `CLUSTER KEYSLOT` answers,
//! since hash tags decide what can be atomic. In shared-nothing mode every core is a node of the cluster. All of them
//! listen on the same addresses of the same host, so a client is told the address that it has reached this one by.

use std::net::IpAddr;

use windrow_core::types::{SLOT_COUNT, Slot};
use windrow_proto::command::Id;
use windrow_proto::resp::{Args, Encoder};

use super::identity::{Endpoint, Identity};

const DISABLED: &str = "ERR This instance has cluster support disabled";

/// A core as a client sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen<'a> {
    pub(super) identity: &'a Identity,
    /// The core's number.
    pub(super) core: usize,
    /// The address that the client has reached it by.
    pub(super) ip: IpAddr,
}

/// Executes the subcommand `id` of CLUSTER.
pub(super) fn execute(seen: Seen<'_>, id: Id, args: Args<'_>, encoder: &mut Encoder<'_>) {
    let Seen { identity, core, .. } = seen;
    match id {
        Id::ClusterKeyslot => encoder.integer(Slot::of(args.at(2)).get().into()),
        _ if identity.endpoints.is_empty() => encoder.error(DISABLED),
        Id::ClusterInfo => info(identity, encoder),
        Id::ClusterMyid => encoder.bulk(identity.node_id(core).as_bytes()),
        Id::ClusterSlots => slots(seen, encoder),
        Id::ClusterShards => shards(seen, encoder),
        Id::ClusterNodes => nodes(seen, encoder),
        _ => encoder.error("ERR syntax error"),
    }
}

fn info(identity: &Identity, encoder: &mut Encoder<'_>) {
    let size = identity.endpoints.iter().filter(|endpoint| !endpoint.partitions.is_empty()).count();
    let known = identity.endpoints.len();
    let text = format!(
        "cluster_enabled:1\r\ncluster_state:ok\r\ncluster_slots_assigned:{SLOT_COUNT}\r\n\
         cluster_slots_ok:{SLOT_COUNT}\r\ncluster_slots_pfail:0\r\ncluster_slots_fail:0\r\n\
         cluster_known_nodes:{known}\r\ncluster_size:{size}\r\ncluster_current_epoch:1\r\ncluster_my_epoch:1\r\n\
         cluster_stats_messages_sent:0\r\ncluster_stats_messages_received:0\r\n\
         total_cluster_links_buffer_limit_exceeded:0\r\n"
    );
    encoder.verbatim(*b"txt", text.as_bytes());
}

fn port(endpoint: &Endpoint) -> i64 {
    endpoint.address.port().into()
}

fn slots(seen: Seen<'_>, encoder: &mut Encoder<'_>) {
    let identity = seen.identity;
    let ranges: Vec<(u16, u16, usize, &Endpoint)> = identity
        .endpoints
        .iter()
        .enumerate()
        .flat_map(|(core, endpoint)| {
            identity.slot_ranges(endpoint).into_iter().map(move |(first, last)| (first, last, core, endpoint))
        })
        .collect();
    encoder.array(ranges.len());
    for (first, last, core, endpoint) in ranges {
        encoder.array(3);
        encoder.integer(first.into());
        encoder.integer(last.into());
        encoder.array(4);
        encoder.bulk(seen.ip.to_string().as_bytes());
        encoder.integer(port(endpoint));
        encoder.bulk(identity.node_id(core).as_bytes());
        encoder.array(0);
    }
}

fn shards(seen: Seen<'_>, encoder: &mut Encoder<'_>) {
    let identity = seen.identity;
    let ip = seen.ip.to_string();
    encoder.array(identity.endpoints.len());
    for (core, endpoint) in identity.endpoints.iter().enumerate() {
        let ranges = identity.slot_ranges(endpoint);
        encoder.map(2);
        encoder.bulk(b"slots");
        encoder.array(ranges.len() * 2);
        for (first, last) in ranges {
            encoder.integer(first.into());
            encoder.integer(last.into());
        }
        encoder.bulk(b"nodes");
        encoder.array(1);
        encoder.map(7);
        let mut text = |name: &str, value: &str| {
            encoder.bulk(name.as_bytes());
            encoder.bulk(value.as_bytes());
        };
        text("id", &identity.node_id(core));
        text("ip", &ip);
        text("endpoint", &ip);
        text("role", "master");
        text("health", "online");
        encoder.bulk(b"port");
        encoder.integer(port(endpoint));
        encoder.bulk(b"replication-offset");
        encoder.integer(0);
    }
}

fn nodes(seen: Seen<'_>, encoder: &mut Encoder<'_>) {
    let Seen { identity, core, ip } = seen;
    let mut text = String::new();
    for (number, endpoint) in identity.endpoints.iter().enumerate() {
        let port = port(endpoint);
        let flags = if number == core { "myself,master" } else { "master" };
        text.push_str(&format!("{} {ip}:{port}@0 {flags} - 0 0 1 connected", identity.node_id(number)));
        for (first, last) in identity.slot_ranges(endpoint) {
            text.push_str(&if first == last { format!(" {first}") } else { format!(" {first}-{last}") });
        }
        text.push('\n');
    }
    encoder.verbatim(*b"txt", text.as_bytes());
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use windrow_core::types::PartitionId;
    use windrow_proto::command::resolve;

    use super::super::testing::{Request, identity};
    use super::*;

    fn ask(identity: &Identity, args: &[&[u8]]) -> String {
        let request = Request::new(args);
        let id = resolve(request.args()).unwrap().id;
        let seen = Seen { identity, core: 1, ip: IpAddr::from([10, 0, 0, 1]) };
        request.run(|args, encoder| execute(seen, id, args, encoder))
    }

    fn two_cores() -> Identity {
        let endpoint = |port: u16, partition| Endpoint {
            address: SocketAddr::from(([0, 0, 0, 0], port)),
            partitions: vec![PartitionId::new(partition)],
        };
        Identity { endpoints: vec![endpoint(7_000, 0), endpoint(7_001, 1)], ..identity(2) }
    }

    #[test]
    fn without_endpoints_it_is_no_cluster() {
        let identity = identity(2);
        for name in [&b"info"[..], b"slots", b"shards", b"nodes", b"myid"] {
            assert_eq!(ask(&identity, &[b"cluster", name]), format!("-{DISABLED}\r\n"));
        }
        assert_eq!(ask(&identity, &[b"cluster", b"keyslot", b"{foo}bar"]), ":12182\r\n");
    }

    #[test]
    fn with_endpoints_every_core_is_a_node() {
        let identity = two_cores();
        let id = |core| identity.node_id(core);
        let range = |first, last, port, core| {
            format!("*3\r\n:{first}\r\n:{last}\r\n*4\r\n$8\r\n10.0.0.1\r\n:{port}\r\n$40\r\n{}\r\n*0\r\n", id(core))
        };
        let expected = format!("*2\r\n{}{}", range(0, 8_191, 7_000, 0), range(8_192, 16_383, 7_001, 1));
        assert_eq!(ask(&identity, &[b"cluster", b"slots"]), expected);
        let nodes = ask(&identity, &[b"cluster", b"nodes"]);
        assert!(nodes.contains(&format!("{} 10.0.0.1:7000@0 master - 0 0 1 connected 0-8191\n", id(0))), "{nodes}");
        assert!(nodes.contains(&format!("{} 10.0.0.1:7001@0 myself,master", id(1))), "{nodes}");
        assert_eq!(ask(&identity, &[b"cluster", b"myid"]), format!("$40\r\n{}\r\n", id(1)));
        assert!(ask(&identity, &[b"cluster", b"info"]).contains("cluster_known_nodes:2\r\ncluster_size:2\r\n"));
        assert!(
            ask(&identity, &[b"cluster", b"shards"]).starts_with("*2\r\n*4\r\n$5\r\nslots\r\n*2\r\n:0\r\n:8191\r\n")
        );
    }
}
