//! The sizes and rates of one run with several replicas, drawn from its seed.

use windrow_core::replication::CommitRule;

use crate::rng::Rng;
use crate::swarm::Swarm;

/// Sizes and rates of one run. Times are in microseconds.
#[derive(Clone, Debug)]
pub(super) struct ClusterSwarm {
    pub(super) voters: usize,
    pub(super) learners: usize,
    pub(super) rule: CommitRule,
    pub(super) window_len: u64,
    pub(super) heartbeat_ms: u64,
    pub(super) lease_ms: u64,
    pub(super) retry_ms: u64,
    pub(super) duration_us: u64,
    pub(super) clients: usize,
    pub(super) think_us: u64,
    /// Messages arrive one by one, in any order, repeated or never; otherwise as streams of bytes.
    pub(super) datagrams: bool,
    pub(super) delay_us: u64,
    /// Pieces of a stream have at most this many bytes.
    pub(super) piece_len: usize,
    pub(super) flush_us: u64,
    /// Flushes of the last replica take so many times as long.
    pub(super) lag_factor: u64,
    pub(super) prepare_us: u64,
    /// Mean time between faults of each kind; `None`: this kind does not happen in this run.
    pub(super) promote_us: Option<u64>,
    pub(super) force_us: Option<u64>,
    pub(super) power_cut_us: Option<u64>,
    pub(super) power_cut_all_us: Option<u64>,
    pub(super) kill_us: Option<u64>,
    pub(super) pause_us: Option<u64>,
    pub(super) clock_jump_us: Option<u64>,
    pub(super) disk_full_us: Option<u64>,
    pub(super) one_way_cut_us: Option<u64>,
    pub(super) isolate_us: Option<u64>,
    /// How long somebody is cut off at most, and how often that is whoever leads.
    pub(super) cut_off_us: u64,
    pub(super) isolate_leader_percent: u64,
    /// Whoever comes to lead is cut off a moment later.
    pub(super) isolate_new_leader_percent: u64,
    /// Whoever comes to lead loses its power a moment later.
    pub(super) crash_new_leader_percent: u64,
    pub(super) pair_cut_us: Option<u64>,
    pub(super) reset_us: Option<u64>,
    /// How long a process stays away.
    pub(super) down_us: u64,
    /// Chances in a million.
    pub(super) loss_ppm: u64,
    pub(super) repeat_ppm: u64,
    pub(super) flip_ppm: u64,
    pub(super) slow_flush_ppm: u64,
    pub(super) failed_flush_ppm: u64,
    pub(super) crash_in_open_percent: u64,
    /// A replica stops while it writes something that has to be durable before it goes on.
    pub(super) crash_amid_ppm: u64,
    /// The same, while its log is being cut.
    pub(super) crash_in_cut_ppm: u64,
    /// While a process is away, bits of its log rot, or its disk is lost.
    pub(super) rot_percent: u64,
    pub(super) lose_disk_percent: u64,
    /// The same of one slot of its superblock, or of both.
    pub(super) rot_superblock_percent: u64,
    /// Replicas make segments of different lengths, and of others after a restart.
    pub(super) resize_percent: u64,
    /// Reads go to any replica that many times in a hundred.
    pub(super) follower_read_percent: u64,
    /// What clients send.
    pub(super) commands: Swarm,
}

fn sometimes(rng: &mut Rng, percent: u64, range: std::ops::Range<u64>) -> Option<u64> {
    let drawn = rng.log_uniform(range);
    rng.percent(percent).then_some(drawn)
}

fn rarely(rng: &mut Rng, percent: u64, most: u64) -> u64 {
    let drawn = rng.log_uniform(100..most);
    if rng.percent(percent) { drawn } else { 0 }
}

