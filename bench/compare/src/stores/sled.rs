use std::path::Path;

use super::{Durability, Pair, Store};

pub(super) struct SledStore {
    db: sled::Db,
    is_durable: bool,
}

impl SledStore {
    pub(super) fn open(dir: &Path, durability: Durability) -> Self {
        Self { db: sled::open(dir.join("data")).expect("open"), is_durable: durability == Durability::Durable }
    }

    fn flush(&self) {
        if self.is_durable {
            self.db.flush().expect("flush");
        }
    }
}

impl Store for SledStore {
    fn put(&mut self, key: &[u8], value: &[u8]) {
        self.db.insert(key, value).expect("insert");
        self.flush();
    }

    fn put_batch(&mut self, pairs: &[Pair]) {
        let mut batch = sled::Batch::default();
        for (key, value) in pairs {
            batch.insert(key.as_slice(), value.as_slice());
        }
        self.db.apply_batch(batch).expect("apply_batch");
        self.flush();
    }

    fn get(&self, key: &[u8], visit: &mut dyn FnMut(&[u8])) -> bool {
        self.db.get(key).expect("get").map(|value| visit(&value)).is_some()
    }

    fn scan(&self, visit: &mut dyn FnMut(&[u8], &[u8])) {
        for pair in self.db.iter() {
            let (key, value) = pair.expect("scan");
            visit(&key, &value);
        }
    }

    fn sync(&mut self) {
        self.db.flush().expect("flush");
    }
}
