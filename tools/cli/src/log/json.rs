//! What was found, as JSON. Field names are part of the interface: they are only ever added to.

use serde_json::{Map, Value, json};
use windrow_core::codec::{OpKind, OpView, Record, RecordKind};
use windrow_core::types::{Lsn, UnixMillis};

use super::scan::Problem;
use super::target::Target;
use super::verdict::{Found, Segment};

/// One log.
pub(super) fn found(target: &Target, found: &Found) -> Value {
    json!({
        "path": target.dir.display().to_string(),
        "partition": target.partition.map(|partition| partition.get()),
        "verdict": found.verdict.name(),
        "end": found.end.get(),
        "durable": found.durable.get(),
        "writer": target.writer,
        "superblock": superblock(target),
        "control": target.progress.map(|progress| json!({
            "appended": progress.appended.get(),
            "durable": progress.durable.get(),
            "committed": progress.committed.get(),
            "epoch": progress.epoch.get(),
        })),
        "segments": found.segments.iter().map(segment).collect::<Vec<_>>(),
        "unknown_files": target.unknown,
    })
}

fn superblock(target: &Target) -> Value {
    match &target.superblock {
        Ok(superblock) => json!({
            "generation": superblock.generation,
            "cluster": superblock.cluster.to_string(),
            "partition": superblock.partition.get(),
            "partition_count": superblock.partition_count,
            "epoch": superblock.epoch.get(),
            "promised": superblock.promised.get(),
            "durable": superblock.durable.get(),
            "replica": superblock.replica.to_string(),
            "own_epoch": superblock.own_epoch.get(),
            "committed": superblock.committed.get(),
            "in_set": superblock.is_in_set(),
            "start": superblock.start.get(),
            "cut": superblock.cut.map(Lsn::get),
            "floor": superblock.floor.map(|floor| json!({ "epoch": floor.epoch.get(), "lsn": floor.lsn.get() })),
        }),
        Err(error) => json!({ "error": error }),
    }
}

fn segment(segment: &Segment) -> Value {
    let scanned = &segment.scanned;
    let counts = &scanned.counts;
    json!({
        "file": segment.name,
        "base": segment.base.get(),
        "len": segment.len,
        "blank": scanned.is_blank(),
        "sealed": scanned.footer.is_ok(),
        "end": scanned.end.get(),
        "chain": scanned.position.chain.map(|chain| format!("{:08x}", chain.get())),
        "records": counts.records,
        "pads": counts.pads,
        "epoch_records": counts.epochs,
        "puts": counts.puts,
        "deletes": counts.deletes,
        "clears": counts.clears,
        "key_bytes": counts.key_bytes,
        "value_bytes": counts.value_bytes,
        "first_epoch": scanned.epochs.map(|(first, _)| first.get()),
        "last_epoch": scanned.epochs.map(|(_, last)| last.get()),
        "first_time_ms": scanned.first_time.map(UnixMillis::get),
        "last_time_ms": scanned.last_time.map(UnixMillis::get),
        "remains": scanned.remains,
        "problems": scanned.problems.iter().map(problem).collect::<Vec<_>>(),
    })
}

fn problem(problem: &Problem) -> Value {
    json!({
        "lsn": problem.lsn.get(),
        "offset": problem.offset,
        "what": problem.what,
        "resumes_at": problem.resumes.map(|lsn| lsn.get()),
    })
}

/// One record. Values are left out where `with_values` is false. Of a replica in a set, everything below `committed` is
/// known to be committed.
pub(super) fn record(record: &Record<'_>, with_values: bool, committed: Option<Lsn>) -> Value {
    let header = &record.header;
    let mut object = json!({
        "lsn": header.lsn.get(),
        "end": record.end().get(),
        "kind": match header.kind {
            RecordKind::Batch => "batch",
            RecordKind::Pad => "pad",
            RecordKind::Epoch => "epoch",
        },
        "partition": header.partition.get(),
        "epoch": header.epoch.get(),
        "time_ms": header.time.get(),
        "durable": header.durable.get(),
        "prev": format!("{:08x}", header.prev.get()),
        "chain": format!("{:08x}", record.chain.get()),
    });
    if let Some(committed) = committed {
        object["committed"] = (record.end() <= committed).into();
    }
    if let Some(batch) = record.batch {
        object["ops"] = batch.iter().map(|op| operation(&op, with_values)).collect();
    }
    object
}

fn operation(op: &OpView<'_>, with_values: bool) -> Value {
    let mut object = Map::new();
    let name = match op.kind {
        OpKind::Put => "put",
        OpKind::Delete => "delete",
        OpKind::Clear => "clear",
    };
    object.insert("op".to_owned(), name.into());
    if op.kind != OpKind::Clear {
        insert_bytes(&mut object, "key", op.key);
    }
    if op.kind == OpKind::Put {
        object.insert("value_len".to_owned(), op.value.len().into());
        if with_values {
            insert_bytes(&mut object, "value", op.value);
        }
    }
    if let Some(at) = op.expires_at {
        object.insert("expires_at_ms".to_owned(), at.get().into());
    }
    Value::Object(object)
}

/// Text as `name`; bytes that are not UTF-8 as `name_hex`.
fn insert_bytes(object: &mut Map<String, Value>, name: &str, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => object.insert(name.to_owned(), text.into()),
        Err(_) => {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            object.insert(format!("{name}_hex"), hex.into())
        }
    };
}
