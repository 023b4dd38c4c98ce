//! Which key a request is about, and how it is written.

use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::units;

/// YCSB's exponent.
pub(crate) const THETA: f64 = 0.99;
/// YCSB draws its scrambled ranks from this many and folds them onto the keys, so that the hottest keys lie anywhere.
const SCRAMBLED_ITEMS: u64 = 10_000_000_000;

#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Distribution {
    Uniform,
    /// YCSB's scrambled zipfian.
    Zipfian {
        theta: f64,
    },
    /// YCSB's skewed latest: the newest key is the hottest.
    Latest {
        theta: f64,
    },
    /// One after the other, the threads interleaved, from the start again at the end.
    Sequential,
}

impl fmt::Display for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uniform => f.write_str("uniform"),
            Self::Zipfian { theta } => write!(f, "zipfian ({theta})"),
            Self::Latest { theta } => write!(f, "latest ({theta})"),
            Self::Sequential => f.write_str("sequential"),
        }
    }
}

/// Draws keys for one thread.
pub(crate) struct Chooser {
    distribution: Distribution,
    zipf: Zipf,
    count: u64,
    position: u64,
    step: u64,
}

impl Chooser {
    /// For thread `thread` of `threads`, over `count` keys, at least one.
    pub(crate) fn new(distribution: Distribution, count: u64, thread: u64, threads: u64) -> Self {
        let zipf = match distribution {
            Distribution::Zipfian { theta } => Zipf::new(SCRAMBLED_ITEMS, theta),
            Distribution::Latest { theta } => Zipf::new(count, theta),
            Distribution::Uniform | Distribution::Sequential => Zipf::new(2, THETA),
        };
        Self { distribution, zipf, count, position: thread, step: threads }
    }

    /// A key; `present` is how many there are now, inserted ones with them.
    pub(crate) fn draw(&mut self, rng: &mut fastrand::Rng, present: u64) -> u64 {
        match self.distribution {
            Distribution::Uniform => rng.u64(0..present),
            Distribution::Zipfian { .. } => fnv1a(self.zipf.rank(rng.f64())) % self.count,
            Distribution::Latest { .. } => {
                self.zipf.grow(present);
                present - 1 - self.zipf.rank(rng.f64()).min(present - 1)
            }
            Distribution::Sequential => {
                let key = self.position % self.count;
                self.position += self.step;
                key
            }
        }
    }
}

/// Ranks by Zipf's law, rank 0 the most frequent, as in Gray et al., "Quickly generating billion-record synthetic
/// databases" (1994), and in YCSB.
pub(crate) struct Zipf {
    items: u64,
    theta: f64,
    zeta: f64,
    alpha: f64,
    eta: f64,
    /// Below this share of `zeta` the rank is 0 or 1.
    second: f64,
}

impl Zipf {
    /// `theta` is above 0 and below 1.
    pub(crate) fn new(items: u64, theta: f64) -> Self {
        let mut zipf = Self { items, theta, zeta: zeta(items, theta), alpha: 0.0, eta: 0.0, second: 0.0 };
        zipf.settle();
        zipf
    }

    fn settle(&mut self) {
        self.alpha = 1.0 / (1.0 - self.theta);
        self.second = 1.0 + 0.5_f64.powf(self.theta);
        let share = (2.0 / self.items as f64).powf(1.0 - self.theta);
        self.eta = (1.0 - share) / (1.0 - zeta(2, self.theta) / self.zeta);
    }

    /// Makes room for more items, at the price of one power for each.
    pub(crate) fn grow(&mut self, items: u64) {
        if items <= self.items {
            return;
        }
        if items - self.items > 1000 {
            self.zeta = zeta(items, self.theta);
        } else {
            self.zeta += (self.items + 1..=items).map(|rank| (rank as f64).powf(-self.theta)).sum::<f64>();
        }
        self.items = items;
        self.settle();
    }

