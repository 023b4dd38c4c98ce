//! CLUSTER on a node that has other replicas: every core of every node is a node of the cluster, and each shard is led
//! by one of them.

use windrow_core::types::SLOT_COUNT;
use windrow_proto::command::Id;
use windrow_proto::resp::Encoder;

use super::identity::{Endpoint, Identity};
use crate::role::{Address, Board, Member, Members};

/// What all cores of all nodes look like from here.
pub(super) struct SeenSet<'a> {
    pub(super) identity: &'a Identity,
    pub(super) board: &'a Board,
    pub(super) members: &'a Members,
    /// The core that was asked.
    pub(super) core: usize,
}

impl SeenSet<'_> {
    /// 40 hexadecimal digits that name one core of one node.
    fn id(&self, member: &Member, core: usize) -> String {
        let cluster = self.identity.cluster.to_string();
        format!("{}{}{core:08x}", member.replica, &cluster[..16])
    }

    fn own(&self) -> Option<&Member> {
        self.members.find(self.members.own)
    }

    /// Who leads the partitions of a core, as far as is known here.
    fn leader(&self, endpoint: &Endpoint) -> Option<&Member> {
        let status = self.board.partition(*endpoint.partitions.first()?);
        if status.part.is_leader() {
            return self.own();
        }
        let Address { host, port } = status.leader.as_ref()?;
        self.members.at_client_address(host, *port, self.identity.endpoints.len())
    }

    /// The cores with partitions.
    fn shards(&self) -> impl Iterator<Item = (usize, &Endpoint)> {
        self.identity.endpoints.iter().enumerate().filter(|(_, endpoint)| !endpoint.partitions.is_empty())
    }

    /// The nodes with their leader first.
    fn in_order(&self, leader: &Member) -> impl Iterator<Item = &Member> {
        let leader = leader.replica;
        let first = self.members.all.iter().filter(move |member| member.replica == leader);
        first.chain(self.members.all.iter().filter(move |member| member.replica != leader))
    }

    /// Executes the subcommand `id` of CLUSTER.
    pub(super) fn execute(&self, id: Id, encoder: &mut Encoder<'_>) {
        match id {
            Id::ClusterInfo => self.info(encoder),
            Id::ClusterMyid => {
                let id = self.own().map(|own| self.id(own, self.core)).unwrap_or_default();
                encoder.bulk(id.as_bytes());
            }
            Id::ClusterSlots => self.slots(encoder),
            Id::ClusterShards => self.shard_list(encoder),
            _ => self.nodes(encoder),
        }
    }

    fn info(&self, encoder: &mut Encoder<'_>) {
        let shards = self.shards().count();
        let led = self.shards().all(|(_, endpoint)| self.leader(endpoint).is_some());
        let known = self.members.all.len() * self.identity.endpoints.len();
        let epoch = self.board.partitions().map(|status| status.epoch).max().unwrap_or(0);
        let state = if led { "ok" } else { "fail" };
        let text = format!(
            "cluster_enabled:1\r\ncluster_state:{state}\r\ncluster_slots_assigned:{SLOT_COUNT}\r\n\
             cluster_slots_ok:{SLOT_COUNT}\r\ncluster_slots_pfail:0\r\ncluster_slots_fail:0\r\n\
             cluster_known_nodes:{known}\r\ncluster_size:{shards}\r\ncluster_current_epoch:{epoch}\r\n\
             cluster_my_epoch:{epoch}\r\ncluster_stats_messages_sent:0\r\ncluster_stats_messages_received:0\r\n\
             total_cluster_links_buffer_limit_exceeded:0\r\n"
        );
        encoder.verbatim(*b"txt", text.as_bytes());
    }

    /// A shard that nobody is known to lead is left out: there is nobody to name first.
    fn slots(&self, encoder: &mut Encoder<'_>) {
        let mut ranges = Vec::new();
        for (core, endpoint) in self.shards() {
            let Some(leader) = self.leader(endpoint) else { continue };
            ranges.extend(self.identity.slot_ranges(endpoint).into_iter().map(|range| (range, core, leader)));
        }
        encoder.array(ranges.len());
        for ((first, last), core, leader) in ranges {
            encoder.array(2 + self.members.all.len());
            encoder.integer(first.into());
            encoder.integer(last.into());
            for member in self.in_order(leader) {
                let Address { host, port } = member.client_address(core);
                encoder.array(4);
                encoder.bulk(host.as_bytes());
                encoder.integer(port.into());
                encoder.bulk(self.id(member, core).as_bytes());
                encoder.array(0);
            }
        }
    }

    fn shard_list(&self, encoder: &mut Encoder<'_>) {
        encoder.array(self.shards().count());
        for (core, endpoint) in self.shards() {
            let ranges = self.identity.slot_ranges(endpoint);
            encoder.map(2);
            encoder.bulk(b"slots");
            encoder.array(ranges.len() * 2);
            for (first, last) in ranges {
                encoder.integer(first.into());
                encoder.integer(last.into());
            }
            encoder.bulk(b"nodes");
            encoder.array(self.members.all.len());
            let leader = self.leader(endpoint).map(|leader| leader.replica);
            for member in &self.members.all {
                let Address { host, port } = member.client_address(core);
                let role = if leader == Some(member.replica) { "master" } else { "replica" };
                encoder.map(7);
                let id = self.id(member, core);
                let texts =
                    [("id", id.as_str()), ("ip", &host), ("endpoint", &host), ("role", role), ("health", "online")];
                for (name, value) in texts {
                    encoder.bulk(name.as_bytes());
                    encoder.bulk(value.as_bytes());
                }
                encoder.bulk(b"port");
                encoder.integer(port.into());
                encoder.bulk(b"replication-offset");
                encoder.integer(0);
            }
        }
    }

    fn nodes(&self, encoder: &mut Encoder<'_>) {
        let mut text = String::new();
        for (core, endpoint) in self.shards() {
            let leader = self.leader(endpoint);
            for member in &self.members.all {
                let is_leader = leader.is_some_and(|leader| leader.replica == member.replica);
                let myself = if member.replica == self.members.own && core == self.core { "myself," } else { "" };
                let role = if is_leader { "master" } else { "slave" };
                let master = match leader {
                    Some(leader) if !is_leader => self.id(leader, core),
                    _ => "-".to_owned(),
                };
                let Address { host, port } = member.client_address(core);
                let id = self.id(member, core);
                text.push_str(&format!("{id} {host}:{port}@0 {myself}{role} {master} 0 0 1 connected"));
                for (first, last) in self.identity.slot_ranges(endpoint).into_iter().filter(|_| is_leader) {
                    text.push_str(&if first == last { format!(" {first}") } else { format!(" {first}-{last}") });
                }
                text.push('\n');
            }
        }
        encoder.verbatim(*b"txt", text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use windrow_core::replication::ReplicaId;
    use windrow_core::types::PartitionId;

    use super::super::testing::{Request, identity};
    use super::*;
    use crate::role::Part;

    fn ask(board: &Board, id: Id) -> String {
        let endpoint = |port: u16, partition| Endpoint {
            address: SocketAddr::from(([0, 0, 0, 0], port)),
            partitions: vec![PartitionId::new(partition)],
        };
        let identity = Identity { endpoints: vec![endpoint(7_000, 0), endpoint(7_001, 1)], ..identity(2) };
        let members = board.members().unwrap();
        let seen = SeenSet { identity: &identity, board, members, core: 1 };
        Request::new(&[]).run(|_, encoder| seen.execute(id, encoder))
    }

    fn board() -> Board {
        let board = Board::new(2);
        let all = ["00000000000000ab@a:7400/7000", "00000000000000cd@b:7400/7000"];
        board.set_members(Members {
            own: ReplicaId::new(0xab),
            all: all.iter().map(|text| text.parse().unwrap()).collect(),
            learners: Vec::new(),
        });
        for number in 0..2 {
            let mut status = board.partition(PartitionId::new(number));
            status.part = Part::Follower;
            status.leader = Some(Address { host: "b".to_owned(), port: 7_000 + number });
        }
        board
    }

    #[test]
    fn slots_name_the_leader_first() {
        let board = board();
        let slots = ask(&board, Id::ClusterSlots);
        let first = "*2\r\n*4\r\n:0\r\n:8191\r\n*4\r\n$1\r\nb\r\n:7000\r\n$40\r\n00000000000000cdabababababababab00000000\r\n*0\r\n\
                     *4\r\n$1\r\na\r\n:7000\r\n";
        assert!(slots.starts_with(first), "{slots}");
        assert!(slots.contains(":8192\r\n:16383\r\n*4\r\n$1\r\nb\r\n:7001\r\n"), "{slots}");
        board.partition(PartitionId::new(1)).part = Part::Leader;
        assert!(ask(&board, Id::ClusterSlots).contains(":8192\r\n:16383\r\n*4\r\n$1\r\na\r\n:7001\r\n"));
    }

    #[test]
    fn nodes_tell_leaders_from_followers() {
        let board = board();
        let nodes = ask(&board, Id::ClusterNodes);
        assert_eq!(nodes.matches(" connected").count(), 4, "{nodes}");
        let leader = "00000000000000cdabababababababab00000001";
        assert!(nodes.contains(&format!("{leader} b:7001@0 master - 0 0 1 connected 8192-16383\n")), "{nodes}");
        assert!(nodes.contains(&format!("a:7001@0 myself,slave {leader} 0 0 1 connected\n")), "{nodes}");
        assert!(ask(&board, Id::ClusterShards).contains("replica"));
        assert!(ask(&board, Id::ClusterMyid).contains("00000000000000ababababababababab00000001"));
    }

    #[test]
    fn without_a_leader_the_cluster_has_failed() {
        let board = board();
        assert!(ask(&board, Id::ClusterInfo).contains("cluster_state:ok"));
        board.partition(PartitionId::new(1)).leader = None;
        assert!(ask(&board, Id::ClusterInfo).contains("cluster_state:fail"));
        assert!(!ask(&board, Id::ClusterSlots).contains(":8192\r\n"), "nobody is named who does not lead");
    }
}
