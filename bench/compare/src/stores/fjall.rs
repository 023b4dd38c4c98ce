use std::path::Path;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use super::{Durability, Pair, Store};

pub(super) struct FjallStore {
    db: Database,
    data: Keyspace,
    is_durable: bool,
}

impl FjallStore {
    pub(super) fn open(dir: &Path, durability: Durability) -> Self {
        let db = Database::builder(dir.join("data")).open().expect("open");
        let data = db.keyspace("data", KeyspaceCreateOptions::default).expect("a keyspace");
        Self { db, data, is_durable: durability == Durability::Durable }
    }

    fn persist(&self) {
        if self.is_durable {
            self.db.persist(PersistMode::SyncData).expect("persist");
        }
    }
}

impl Store for FjallStore {
    fn put(&mut self, key: &[u8], value: &[u8]) {
        self.data.insert(key, value).expect("insert");
        self.persist();
    }

    fn put_batch(&mut self, pairs: &[Pair]) {
        let mut batch = self.db.batch();
        for (key, value) in pairs {
            batch.insert(&self.data, key.as_slice(), value.as_slice());
        }
        batch.commit().expect("commit");
        self.persist();
    }

    fn get(&self, key: &[u8], visit: &mut dyn FnMut(&[u8])) -> bool {
        self.data.get(key).expect("get").map(|value| visit(&value)).is_some()
    }

    fn scan(&self, visit: &mut dyn FnMut(&[u8], &[u8])) {
        for pair in self.data.iter() {
            let (key, value) = pair.into_inner().expect("scan");
            visit(&key, &value);
        }
    }

    fn sync(&mut self) {
        self.db.persist(PersistMode::SyncAll).expect("persist");
    }
}
