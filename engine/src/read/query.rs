//! SQL over lakes.

use std::fmt;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::datasource::empty::EmptyTable;
use datafusion::error::DataFusionError;
use datafusion::execution::context::{SQLOptions, SessionContext};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::SessionConfig;
use datafusion::sql::TableReference;
use futures::StreamExt;
use futures::stream::BoxStream;
use lance::datafusion::LanceTableProvider;
use lance::datatypes::BlobHandling;

use crate::executor::{Executor, Items};
use crate::tier::lake::{Lake, LakeOptions};
use crate::{Error, Result};

/// What a query may hold in memory; sorts and joins go to temporary files beyond it.
const MEMORY_BYTES: usize = 512 << 20;

/// A table as a query sees it.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    /// Its name in the query.
    pub(crate) name: String,
    /// Its lake.
    pub(crate) lake: LakeOptions,
    /// Its lake's columns, for when there is no lake yet: the table is empty then.
    pub(crate) schema: Option<SchemaRef>,
}

/// A query's result, computed as it is read.
pub(crate) struct Answer {
    /// The result's columns.
    pub(crate) schema: SchemaRef,
    /// The result's rows.
    pub(crate) batches: BoxStream<'static, Result<RecordBatch>>,
}

/// Runs one SELECT (or EXPLAIN) over the newest versions of the tables' lakes, in bounded memory. Statements that would
/// change something, or read files, are refused.
pub(crate) async fn query(sql: &str, tables: Vec<Source>) -> Result<Answer> {
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_limit(MEMORY_BYTES, 1.0)
        .build_arc()
        .map_err(failed)?;
    let context = SessionContext::new_with_config_rt(SessionConfig::new(), runtime);
    for table in tables {
        let provider = provider(&table).await?;
        context
            .register_table(TableReference::bare(table.name), provider)
            .map_err(failed)?;
    }
    let only_reads = SQLOptions::new()
        .with_allow_ddl(false)
        .with_allow_dml(false)
        .with_allow_statements(false);
    let frame = context
        .sql_with_options(sql, only_reads)
        .await
        .map_err(failed)?;
    let stream = frame.execute_stream().await.map_err(failed)?;
    Ok(Answer {
        schema: stream.schema(),
        batches: stream.map(|batch| batch.map_err(failed)).boxed(),
    })
}

async fn provider(table: &Source) -> Result<Arc<dyn TableProvider>> {
    if let Some(lake) = Lake::open(&table.lake).await? {
        // The rows' order is the query's to say.
        let dataset = Arc::new(lake.dataset().clone());
        let provider = LanceTableProvider::new_with_ordering(dataset, false, false, false);
        return Ok(Arc::new(
            provider.with_blob_handling(BlobHandling::AllBinary),
        ));
    }
    match &table.schema {
        Some(schema) => Ok(Arc::new(EmptyTable::new(schema.clone()))),
        None => Err(Error::invalid(
            format!("table {:?}", table.name),
            "its lake is gone, and rows were settled in it; bring it back",
        )),
    }
}

fn failed(error: DataFusionError) -> Error {
    Error::Query {
        source: Box::new(error),
    }
}

/// The rows of a query, computed as they are read. An iterator of batches.
pub struct QueryResult {
    schema: SchemaRef,
    batches: Items<RecordBatch>,
}

impl fmt::Debug for QueryResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueryResult")
            .field("schema", &self.schema)
            .finish_non_exhaustive()
    }
}

impl QueryResult {
    /// The result's columns.
    #[must_use]
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

impl Iterator for QueryResult {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        self.batches.next()
    }
}

