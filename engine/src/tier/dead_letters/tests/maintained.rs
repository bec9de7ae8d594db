//! The dataset of dead letters under maintenance.

use super::*;
use crate::{Maintenance, TableOptions};

#[test]
fn dead_letters_survive_merging_and_cleanup_and_go_on_after_a_restart() {
    let fixture = Fixture::new();
    let store = StoreOptions::new().tiering(false).open(fixture.path());
    let store = store.unwrap();
    let strict = Maintenance::default()
        .merge_at(2)
        .keep_versions(1)
        .keep_versions_for(Duration::ZERO);
    let options = TableOptions::new(rows(0..1).schema())
        .transforms(vec![picky(&fixture)])
        .maintenance(strict);
    let table = store.create_table("t", options).unwrap();
    for _ in 0..3 {
        let _ = table.append(&rows(4..9)).unwrap();
        table.flush_to_lake().unwrap();
    }
    let status = table.maintain().unwrap();
    assert_eq!(status.compactions, 2, "of the rows and of the dead letters");
    assert_eq!(dead_offsets(&table), [1, 3, 6, 8, 11, 13]);
    let (_store, table) = reopened(&fixture, (store, table));
    let _ = table.append(&rows(4..9)).unwrap();
    table.flush_to_lake().unwrap();
    assert_eq!(dead_offsets(&table), [1, 3, 6, 8, 11, 13, 16, 18]);
    assert_sound(&table);
    let all = DeadLetterFilter::all();
    assert_eq!(table.drop_dead_letters(&all).unwrap(), 8);
    table.maintain().unwrap();
    assert_sound(&table);
}
