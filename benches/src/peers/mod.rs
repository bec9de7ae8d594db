//! Others that batches or rows can be given to, each with its best setting for a promise (see benches/README.md).

mod files;
mod fjall;
mod lance;
mod redb;
mod sqlite;

use std::sync::atomic::{AtomicU64, Ordering};

use arrow_array::RecordBatch;
use arrow_ipc::writer::StreamWriter;

use crate::InsertRows;
use crate::lane::{Contestant, Promise};

/// The rows of a transaction, where one row alone would be dominated by it.
const ROWS_PER_TRANSACTION: u64 = 1000;

/// The peers that can keep a promise. Lance never syncs, so it has none against power loss.
pub(crate) fn contestants(promise: Promise) -> Vec<Contestant> {
    let contestant = |name, open| Contestant { name, open };
    let mut all = vec![
        contestant("arrow-ipc", files::open_ipc),
        contestant("parquet", files::open_parquet),
        contestant("fjall", fjall::open),
        contestant("redb", redb::open),
        contestant("sqlite", sqlite::open),
    ];
    if promise == Promise::Crash {
        all.push(contestant("lance-append", lance::open_append));
        all.push(contestant(
            "lance-memwal-default",
            lance::open_memwal_default,
        ));
        all.push(contestant("lance-memwal-tuned", lance::open_memwal_tuned));
    }
    all
}

/// The peers that take single rows.
pub(crate) fn row_contestants() -> [(&'static str, InsertRows); 2] {
    [
        ("sqlite", sqlite::insert_rows),
        ("fjall", fjall::insert_rows),
    ]
}

/// A batch as the value of a key: an Arrow IPC stream.
fn blob(batch: &RecordBatch) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(batch.get_array_memory_size() + 1024);
    let mut writer = StreamWriter::try_new(&mut bytes, &batch.schema()).expect("a writer");
    writer.write(batch).expect("written");
    writer.finish().expect("finished");
    drop(writer);
    bytes
}

/// Keys in the order in which they are asked for.
#[derive(Default)]
struct Keys(AtomicU64);

impl Keys {
    fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}
