//! A folder of photos becomes searchable Lance rows: `cargo run --example photos -- PHOTO...`

use std::{error::Error, fs, path::Path, sync::Arc};

use alluvium::{Nearest, Store, TableOptions, transform::parse_transforms_toml};
use arrow_array::{BinaryArray, RecordBatch, StringArray};

fn main() -> Result<(), Box<dyn Error>> {
    let photos: Vec<String> = std::env::args().skip(1).collect();
    let bytes: Vec<Vec<u8>> = photos.iter().map(fs::read).collect::<Result<_, _>>()?;
    let batch = RecordBatch::try_from_iter([
        ("caption", Arc::new(StringArray::from(photos)) as _),
        ("image", Arc::new(BinaryArray::from_iter_values(bytes)) as _),
    ])?;

    let demo = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../demo"));
    let transforms =
        parse_transforms_toml(&fs::read_to_string(demo.join("transforms.toml"))?, demo)?;

    let store = Store::open("photo-store")?;
    let table = store.create_table(
        "photos",
        TableOptions::new(batch.schema()).transforms(transforms),
    )?;
    let ticket = table.append(&batch)?; // survives SIGKILL from here on
    ticket.wait()?; // and power loss from here on
    table.flush_to_lake()?; // or wait: rows are tiered when they are 30 s old

    for rows in store.query("SELECT caption, original_width, original_height FROM photos")? {
        println!("{:?}", rows?);
    }
    println!(
        "{:?}",
        table.nearest("embedding", &Nearest::Text("a cat".into()), 1)?
    );
    Ok(store.close()?)
}
