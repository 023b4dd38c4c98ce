//! Which node has which slot: `CLUSTER SLOTS` at the start, corrected by every `MOVED`.

use windrow_core::types::{SLOT_COUNT, Slot};

use crate::error::Error;
use crate::link;
use crate::plan::Plan;
use crate::resp::Tree;

/// The nodes' addresses and who owns which slot. Without a cluster, one node owns all.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Topology {
    pub(crate) nodes: Vec<String>,
    /// Place in `nodes` by slot; empty without a cluster.
    owners: Vec<usize>,
}

impl Topology {
    pub(crate) fn single(address: &str) -> Self {
        Self { nodes: vec![address.to_owned()], owners: Vec::new() }
    }

    /// Asks the node that the plan names.
    pub(crate) fn discover(plan: &Plan) -> Result<Self, Error> {
        let reply = link::ask(&plan.address, plan, "CLUSTER SLOTS", &["CLUSTER", "SLOTS"])?;
        let host = host_of(&plan.address);
        Self::from_slots(&reply, host).ok_or_else(|| Error::Handshake {
            address: plan.address.clone(),
            command: "CLUSTER SLOTS",
            message: "slots without owners, or an answer of another form".to_owned(),
        })
    }

    /// `None` if the reply is of another form or names no node.
    pub(crate) fn from_slots(reply: &Tree, asked_host: &str) -> Option<Self> {
        let Tree::List(ranges) = reply else { return None };
        let mut topology = Self { nodes: Vec::new(), owners: vec![0; usize::from(SLOT_COUNT)] };
        for range in ranges {
            let Tree::List(range) = range else { return None };
            let [Tree::Number(first), Tree::Number(last), Tree::List(node), ..] = range.as_slice() else { return None };
            let [host, Tree::Number(port), ..] = node.as_slice() else { return None };
            let host = match host {
                Tree::Text(host) if !host.is_empty() => String::from_utf8_lossy(host).into_owned(),
                // An unknown endpoint means: where you are already.
                _ => asked_host.to_owned(),
            };
            let node = topology.node(&format!("{host}:{port}"));
            let (first, last) = (usize::try_from(*first).ok()?, usize::try_from(*last).ok()?);
            topology.owners.get_mut(first..=last)?.fill(node);
        }
        (!topology.nodes.is_empty()).then_some(topology)
    }

    /// The place of a node, which is new if it was not known.
    pub(crate) fn node(&mut self, address: &str) -> usize {
        self.nodes.iter().position(|node| node == address).unwrap_or_else(|| {
            self.nodes.push(address.to_owned());
            self.nodes.len() - 1
        })
    }

    pub(crate) const fn is_cluster(&self) -> bool {
        !self.owners.is_empty()
    }

    /// Who has this key.
    pub(crate) fn owner(&self, key: &[u8]) -> usize {
        self.owners.get(usize::from(Slot::of(key).get())).copied().unwrap_or(0)
    }

    /// Learns from `MOVED slot host:port`; the new owner.
    pub(crate) fn moved(&mut self, error: &[u8], asked: usize) -> Option<usize> {
        let text = std::str::from_utf8(error).ok()?;
        let mut words = text.strip_prefix("MOVED ")?.split(' ');
        let slot: usize = words.next()?.parse().ok()?;
        let mut address = words.next()?.to_owned();
        if address.starts_with(':') {
            address = format!("{}{address}", host_of(&self.nodes[asked]));
        }
        if slot >= self.owners.len() {
            return None;
        }
        let node = self.node(&address);
        self.owners[slot] = node;
        Some(node)
    }
}

fn host_of(address: &str) -> &str {
    address.rsplit_once(':').map_or(address, |(host, _)| host)
}

#[cfg(test)]
mod tests {
    use super::Topology;
    use crate::resp;

    fn slots() -> Topology {
        let reply =
            b"*2\r\n*3\r\n:0\r\n:8191\r\n*2\r\n$0\r\n\r\n:7001\r\n*3\r\n:8192\r\n:16383\r\n*2\r\n$2\r\nh2\r\n:7002\r\n";
        let (tree, _) = resp::tree(reply).expect("well-formed").expect("whole");
        Topology::from_slots(&tree, "h1").expect("slots")
    }

    #[test]
    fn slots_lead_to_their_nodes() {
        let topology = slots();
        assert_eq!(topology.nodes, ["h1:7001", "h2:7002"]);
        // Slot 12182 and slot 5061, as the specification of Redis Cluster has them.
        assert_eq!((topology.owner(b"foo"), topology.owner(b"bar")), (1, 0));
    }

    #[test]
    fn moved_corrects_one_slot_and_may_name_a_new_node() {
        let mut topology = slots();
        assert_eq!(topology.moved(b"MOVED 12182 :7003", 0), Some(2));
        assert_eq!(topology.nodes[2], "h1:7003");
        assert_eq!((topology.owner(b"foo"), topology.owner(b"bar")), (2, 0));
        for nonsense in [&b"MOVED 99999 a:1"[..], b"MOVED x a:1", b"MOVED 5", b"ERR MOVED 1 a:1", b"MOVED \xFF a:1"] {
            assert_eq!(topology.moved(nonsense, 0), None);
        }
    }
}
