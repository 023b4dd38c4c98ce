//! DEL and UNLINK, EXISTS and TOUCH.

use crate::data::{
    keyspace::{Keyspace, delete},
    run::{Flow, Run},
};

/// DEL and UNLINK: one record, so all or nothing within a partition.
pub(in crate::data) fn del<K: Keyspace>(run: &mut Run<'_, K>) -> Flow {
    if run.args.len() == 2 {
        let key = run.key(1)?;
        let found = run.exists(key);
        if found {
            run.delete(key)?;
        }
        run.reply.integer(found.into());
        return Ok(());
    }
    let mut keys = run.keys_from(1, 1)?;
    keys.sort_unstable_by_key(|key| key.bytes);
    keys.dedup();
    keys.retain(|&key| run.exists(key));
    if !keys.is_empty() {
        let mut ops: alloc::vec::Vec<_> = keys.iter().map(|&key| delete(key)).collect();
        run.apply(&mut ops)?;
    }
    run.reply.count(keys.len());
    Ok(())
}

/// EXISTS and TOUCH: a key that comes twice counts twice.
pub(in crate::data) fn exists<K: Keyspace>(run: &mut Run<'_, K>) -> Flow {
    let mut count = 0;
    for bytes in run.args.from(1) {
        let key = run.key_of(bytes)?;
        count += usize::from(run.exists(key));
    }
    run.reply.count(count);
    Ok(())
}
