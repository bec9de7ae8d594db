//! A dataset that somebody else deleted, brought back or put in its place.

use super::*;
use crate::pipeline::tests::copy_directory;

#[test]
fn letters_that_came_back_from_an_old_version_are_not_put_into_the_lake_again() {
    let fixture = Fixture::new();
    let (store, table) = with_letters(&fixture);
    let kept = fixture.path().join("kept");
    copy_directory(&dataset(&fixture), &kept);
    table.replace_transforms(&[harmless(&fixture)]).unwrap();
    assert_eq!(retry(&table).unwrap(), [3, 3, 0, 0]);
    drop((store, table));
    fs::remove_dir_all(dataset(&fixture)).unwrap();
    fs::rename(&kept, dataset(&fixture)).unwrap();
    let (store, table) = fixture.open();
    assert_eq!(retry(&table).unwrap(), [0, 0, 0, 0]);
    assert_eq!(column(&store, "y"), all_but(20, &[]));
    assert_sound(&table);
}

#[test]
fn a_dataset_that_was_deleted_is_told_and_keeps_no_round() {
    let fixture = Fixture::new();
    let (store, table) = with_letters(&fixture);
    table
        .drop_dead_letters(&DeadLetterFilter::all().limit(1))
        .unwrap();
    drop((store, table));
    fs::remove_dir_all(dataset(&fixture)).unwrap();
    let (store, table) = fixture.open();
    let _ = table.append(&rows(0..20)).unwrap();
    assert_eq!(table.flush_to_lake().unwrap(), 40);
    let told = table.status().unwrap().dead_letters_error.unwrap();
    assert!(told.contains("bring it back"), "{told}");
    assert!(table.dead_letters().is_err() && retry(&table).is_err());
    assert!(!dataset(&fixture).exists(), "an empty one would hide it");

    let lost = table.drop_dead_letters(&DeadLetterFilter::all()).unwrap();
    assert_eq!(lost, 5);
    assert_eq!(counts(&table), [0, 0, 6]);
    let _ = table.append(&rows(0..20)).unwrap();
    table.flush_to_lake().unwrap();
    assert_eq!(dead_offsets(&table), [45, 47, 53]);
    assert_sound(&table);
    drop(store);
}

#[test]
fn a_dataset_of_other_columns_is_told_and_nothing_is_lost() {
    let fixture = Fixture::new();
    let (store, table) = fixture.create(vec![picky(&fixture)]);
    let other = Arc::new(arrow_schema::Schema::new(vec![arrow_schema::Field::new(
        "x",
        arrow_schema::DataType::Utf8,
        true,
    )]));
    let context = &table.inner.tierer.context;
    let options = dataset::options_of(&context.lake);
    context
        .executor
        .run(async move { Lake::create(&options, &other).await })
        .unwrap()
        .unwrap();
    let _ = table.append(&rows(0..20)).unwrap();
    assert_eq!(table.flush_to_lake().unwrap(), 20);
    let told = table.status().unwrap().dead_letters_error.unwrap();
    assert!(
        told.contains("column \"x\" is Int32 in the table and Utf8"),
        "{told}"
    );
    drop((store, table));
    fs::remove_dir_all(dataset(&fixture)).unwrap();
    let (_store, table) = fixture.open();
    table.flush_to_lake().unwrap();
    assert_eq!(dead_offsets(&table), [5, 7, 13]);
    assert_sound(&table);
}

#[test]
fn dead_letters_of_a_store_that_had_no_dataset_yet_are_settled() {
    let fixture = Fixture::new();
    let (store, table) = with_letters(&fixture);
    drop((store, table));
    // As a store was before there were datasets of dead letters.
    fs::remove_dir_all(dataset(&fixture)).unwrap();
    let report = fixture.table_path().join("tier.json");
    fs::write(&report, r#"{"tiered":20,"filtered":0,"dead":3,"lake_version":2,"last_error":null,"last_error_us":null}"#).unwrap();
    let store = Store::open(fixture.path()).unwrap();
    let table = store.table("t").unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    while !dataset(&fixture).is_dir() || table.status().unwrap().dead_letters != 3 {
        assert!(Instant::now() < until, "nobody asked for it");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(dead_offsets(&table), [5, 7, 13]);
    assert_sound(&table);
}
