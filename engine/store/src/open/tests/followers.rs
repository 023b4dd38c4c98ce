//! Followers of a writer, and what becomes of them when it is gone.

use super::*;

impl Place {
    fn follow(&self) -> Following {
        let data_dir = DataDir::open_read_only(&self.path).unwrap();
        let opened = open_follower(&data_dir, ID, &CONFIG).unwrap();
        Following { data_dir, opened }
    }
}

struct Following {
    data_dir: DataDir,
    opened: OpenFollower,
}

impl Following {
    fn refresh(&mut self) -> Result<bool, RefreshError> {
        self.opened.follower.refresh(&mut self.opened.partition).map(|moment| moment.is_some())
    }

    fn keys(&self) -> Vec<String> {
        keys(&self.opened.partition)
    }

    /// Waits for the lock and takes over.
    fn take_over(self) -> Result<Open, OpenError> {
        let data_dir = self.data_dir.wait_for_lock().unwrap();
        let OpenFollower { mut partition, follower, .. } = self.opened;
        let TakenOver { dir, control, report } = follower.take_over(&mut partition, &data_dir, &CONFIG, NOW)?;
        Ok(Open { _data_dir: data_dir, opened: OpenPartition { partition, dir, control, report }, fill: CONFIG.fill })
    }
}

#[test]
fn it_follows_and_takes_over_and_is_followed_itself() {
    let place = Place::new();
    let mut writer = place.open().unwrap();
    let mut next = place.follow();
    assert!(!next.refresh().unwrap());
    for round in 0..6 {
        let after = place.follow();
        writer.put_all(round * 40..round * 40 + 20);
        assert!(!next.refresh().unwrap(), "nothing is committed");
        writer.flush();
        assert!(next.refresh().unwrap());
        assert_eq!(next.keys(), expected_up_to(round, 20));
        // Appended and never flushed: the cache keeps it when the process ends.
        writer.put_all(round * 40 + 20..round * 40 + 40);
        assert!(!next.refresh().unwrap());
        let epoch = writer.opened.partition.superblock().epoch;
        drop(writer);
        writer = next.take_over().unwrap();
        assert_eq!(keys(&writer.opened.partition), expected_up_to(round, 40), "round {round}");
        assert!(writer.opened.partition.superblock().epoch > epoch);
        assert_eq!(writer.opened.partition.durable(), writer.opened.partition.appended());
        assert!(writer.opened.report.cut.is_none());
        next = after;
        assert!(next.refresh().unwrap(), "it follows whoever has taken over");
        assert_eq!(next.keys(), expected_up_to(round, 40));
    }
    drop(writer);
    drop(next);
    assert_eq!(keys(&place.open().unwrap().opened.partition), expected(0..240));
}

fn expected_up_to(round: u32, of_it: u32) -> Vec<String> {
    expected(0..round * 40 + of_it)
}

#[test]
fn a_record_that_was_half_stored_is_cut() {
    let place = Place::new();
    let mut writer = place.open().unwrap();
    let mut next = place.follow();
    writer.put_all(0..5);
    writer.flush();
    next.refresh().unwrap();
    writer.put_all(5..6);
    let end = writer.opened.partition.appended();
    let (base, _) = writer.opened.partition.segment_holding(Lsn::new(end.get() - 1)).unwrap();
    drop(writer);
    damage(&place.segment(base.get()), end.since(base) - 8, &[0; 8]);
    damage(&place.segment(base.get()), end.since(base) - 100, &[0; 92]);
    let mut writer = next.take_over().unwrap();
    let cut = writer.opened.report.cut.as_ref().expect("the record is not whole");
    assert!(cut.end < end && cut.len > 0);
    assert_eq!(keys(&writer.opened.partition), expected(0..5));
    writer.put_all(5..9);
    writer.flush();
    drop(writer);
    assert_eq!(keys(&place.open().unwrap().opened.partition), expected(0..9));
}

#[test]
fn a_log_that_is_damaged_below_the_watermark_is_not_taken_over() {
    let place = Place::new();
    let mut writer = place.open().unwrap();
    writer.put_all(0..3);
    writer.flush();
    let next = place.follow();
    let from = writer.opened.partition.durable();
    writer.put_all(3..4);
    writer.flush();
    drop(writer);
    // The page says that this was flushed, and nobody has followed it yet.
    damage(&place.segment(0), from.get() + 60, &[0xff; 4]);
    let refused = next.take_over();
    assert!(matches!(refused, Err(OpenError::Recovery { source: RecoveryError::Corrupt { .. }, .. })), "{refused:?}");
}

