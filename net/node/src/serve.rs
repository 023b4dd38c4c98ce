//! Starting a node, and bringing it to its end.

mod error;
mod ground;
mod listening;
mod opening;
#[cfg(feature = "shared-nothing")]
mod replicated;
mod standing_by;

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use windrow_core::types::{PartitionId, PartitionMap};
use windrow_store::{Background, DataDir, DataDirError, FlushedBy, OpenReport};

pub use error::{ReplicationError, ServeError};
use ground::{Ground, open_data_dir};
use listening::addresses;
#[cfg(feature = "shared-memory")]
pub(crate) use opening::open_config;
use opening::{give_tails, hot_len, open_here, open_partitions};
#[cfg(feature = "shared-memory")]
pub use standing_by::serve_as_standby;
use standing_by::{NoStandby, StandsBy};

use crate::admin::Admin;
use crate::auth::random_bytes;
use crate::net::Listener;
use crate::ring::{CpuSet, Ring, probe};
use crate::runtime::{self, CoreThread};
use crate::server::{Endpoint, Identity, Node, Phase, Server, random_id};
use crate::settings::Configured;
use crate::shard::{Driver, Engine, EngineParts, Flusher, Hosted, Now, Place};
use crate::shared::Common;

/// Why a node ended, in order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ExitReason {
    /// It was asked to: SIGTERM, SIGINT or `SHUTDOWN`. Everything is on disk.
    Asked,
}

/// What a node that has just started serves.
#[derive(Debug)]
#[non_exhaustive]
pub struct Serving {
    /// Where clients connect to; in shared-nothing mode, the addresses of all cores.
    pub addresses: Vec<SocketAddr>,
    /// Where metrics and health are, if anywhere.
    pub admin: Option<SocketAddr>,
    /// The data directory.
    pub dir: PathBuf,
    /// The cpus that it runs on.
    pub cpus: Vec<usize>,
    /// What opening each partition found.
    pub partitions: Vec<(PartitionId, OpenReport)>,
    /// The process that leads, where this one is its standby.
    pub leader: Option<u32>,
}

/// What one core is made of, on its way to its thread.
struct CoreSeed {
    core: usize,
    cpu: usize,
    hosted: Vec<Hosted>,
    listeners: Vec<Listener>,
    #[cfg(feature = "shared-memory")]
    peers: crate::shared::Peers,
    #[cfg(feature = "shared-memory")]
    standby: Option<crate::standby::StandbyCore>,
    /// What talks to other nodes, and for whom.
    #[cfg(feature = "shared-nothing")]
    replicated: Option<replicated::Seed>,
}

/// Serves clients until SIGTERM, SIGINT or `SHUTDOWN`, and returns when everything is on disk. `ready` is called once
/// clients are served. Blocks; call it before the process has pinned any thread.
///
/// # Errors
/// What keeps the node from starting or going on, with a remedy. A failed flush does not return: it ends the process
/// with status 74.
///
/// # Panics
/// Never: the cores outlive what they are told through.
pub fn serve(configured: Configured, ready: impl FnOnce(&Serving)) -> Result<ExitReason, ServeError> {
    let ground = Ground::new(&configured, || probe().map(drop).map_err(ServeError::from), open_data_dir)?;
    let Ground { settings, cpus, data_dir, listeners, owners, .. } = &ground;
    // Whoever takes over from this process serves clients there.
    data_dir.announce(&addresses(listeners)).map_err(DataDirError::from)?;
    let hot_len = hot_len(settings, owners.len());
    let opened = open_partitions(owners, cpus.len(), |partition| {
        open_here(data_dir, partition, settings, hot_len)
            .map_err(|source| ServeError::Open { partition, source: Box::new(source) })
    })?;
    let reports = opened.iter().flatten().map(|open| (open.hosted.id, open.report.clone())).collect();
    let mut hosted = Vec::with_capacity(cpus.len());
    #[cfg(feature = "shared-nothing")]
    let mut replicas = Vec::with_capacity(cpus.len());
    for of_core in opened {
        let mut partitions = Vec::with_capacity(of_core.len());
        #[cfg(feature = "shared-nothing")]
        replicas.push(Vec::new());
        for open in of_core {
            #[cfg(feature = "shared-nothing")]
            if let (Some(found), Some(of_core)) = (open.replica, replicas.last_mut()) {
                of_core.push((open.hosted.id, found));
            }
            partitions.push(open.hosted);
        }
        hosted.push(partitions);
    }
    let parts = Parts {
        ground,
        hosted,
        reports,
        #[cfg(feature = "shared-nothing")]
        replicas,
    };
    serve_parts(configured, parts, |_, _| Ok(NoStandby), ready)
}

/// What a node is made of before it runs.
struct Parts {
    ground: Ground,
    hosted: Vec<Vec<Hosted>>,
    reports: Vec<(PartitionId, OpenReport)>,
    /// What the replicas of each core begin with, where there are other nodes.
    #[cfg(feature = "shared-nothing")]
    replicas: Vec<Vec<(PartitionId, replicated::Found)>>,
}

