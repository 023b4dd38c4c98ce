use std::path::Path;

use windrow::{Batch, FlushMode, Options, Windrow};

use super::{Durability, Pair, Store};

pub(super) struct WindrowStore(Windrow);

impl WindrowStore {
    pub(super) fn open(dir: &Path, durability: Durability) -> Self {
        let mode = match durability {
            Durability::Durable => FlushMode::GroupCommit,
            Durability::Unsynced => FlushMode::Explicit,
        };
        Self(Options::new().flush(mode).open(dir.join("data")).expect("open"))
    }
}

impl Store for WindrowStore {
    fn put(&mut self, key: &[u8], value: &[u8]) {
        self.0.put(key, value).expect("put");
    }

    fn put_batch(&mut self, pairs: &[Pair]) {
        let mut batch = Batch::new();
        for (key, value) in pairs {
            batch.put(*key, *value);
        }
        self.0.write(&batch).expect("write");
    }

    fn get(&self, key: &[u8], visit: &mut dyn FnMut(&[u8])) -> bool {
        self.0.get(key).expect("get").map(|value| visit(&value)).is_some()
    }

    fn scan(&self, visit: &mut dyn FnMut(&[u8], &[u8])) {
        for item in self.0.scan() {
            let item = item.expect("scan");
            visit(&item.key, &item.value);
        }
    }

    fn sync(&mut self) {
        self.0.sync().expect("sync");
    }
}