impl ClusterSwarm {
    pub(super) fn draw(rng: &mut Rng) -> Self {
        let mut commands = Swarm::draw(rng);
        commands.partitions = 1;
        commands.scan_percent = 0;
        commands.transaction_percent = 0;
        // A run of a cluster does the same work several times.
        commands.segment_len = commands.segment_len.min(16 << 10);
        commands.value_len_max = commands.value_len_max.min(4 << 10);
        commands.keys = commands.keys.min(60);
        let lease_ms = rng.log_uniform(60..400);
        let mut swarm = Self {
            voters: *rng.pick(&[1, 2, 3, 3, 3, 3, 4, 5]),
            learners: *rng.pick(&[0, 0, 0, 1]),
            rule: *rng.pick(&[CommitRule::Quorum, CommitRule::Quorum, CommitRule::Quorum, CommitRule::All]),
            window_len: rng.log_uniform(4 << 10..256 << 10),
            heartbeat_ms: rng.within(5..lease_ms / 4),
            lease_ms,
            retry_ms: rng.log_uniform(5..200),
            duration_us: rng.within(1_000_000..5_000_000),
            clients: rng.size(1..6),
            think_us: rng.log_uniform(500..50_000),
            datagrams: rng.percent(50),
            delay_us: rng.log_uniform(20..20_000),
            piece_len: usize::try_from(rng.log_uniform(16..20_000)).unwrap_or(16),
            flush_us: rng.log_uniform(50..20_000),
            lag_factor: 1,
            prepare_us: rng.log_uniform(100..50_000),
            promote_us: sometimes(rng, 85, 100_000..2_000_000),
            force_us: sometimes(rng, 20, 300_000..4_000_000),
            power_cut_us: sometimes(rng, 60, 200_000..3_000_000),
            power_cut_all_us: sometimes(rng, 20, 500_000..4_000_000),
            kill_us: sometimes(rng, 50, 200_000..3_000_000),
            pause_us: sometimes(rng, 40, 200_000..3_000_000),
            clock_jump_us: sometimes(rng, 25, 100_000..2_000_000),
            disk_full_us: sometimes(rng, 15, 300_000..3_000_000),
            one_way_cut_us: sometimes(rng, 40, 100_000..2_000_000),
            cut_off_us: 1_500_000,
            isolate_leader_percent: 0,
            isolate_new_leader_percent: *rng.pick(&[0, 0, 0, 20]),
            isolate_us: sometimes(rng, 50, 200_000..2_000_000),
            crash_new_leader_percent: 0,
            pair_cut_us: sometimes(rng, 40, 100_000..2_000_000),
            reset_us: sometimes(rng, 50, 20_000..1_000_000),
            down_us: rng.log_uniform(10_000..2_000_000),
            loss_ppm: rarely(rng, 50, 300_000),
            repeat_ppm: rarely(rng, 40, 200_000),
            flip_ppm: rarely(rng, 30, 20_000),
            slow_flush_ppm: rarely(rng, 30, 50_000),
            failed_flush_ppm: rarely(rng, 25, 10_000),
            crash_in_open_percent: *rng.pick(&[0, 0, 15, 40]),
            crash_amid_ppm: rarely(rng, 50, 200_000),
            crash_in_cut_ppm: *rng.pick(&[0, 50_000, 200_000, 400_000]),
            rot_percent: *rng.pick(&[0, 0, 20, 60]),
            rot_superblock_percent: *rng.pick(&[0, 0, 20, 60]),
            lose_disk_percent: *rng.pick(&[0, 0, 0, 30]),
            resize_percent: *rng.pick(&[0, 0, 30]),
            follower_read_percent: *rng.pick(&[0, 10, 30]),
            commands,
        };
        match rng.within(0..16) {
            0 => swarm.hurry_promises(rng),
            1 => swarm.cut_off_leaders(rng),
            2 | 3 => swarm.lose_disks(rng),
            4 | 5 => swarm.delete_behind(rng),
            _ => {}
        }
        swarm
    }

    /// Replicas crash while they promise, are back at once, and the old leader is heard again just then.
    fn hurry_promises(&mut self, rng: &mut Rng) {
        self.change_leaders(rng);
        self.flush_us = rng.within(2_000..10_000);
        self.delay_us = rng.within(20..1_000);
        self.crash_amid_ppm = 300_000;
        self.down_us = rng.within(500..4_000);
        self.isolate_us = Some(rng.within(60_000..200_000));
        self.isolate_leader_percent = 80;
    }

    /// One leader after another is cut off before others have the record that its epoch begins with, while there is more
    /// to send than fits the window.
    fn cut_off_leaders(&mut self, rng: &mut Rng) {
        self.change_leaders(rng);
        self.flush_us = rng.within(200..3_000);
        self.delay_us = rng.within(500..4_000);
        self.window_len = 4 << 10;
        self.think_us = 500;
        self.clients = 4;
        self.commands.value_len_max = 4 << 10;
        self.isolate_new_leader_percent = 80;
    }

