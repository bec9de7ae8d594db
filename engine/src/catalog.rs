//! A table's file, `table.json`: what the table is. Replaced atomically: write, fsync, rename, fsync the directory.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_ipc::convert::try_schema_from_flatbuffer_bytes;
use arrow_ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteOptions};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::index::IndexSpec;
use crate::log::{check_schema, sync_directory};
use crate::options::Settings;
use crate::schemas::Schemas;
use crate::tier::lake::{
    BUCKET_COLUMN, CredentialProvider, LakeOptions, LakeUri, OFFSET_COLUMN, StorageOptions,
};
use crate::transform::TransformSpec;

/// The lake's column of a row's append time.
pub(crate) const TIMESTAMP_COLUMN: &str = "__timestamp";
/// The id of a new table's schema.
pub(crate) const FIRST_SCHEMA_ID: u16 = 1;
/// The number of a new table's transforms.
pub(crate) const FIRST_GENERATION: u16 = 1;

const FILE_NAME: &str = "table.json";
const FORMAT_VERSION: u32 = 2;
/// The version of a table that was altered, which those who know only one schema must not read.
const ALTERED_VERSION: u32 = 3;
const NAME_BYTES_MAX: usize = 64;
const COLUMN_BYTES_MAX: usize = 255;

/// What a table's file says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct TableMeta {
    pub(crate) format_version: u32,
    pub(crate) table_id: Uuid,
    pub(crate) created_us: i64,
    pub(crate) settings: Settings,
    /// Where the rows go; `None` is the default place within the store, wherever that is moved.
    pub(crate) lake: Option<LakeUri>,
    pub(crate) storage_options: StorageOptions,
    /// The transforms that the table has, last, and those that it had when rows were staged that are not tiered yet.
    pub(crate) generations: BTreeMap<u16, Generation>,
    /// The indices that the lake is to have.
    #[serde(default)]
    pub(crate) indices: Vec<IndexSpec>,
    /// What the lake has yet to follow, if anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) altering: Option<Altering>,
    /// What is appended, last, and what was, by schema id.
    schemas: BTreeMap<u16, StoredSchema>,
    /// The columns of the lake, without its own: what was appended, and what transforms have ever made of it.
    lake_columns: StoredSchema,
}

/// The lake may not have the table's columns yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Altering {
    /// The columns that it is to lose.
    pub(crate) dropped: Vec<String>,
}

/// The transforms that a table has until they are replaced. Each frame of the staged log names its own.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Generation {
    pub(crate) transforms: Vec<PinnedTransform>,
    /// The columns that they make.
    made: StoredSchema,
}

impl Generation {
    pub(crate) fn new(transforms: Vec<PinnedTransform>, made: &Schema) -> Self {
        Self {
            transforms,
            made: StoredSchema::new(made),
        }
    }
}

/// A transform whose files are pinned by content, so that the originals may change or go.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct PinnedTransform {
    pub(crate) spec: TransformSpec,
    pub(crate) plugin_sha256: String,
    /// What the plugin says of itself; stores of before have none.
    #[serde(default)]
    pub(crate) plugin_version: Option<String>,
    /// The name that the plugin asks for -> the content.
    pub(crate) assets_sha256: BTreeMap<String, String>,
}

/// An Arrow schema: its columns for people, its IPC message (a flatbuffer, in base64) for programs.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct StoredSchema {
    columns: Vec<String>,
    arrow_ipc: String,
}

impl StoredSchema {
    fn new(schema: &Schema) -> Self {
        let encoded = IpcDataGenerator::default().schema_to_bytes_with_dictionary_tracker(
            schema,
            &mut DictionaryTracker::new(false),
            &IpcWriteOptions::default(),
        );
        let describe = |field: &Arc<Field>| {
            let nullable = if field.is_nullable() { "?" } else { "" };
            format!("{}: {}{nullable}", field.name(), field.data_type())
        };
        Self {
            columns: schema.fields().iter().map(describe).collect(),
            arrow_ipc: BASE64.encode(encoded.ipc_message),
        }
    }

    fn decode(&self) -> Result<SchemaRef, String> {
        let bytes = BASE64.decode(&self.arrow_ipc).map_err(|e| e.to_string())?;
        let schema = try_schema_from_flatbuffer_bytes(&bytes).map_err(|e| e.to_string())?;
        Ok(Arc::new(schema))
    }
}