fn serve_parts<B: StandsBy>(
    configured: Configured,
    parts: Parts,
    prepare: impl FnOnce(&Arc<Common>, usize) -> Result<B, ServeError>,
    ready: impl FnOnce(&Serving),
) -> Result<ExitReason, ServeError> {
    let Parts {
        ground: Ground { settings, workers, cpus, data_dir, listeners, admin, owners },
        mut hosted,
        reports,
        #[cfg(feature = "shared-nothing")]
        replicas,
    } = parts;
    give_tails(&mut hosted, &settings);
    let common = Common::new(cpus.len()).map_err(|source| ServeError::System { step: "make eventfds", source })?;
    let common = Arc::new(common);
    let identity = identity(&data_dir, &listeners, &owners)?;
    let map = identity.partitions;
    let node = Arc::new(Node::new(configured, identity, cpus.len())?);
    let spare = workers.without(&cpus);
    let background = Background::start(&spare, FlushedBy::FlushThreads)
        .map_err(|source| ServeError::System { step: "start the helper threads", source })?;
    let signals =
        watch_signals(&common, &node).map_err(|source| ServeError::System { step: "watch signals", source })?;
    let standby = prepare(&common, cpus.len())?;
    #[cfg(feature = "shared-nothing")]
    let replicated = replicated::seeds(&data_dir, &settings, &node, replicas)?;
    let serving = Serving {
        addresses: addresses(&listeners),
        admin: None,
        dir: settings.dir,
        cpus: cpus.clone(),
        partitions: reports,
        leader: standby.leader(),
    };
    let shared = Shared { common: Arc::clone(&common), node: Arc::clone(&node), owners, map, workers, spare };
    let seeds = seeds(
        &common,
        cpus,
        hosted,
        listeners,
        &standby,
        #[cfg(feature = "shared-nothing")]
        replicated,
    );
    let mut failure: Option<Box<dyn FnOnce() -> Option<ServeError>>> = None;
    let mut failed_to_begin = None;
    let result = run(seeds, &shared, &background, admin, serving, |serving| {
        match standby.begin() {
            Ok(begun) => failure = Some(begun),
            Err(error) => {
                failed_to_begin = Some(error);
                common.stop();
            }
        }
        ready(serving);
    });
    common.stop();
    signals.close();
    let failed = failed_to_begin.or_else(|| failure.and_then(|failure| failure()));
    match failed {
        Some(error) => Err(error),
        None => result.map(|()| ExitReason::Asked),
    }
}

struct Shared {
    common: Arc<Common>,
    node: Arc<Node>,
    /// Which core hosts each partition.
    owners: Vec<usize>,
    map: PartitionMap,
    workers: CpuSet,
    /// The cpus that no core of this node is pinned to, for its other threads; perhaps none.
    spare: Vec<usize>,
}

