use std::path::Path;

use rocksdb::{DB, IteratorMode, Options, WriteBatch, WriteOptions};

use super::{Durability, Pair, Store};

pub(super) struct RocksStore {
    db: DB,
    write: WriteOptions,
}

impl RocksStore {
    pub(super) fn open(dir: &Path, durability: Durability) -> Self {
        let mut options = Options::default();
        options.create_if_missing(true);
        let mut write = WriteOptions::default();
        write.set_sync(durability == Durability::Durable);
        Self { db: DB::open(&options, dir.join("data")).expect("open"), write }
    }
}

impl Store for RocksStore {
    fn put(&mut self, key: &[u8], value: &[u8]) {
        self.db.put_opt(key, value, &self.write).expect("put");
    }

    fn put_batch(&mut self, pairs: &[Pair]) {
        let mut batch = WriteBatch::default();
        for (key, value) in pairs {
            batch.put(key, value);
        }
        self.db.write_opt(batch, &self.write).expect("write");
    }

    fn get(&self, key: &[u8], visit: &mut dyn FnMut(&[u8])) -> bool {
        self.db.get_pinned(key).expect("get").map(|value| visit(&value)).is_some()
    }

    fn scan(&self, visit: &mut dyn FnMut(&[u8], &[u8])) {
        for pair in self.db.iterator(IteratorMode::Start) {
            let (key, value) = pair.expect("scan");
            visit(&key, &value);
        }
    }

    fn sync(&mut self) {
        self.db.flush_wal(true).expect("flush_wal");
    }
}
