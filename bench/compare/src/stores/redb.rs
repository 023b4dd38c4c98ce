use std::path::Path;

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

use super::{Durability, Pair, Store};

const TABLE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("data");

pub(super) struct RedbStore {
    db: Database,
    durability: redb::Durability,
}

impl RedbStore {
    pub(super) fn open(dir: &Path, durability: Durability) -> Self {
        let durability = match durability {
            Durability::Durable => redb::Durability::Immediate,
            Durability::Unsynced => redb::Durability::None,
        };
        let store = Self { db: Database::create(dir.join("data.redb")).expect("open"), durability };
        store.write(redb::Durability::Immediate, |_| {});
        store
    }

    fn write(&self, durability: redb::Durability, fill: impl FnOnce(&mut redb::Table<'_, &[u8], &[u8]>)) {
        let mut transaction = self.db.begin_write().expect("a transaction");
        transaction.set_durability(durability).expect("a durability");
        fill(&mut transaction.open_table(TABLE).expect("a table"));
        transaction.commit().expect("commit");
    }
}

impl Store for RedbStore {
    fn put(&mut self, key: &[u8], value: &[u8]) {
        self.write(self.durability, |table| {
            table.insert(key, value).expect("insert");
        });
    }

    fn put_batch(&mut self, pairs: &[Pair]) {
        self.write(self.durability, |table| {
            for (key, value) in pairs {
                table.insert(key.as_slice(), value.as_slice()).expect("insert");
            }
        });
    }

    fn get(&self, key: &[u8], visit: &mut dyn FnMut(&[u8])) -> bool {
        let transaction = self.db.begin_read().expect("a transaction");
        let table = transaction.open_table(TABLE).expect("a table");
        table.get(key).expect("get").map(|value| visit(value.value())).is_some()
    }

    fn scan(&self, visit: &mut dyn FnMut(&[u8], &[u8])) {
        let transaction = self.db.begin_read().expect("a transaction");
        let table = transaction.open_table(TABLE).expect("a table");
        for pair in table.iter().expect("iter") {
            let (key, value) = pair.expect("scan");
            visit(key.value(), value.value());
        }
    }

    fn sync(&mut self) {
        self.write(redb::Durability::Immediate, |_| {});
    }
}
