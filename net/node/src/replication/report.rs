//! What is told about a replica: to clients and operators (`role::Board`), and to the log where it changes.

use std::time::Instant;

use windrow_core::replication::RoleKind;

use super::part::Part;
use super::set::Replicas;
use crate::role::{Failover, Follower, FollowerState, Link, Role, Status};
use crate::shard::Hosted;

/// Writes down how the replica at place `at` is doing.
pub(crate) fn report(replicas: &mut Replicas, at: usize, hosted: &Hosted, now: Instant, status: &mut Status) {
    let (start, core) = (replicas.start, replicas.core);
    let Replicas { members, parts, connected, .. } = replicas;
    let part = &mut parts[at];
    let leader = part.replica.leader().filter(|&leader| leader != members.own);
    status.part = name(part, hosted.role, now);
    status.failover = match part.handover {
        None => Failover::None,
        Some(handover) if handover.asked => Failover::InProgress,
        Some(_) => Failover::WaitingForSync,
    };
    status.epoch = part.replica.current_epoch().get();
    status.leader = leader.and_then(|leader| members.find(leader)).map(|member| member.client_address(core));
    status.link = Link {
        is_up: leader.is_some_and(|leader| connected.contains(&leader)),
        heard: part.heard,
        is_streaming: part.replica.is_streaming(),
    };
    status.committed = hosted.partition.committed().get();
    status.appended = hosted.partition.appended().get();
    status.fresh_at = part.freshness.fresh_at();
    status.followers.clear();
    let end = hosted.partition.appended();
    part.note_end(now, end);
    for peer in part.replica.peers() {
        let Some(member) = members.find(peer.id) else { continue };
        status.followers.push(Follower {
            name: peer.id.to_string(),
            address: member.client_address(core),
            is_voter: peer.is_voter,
            state: match (connected.contains(&peer.id), peer.is_streaming) {
                (false, _) => FollowerState::Offline,
                (true, false) => FollowerState::Joining,
                (true, true) => FollowerState::Online,
            },
            flushed: peer.flushed.get(),
            lag: end.get().saturating_sub(peer.flushed.get()),
            behind_since: part.behind_since(peer.flushed),
            heard: peer.answered.map(|at| start + std::time::Duration::from_millis(at.get())),
        });
    }
}

fn name(part: &Part, role: Role, now: Instant) -> crate::role::Part {
    match (part.replica.role(), role) {
        (RoleKind::Candidate, _) => crate::role::Part::Candidate,
        (_, Role::Alone) => crate::role::Part::Alone,
        (_, Role::HandingOver { .. }) => crate::role::Part::HandingOver,
        (_, Role::Leader { until } | Role::OutOfSpace { until }) if now < until => crate::role::Part::Leader,
        (_, Role::Leader { .. } | Role::OutOfSpace { .. }) => crate::role::Part::LeaderWithoutQuorum,
        (_, Role::Follower { .. } | Role::Restoring { leader_known: true }) => crate::role::Part::Follower,
        (_, Role::Leaderless { .. } | Role::Restoring { leader_known: false }) => crate::role::Part::Leaderless,
    }
}
