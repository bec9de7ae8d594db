//! Runs a transform natively, in `cargo test`, under the host's rules.
//!
//! ```
//! use alluvium_plugin::testing::{Rows, run, values};
//! # use alluvium_plugin::*;
//! # struct Shout;
//! # impl Transform for Shout {
//! #     fn open(_: &str, _: &[Field], _: &dyn Assets) -> Result<(Self, Plan), String> {
//! #         let text = || vec![field("text", Kind::Utf8, true, 0)];
//! #         Ok((Shout, Plan { inputs: text(), outputs: text() }))
//! #     }
//! #     fn apply(&mut self, batch: &Batch) -> Result<Output, String> {
//! #         let mut loud = BytesBuilder::new(true);
//! #         for text in batch.text(0)?.iter() {
//! #             loud.push(text.map(str::to_uppercase))?;
//! #         }
//! #         Ok(Output::one_to_one(batch, vec![loud.finish()]))
//! #     }
//! # }
//!
//! # fn main() -> Result<(), String> {
//! let rows = Rows::new().column("text", [Some("hear, hear"), None]);
//! let made = run::<Shout>("{}", &rows)?;
//! assert_eq!(made.column("text")?, values([Some("HEAR, HEAR"), None]));
//! # Ok(())
//! # }
//! ```
//!
//! [`run`] opens the transform and gives it one batch. [`open`] takes assets ([`Files`]) and can be
//! given many; [`Records`] makes a [`RecordTransform`](crate::RecordTransform) fit both. What the
//! host would refuse (buffers of the wrong length, an origin that decreases, a null where none may
//! be) is an error here too.

mod check;
mod column;
mod records;
mod rows;

use std::collections::BTreeMap;

use crate::{Assets, Batch, Field, Plan, Transform, Value};

pub use records::Records;
pub use rows::{Rows, values};

/// Opens a transform without assets and applies it to the rows.
///
/// # Errors
/// What the transform says, or what the host would have against it.
pub fn run<T: Transform>(config: &str, rows: &Rows) -> Result<Made, String> {
    open::<T>(config, rows.schema(), &Files::default())?.apply(rows)
}

/// Opens a transform.
///
/// # Errors
/// What the transform says, or what the host would have against its plan.
pub fn open<T: Transform>(
    config: &str,
    schema: &[Field],
    assets: &dyn Assets,
) -> Result<Opened<T>, String> {
    let (transform, plan) = T::open(config, schema, assets)?;
    check::plan(&plan, schema)?;
    Ok(Opened { transform, plan })
}

/// A transform that was opened.
#[derive(Debug)]
pub struct Opened<T> {
    transform: T,
    plan: Plan,
}

impl<T: Transform> Opened<T> {
    /// What the transform reads, and what it makes of it.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Transforms a batch, of which it is given the columns of its plan's inputs.
    ///
    /// # Errors
    /// What the transform says, or what the host would have against what it made.
    pub fn apply(&mut self, rows: &Rows) -> Result<Made, String> {
        let inputs = rows.inputs(&self.plan.inputs)?;
        let output = self.transform.apply(&Batch::new(rows.len()?, inputs))?;
        check::output(output, rows.len()?, &self.plan.outputs)
    }
}

/// What a transform made of a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct Made {
    /// For each row that was made, the input row that it comes from. Failed rows are left out.
    pub origin: Vec<u32>,
    /// The input rows that failed, ascending, and why.
    pub failures: Vec<(u32, String)>,
    columns: BTreeMap<String, Vec<Value>>,
}

impl Made {
    /// The values of the output column `name`, one for each of `origin`.
    ///
    /// # Errors
    /// When the plan has no such output.
    pub fn column(&self, name: &str) -> Result<&[Value], String> {
        let column = self.columns.get(name).map(Vec::as_slice);
        column.ok_or_else(|| {
            let names: Vec<_> = self.columns.keys().map(String::as_str).collect();
            format!(
                "there is no output `{name}`; there are: {}",
                names.join(", ")
            )
        })
    }
}

/// Assets in memory, by name.
#[derive(Debug, Clone, Default)]
pub struct Files(BTreeMap<String, Vec<u8>>);

impl Files {
    /// The same, with one more, or another under that name.
    pub fn with(mut self, name: &str, bytes: impl Into<Vec<u8>>) -> Self {
        self.0.insert(name.to_owned(), bytes.into());
        self
    }
}

impl Assets for Files {
    fn asset(&self, name: &str) -> Result<Vec<u8>, String> {
        self.0.get(name).cloned().ok_or_else(|| {
            let names: Vec<_> = self.0.keys().map(String::as_str).collect();
            format!(
                "asset {name:?} was not granted; there are: {}",
                names.join(", ")
            )
        })
    }
}