    /// The rank for a draw between 0 and 1.
    pub(crate) fn rank(&self, draw: f64) -> u64 {
        let area = draw * self.zeta;
        if area < 1.0 {
            return 0;
        }
        if area < self.second {
            return 1.min(self.items - 1);
        }
        let rank = self.items as f64 * (self.eta * draw - self.eta + 1.0).powf(self.alpha);
        units::floor(rank).min(self.items - 1)
    }
}

/// Sum of `1/i^theta` for `i` up to `items`: exact for the first thousand, the rest by Euler and Maclaurin.
pub(crate) fn zeta(items: u64, theta: f64) -> f64 {
    const EXACT: u64 = 1000;
    let head: f64 = (1..=items.min(EXACT)).map(|rank| (rank as f64).powf(-theta)).sum();
    if items <= EXACT {
        return head;
    }
    let (from, to) = (EXACT as f64, items as f64);
    let area = (to.powf(1.0 - theta) - from.powf(1.0 - theta)) / (1.0 - theta);
    let ends = (to.powf(-theta) - from.powf(-theta)) / 2.0;
    let slopes = theta * (from.powf(-theta - 1.0) - to.powf(-theta - 1.0)) / 12.0;
    head + area + ends + slopes
}

/// YCSB's hash of a rank.
fn fnv1a(mut rank: u64) -> u64 {
    let mut hash = 0xCBF2_9CE4_8422_2325_u64;
    for _ in 0..8 {
        hash = (hash ^ (rank & 0xFF)).wrapping_mul(1_099_511_628_211);
        rank >>= 8;
    }
    // Java's `Math.abs`, so that the same keys are hot as there.
    hash.cast_signed().unsigned_abs()
}

/// Hands out new keys, and knows up to where all of them have been confirmed, so that `latest` reads what is there.
pub(crate) struct Inserts {
    next: AtomicU64,
    present: AtomicU64,
    confirmed: Box<[AtomicBool]>,
    advancing: Mutex<()>,
}

/// Confirmations that may be ahead of the oldest one missing.
const INSERT_WINDOW: usize = 1 << 20;

impl Inserts {
    /// After `count` keys that are there already.
    pub(crate) fn new(count: u64, used: bool) -> Self {
        let window = if used { INSERT_WINDOW } else { 0 };
        Self {
            next: AtomicU64::new(count),
            present: AtomicU64::new(count),
            confirmed: (0..window).map(|_| AtomicBool::new(false)).collect(),
            advancing: Mutex::new(()),
        }
    }

    /// A key that nobody has had.
    pub(crate) fn take(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// All keys below this have been confirmed, or have failed for good.
    pub(crate) fn present(&self) -> u64 {
        self.present.load(Ordering::Acquire)
    }

    /// The insert of `key` was answered.
    pub(crate) fn confirm(&self, key: u64) {
        if let Some(flag) = self.confirmed.get(self.place(key)) {
            flag.store(true, Ordering::Release);
        }
        let Ok(_guard) = self.advancing.try_lock() else { return };
        let mut present = self.present.load(Ordering::Relaxed);
        while let Some(flag) = self.confirmed.get(self.place(present)) {
            if !flag.swap(false, Ordering::AcqRel) {
                break;
            }
            present += 1;
        }
        self.present.store(present, Ordering::Release);
    }

    fn place(&self, key: u64) -> usize {
        usize::try_from(key % INSERT_WINDOW as u64).unwrap_or(0)
    }
}

/// How key numbers are written: a prefix and digits, all of one length.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct KeyText {
    pub(crate) prefix: String,
    pub(crate) digits: usize,
}

impl KeyText {
    pub(crate) fn len(&self) -> usize {
        self.prefix.len() + self.digits
    }

    pub(crate) fn write(&self, mut key: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(self.prefix.as_bytes());
        let start = out.len();
        out.resize(start + self.digits, b'0');
        for digit in out[start..].iter_mut().rev() {
            *digit = b'0' + u8::try_from(key % 10).unwrap_or(0);
            key /= 10;
            if key == 0 {
                break;
            }
        }
    }
}
