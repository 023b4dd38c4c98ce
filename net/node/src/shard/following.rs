//! What a core does for partitions that another process of this machine writes: it follows them, shows what has been
//! committed, and goes on with them as their writer once that process is gone.
//!
//! Nothing here polls. A core that has nothing to do has its ring wait in the futex of each control page; a core that
//! is busy looks at the pages once a round, two loads each.

use std::time::Instant;

use windrow_store::{FillMode, Follower, OpenFollower, RefreshError, SegmentView, TakenOver};

use super::Now;
use super::clients::Clients;
use super::commands::ServerCommands;
use super::engine::Engine;
use super::handler::DiskSink;
use super::hosted::{Hosted, Writer};
use crate::metrics::CoreMetrics;
use crate::role::{self, Address, FollowerState, Link, Part, Role, Status};
use crate::standby::{Phase, StandbyCore, StandbyError};

/// What a partition needs that is followed.
pub(super) struct Following {
    follower: Follower,
    /// The ring waits for the leader.
    watching: bool,
}

impl Hosted {
    /// A partition that another process writes.
    pub(crate) fn following(open: OpenFollower, fill: FillMode, hot_len: u64) -> Self {
        let mut hosted = Self::of(open.partition, fill, hot_len);
        hosted.role = Role::Follower { fresh_at: None };
        hosted.following = Some(Following { follower: open.follower, watching: false });
        hosted
    }

    /// Takes in what the leader has committed. Returns whether there was anything.
    fn refresh(&mut self, now: Now, metrics: &mut CoreMetrics) -> Result<bool, RefreshError> {
        let Some(following) = &self.following else { return Ok(false) };
        let moment = following.follower.refresh(&mut self.partition)?;
        if let Role::Follower { fresh_at } | Role::Leaderless { fresh_at } = &mut self.role {
            *fresh_at = Some(now.instant);
        }
        let Some(moment) = moment else { return Ok(false) };
        metrics.followed(moment.elapsed());
        Ok(true)
    }

    /// Has the ring wait for the leader. Returns whether there is something new instead.
    fn watch(&mut self, ticket: u64, sink: &mut impl DiskSink<SegmentView>) -> bool {
        let Some(following) = &mut self.following else { return false };
        if following.watching {
            return false;
        }
        let Some(value) = following.follower.prepare_sleep(&self.partition) else { return true };
        following.watching = true;
        sink.watch(ticket, following.follower.futex(), value);
        false
    }

    /// The leader is gone, and nobody but this process can write.
    fn take_over(&mut self, standby: &StandbyCore, now: Now) -> Result<(), StandbyError> {
        let (Some(following), Some(data_dir)) = (&self.following, standby.shared().data_dir()) else { return Ok(()) };
        let taken = following.follower.take_over(&mut self.partition, data_dir, standby.shared().config(), now.unix);
        let TakenOver { dir, control, report, .. } =
            taken.map_err(|source| StandbyError::TakeOver { partition: self.id, source: Box::new(source) })?;
        standby.shared().note(self.id, report);
        self.becomes_writer(Writer { dir, control });
        Ok(())
    }

    /// What the node tells about a partition that is followed.
    fn follower_status(&self, standby: &mut StandbyCore, now: Instant) -> Option<Status> {
        let following = self.following.as_ref()?;
        let progress = following.follower.progress();
        let leaderless = matches!(self.role, Role::Leaderless { .. });
        let leader = standby.leader(following.follower.writer_pid());
        let fresh_at = match self.role {
            Role::Follower { fresh_at } | Role::Leaderless { fresh_at } => fresh_at,
            _ => None,
        };
        Some(Status {
            part: if leaderless { Part::Leaderless } else { Part::Follower },
            failover: role::Failover::None,
            epoch: progress.epoch.get(),
            leader: leader.filter(|_| !leaderless),
            link: Link { is_up: !leaderless, heard: Some(now), is_streaming: true },
            committed: self.partition.committed().get(),
            appended: self.partition.appended().get(),
            fresh_at,
            followers: Vec::new(),
            forced: None,
        })
    }

    /// Whoever follows this partition in other processes of this machine. Their flushes are this one's: they count for
    /// nothing that is to be durable elsewhere.
    fn standbys(&self, now: Instant) -> Option<Vec<role::Follower>> {
        let committed = self.partition.committed();
        let attached = self.control()?.attached();
        let standby = |attached: windrow_store::Attached| {
            let lag = committed.get().saturating_sub(attached.position.get());
            role::Follower {
                name: format!("standby-{}", attached.pid),
                address: Address { host: "127.0.0.1".to_owned(), port: attached.port },
                is_voter: false,
                state: FollowerState::Online,
                flushed: attached.position.get(),
                lag,
                behind_since: (lag > 0).then_some(now),
                heard: Some(now),
            }
        };
        Some(attached.into_iter().map(standby).collect())
    }
}

