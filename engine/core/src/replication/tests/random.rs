//! Random schedules: everything that can go wrong, at any step, over many seeds.

use super::rng::Rng;
use super::world::{Weather, World, config, id};
use crate::replication::{CommitRule, Promotion};
use crate::types::Lsn;

/// One run: some seconds of trouble, then healing. Returns how many bytes were committed during the trouble.
fn trouble(seed: u64) -> usize {
    let mut rng = Rng::new(seed ^ 0xA5A5);
    let voters = 1 + rng.below(5);
    let rule = if rng.chance(250) { CommitRule::All } else { CommitRule::Quorum };
    let learners = if rng.chance(300) { 1 } else { 0 };
    let configs = (1..=voters + learners)
        .map(|number| {
            let mut config = config(number, voters, rule);
            config.learners = (voters + 1..=voters + learners).map(id).collect();
            config
        })
        .collect();
    let mut world = World::with(seed, configs);
    for node in &mut world.nodes {
        node.clock_ppm = rng.below(20_000);
    }
    world.run(250);
    world.promote(id(1), Promotion::Safe);
    world.run(100);
    world.weather = Weather {
        loss_permille: [0, 10, 100, 300][rng.index(4)],
        repeat_permille: [0, 50, 300][rng.index(3)],
        flip_permille: [0, 0, 20][rng.index(3)],
        delay_ms_max: [1, 5, 30, 120][rng.index(4)],
        disk_ms_max: [1, 10, 80][rng.index(3)],
    };
    let nodes = voters + learners;
    for _ in 0..400 {
        step(&mut world, &mut rng, nodes);
    }
    let committed = world.committed.len();
    world.nodes.iter_mut().for_each(|node| node.is_full = false);
    world.heal();
    committed
}

fn step(world: &mut World, rng: &mut Rng, nodes: u64) {
    let node = id(1 + rng.below(nodes));
    match rng.below(100) {
        0..45 => {
            if let Some(leader) = world.leader() {
                let len = if rng.chance(50) { 6_000 } else { rng.below(200) };
                world.write(leader, usize::try_from(len).unwrap());
            }
        }
        // A leader that was deposed without knowing it goes on writing.
        45..50 => world.write(node, 20),
        50..53 => world.crash(node),
        53..62 => world.restart(node),
        62..65 => world.promote(node, Promotion::Safe),
        65..68 => {
            let other = id(1 + rng.below(nodes));
            world.blocked.insert((node, other));
        }
        68..74 => world.mend(),
        74..75 => {
            if let Some(replica) = &mut world.node(node).replica {
                replica.handle_demote();
            }
        }
        75..77 => trim(world, rng, node),
        77..80 => reconnect(world, node, id(1 + rng.below(nodes))),
        80..82 => power_cut(world, nodes),
        82..85 => world.node(node).is_full = true,
        85..90 => world.node(node).is_full = false,
        _ => {}
    }
    world.run(rng.below(25));
}

/// All nodes stop at once and come back.
fn power_cut(world: &mut World, nodes: u64) {
    (1..=nodes).for_each(|number| world.crash(id(number)));
    (1..=nodes).for_each(|number| world.restart(id(number)));
    world.run(250);
    if let Some(best) = world.longest() {
        world.promote(best, Promotion::Safe);
        world.run(150);
    }
}

/// Frees the start of a node's log, as cleaning does: only what is committed.
fn trim(world: &mut World, rng: &mut Rng, node: crate::replication::ReplicaId) {
    let node = world.node(node);
    if let Some(replica) = &node.replica {
        let limit = replica.committed().min(node.disk.durable).min(replica.pinned_from().unwrap_or(node.disk.durable));
        let to = node.disk.boundary(Lsn::new(rng.below(limit.get() + 1)).max(node.disk.start));
        if to < node.disk.durable {
            node.trim(to);
        }
    }
}

fn reconnect(world: &mut World, a: crate::replication::ReplicaId, b: crate::replication::ReplicaId) {
    let now = world.now;
    for (one, other) in [(a, b), (b, a)] {
        let clock = world.node(one).clock(now);
        if one != other
            && let Some(replica) = &mut world.node(one).replica
        {
            replica.handle_disconnected(other);
            replica.handle_connected(clock, other);
        }
    }
}

/// Names the seed of a run that fails.
struct Named(u64);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::eprintln!("this was seed {}: WINDROW_REPLICATION_SEEDS=1 WINDROW_REPLICATION_FROM={}", self.0, self.0);
        }
    }
}

#[test]
fn nothing_committed_is_lost_whatever_happens() {
    let seeds = std::env::var("WINDROW_REPLICATION_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(400);
    let from = std::env::var("WINDROW_REPLICATION_FROM").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    let mut busy = 0;
    for seed in from..from + seeds {
        let _named = Named(seed);
        busy += u64::from(trouble(seed) > 2_000);
    }
    assert!(busy * 2 > seeds, "most runs must have done something: {busy} of {seeds}");
}
