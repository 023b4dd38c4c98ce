use std::collections::BTreeMap;

use crate::flushes::{count, difference};
use crate::{Durability, Engine, key, loaded, value, write_range};

#[test]
fn every_store_does_the_same_work() {
    for &engine in Engine::ALL {
        for durability in [Durability::Durable, Durability::Unsynced] {
            let dir = tempfile::tempdir().expect("a directory");
            let mut store = loaded(engine, dir.path(), durability, 500);
            store.put(&key(3), &value(3, 9));
            write_range(&mut *store, 500, 510, 0);
            let mut seen = BTreeMap::new();
            store.scan(&mut |key, value| assert!(seen.insert(key.to_vec(), value.to_vec()).is_none(), "{engine}"));
            assert_eq!(seen.len(), 510, "{engine}");
            assert_eq!(seen[&key(3)[..]], value(3, 9), "{engine}");
            let mut read = Vec::new();
            assert!(store.get(&key(509), &mut |value| read.extend_from_slice(value)), "{engine}");
            assert_eq!(read, value(509, 0), "{engine}");
            assert!(!store.get(&key(510), &mut |_| {}), "{engine}");
            store.sync();
            drop(store);
            let store = engine.open(dir.path(), durability);
            assert!(store.get(&key(509), &mut |_| {}), "{engine} after opening again");
        }
    }
}

#[test]
fn every_store_has_a_version_and_says_how_it_is_durable() {
    for &engine in Engine::ALL {
        assert_ne!(engine.version(), "?", "{engine}");
        assert_ne!(engine.durable_setting(), engine.unsynced_setting());
        assert_eq!(Engine::named(engine.name()), Some(engine));
    }
}

#[test]
fn flushes_and_synchronous_writes_are_counted() {
    let trace = "\
10 openat(AT_FDCWD, \"\", O_RDWR|O_DSYNC|O_CLOEXEC) = 7
10 openat(AT_FDCWD, \"\", O_RDWR|O_CLOEXEC) = 8
10 pwrite64(7, \"\"..., 64, 0) = 64
10 pwrite64(8, \"\"..., 64, 0) = 64
11 fdatasync(8 <unfinished ...>
10 write(1, \"\"..., 64) = 64
11 <... fdatasync resumed>) = 0
10 fdatasync(8)                        = 0
";
    let calls = count(trace);
    assert_eq!(calls, BTreeMap::from([("O_DSYNC write".to_owned(), 1), ("fdatasync".to_owned(), 2)]));
    assert_eq!(difference(&BTreeMap::new(), &calls, 1), "1 O_DSYNC write + 2 fdatasync");
    assert_eq!(difference(&calls, &calls, 1), "none seen");
    assert_eq!(difference(&BTreeMap::new(), &calls, 4), "0.3 O_DSYNC write + 0.5 fdatasync");
}
