//! What a node with peers is made of beside a node without.

use std::sync::Arc;
use std::time::{Duration, Instant};

use windrow_core::replication::{LogState, Promised, Replica};
use windrow_core::types::PartitionId;
use windrow_proto::replication::Layout;
use windrow_store::{DataDir, OpenConfig, OpenError, open_replica};

use super::listening::patiently;
use super::opening::OpenedHere;
use super::{ReplicationError, ServeError};
use crate::auth::random_bytes;
use crate::net::Listener;
use crate::peers::{LargeWay, Resolver, Secret, Times, Transport, WireConfig};
use crate::replication::{Part, Replicas, check, config, peer_addresses};
use crate::role::{Members, Part as Named};
use crate::server::Node;
use crate::settings::Settings;
use crate::shard::Hosted;

/// What the replica of a partition begins with.
pub(super) struct Found {
    promised: Promised,
    log: LogState,
}

/// What one core needs to talk to other nodes.
pub(super) struct Seed {
    replicas: Box<Replicas>,
    transport: Transport,
}

impl Seed {
    pub(super) fn split(self) -> (Box<Replicas>, Transport) {
        (self.replicas, self.transport)
    }
}

/// Opens a partition as a replica, which `leads` by configuration.
pub(super) fn open(
    data_dir: &DataDir,
    id: PartitionId,
    config: &OpenConfig,
    hot_len: u64,
    leads: bool,
) -> Result<OpenedHere, OpenError> {
    let found = open_replica(data_dir, id, config)?;
    let mut hosted = Hosted::replica(found.partition, found.dir, found.control, config.fill, hot_len);
    if found.log.end == found.log.start && !leads {
        // Some leader's log is what comes next.
        hosted.filling.everything_comes();
    }
    Ok(OpenedHere { hosted, report: found.report, replica: Some(Found { promised: found.promised, log: found.log }) })
}

/// What talks to other nodes for the partitions of each core, where there are any.
pub(super) fn seeds(
    data_dir: &DataDir,
    settings: &Settings,
    node: &Node,
    found: Vec<Vec<(PartitionId, Found)>>,
) -> Result<Vec<Option<Seed>>, ServeError> {
    if settings.peers.is_empty() {
        return Ok(found.into_iter().map(|_| None).collect());
    }
    let own = data_dir.replica().map_err(|source| {
        let source = Box::new(OpenError::Superblock(source));
        ServeError::Open { partition: PartitionId::new(0), source }
    })?;
    let members = Members { own, all: settings.peers.clone(), learners: settings.learners.clone() };
    check(&members, settings.leader)?;
    let path = settings.peer_secret_file.clone().unwrap_or_default();
    let secret = Secret::read(&path)?;
    node.replication.set_members(members.clone());
    let start = Instant::now();
    let resolver = Resolver::start()
        .map_err(|source| ServeError::System { step: "start the thread that looks names up", source })?;
    let cores = found.len();
    let mut seeds = Vec::with_capacity(cores);
    for (core, found) in found.into_iter().enumerate() {
        if found.is_empty() {
            // It has nobody to talk to, and nothing to talk about. Those behind it have no partition either.
            break;
        }
        let partitions = found.iter().map(|(id, _)| *id).collect();
        let transport = transport(settings, node, &members, (core, partitions), &secret, &resolver)?;
        let replicas = replicas(settings, node, &members, core, start, found)?;
        seeds.push(Seed { replicas: Box::new(replicas), transport });
    }
    node.set_wire(seeds.iter().map(|seed| Arc::clone(seed.transport.counters())).collect());
    let mut seeds: Vec<Option<Seed>> = seeds.into_iter().map(Some).collect();
    seeds.resize_with(cores, || None);
    Ok(seeds)
}

/// How this node lays its partitions out: one core talks with the same one of every other node.
fn layout(node: &Node) -> Layout {
    let partitions = node.identity.partitions.count();
    let cores = u16::try_from(node.metrics.cores().len()).unwrap_or(u16::MAX);
    Layout { partitions, cores: cores.min(partitions) }
}

fn replicas(
    settings: &Settings,
    node: &Node,
    members: &Members,
    core: usize,
    start: Instant,
    found: Vec<(PartitionId, Found)>,
) -> Result<Replicas, ReplicationError> {
    let mut replicas = Replicas {
        members: members.clone(),
        lease: settings.lease,
        parts: Vec::with_capacity(found.len()),
        connected: std::collections::BTreeSet::new(),
        start,
        seen_request: 0,
        core,
        room_again: false,
        majority_since: None,
        all_since: None,
    };
    for (id, Found { promised, log }) in found {
        // Nobody can lead an empty log for long: the set begins.
        let wait = if log.end == log.start { Duration::ZERO } else { replicas.wait_before_asking() };
        let promote_at = (settings.leader == Some(members.own)).then(|| start + wait);
        let config = config(members, node.identity.cluster, id, settings.commit, settings.lease);
        let replica = Replica::new(config, log, promised, replicas.moment(start))?;
        replicas.parts.push(Part::new(replica, promote_at));
        node.replication.partition(id).part = Named::Leaderless;
    }
    Ok(replicas)
}

fn transport(
    settings: &Settings,
    node: &Node,
    members: &Members,
    (core, partitions): (usize, Vec<PartitionId>),
    secret: &Secret,
    resolver: &Resolver,
) -> Result<Transport, ServeError> {
    let own = members.find(members.own).ok_or(ReplicationError::Stranger { own: members.own })?;
    let above = u16::try_from(core).unwrap_or(u16::MAX);
    let ip = settings.peer_bind.or_else(|| settings.bind.first().copied());
    let ip = ip.unwrap_or(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));
    let listener = patiently(|| Ok(Listener::bind(ip, own.peer_port.saturating_add(above))?))?;
    tracing::info!(core, address = %listener.address(), "listening for peers");
    let draw = random_bytes().map_err(|source| ServeError::System { step: "read random bytes", source })?;
    let config = WireConfig {
        replica: members.own,
        cluster: node.identity.cluster,
        layout: layout(node),
        partitions,
        peers: peer_addresses(members, core, resolver),
        secret: secret.clone(),
        large: LargeWay::default(),
        times: Times::default(),
        draw: u64::from_ne_bytes(draw),
    };
    Ok(Transport::new(config, Some(listener)))
}
