//! Making a table: its settings are checked, its transforms pinned, its lake made or adopted.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow_schema::Schema;
use uuid::Uuid;

use super::{Store, UNFINISHED, tables_directory};
use crate::catalog::{self, Generation, TableMeta};
use crate::error::{Error, Result};
use crate::log::{Log, sync_directory};
use crate::options::TableOptions;
use crate::shape::schemas_of;
use crate::table::{Table, raw_options};
use crate::tier::dead_letters::dataset::options_of as letters_of;
use crate::tier::dead_letters::log::DeadLetterLog;
use crate::tier::lake::{Lake, LakeOptions, LakeUri, check_uri, is_secret_in_clear};

const SEGMENT_BYTES_MIN: u64 = 64 << 10;
const SEGMENT_BYTES_MAX: u64 = 4 << 30;

impl Store {
    /// Creates a table and its lake, or adopts a lake that has the same columns. Transforms are checked
    /// against the schema, their plugins and assets copied into the store. The table is durable when this
    /// returns; after a crash it is there whole or not at all.
    ///
    /// # Errors
    ///
    /// [`Error::TableExists`]; [`Error::Invalid`] for a name, a column or an option that cannot be;
    /// [`Error::Plugin`] and [`Error::Transform`] for transforms that don't fit; [`Error::Lake`] and
    /// [`Error::LakeMismatch`] for a lake that cannot be reached or has other columns.
    pub fn create_table(&self, name: &str, mut options: TableOptions) -> Result<Table> {
        self.check_open("create a table")?;
        catalog::check_table_name(name)?;
        catalog::check_columns(&options.schema)?;
        check_settings(&options)?;
        let directory = tables_directory(&self.inner.path).join(name);
        if directory.exists() {
            let table = name.to_owned();
            return Err(Error::TableExists { table });
        }
        if self.inner.scheduler.is_none() {
            return Err(Error::Unavailable {
                action: "create a table",
                state: "open read-only",
            });
        }
        options.lake = options.lake.map(absolute).transpose()?;
        let meta = self.register(&options)?;
        let (table_id, bucket) = (meta.table_id, meta.settings.bucket);
        let unfinished = directory.with_file_name(format!("{name}{UNFINISHED}"));
        let context = self.context(
            name,
            unfinished.clone(),
            self.write_table(name, &unfinished, meta)?,
        )?;
        let schema = Arc::clone(&context.shape().lake_schema);
        let lake = context.lake;
        self.inner
            .executor
            .run(async move { adopt_lake(&lake, &schema, (table_id, bucket)).await })??;
        fs::rename(&unfinished, &directory).map_err(Error::io("name the table", &directory))?;
        sync_directory(&tables_directory(&self.inner.path))?;
        self.table(name)
    }

    /// Pins the transforms and finds out what they make of the schema.
    fn register(&self, options: &TableOptions) -> Result<TableMeta> {
        let plugins = &self.inner.plugins;
        let pinned = options.transforms.iter().map(|spec| plugins.pin(spec));
        let pinned = pinned.collect::<Result<Vec<_>>>()?;
        let plan = plugins.plan(&options.schema, &pinned, &options.settings.limits)?;
        let (made, columns) = schemas_of(plan.as_ref(), &options.schema);
        catalog::check_columns(&columns)?;
        options.settings.layout.check(&columns)?;
        Ok(TableMeta::new(
            options.settings.clone(),
            options.lake.clone(),
            options.storage_options.clone(),
            Generation::new(pinned, &made),
            &options.schema,
            &columns,
        ))
    }

    /// Writes a table's file and an empty log into a directory that doesn't count yet.
    fn write_table(&self, name: &str, directory: &Path, meta: TableMeta) -> Result<TableMeta> {
        if directory.exists() {
            fs::remove_dir_all(directory).map_err(Error::io("remove", directory))?;
        }
        crate::log::create_directory(directory)?;
        meta.write(directory)?;
        Log::open(
            raw_options(name, meta.table_id, &meta.settings, directory),
            catalog::FIRST_SCHEMA_ID,
            None,
        )?;
        // Now, as the first round might find a disk that the log has filled.
        DeadLetterLog::open(directory, meta.table_id, &meta.schemas(directory)?, 0)?;
        sync_directory(directory)?;
        Ok(meta)
    }
}

/// Opens or creates a new table's lake. Rows of its bucket that are there already would be taken for its own.
async fn adopt_lake(
    options: &LakeOptions,
    schema: &Schema,
    (table_id, bucket): (Uuid, i32),
) -> Result<()> {
    let lake = Lake::open_or_create(options, schema).await?;
    lake.find(table_id, bucket).await?;
    if let Some(letters) = Lake::open(&letters_of(options)).await? {
        letters.find(table_id, bucket).await?;
    }
    match lake.has_rows_of(bucket).await? {
        false => Ok(()),
        true => Err(Error::LakeMismatch {
            uri: lake.uri().to_owned(),
            reason: format!(
                "it has rows of bucket {bucket} already; give this table another bucket"
            ),
        }),
    }
}

