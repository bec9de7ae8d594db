//! Where a lake is, on disk or on S3.

use crate::{BUCKET, S3Server, Store};

/// Where the lake of a store's table "t" is, and how the command and a reader get there.
#[derive(Debug)]
pub struct Place {
    /// Its path or URI.
    pub lake: String,
    /// More options of `create`.
    pub options: Vec<String>,
    /// The options of [`rows`](crate::rows) and of the scripts.
    pub reads_with: Vec<String>,
    /// Whether it is on a local disk.
    pub is_local: bool,
}

impl Place {
    /// Where it is if nothing else is said.
    pub fn on_disk(store: &Store) -> Self {
        Self {
            lake: store.path().join("lake/t.lance").display().to_string(),
            options: Vec::new(),
            reads_with: Vec::new(),
            is_local: true,
        }
    }

    /// On a server, under a name.
    pub fn on_s3(server: &S3Server, name: &str) -> Self {
        let lake = format!("s3://{BUCKET}/{name}.lance");
        let mut options = vec!["--lake".to_owned(), lake.clone()];
        options.extend(server.create_options());
        Self {
            lake,
            options,
            reads_with: server.reader_options(),
            is_local: false,
        }
    }
}
