use std::path::Path;

use heed::types::Bytes;
use heed::{CommitOrAbort, Database, Env, EnvFlags, EnvOpenOptions, WithTls};

use super::{Durability, Pair, Store};

/// Address space, not memory: more than any of the benchmarks writes.
const MAP_LEN: usize = 32 << 30;

pub(super) struct LmdbStore {
    env: Env<WithTls>,
    data: Database<'static, Bytes, Bytes>,
}

impl LmdbStore {
    pub(super) fn open(dir: &Path, durability: Durability) -> Self {
        let mut options = EnvOpenOptions::new();
        options.map_size(MAP_LEN);
        if durability == Durability::Unsynced {
            // SAFETY: a crash of the machine may damage the file; the benchmarks throw it away then.
            unsafe { options.flags(EnvFlags::NO_SYNC) };
        }
        // SAFETY: the directory is the benchmark's own; nobody else changes the mapped file.
        let env = unsafe { options.open(dir) }.expect("open");
        let transaction = env.write_txn().expect("a transaction");
        let data = env
            .create_databases_and_commit(transaction, |opener, transaction| {
                let data = opener.create_database::<Bytes, Bytes>(transaction, None)?;
                heed::Result::Ok(CommitOrAbort::<_, ()>::Commit(data))
            })
            .expect("a database")
            .unwrap_commit();
        Self { env, data }
    }
}

impl Store for LmdbStore {
    fn put(&mut self, key: &[u8], value: &[u8]) {
        let mut transaction = self.env.write_txn().expect("a transaction");
        self.data.put(&mut transaction, key, value).expect("put");
        transaction.commit().expect("commit");
    }

    fn put_batch(&mut self, pairs: &[Pair]) {
        let mut transaction = self.env.write_txn().expect("a transaction");
        for (key, value) in pairs {
            self.data.put(&mut transaction, key, value).expect("put");
        }
        transaction.commit().expect("commit");
    }

    fn get(&self, key: &[u8], visit: &mut dyn FnMut(&[u8])) -> bool {
        let transaction = self.env.read_txn().expect("a transaction");
        self.data.get(&transaction, key).expect("get").map(visit).is_some()
    }

    fn scan(&self, visit: &mut dyn FnMut(&[u8], &[u8])) {
        let transaction = self.env.read_txn().expect("a transaction");
        for pair in self.data.iter(&transaction).expect("iter") {
            let (key, value) = pair.expect("scan");
            visit(key, value);
        }
    }

    fn sync(&mut self) {
        self.env.force_sync().expect("force_sync");
    }
}