/// Runs a query for a caller that is not asynchronous.
pub(crate) fn run(
    executor: &Arc<Executor>,
    sql: String,
    tables: Vec<Source>,
) -> Result<QueryResult> {
    let answer = executor.run(async move { query(&sql, tables).await })??;
    Ok(QueryResult {
        schema: answer.schema,
        batches: Items::new(executor, answer.batches),
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use arrow_array::cast::AsArray;
    use arrow_array::types::{Float64Type, Int64Type};
    use futures::TryStreamExt;
    use uuid::Uuid;

    use super::*;
    use crate::tier::lake::tests::{append, at, columns};

    fn table(name: &str, path: &Path) -> Source {
        Source {
            name: name.into(),
            lake: at(path),
            schema: Some(Arc::new(columns())),
        }
    }

    async fn ask(sql: &str, tables: Vec<Source>) -> Result<RecordBatch> {
        let answer = query(sql, tables).await?;
        let batches: Vec<_> = answer.batches.try_collect().await?;
        Ok(arrow_select::concat::concat_batches(&answer.schema, &batches).unwrap())
    }

    async fn lake(path: &Path) -> Lake {
        let mut lake = Lake::create(&at(path), &columns()).await.unwrap();
        append(&mut lake, Uuid::new_v4(), 0, 0, 10).await.unwrap();
        lake
    }

    #[tokio::test]
    async fn a_query_sees_rows_system_columns_and_tables_without_a_lake() {
        let folder = tempfile::tempdir().unwrap();
        lake(&folder.path().join("a.lance")).await;
        let tables = || {
            vec![
                table("Events", &folder.path().join("a.lance")),
                table("none", &folder.path().join("none.lance")),
            ]
        };
        let sql = r#"SELECT name, __offset FROM "Events" WHERE __bucket = 0 AND __offset >= 8 ORDER BY __offset DESC"#;
        let batch = ask(sql, tables()).await.unwrap();
        assert_eq!(
            batch["__offset"].as_primitive::<Int64Type>().values(),
            &[9, 8]
        );
        assert_eq!(batch["name"].as_string::<i32>().value(0), "0/9");
        let all = ask(r#"SELECT * FROM "Events""#, tables()).await.unwrap();
        assert_eq!(all.num_columns(), columns().fields().len());
        let count = ask("SELECT count(*) AS n FROM none", tables())
            .await
            .unwrap();
        assert_eq!(count["n"].as_primitive::<Int64Type>().value(0), 0);
        let unknown = Source {
            schema: None,
            ..table("none", &folder.path().join("none.lance"))
        };
        assert!(matches!(
            ask("SELECT 1", vec![unknown]).await,
            Err(Error::Invalid { .. })
        ));
    }

    #[tokio::test]
    async fn distances_of_vectors_can_be_computed_in_sql() {
        let folder = tempfile::tempdir().unwrap();
        lake(folder.path()).await;
        for function in ["array_distance", "cosine_distance"] {
            let sql = format!(
                "SELECT __offset, {function}(vector, [6.0, 1.0]) AS d FROM t ORDER BY d, __offset LIMIT 2"
            );
            let batch = ask(&sql, vec![table("t", folder.path())]).await.unwrap();
            assert_eq!(
                batch["__offset"].as_primitive::<Int64Type>().value(0),
                6,
                "{function}"
            );
            assert!(
                batch["d"].as_primitive::<Float64Type>().value(0).abs() < 1e-9,
                "{function}"
            );
        }
    }

    #[tokio::test]
    async fn what_is_not_a_read_of_a_table_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        lake(&folder.path().join("a.lance")).await;
        std::fs::write(folder.path().join("secret.csv"), "a\n1\n").unwrap();
        let secret = folder.path().join("secret.csv");
        let secret = secret.display();
        for sql in [
            "DROP TABLE t".to_owned(),
            "CREATE TABLE x AS SELECT 1".to_owned(),
            "INSERT INTO t SELECT * FROM t".to_owned(),
            "DELETE FROM t".to_owned(),
            "SET datafusion.execution.batch_size = 1".to_owned(),
            format!("COPY (SELECT 1) TO '{secret}'"),
            format!("SELECT * FROM '{secret}'"),
            format!("CREATE EXTERNAL TABLE x STORED AS CSV LOCATION '{secret}'"),
            "SELECT 1; SELECT 2".to_owned(),
            "SELEC".to_owned(),
        ] {
            let refused = ask(&sql, vec![table("t", &folder.path().join("a.lance"))]).await;
            assert!(
                matches!(refused, Err(Error::Query { .. })),
                "{sql}: {refused:?}"
            );
        }
    }
}