impl TableMeta {
    pub(crate) fn new(
        settings: Settings,
        lake: Option<LakeUri>,
        storage_options: StorageOptions,
        generation: Generation,
        schema: &Schema,
        lake_columns: &Schema,
    ) -> Self {
        Self {
            format_version: FORMAT_VERSION,
            table_id: Uuid::new_v4(),
            created_us: crate::log::now_us(),
            settings,
            lake,
            storage_options,
            generations: BTreeMap::from([(FIRST_GENERATION, generation)]),
            indices: Vec::new(),
            altering: None,
            schemas: BTreeMap::from([(FIRST_SCHEMA_ID, StoredSchema::new(schema))]),
            lake_columns: StoredSchema::new(lake_columns),
        }
    }

    /// Reads a table's file.
    pub(crate) fn read(directory: &Path) -> Result<Self> {
        let path = directory.join(FILE_NAME);
        let text = fs::read(&path).map_err(Error::io("read", &path))?;
        let meta: Self =
            serde_json::from_slice(&text).map_err(|e| corrupt(&path, e.to_string()))?;
        if ![FORMAT_VERSION, ALTERED_VERSION].contains(&meta.format_version) {
            let reason = format!(
                "format version {} is neither {FORMAT_VERSION} nor {ALTERED_VERSION}; use the version of Alluvium that wrote it",
                meta.format_version
            );
            return Err(corrupt(&path, reason));
        }
        Ok(meta)
    }

    /// Replaces a table's file; the old one or the new one survives a crash. Only its owner may read it,
    /// as storage options may hold a secret.
    pub(crate) fn write(&self, directory: &Path) -> Result<()> {
        let text = serde_json::to_vec_pretty(self)
            .map_err(|e| Error::invalid("table options", e.to_string()))?;
        replace_file(&directory.join(FILE_NAME), &text)
    }

    /// The schemas of what is appended, and was.
    pub(crate) fn schemas(&self, directory: &Path) -> Result<Schemas> {
        let path = directory.join(FILE_NAME);
        let decode = |(id, schema): (&u16, &StoredSchema)| Ok((*id, schema.decode()?));
        let schemas: Result<_, String> = self.schemas.iter().map(decode).collect();
        let schemas = schemas.map_err(|reason| corrupt(&path, reason))?;
        Schemas::new(schemas).ok_or_else(|| corrupt(&path, "it has no schema".into()))
    }

    /// Takes on another schema of what is appended.
    pub(crate) fn add_schema(&mut self, schema: &Schema) -> Result<()> {
        let newest = self.schemas.last_key_value();
        let id = newest
            .and_then(|(id, _)| id.checked_add(1))
            .ok_or_else(|| {
                let reason = format!(
                    "was altered {} times, which is as often as can be",
                    u16::MAX
                );
                Error::invalid("the table", reason)
            })?;
        self.schemas.insert(id, StoredSchema::new(schema));
        self.format_version = ALTERED_VERSION;
        Ok(())
    }

    /// The columns that the lake is to lose.
    pub(crate) fn dropped(&self) -> &[String] {
        let altering = self.altering.as_ref();
        altering.map_or(&[], |altering| &altering.dropped)
    }

    /// The columns of the lake, its own three last.
    pub(crate) fn lake_schema(&self, directory: &Path) -> Result<SchemaRef> {
        let columns = self.lake_columns(directory)?;
        Ok(lake_schema(&columns))
    }

    /// The columns of the lake, without its own three.
    pub(crate) fn lake_columns(&self, directory: &Path) -> Result<SchemaRef> {
        let columns = self.lake_columns.decode();
        columns.map_err(|reason| corrupt(&directory.join(FILE_NAME), reason))
    }

    /// The columns that each generation of transforms makes.
    pub(crate) fn made_schemas(&self, directory: &Path) -> Result<BTreeMap<u16, SchemaRef>> {
        let decode = |(number, generation): (&u16, &Generation)| {
            let made = generation.made.decode();
            made.map(|made| (*number, made))
                .map_err(|reason| corrupt(&directory.join(FILE_NAME), reason))
        };
        self.generations.iter().map(decode).collect()
    }

