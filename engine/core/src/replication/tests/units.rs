//! The epoch history against a model that compares whole logs, and the settings.

use std::vec::Vec;

use proptest::collection::vec;
use proptest::prelude::*;

use super::disk::ORIGIN;
use super::world::{config, id};
use crate::replication::history::Common;
use crate::replication::limits::{EPOCHS_IN_HELLO_MAX, WINDOW_LEN_MAX};
use crate::replication::{CommitRule, ConfigError, Hello, History};
use crate::types::{ClusterId, Epoch, Lsn, PartitionId};

/// A log as its records' epochs; every record is 16 bytes long.
fn history(epochs: &[u32]) -> (History, Lsn) {
    let mut history = History::new();
    for (index, &epoch) in epochs.iter().enumerate() {
        history.note(Epoch::new(epoch), lsn(index));
    }
    (history, lsn(epochs.len()))
}

fn lsn(records: usize) -> Lsn {
    Lsn::new(16 * records as u64)
}

fn hello(history: &History, start: Lsn, end: Lsn, before: Option<Epoch>) -> Hello {
    let (epochs, epochs_end, has_older) = history.tail(before, end);
    assert!(epochs.len() <= EPOCHS_IN_HELLO_MAX);
    Hello {
        cluster: ClusterId([0; 16]),
        partition: PartitionId::new(0),
        start,
        end,
        chain: ORIGIN,
        epochs,
        epochs_end,
        has_older,
    }
}

/// Asks until there is an answer.
fn find(ours: &(History, Lsn), our_start: Lsn, theirs: &(History, Lsn), their_start: Lsn) -> Common {
    let mut before = None;
    loop {
        let hello = hello(&theirs.0, their_start, theirs.1, before);
        match ours.0.common(our_start, ours.1, &hello) {
            Common::Before(epoch) => {
                assert!(before.is_none_or(|last| epoch < last), "each answer goes further back");
                before = Some(epoch);
            }
            found => return found,
        }
    }
}

/// Two logs with a common start: behind it each goes on with epochs that the other does not have, but the first may
/// go on in the epoch that both share, because one of them may lack the end of it.
fn two_logs() -> impl Strategy<Value = (Vec<u32>, Vec<u32>, usize)> {
    let runs = || vec((1_usize..4, 1_u32..3), 0..100);
    (runs(), runs(), runs(), any::<bool>(), any::<bool>()).prop_map(|(shared, ours, theirs, swap, goes_on)| {
        let mut epoch = 0;
        let mut log = Vec::new();
        for (len, step) in shared {
            epoch += step;
            log.extend(core::iter::repeat_n(epoch, len));
        }
        let common = log.len();
        let (mut one, mut other) = (log.clone(), log);
        if goes_on && common > 0 {
            one.extend([epoch; 3]);
        }
        let next = |log: &mut Vec<u32>, runs: Vec<(usize, u32)>, odd: u32| {
            let mut newest = 2 * epoch + odd;
            for (len, step) in runs {
                newest += 2 * step;
                log.extend(core::iter::repeat_n(newest, len));
            }
        };
        next(&mut one, ours, 0);
        next(&mut other, theirs, 1);
        if swap { (other, one, common) } else { (one, other, common) }
    })
}

proptest! {
    #[test]
    fn the_common_point_is_where_the_logs_part((ours, theirs, common) in two_logs()) {
        let (ours, theirs) = (history(&ours), history(&theirs));
        prop_assert_eq!(find(&ours, Lsn::ZERO, &theirs, Lsn::ZERO), Common::At(lsn(common)));
    }

    #[test]
    fn logs_that_were_trimmed_agree_where_both_still_reach(
        (ours, theirs, common) in two_logs(), our_cut in 0.0..1.0_f64, their_cut in 0.0..1.0_f64,
    ) {
        let (mut ours, mut theirs) = (history(&ours), history(&theirs));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a share")]
        let share = |of: f64| lsn((common as f64 * of) as usize);
        let (our_start, their_start) = (share(our_cut), share(their_cut));
        ours.0.trim(our_start);
        theirs.0.trim(their_start);
        match find(&ours, our_start, &theirs, their_start) {
            Common::At(at) => prop_assert_eq!(at, lsn(common)),
            Common::Nowhere => prop_assert!(lsn(common) <= our_start.max(their_start)),
            other => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn a_cut_history_is_that_of_the_shorter_log((log, _, common) in two_logs()) {
        let (mut whole, _) = history(&log);
        whole.cut(lsn(common));
        prop_assert_eq!(&whole, &history(&log[..common]).0);
        let newest = common.checked_sub(1).map_or(Epoch::ZERO, |index| Epoch::new(log[index]));
        prop_assert_eq!(whole.epoch_at(lsn(common)), newest);
    }
}

#[test]
fn an_epoch_that_starts_at_two_places_had_two_leaders() {
    let ours = history(&[1, 1, 2, 2]);
    let theirs = history(&[1, 1, 1, 2]);
    assert_eq!(find(&ours, Lsn::ZERO, &theirs, Lsn::ZERO), Common::TwoLeaders(Epoch::new(2)));
}

#[test]
fn settings_out_of_range_are_refused() {
    let good = config(1, 3, CommitRule::Quorum);
    assert_eq!(good.check(), Ok(()));
    let bad = |change: fn(&mut crate::replication::Config)| {
        let mut config = config(1, 3, CommitRule::Quorum);
        change(&mut config);
        config.check().unwrap_err()
    };
    assert_eq!(bad(|c| c.voters.clear()), ConfigError::Count { voters: 0, learners: 0 });
    assert_eq!(bad(|c| c.voters = (1..=17).map(id).collect()), ConfigError::Count { voters: 17, learners: 0 });
    assert_eq!(bad(|c| c.learners.push(id(2))), ConfigError::Twice(id(2)));
    assert_eq!(bad(|c| c.id = id(9)), ConfigError::Stranger(id(9)));
    assert_eq!(bad(|c| c.window_len = WINDOW_LEN_MAX + 1), ConfigError::Window(WINDOW_LEN_MAX + 1));
    assert!(matches!(bad(|c| c.heartbeat_ms = 180), ConfigError::Times { .. }));
}
