//! redb: batches as values of consecutive keys, a transaction for each.

use std::fs::File;
use std::io::Error;
use std::os::unix::fs::FileExt;

use redb::{Database, StorageBackend, TableDefinition};

use super::{Keys, blob};
use crate::lane::{Lane, Opening, Promise};
use crate::samples::Sample;

const BATCHES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("batches");

/// A file that is never synced. redb has no durability between none at all and a sync for every commit; with this
/// one it keeps what was committed when the process dies, and no more.
#[derive(Debug)]
struct Unsynced(File);

impl StorageBackend for Unsynced {
    fn len(&self) -> Result<u64, Error> {
        Ok(self.0.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        self.0.read_exact_at(out, offset)
    }

    fn set_len(&self, len: u64) -> Result<(), Error> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> Result<(), Error> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), Error> {
        self.0.write_all_at(data, offset)
    }
}

struct Redb {
    database: Database,
    keys: Keys,
}

pub(super) fn open(opening: &Opening<'_>) -> Box<dyn Lane> {
    let path = opening.directory.join("redb");
    let database = match opening.promise {
        Promise::Power => Database::create(path),
        Promise::Crash => {
            let file = File::options()
                .read(true)
                .write(true)
                .create_new(true)
                .open(path)
                .expect("a file");
            Database::builder().create_with_backend(Unsynced(file))
        }
    };
    Box::new(Redb {
        database: database.expect("a database"),
        keys: Keys::default(),
    })
}

impl Lane for Redb {
    fn append(&self, _producer: usize, sample: &Sample) {
        let value = blob(&sample.batch);
        let transaction = self.database.begin_write().expect("a transaction");
        let key = self.keys.next();
        {
            let mut table = transaction.open_table(BATCHES).expect("a table");
            table.insert(key, value.as_slice()).expect("inserted");
        }
        transaction.commit().expect("committed");
    }
}