    /// Voters come back with nothing, while those that have what is missing are away, cut off, or lead for a moment only.
    fn lose_disks(&mut self, rng: &mut Rng) {
        self.change_leaders(rng);
        self.voters = *rng.pick(&[2, 3, 3, 3, 5]);
        self.duration_us = rng.within(10_000_000..20_000_000);
        self.flush_us = rng.within(1_000..10_000);
        self.lag_factor = rng.within(1..20);
        self.delay_us = rng.within(50..2_000);
        // What a voter has on its disk is mostly committed, so that it may be lost.
        self.clients = rng.size(1..3);
        self.think_us = rng.within(5_000..100_000);
        self.down_us = rng.within(5_000..60_000);
        self.power_cut_us = Some(rng.within(100_000..500_000));
        self.power_cut_all_us = Some(rng.within(200_000..800_000));
        self.pair_cut_us = Some(rng.within(100_000..500_000));
        self.isolate_leader_percent = 50;
        self.crash_new_leader_percent = 40;
        self.crash_in_open_percent = 0;
        self.lose_disk_percent = 60;
    }

    /// Few keys come and go, among them some that the index cannot tell apart, and a replica that lags behind is read.
    fn delete_behind(&mut self, rng: &mut Rng) {
        (self.voters, self.rule) = (3, CommitRule::Quorum);
        self.commands.keys = rng.size(0..3);
        self.commands.keys_collide = true;
        self.commands.value_len_max = 64;
        self.commands.delete_percent = *rng.pick(&[30, 50]);
        self.commands.clear_ppm = *rng.pick(&[5_000, 50_000]);
        self.clients = 4;
        self.think_us = rng.within(500..10_000);
        self.flush_us = rng.within(500..5_000);
        self.delay_us = rng.within(50..2_000);
        self.lag_factor = rng.within(1..10);
        self.follower_read_percent = 80;
        // Whoever leads next has read its log anew, and the others have not.
        self.kill_us = Some(rng.within(200_000..1_000_000));
        self.promote_us = Some(rng.within(100_000..500_000));
        (self.power_cut_all_us, self.disk_full_us) = (None, None);
        self.down_us = self.down_us.min(50_000);
    }

    /// What these have in common: three voters, short leases, and promotions all the time.
    fn change_leaders(&mut self, rng: &mut Rng) {
        (self.voters, self.learners, self.rule) = (3, 0, CommitRule::Quorum);
        self.datagrams = true;
        self.lease_ms = 60;
        self.heartbeat_ms = 5;
        self.retry_ms = 5;
        self.cut_off_us = rng.within(80_000..200_000);
        self.promote_us = Some(rng.within(30_000..120_000));
        self.force_us = None;
        self.disk_full_us = None;
        self.pause_us = None;
        self.loss_ppm = 0;
        self.rot_percent = 0;
        self.lose_disk_percent = 0;
    }

    /// How many voters must have a record on their disks before it may count as committed.
    pub(super) fn copies(&self) -> usize {
        match self.rule {
            CommitRule::All => self.voters,
            _ => self.voters / 2 + 1,
        }
    }

    /// After this no more faults: everything must come to rest.
    pub(super) fn heal(&mut self) {
        let kinds = [
            &mut self.promote_us,
            &mut self.force_us,
            &mut self.power_cut_us,
            &mut self.power_cut_all_us,
            &mut self.kill_us,
            &mut self.pause_us,
            &mut self.clock_jump_us,
            &mut self.disk_full_us,
            &mut self.one_way_cut_us,
            &mut self.isolate_us,
            &mut self.pair_cut_us,
            &mut self.reset_us,
        ];
        kinds.into_iter().for_each(|kind| *kind = None);
        self.loss_ppm = 0;
        self.repeat_ppm = 0;
        self.flip_ppm = 0;
        self.slow_flush_ppm = 0;
        self.failed_flush_ppm = 0;
        self.crash_in_open_percent = 0;
        self.crash_amid_ppm = 0;
        self.crash_in_cut_ppm = 0;
        self.isolate_new_leader_percent = 0;
        self.crash_new_leader_percent = 0;
        self.lag_factor = 1;
        self.rot_percent = 0;
        self.lose_disk_percent = 0;
        self.rot_superblock_percent = 0;
        // Whoever comes back does so soon.
        self.down_us = self.down_us.min(100_000);
        self.delay_us = self.delay_us.min(2_000);
        self.flush_us = self.flush_us.min(2_000);
    }
}