    /// Takes on other transforms. Of the old ones those stay that staged rows still name.
    pub(crate) fn add_generation(
        &mut self,
        number: u16,
        generation: Generation,
        still_named: &BTreeSet<u16>,
        lake_columns: &Schema,
    ) {
        self.generations
            .retain(|number, _| still_named.contains(number));
        self.generations.insert(number, generation);
        self.lake_columns = StoredSchema::new(lake_columns);
    }

    /// The lake and how to get in.
    pub(crate) fn lake_options(
        &self,
        store: &Path,
        table: &str,
        provider: Option<&CredentialProvider>,
    ) -> LakeOptions {
        let default = || store.join("lake").join(format!("{table}.lance"));
        let given = self.lake.clone().map(|LakeUri(uri)| uri);
        LakeOptions {
            uri: given.unwrap_or_else(|| default().to_string_lossy().into_owned()),
            storage_options: self.storage_options.0.clone().into_iter().collect(),
            provider: provider.cloned(),
            layout: self.settings.layout.clone(),
        }
    }
}

/// A schema with the lake's own columns behind it.
pub(crate) fn lake_schema(transformed: &Schema) -> SchemaRef {
    let own = [
        Field::new(BUCKET_COLUMN, DataType::Int32, false),
        Field::new(OFFSET_COLUMN, DataType::Int64, false),
        timestamp_field(),
    ];
    extended(transformed, own)
}

/// The column of a row's append time.
pub(crate) fn timestamp_field() -> Field {
    let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    Field::new(TIMESTAMP_COLUMN, utc, false)
}

/// A schema with further columns behind its own.
pub(crate) fn extended<const N: usize>(schema: &Schema, more: [Field; N]) -> SchemaRef {
    let fields = schema.fields().iter().cloned();
    let fields: Vec<_> = fields.chain(more.map(Arc::new)).collect();
    Arc::new(Schema::new(fields))
}

/// Refuses a table name that is not safe as a file name, a URI segment and an SQL identifier.
pub(crate) fn check_table_name(name: &str) -> Result<()> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    if starts_well && name.len() <= NAME_BYTES_MAX && name.chars().all(allowed) {
        return Ok(());
    }
    Err(Error::invalid(
        format!("table name {name:?}"),
        format!(
            "use up to {NAME_BYTES_MAX} letters, digits, '_' and '-', and don't begin with '-'"
        ),
    ))
}

/// Refuses columns that cannot be stored, or not under that name.
pub(crate) fn check_columns(schema: &Schema) -> Result<()> {
    if schema.fields().is_empty() {
        return Err(Error::invalid("table", "a table needs at least one column"));
    }
    let mut names = std::collections::BTreeSet::new();
    for field in schema.fields() {
        let name = field.name();
        let refuse = |reason: &str| Err(Error::invalid(format!("column {name:?}"), reason));
        if name.is_empty() || name.len() > COLUMN_BYTES_MAX {
            return refuse("a name has 1 to 255 bytes");
        }
        let is_bad = |c: char| c == '.' || c == '`' || c.is_control();
        if name.starts_with("__") || name.chars().any(is_bad) {
            return refuse(
                "a name must not begin with '__', nor hold '.', '`' or control characters",
            );
        }
        if !names.insert(name.to_lowercase()) {
            return refuse("there are two columns of that name (case does not tell them apart)");
        }
    }
    check_schema(schema)
}

/// Reads a file that [`replace_file`] wrote as JSON; `None` when there is none.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("read", path)(error)),
    };
    let read = serde_json::from_slice(&text);
    read.map(Some).map_err(|e| corrupt(path, e.to_string()))
}

/// Removes a file, if it is there.
pub(crate) fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Replaces a file: the old content or the new survives a crash.
pub(crate) fn replace_file(path: &Path, content: &[u8]) -> Result<()> {
    let directory: PathBuf = path.parent().map(Path::to_path_buf).unwrap_or_default();
    let fresh = path.with_extension("tmp");
    let written = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&fresh)
        .and_then(|mut file| file.write_all(content).and_then(|()| file.sync_all()));
    written.map_err(Error::io("write", &fresh))?;
    fs::rename(&fresh, path).map_err(Error::io("replace", path))?;
    sync_directory(&directory)
}

fn corrupt(path: &Path, reason: String) -> Error {
    Error::Corrupt {
        path: path.to_path_buf(),
        position: 0,
        reason,
    }
}
