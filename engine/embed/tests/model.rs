//! Random operations against a map that cannot fail, with reopening and crashes among them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use windrow::{Batch, Change, Condition, FillMode, FlushMode, Lsn, Options, Windrow};

const KEYS: u8 = 12;

#[derive(Clone, Debug)]
enum Step {
    Put {
        key: u8,
        value: u16,
        len: u16,
    },
    Delete {
        key: u8,
    },
    PutIf {
        key: u8,
        value: u16,
        expected: Option<u16>,
    },
    Batch {
        writes: Vec<(u8, Option<u16>)>,
    },
    Clear,
    Sync,
    /// Ends in order and opens again.
    Reopen,
    /// Goes on in a copy of the directory made while the store is open: what a kill leaves.
    Crash,
    Check,
}

fn step() -> impl Strategy<Value = Step> {
    let key = 0..KEYS;
    prop_oneof![
        12 => (key.clone(), any::<u16>(), 0..900_u16).prop_map(|(key, value, len)| Step::Put { key, value, len }),
        4 => key.clone().prop_map(|key| Step::Delete { key }),
        3 => (key.clone(), any::<u16>(), proptest::option::of(any::<u16>()))
            .prop_map(|(key, value, expected)| Step::PutIf { key, value, expected }),
        3 => proptest::collection::vec((key, proptest::option::of(any::<u16>())), 0..6)
            .prop_map(|writes| Step::Batch { writes }),
        1 => Just(Step::Clear),
        1 => Just(Step::Sync),
        2 => Just(Step::Reopen),
        2 => Just(Step::Crash),
        2 => Just(Step::Check),
    ]
}

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

/// Keys with one hash tag for each third of them: several partitions, and batches possible.
fn name(key: u8) -> Vec<u8> {
    format!("{{{}}}key{key}", key % 3).into_bytes()
}

fn bytes(value: u16, len: u16) -> Vec<u8> {
    value.to_le_bytes().iter().copied().cycle().take(usize::from(len)).collect()
}

struct World {
    _dir: tempfile::TempDir,
    path: PathBuf,
    options: Options,
    copies: u32,
    db: Option<Windrow>,
    model: Model,
}

impl World {
    fn new(options: Options) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0");
        let db = Some(options.open(&path).unwrap());
        Self { _dir: dir, path, options, copies: 0, db, model: Model::new() }
    }

    fn db(&self) -> &Windrow {
        self.db.as_ref().unwrap()
    }

    fn apply(&mut self, step: Step) {
        match step {
            Step::Put { key, value, len } => {
                let (key, value) = (name(key), bytes(value, len));
                self.db().put(&key, &value).unwrap();
                self.model.insert(key, value);
            }
            Step::Delete { key } => {
                let existed = self.db().delete(name(key)).unwrap();
                assert_eq!(existed, self.model.remove(&name(key)).is_some());
            }
            Step::PutIf { key, value, expected } => self.put_if(&name(key), bytes(value, 8), expected),
            Step::Batch { writes } => self.batch(&writes),
            Step::Clear => {
                self.db().clear().unwrap();
                self.model.clear();
            }
            Step::Sync => self.db().sync().unwrap(),
            Step::Reopen => {
                self.db.take().unwrap().close().unwrap();
                self.reopen();
            }
            Step::Crash => self.crash(),
            Step::Check => self.check(),
        }
    }

    fn put_if(&mut self, key: &[u8], value: Vec<u8>, expected: Option<u16>) {
        let expected = expected.map(|value| bytes(value, 8));
        let condition = expected.as_deref().map_or(Condition::Absent, Condition::Value);
        let written = self.db().put_if(key, &value, condition).unwrap().is_written();
        assert_eq!(written, self.model.get(key) == expected.as_ref());
        if written {
            self.model.insert(key.to_vec(), value);
        }
    }

    fn batch(&mut self, writes: &[(u8, Option<u16>)]) {
        let Some((first, _)) = writes.first() else { return };
        let mut batch = Batch::new();
        // Of one tag, so that they share a partition.
        for (key, value) in writes.iter().filter(|(key, _)| key % 3 == first % 3) {
            match value {
                Some(value) => {
                    batch.put(name(*key), bytes(*value, 20));
                    self.model.insert(name(*key), bytes(*value, 20));
                }
                None => {
                    batch.delete(name(*key));
                    self.model.remove(&name(*key));
                }
            }
        }
        self.db().write(&batch).unwrap();
    }

    fn reopen(&mut self) {
        self.db = Some(self.options.open(&self.path).unwrap());
        self.check();
    }

    fn crash(&mut self) {
        self.copies += 1;
        let copy = self.path.with_file_name(self.copies.to_string());
        copy_tree(&self.path, &copy);
        self.db = None;
        fs::remove_dir_all(&self.path).unwrap();
        self.path = copy;
        self.reopen();
    }

    fn check(&self) {
        let db = self.db();
        assert_eq!(db.len().unwrap(), self.model.len() as u64);
        for key in (0..KEYS).map(name) {
            assert_eq!(db.get(&key).unwrap().map(|value| value.to_vec()), self.model.get(&key).cloned());
        }
        let found: Model =
            db.scan().map(|item| item.unwrap()).map(|item| (item.key.to_vec(), item.value.to_vec())).collect();
        assert_eq!(found, self.model);
        db.sync().unwrap();
        assert_eq!(replayed(db), self.model, "the change feed tells the same story");
        let reader = self.options.clone().read_only(true).open(&self.path).unwrap();
        let found: Model =
            reader.scan().map(|item| item.unwrap()).map(|item| (item.key.to_vec(), item.value.to_vec())).collect();
        assert_eq!(found, self.model, "and so does another process");
    }
}

fn replayed(db: &Windrow) -> Model {
    let mut model = Model::new();
    for partition in 0..db.partitions() {
        let mut feed = db.subscribe(partition, Lsn::ZERO).unwrap();
        while let Some(record) = feed.try_next().unwrap() {
            for change in record.changes {
                match change {
                    Change::Put { key, value, .. } => {
                        model.insert(key.to_vec(), value.to_vec());
                    }
                    Change::Delete { key } => {
                        model.remove(&*key);
                    }
                    Change::Clear => model.retain(|key, _| db.partition_of(key) != partition),
                    other => panic!("{other:?}"),
                }
            }
        }
    }
    model
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            // A helper thread may have renamed or removed a temporary file meanwhile.
            match fs::copy(entry.path(), target) {
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_store_is_a_map_that_outlives_its_process(
        steps in proptest::collection::vec(step(), 1..60),
        partitions in 1..4_u16,
        mode in prop_oneof![Just(FlushMode::GroupCommit), Just(FlushMode::EachWrite), Just(FlushMode::Explicit)],
        segment_len in prop_oneof![Just(4096_u64), Just(16384)],
    ) {
        let options =
            Options::new().partitions(partitions).segment_len(segment_len).segments_ahead(1).fill(FillMode::Write4K).flush(mode);
        let mut world = World::new(options);
        for step in steps {
            world.apply(step);
        }
        world.check();
    }
}