#[test]
fn only_one_of_two_takes_over() {
    let place = Place::new();
    let mut writer = place.open().unwrap();
    writer.put_all(0..10);
    writer.flush();
    let (one, two) = (place.follow(), place.follow());
    let (winner, loser) = std::thread::scope(|scope| {
        // The one that asked first.
        let waiting = scope.spawn(|| one.take_over().unwrap());
        drop(writer);
        (waiting.join().unwrap(), two)
    });
    assert!(matches!(crate::data_dir::Writer::look(&place.path).unwrap(), crate::data_dir::Writer::Alive));
    let mut loser = loser;
    assert!(loser.refresh().unwrap(), "the winner's first record");
    drop(winner);
    assert_eq!(keys(&loser.take_over().unwrap().opened.partition), expected(0..10));
}

#[test]
fn a_directory_that_was_put_in_the_place_of_another_is_not_touched() {
    let place = Place::new();
    let writer = place.open().unwrap();
    let next = place.follow();
    let other = Place::new();
    drop(other.open().unwrap());
    fs::rename(&place.path, place.path.with_extension("aside")).unwrap();
    fs::rename(&other.path, &place.path).unwrap();
    drop(writer);
    let refused = next.data_dir.wait_for_lock();
    assert!(matches!(refused, Err(crate::data_dir::DataDirError::Replaced { .. })), "{refused:?}");
    let data_dir = DataDir::open(&place.path).unwrap();
    let OpenFollower { mut partition, follower, .. } = next.opened;
    let refused = follower.take_over(&mut partition, &data_dir, &CONFIG, NOW);
    assert!(matches!(refused, Err(OpenError::Replaced { .. })), "{refused:?}");
}

#[test]
fn without_a_page_there_is_nobody_to_follow() {
    let place = Place::new();
    drop(place.open().unwrap());
    fs::remove_file(place.partition().join("control")).unwrap();
    let data_dir = DataDir::open_read_only(&place.path).unwrap();
    let refused = open_follower(&data_dir, ID, &CONFIG);
    assert!(matches!(refused, Err(OpenError::Control(_))), "{refused:?}");
}

#[test]
fn a_replica_of_a_set_has_no_standby() {
    let place = Place::new();
    drop(place.open().unwrap());
    {
        let data_dir = DataDir::open(&place.path).unwrap();
        drop(open_replica(&data_dir, ID, &CONFIG).unwrap());
    }
    let refused = open_follower(&DataDir::open_read_only(&place.path).unwrap(), ID, &CONFIG);
    assert!(matches!(refused, Err(OpenError::InASet { .. })), "{refused:?}");
}

#[test]
fn the_writer_sees_who_follows_and_how_far() {
    let place = Place::new();
    let mut writer = place.open().unwrap();
    let mut next = place.follow();
    assert!(writer.opened.control.attached().is_empty());
    writer.put_all(0..3);
    writer.flush();
    assert!(next.opened.follower.attach(6380, &next.opened.partition).unwrap());
    let behind = writer.opened.control.attached()[0].position;
    assert!(behind < writer.opened.partition.committed());
    next.refresh().unwrap();
    assert_eq!(writer.opened.control.attached()[0].port, 6380);
    assert_eq!(writer.opened.control.attached()[0].position, writer.opened.partition.committed());
    drop(next);
    assert!(writer.opened.control.attached().is_empty());
}

#[test]
fn the_addresses_of_a_leader_outlive_it() {
    let place = Place::new();
    let writer = place.open().unwrap();
    assert!(writer._data_dir.leader_addresses().is_empty());
    let addresses = ["127.0.0.1:6379".parse().unwrap(), "[::1]:6379".parse().unwrap()];
    writer._data_dir.announce(&addresses).unwrap();
    let locked = DataDir::open(&place.path);
    let Err(error) = locked else { panic!("it is locked") };
    assert!(error.to_string().contains(&format!("in use by process {};", std::process::id())), "{error}");
    drop(writer);
    let data_dir = DataDir::open_read_only(&place.path).unwrap().wait_for_lock().unwrap();
    assert_eq!(data_dir.leader_addresses(), addresses);
    drop(data_dir);
    assert!(DataDir::open(&place.path).unwrap().leader_addresses().is_empty());
}
