//! Opening a replica, as the store does it, with a power cut possible after every step.

use windrow_core::log::PrepareFailure;
use windrow_core::partition::{Action, RecoveredPartition};
use windrow_core::recovery::RecoveryError;
use windrow_core::types::{Lsn, UnixMillis};

use crate::disk::SimMemory;
use crate::mutation::Mutation;
use crate::replica::Replica;
use crate::rng::Rng;
use crate::stats::Stats;
use crate::truth::Verdict;

/// Burns down with every step that touches the disk.
pub(crate) struct Fuse(pub(crate) Option<u64>);

/// The power is gone.
#[derive(Debug)]
pub(crate) struct PowerCut;

impl Fuse {
    fn burn(&mut self) -> Result<(), PowerCut> {
        match &mut self.0 {
            Some(0) => Err(PowerCut),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

/// What opening needs to know beside the replica.
pub(crate) struct Opening<'a> {
    pub(crate) now: UnixMillis,
    pub(crate) step: u64,
    pub(crate) full: bool,
    pub(crate) mutation: Option<Mutation>,
    pub(crate) fuse: Fuse,
    pub(crate) rng: &'a mut Rng,
    pub(crate) stats: &'a mut Stats,
}

impl Opening<'_> {
    fn is(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    /// Opens the replica for writing.
    pub(crate) fn run(mut self, replica: &mut Replica) -> Result<(), PowerCut> {
        self.fuse.burn()?;
        if !self.is(Mutation::TrustCache) {
            let all: Vec<Lsn> = replica.disk.files().map(|file| file.base).collect();
            replica.disk.flush_now(&all);
            replica.disk.drop_caches();
            self.fuse.burn()?;
        }
        let end = self.settle_damage(replica);
        let mut recovered = match recover(replica) {
            Ok(recovered) => recovered,
            Err(error) => panic!("a log that is whole up to {end} is refused: {error}"),
        };
        assert_eq!(recovered.end(), end, "recovery ends the log elsewhere than where its last whole record ends");
        if recovered.cut().is_some() {
            self.stats.fault("torn-tail");
        }
        let mut todo = recovered.repair();
        let superblock = recovered.next_superblock().expect("epochs last");
        let newest = replica.truth.newest_epoch;
        assert!(superblock.epoch > newest, "epoch {} begins though {newest} was written", superblock.epoch);
        let gone = replica.state.clone();
        replica.rewind(end, self.step);
        replica.partition = Some(recovered.into_writable(superblock));
        replica.compare(self.now, &gone);
        self.stats.recoveries += 1;
        replica.observe(self.step, false, self.rng);
        if self.is(Mutation::SkipRepair) {
            todo.flush.clear();
            todo.remove.clear();
        }
        self.fuse.burn()?;
        replica.disk.flush_now(&todo.flush);
        self.fuse.burn()?;
        for base in todo.remove {
            replica.disk.remove(base);
            self.fuse.burn()?;
        }
        replica.disk.sync_directory();
        self.fuse.burn()?;
        replica.check_tail();
        if !self.is(Mutation::SkipEpochSuperblock) {
            replica.disk.begin_superblock(superblock);
            self.fuse.burn()?;
            replica.disk.complete_superblock(self.is(Mutation::OneSuperblockSlot).then_some(0));
            self.fuse.burn()?;
        }
        self.start(replica)
    }

    /// Lets the engine meet what damage there is, and mends it. Returns where the log then ends.
    fn settle_damage(&mut self, replica: &mut Replica) -> Lsn {
        let superblock = match replica.disk.read_superblock() {
            Ok(superblock) => superblock,
            Err(error) => panic!("one slot at most is ever damaged, but {error}"),
        };
        let verdict = replica.truth.verdict(&replica.disk, &superblock);
        match verdict {
            Verdict::Open { end } if end >= replica.settled() => return end,
            Verdict::Foreign { .. } => {}
            Verdict::Open { end } => {
                assert!(replica.damaged, "the log ends at {end}, but {} is settled", replica.settled());
                // With one copy only, damage that nothing bears witness to cannot be told from a torn tail. Such damage
                // is beyond what is promised, so it is taken back.
                self.stats.fault("damage-taken-back");
            }
            Verdict::Refuse { end, witness } => {
                assert!(replica.damaged, "the log is broken at {end} below its watermark {witness}");
                let refusal = recover(replica).map(|recovered| recovered.end()).err();
                let right = matches!(
                    refusal,
                    Some(
                        RecoveryError::Corrupt { .. }
                            | RecoveryError::CorruptSegment { .. }
                            | RecoveryError::Missing { .. }
                    )
                );
                assert!(right, "the log is broken at {end} below its watermark {witness}, but {refusal:?}");
                self.stats.fault("corruption-refused");
            }
        }
        if let Verdict::Foreign { end } = verdict {
            assert!(replica.damaged, "a foreign segment at {end}");
            let refusal = recover(replica).map(|recovered| recovered.end()).err();
            let right = matches!(refusal, Some(RecoveryError::Foreign { base, .. }) if base == end);
            assert!(right, "a foreign segment at {end}, but {refusal:?}");
            self.stats.fault("foreign-refused");
        }
        replica.truth.heal(&mut replica.disk);
        replica.damaged = false;
        match replica.truth.verdict(&replica.disk, &superblock) {
            Verdict::Open { end } => {
                assert!(end >= replica.settled(), "what was settled up to {} is gone: {end}", replica.settled());
                end
            }
            other => panic!("{other:?} though nothing is damaged"),
        }
    }

    /// Makes room, starts the epoch, and flushes everything.
    fn start(&mut self, replica: &mut Replica) -> Result<(), PowerCut> {
        while let Err(error) = replica.engine().start_epoch(self.now) {
            if !error.is_not_ready() {
                break;
            }
            let Some(Action::Prepare { base, len }) = replica.engine().poll_action() else {
                panic!("a log that is not ready asks for its next segment first")
            };
            if self.full {
                replica.engine().handle_prepare_failed(base, PrepareFailure::NoSpace);
                continue;
            }
            let len = usize::try_from(len).expect("segments are small");
            self.fuse.burn()?;
            replica.disk.create(base, len);
            self.fuse.burn()?;
            replica.disk.sync_directory();
            replica.engine().handle_prepared(base, SimMemory::zeroed(len));
        }
        replica.observe(self.step, false, self.rng);
        if let Some(request) = replica.engine().poll_flush() {
            let bases: Vec<Lsn> = replica.disk.files().map(|file| file.base).collect();
            let bases: Vec<Lsn> =
                bases.into_iter().filter(|base| (request.first_base..=request.last_base).contains(base)).collect();
            self.fuse.burn()?;
            if !self.is(Mutation::ServeBeforeFlush) {
                replica.disk.flush_now(&bases);
            }
            self.fuse.burn()?;
            replica.engine().handle_flushed(request.ticket);
        }
        replica.check_watermarks();
        replica.check_feed();
        replica.engine().want_superblock();
        Ok(())
    }
}

fn recover(replica: &Replica) -> Result<RecoveredPartition<SimMemory>, RecoveryError> {
    let superblock = replica.disk.read_superblock().expect("checked before");
    let segments = replica.disk.files().map(|file| (file.base, SimMemory::map(file.cache()))).collect();
    RecoveredPartition::new(superblock, replica.config, segments)
}
