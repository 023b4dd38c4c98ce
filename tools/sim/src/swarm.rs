//! The sizes and rates of one run, drawn from its seed, so that runs differ in kind and not only in order.

use crate::rng::Rng;

/// Sizes and rates of one run. Times are in microseconds.
#[derive(Clone, Debug)]
pub(crate) struct Swarm {
    pub(crate) partitions: u16,
    pub(crate) segment_len: u64,
    /// New segments get another length at some restarts.
    pub(crate) resize_percent: u64,
    pub(crate) segments_ahead: usize,
    pub(crate) clients: usize,
    pub(crate) pipeline: usize,
    pub(crate) keys: usize,
    /// Some keys have hashes that the index cannot tell apart.
    pub(crate) keys_collide: bool,
    pub(crate) value_len_max: usize,
    pub(crate) resp3: bool,
    /// How long the faulty part of the run lasts.
    pub(crate) duration_us: u64,
    pub(crate) think_us: u64,
    /// Every third period of this length nobody sends anything.
    pub(crate) quiet_us: Option<u64>,
    pub(crate) network_us: u64,
    pub(crate) flush_us: u64,
    pub(crate) prepare_us: u64,
    pub(crate) tick_us: u64,
    pub(crate) expiry_ms: u64,
    /// Mean time between faults of each kind; `None`: this kind does not happen in this run.
    pub(crate) power_cut_us: Option<u64>,
    pub(crate) kill_us: Option<u64>,
    pub(crate) shutdown_us: Option<u64>,
    pub(crate) pause_us: Option<u64>,
    pub(crate) clock_jump_us: Option<u64>,
    pub(crate) disk_full_us: Option<u64>,
    pub(crate) bit_rot_us: Option<u64>,
    pub(crate) write_back_us: Option<u64>,
    pub(crate) reset_us: Option<u64>,
    /// Chances in a million.
    pub(crate) slow_flush_ppm: u64,
    pub(crate) failed_flush_ppm: u64,
    pub(crate) lost_write_ppm: u64,
    pub(crate) misdirected_write_ppm: u64,
    pub(crate) slow_prepare_ppm: u64,
    pub(crate) crash_in_open_percent: u64,
    pub(crate) scan_percent: u64,
    pub(crate) transaction_percent: u64,
    pub(crate) clear_ppm: u64,
    pub(crate) expiry_percent: u64,
    pub(crate) delete_percent: u64,
    pub(crate) read_percent: u64,
}

impl Swarm {
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        let segment_len = 4096 * *rng.pick(&[1, 1, 1, 2, 2, 3, 4, 8, 16]);
        let value_cap = segment_len * 5 / 4;
        Self {
            partitions: *rng.pick(&[1, 1, 1, 2, 2, 3, 4]),
            segment_len,
            resize_percent: *rng.pick(&[0, 0, 20]),
            segments_ahead: rng.size(1..4),
            clients: rng.size(1..9),
            pipeline: *rng.pick(&[1, 1, 2, 4, 8, 16, 32]),
            keys: usize::try_from(rng.log_uniform(3..400)).unwrap_or(3),
            keys_collide: rng.percent(20),
            value_len_max: usize::try_from(rng.log_uniform(8..value_cap)).unwrap_or(8),
            resp3: rng.percent(30),
            duration_us: rng.within(1_000_000..6_000_000),
            think_us: rng.log_uniform(50..100_000),
            quiet_us: sometimes(rng, 40, 50_000..1_000_000),
            network_us: rng.log_uniform(10..5_000),
            flush_us: rng.log_uniform(50..50_000),
            prepare_us: rng.log_uniform(100..100_000),
            tick_us: rng.within(20_000..200_000),
            expiry_ms: rng.log_uniform(5..5_000),
            power_cut_us: sometimes(rng, 75, 200_000..3_000_000),
            kill_us: sometimes(rng, 50, 200_000..3_000_000),
            shutdown_us: sometimes(rng, 20, 200_000..3_000_000),
            pause_us: sometimes(rng, 20, 300_000..3_000_000),
            clock_jump_us: sometimes(rng, 25, 100_000..2_000_000),
            disk_full_us: sometimes(rng, 20, 300_000..3_000_000),
            bit_rot_us: sometimes(rng, 25, 100_000..2_000_000),
            write_back_us: sometimes(rng, 60, 200..50_000),
            reset_us: sometimes(rng, 40, 10_000..1_000_000),
            slow_flush_ppm: rarely(rng, 20, 50_000),
            failed_flush_ppm: rarely(rng, 30, 30_000),
            lost_write_ppm: rarely(rng, 10, 20_000),
            misdirected_write_ppm: rarely(rng, 10, 20_000),
            slow_prepare_ppm: rarely(rng, 30, 300_000),
            crash_in_open_percent: *rng.pick(&[0, 10, 30, 60]),
            scan_percent: *rng.pick(&[0, 2, 10]),
            transaction_percent: *rng.pick(&[0, 3, 15]),
            clear_ppm: *rng.pick(&[0, 0, 500, 5_000]),
            expiry_percent: *rng.pick(&[0, 5, 30]),
            delete_percent: *rng.pick(&[1, 10, 30, 80]),
            read_percent: *rng.pick(&[10, 40, 70]),
        }
    }

    /// After this no more faults: everything must come to rest.
    pub(crate) const fn heal(&mut self) {
        self.power_cut_us = None;
        self.kill_us = None;
        self.shutdown_us = None;
        self.pause_us = None;
        self.clock_jump_us = None;
        self.disk_full_us = None;
        self.bit_rot_us = None;
        self.reset_us = None;
        self.slow_flush_ppm = 0;
        self.failed_flush_ppm = 0;
        self.lost_write_ppm = 0;
        self.misdirected_write_ppm = 0;
        self.slow_prepare_ppm = 0;
        self.crash_in_open_percent = 0;
    }
}

fn sometimes(rng: &mut Rng, percent: u64, range: std::ops::Range<u64>) -> Option<u64> {
    let drawn = rng.log_uniform(range);
    rng.percent(percent).then_some(drawn)
}

fn rarely(rng: &mut Rng, percent: u64, most: u64) -> u64 {
    let drawn = rng.log_uniform(100..most);
    if rng.percent(percent) { drawn } else { 0 }
}