/// A local path from the root on, so that it means the same wherever the store is opened; URIs as they are.
fn absolute(LakeUri(lake): LakeUri) -> Result<LakeUri> {
    if lake.contains("://") {
        return Ok(LakeUri(lake));
    }
    let path = std::path::absolute(&lake).map_err(Error::io("find", Path::new(&lake)))?;
    Ok(LakeUri(path.to_string_lossy().into_owned()))
}

fn check_settings(options: &TableOptions) -> Result<()> {
    let bytes = options.settings.segment_bytes;
    if !(SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&bytes) || !bytes.is_multiple_of(4096) {
        return Err(Error::invalid(
            "segment_bytes",
            format!("{bytes} is not a multiple of 4096 between 64 KiB and 4 GiB"),
        ));
    }
    let limit = options.settings.max_log_bytes;
    if limit.is_some_and(|limit| limit < 3 * bytes) {
        let reason = format!("less than three segments of {bytes} bytes; make them smaller");
        return Err(Error::invalid("max_log_bytes", reason));
    }
    options.settings.maintenance.check()?;
    if let Some(LakeUri(lake)) = &options.lake {
        check_uri(lake)?;
    }
    let mut secrets = options.storage_options.0.iter();
    if let Some((name, _)) = secrets.find(|(name, value)| is_secret_in_clear(name, value))
        && !options.secrets_in_clear
    {
        return Err(Error::invalid(
            format!("storage option {name:?}"),
            "holds a secret, which would be written into the store; give env:NAME, a provider of credentials, or allow secrets in clear",
        ));
    }
    if let crate::Durability::Interval(interval) = options.settings.durability
        && interval.is_zero()
    {
        return Err(Error::invalid("durability", "an interval of 0; use sync"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use arrow_schema::{DataType, Field};

    use super::*;

    const SECRET: &str = "hunter2";

    fn options() -> TableOptions {
        TableOptions::new(Arc::new(Schema::new(vec![Field::new(
            "n",
            DataType::Int64,
            false,
        )])))
    }

    fn store(directory: &tempfile::TempDir) -> Store {
        Store::open(directory.path().join("s")).unwrap()
    }

    #[test]
    fn a_secret_is_refused_with_the_name_of_its_option() {
        let directory = tempfile::tempdir().unwrap();
        let options = options().storage_option("Azure_Storage_Access_Key", SECRET);
        let told = store(&directory).create_table("t", options).unwrap_err();
        let text = told.to_string();
        assert!(text.contains("Azure_Storage_Access_Key"), "{text}");
        assert!(!format!("{told:?} {text}").contains(SECRET), "{text}");
    }

    #[test]
    fn a_lake_uri_with_credentials_is_refused_and_they_are_not_told() {
        let directory = tempfile::tempdir().unwrap();
        let options = options().lake("az://files/x.lance?sig=hunter2");
        let told = store(&directory).create_table("t", options).unwrap_err();
        assert!(matches!(told, Error::Invalid { .. }), "{told}");
        assert!(!format!("{told:?} {told}").contains(SECRET), "{told}");
    }

    #[test]
    fn secrets_that_are_allowed_are_not_printed() {
        let directory = tempfile::tempdir().unwrap();
        let options = options()
            .storage_option("access_key", SECRET)
            .storage_option("proxy_url", "http://me:hunter2@proxy:3128")
            .secrets_in_clear(true);
        assert!(!format!("{options:?}").contains(SECRET));
        let store = store(&directory);
        let table = store.create_table("t", options).unwrap();
        let printed = format!("{store:?} {table:?}");
        assert!(printed.contains("access_key") && !printed.contains(SECRET));
    }

    #[test]
    fn a_table_of_before_with_credentials_in_its_lakes_uri_does_not_show_them() {
        let directory = tempfile::tempdir().unwrap();
        let lake = format!("file://{}/t.lance", directory.path().display());
        let first = store(&directory);
        first.create_table("t", options().lake(&lake)).unwrap();
        first.close().unwrap();
        let file = directory.path().join("s/tables/t/table.json");
        let text = fs::read_to_string(&file).unwrap();
        let meddled = text.replace(&lake, &format!("{lake}?sig={SECRET}"));
        assert_ne!(text, meddled);
        fs::write(&file, meddled).unwrap();
        let store = store(&directory);
        let table = store.table("t").unwrap();
        let status = table.status().unwrap();
        assert_eq!(status.lake_uri, lake);
        assert!(!format!("{status:?} {table:?} {store:?}").contains(SECRET));
    }
}