/// Runs the cores to their end.
fn run(
    seeds: Vec<CoreSeed>,
    shared: &Shared,
    background: &Background,
    admin_listener: Option<TcpListener>,
    mut serving: Serving,
    ready: impl FnOnce(&Serving),
) -> Result<(), ServeError> {
    let (started, all_started) = channel();
    let count = seeds.len();
    let mut threads = Vec::with_capacity(count);
    let mut failed = None;
    for seed in seeds {
        match start_core(seed, shared, background, started.clone()) {
            Ok(thread) => threads.push(thread),
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
    }
    drop(started);
    let serves = failed.is_none() && all_started.iter().take(count).count() == count;
    let admin = match admin_listener {
        Some(listener) if serves => start_admin(listener, &shared.node)?,
        _ => None,
    };
    if serves {
        shared.node.enter(Phase::Serving);
        serving.admin = admin.as_ref().map(Admin::address);
        ready(&serving);
    } else {
        (threads.len()..count).for_each(|_| shared.common.core_is_quiet());
        shared.common.stop();
    }
    for thread in threads {
        let ended = thread.join().map_err(ServeError::from).and_then(|ended| ended);
        failed = failed.or(ended.err());
    }
    shared.node.enter(Phase::Stopping);
    if let Some(admin) = admin {
        admin.stop();
    }
    failed.map_or(Ok(()), Err)
}

fn start_core(
    seed: CoreSeed,
    shared: &Shared,
    background: &Background,
    started: Sender<()>,
) -> Result<CoreThread<Result<(), ServeError>>, ServeError> {
    let core = seed.core;
    let common = Arc::clone(&shared.common);
    let waking = Arc::clone(&shared.common);
    let node = Arc::clone(&shared.node);
    let background = background.client(move || waking.waker(core).wake());
    let places = places(&shared.owners, core);
    let map = shared.map;
    let workers = shared.workers.clone();
    let spare = shared.spare.clone();
    let draw = random_bytes().map_err(|source| ServeError::System { step: "read random bytes", source })?;
    let draw = u64::from_ne_bytes(draw) | 1;
    let main = move || async move {
        let ring = Ring::new(&workers, common.waker(core).eventfd());
        let waking = Arc::clone(&common);
        let flusher = Flusher::start(&format!("windrow-flush-{core}"), spare, move || waking.waker(core).wake());
        let ended = match (ring, flusher) {
            (Err(error), _) => Err(ServeError::Ring(error)),
            (_, Err(source)) => Err(ServeError::System { step: "start a thread that flushes", source }),
            (Ok(ring), Ok(flusher)) => {
                #[cfg(feature = "shared-nothing")]
                let (replicas, transport) = seed.replicated.map(replicated::Seed::split).unzip();
                let engine = Engine::new(EngineParts {
                    core,
                    common: Arc::clone(&common),
                    server: Server::new(Arc::clone(&node), core),
                    node,
                    hosted: seed.hosted,
                    places,
                    map,
                    background,
                    #[cfg(feature = "shared-memory")]
                    peers: seed.peers,
                    #[cfg(feature = "shared-memory")]
                    standby: seed.standby,
                    draw,
                    #[cfg(feature = "shared-nothing")]
                    replicas,
                });
                // Nobody listens any more if another core has failed.
                let _ = started.send(());
                drop(started);
                let driver = Driver::new(ring, seed.listeners, flusher, engine);
                #[cfg(feature = "shared-nothing")]
                let driver = driver.with_peers(transport);
                let ended = driver.run().await;
                ended.map(drop).map_err(|source| ServeError::CoreStopped { core, source })
            }
        };
        if ended.is_err() {
            // The others must not wait for this one.
            common.core_is_quiet();
            common.stop();
        }
        ended
    };
    Ok(runtime::start(&format!("windrow-{core}"), seed.cpu, main)?)
}

/// Where each partition is, as seen from `core`.
fn places(owners: &[usize], core: usize) -> Vec<Place> {
    let mut own = 0;
    let place = |&owner: &usize| {
        if owner != core {
            return Place::There(owner);
        }
        own += 1;
        Place::Here(own - 1)
    };
    owners.iter().map(place).collect()
}

fn start_admin(listener: TcpListener, node: &Arc<Node>) -> Result<Option<Admin>, ServeError> {
    let source: Arc<Node> = Arc::clone(node);
    Admin::start(listener, source)
        .map(Some)
        .map_err(|source| ServeError::System { step: "start the admin endpoint", source })
}

fn identity(data_dir: &DataDir, listeners: &[Vec<Listener>], owners: &[usize]) -> Result<Identity, ServeError> {
    let found = data_dir.identity();
    let first = addresses(&listeners[..1]).first().copied();
    let endpoint = |(core, listeners): (usize, &Vec<Listener>)| {
        let own = (0_u16..).zip(owners).filter(|&(_, &owner)| owner == core);
        let partitions = own.map(|(number, _)| PartitionId::new(number)).collect();
        listeners.first().map(|listener| Endpoint { address: listener.address(), partitions })
    };
    let endpoints = listeners.iter().enumerate().filter_map(endpoint);
    let executable = std::env::current_exe().map(|path| path.display().to_string()).unwrap_or_default();
    Ok(Identity {
        run_id: random_id().map_err(|source| ServeError::System { step: "read random bytes", source })?,
        cluster: found.cluster,
        port: first.map_or(0, |address| address.port()),
        executable,
        started: Now::read().unix,
        partitions: PartitionMap::new(found.partitions).expect("a data directory has 1 to 1024 partitions"),
        endpoints: if Identity::IS_CLUSTER { endpoints.collect() } else { Vec::new() },
    })
}

fn seeds(
    common: &Arc<Common>,
    cpus: Vec<usize>,
    hosted: Vec<Vec<Hosted>>,
    listeners: Vec<Vec<Listener>>,
    standby: &impl StandsBy,
    #[cfg(feature = "shared-nothing")] replicated: Vec<Option<replicated::Seed>>,
) -> Vec<CoreSeed> {
    #[cfg(feature = "shared-memory")]
    let mut peers = crate::shared::connect(common).into_iter();
    #[cfg(feature = "shared-nothing")]
    let _ = (common, standby);
    #[cfg(feature = "shared-nothing")]
    let mut replicated = replicated.into_iter();
    let parts = cpus.into_iter().zip(hosted).zip(listeners).enumerate();
    parts
        .map(|(core, ((cpu, hosted), listeners))| CoreSeed {
            core,
            cpu,
            hosted,
            listeners,
            #[cfg(feature = "shared-memory")]
            peers: peers.next().expect("there are peers for every core"),
            #[cfg(feature = "shared-memory")]
            standby: standby.core(),
            #[cfg(feature = "shared-nothing")]
            replicated: replicated.next().flatten(),
        })
        .collect()
}

/// A handle that ends the watching when it is closed.
fn watch_signals(common: &Arc<Common>, node: &Arc<Node>) -> std::io::Result<signal_hook::iterator::Handle> {
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    let handle = signals.handle();
    let (common, node) = (Arc::clone(common), Arc::clone(node));
    thread::Builder::new().name("windrow-signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            tracing::info!(signal, "asked to stop: finishing what is in flight");
            node.enter(Phase::Stopping);
            common.stop();
        }
    })?;
    Ok(handle)
}

#[cfg(test)]
mod tests;