impl<S: ServerCommands> Engine<S> {
    /// Takes in what leaders have committed. Returns whether there was anything.
    #[inline]
    pub(super) fn follow(&mut self, now: Now) -> bool {
        match &self.parts.standby {
            Some(standby) if standby.phase() == Phase::Following => self.follow_all(now),
            _ => false,
        }
    }

    fn follow_all(&mut self, now: Now) -> bool {
        (0..self.parts.hosted.len()).fold(false, |any, at| self.follow_one(at, now) | any)
    }

    /// As [`follow`](Self::follow), for one partition: before something is done there for a client of another core, so
    /// that it sees what was committed before that client asked.
    pub(super) fn follow_one(&mut self, at: usize, now: Now) -> bool {
        let Some(standby) = self.parts.standby.as_mut().filter(|standby| standby.phase() == Phase::Following) else {
            return false;
        };
        let hosted = &mut self.parts.hosted[at];
        match hosted.refresh(now, self.parts.server.metrics()) {
            Ok(new) => new,
            Err(source) => {
                standby.fail(StandbyError::Follow { partition: hosted.id, source: Box::new(source) });
                true
            }
        }
    }

    /// Has the ring wait for the leaders of what is followed here. Returns whether there is something new instead.
    pub(super) fn watch_leader(&mut self, sink: &mut impl DiskSink<SegmentView>) -> bool {
        let following = self.parts.standby.as_ref().is_some_and(|standby| standby.phase() == Phase::Following);
        let mut any = false;
        if following {
            for (at, hosted) in self.parts.hosted.iter_mut().enumerate() {
                any |= hosted.watch(at as u64, sink);
            }
        }
        any
    }

    /// The leader of this partition has committed something, or its page is to be looked at again.
    pub(super) fn leader_has_moved(&mut self, ticket: u64) {
        let at = usize::try_from(ticket).expect("tickets are places of partitions");
        self.parts.server.metrics().counters().follow_wakes.increment();
        if let Some(following) = self.parts.hosted[at].following.as_mut() {
            following.watching = false;
        }
    }

    /// Does what the thread that waits for the lock has asked for.
    pub(super) fn go_on_as_standby(&mut self, clients: &mut Clients, now: Now) {
        let Some(standby) = &mut self.parts.standby else { return };
        match standby.phase() {
            Phase::Following if standby.shared().data_dir().is_some() && !self.parts.common.is_stopping() => {
                for hosted in &mut self.parts.hosted {
                    if let Err(error) = hosted.take_over(standby, Now::read()) {
                        return standby.fail(error);
                    }
                    hosted.submit_jobs(&self.parts.background);
                }
                standby.has_taken_over();
            }
            Phase::Following => {
                let leaderless = standby.shared().is_leaderless();
                for hosted in &mut self.parts.hosted {
                    hosted.role = match hosted.role {
                        Role::Follower { fresh_at } if leaderless => Role::Leaderless { fresh_at },
                        Role::Leaderless { fresh_at } if !leaderless => Role::Follower { fresh_at },
                        same => same,
                    };
                }
            }
            _ => {}
        }
        if standby.phase() == Phase::TakenOver && standby.shared().is_open() {
            standby.leads();
            for hosted in &mut self.parts.hosted {
                hosted.role = Role::Alone;
                hosted.resume_stalled(clients);
                *self.parts.node.replication.partition(hosted.id) = Status::default();
            }
            self.show_standbys(now);
        }
    }

    /// Brings up to date what the node tells about its leader or its standbys.
    pub(super) fn show_standbys(&mut self, now: Now) {
        let board = &self.parts.node.replication;
        for hosted in &self.parts.hosted {
            if let Some(standby) = &mut self.parts.standby
                && let Some(status) = hosted.follower_status(standby, now.instant)
            {
                *board.partition(hosted.id) = status;
            } else if hosted.role == Role::Alone
                && let Some(followers) = hosted.standbys(now.instant)
            {
                let mut status = board.partition(hosted.id);
                if followers.is_empty() && status.part == Part::Alone {
                    continue;
                }
                status.part = if followers.is_empty() { Part::Alone } else { Part::Leader };
                status.epoch = hosted.partition.superblock().epoch.get();
                status.committed = hosted.partition.committed().get();
                status.appended = hosted.partition.appended().get();
                for mut follower in followers {
                    // Since when it lacks something: since it was first seen so.
                    let known = status.followers.iter().find(|known| known.name == follower.name);
                    if let (Some(_), Some(since)) = (follower.behind_since, known.and_then(|known| known.behind_since))
                    {
                        follower.behind_since = Some(since);
                    }
                    status.followers.retain(|known| known.name != follower.name);
                    status.followers.push(follower);
                }
                status.followers.retain(|known| known.heard == Some(now.instant));
            }
        }
    }
}
