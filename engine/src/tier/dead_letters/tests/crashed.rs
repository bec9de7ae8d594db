//! A process that ends between two steps.

use super::*;

/// As another process sees it.
fn assert_sound_from_outside(fixture: &Fixture) {
    let store = StoreOptions::new()
        .read_only(true)
        .open(fixture.path())
        .unwrap();
    assert_sound(&store.table("t").unwrap());
}

#[test]
fn what_is_settled_twice_over_a_crash_is_there_once() {
    let fixture = Fixture::new();
    let (store, table) = fixture.create(vec![picky(&fixture)]);
    end_at(&table, Some(Moment::Settled));
    let _ = table.append(&rows(0..20)).unwrap();
    assert_eq!(table.flush_to_lake().unwrap(), 20, "the lake does not wait");
    let told = table.status().unwrap().dead_letters_error.unwrap();
    assert!(told.contains("the test ends"), "{told}");
    assert_sound(&table);
    end_at(&table, None);
    let (_store, table) = reopened(&fixture, (store, table));
    let _ = table.append(&rows(0..20)).unwrap();
    table.flush_to_lake().unwrap();
    assert_eq!(dead_offsets(&table), [5, 7, 13, 25, 27, 33]);
    assert_eq!(table.status().unwrap().dead_letters_error, None);
    assert_sound(&table);
}

#[test]
fn a_flush_that_has_nothing_to_tier_tries_what_could_not_be_settled() {
    let fixture = Fixture::new();
    let (_store, table) = fixture.create(vec![picky(&fixture)]);
    end_at(&table, Some(Moment::Settled));
    let _ = table.append(&rows(0..20)).unwrap();
    table.flush_to_lake().unwrap();
    assert_eq!(table.flush_to_lake().unwrap(), 20, "it does not wait");
    assert!(table.status().unwrap().dead_letters_error.is_some());
    end_at(&table, None);
    table.flush_to_lake().unwrap();
    assert_eq!(table.status().unwrap().dead_letters_error, None);
    assert_sound(&table);
}

#[test]
fn a_retry_that_crashes_anywhere_neither_doubles_nor_loses_a_row() {
    for moment in [Moment::Begun, Moment::Committed, Moment::Gone] {
        let fixture = Fixture::new();
        let (store, table) = with_letters(&fixture);
        table.replace_transforms(&[mended(&fixture)]).unwrap();
        end_at(&table, Some(moment));
        retry(&table).unwrap_err();
        assert_sound_from_outside(&fixture);
        end_at(&table, None);
        let (store, table) = reopened(&fixture, (store, table));
        assert_sound(&table);
        // Rounds go on, and then it is retried again.
        let _ = table.append(&rows(20..30)).unwrap();
        table.flush_to_lake().unwrap();
        assert_sound(&table);
        retry(&table).unwrap();
        assert_eq!(column(&store, "y").len(), 28, "{moment:?}");
        assert_eq!(dead_offsets(&table), [13], "{moment:?}");
        assert_eq!(counts(&table), [1, 1, 0], "{moment:?}");
        assert_sound(&table);
        assert!(!Resolution::is_there(&fixture.table_path()));
    }
}

#[test]
fn without_a_restart_a_failed_retry_is_brought_to_its_end_too() {
    let fixture = Fixture::new();
    let (store, table) = with_letters(&fixture);
    table.replace_transforms(&[mended(&fixture)]).unwrap();
    end_at(&table, Some(Moment::Committed));
    retry(&table).unwrap_err();
    assert_eq!(dead_offsets(&table), [13], "5 and 7 are none any more");
    end_at(&table, None);
    assert_eq!(retry(&table).unwrap(), [1, 0, 0, 1]);
    assert_eq!(column(&store, "y"), all_but(20, &[7, 13]));
    assert_sound(&table);
}

#[test]
fn dropped_letters_are_gone_and_counted_also_over_a_crash() {
    for moment in [
        None,
        Some(Moment::Begun),
        Some(Moment::Committed),
        Some(Moment::Gone),
    ] {
        let fixture = Fixture::new();
        let (store, table) = with_letters(&fixture);
        end_at(&table, moment);
        let some = DeadLetterFilter::all().offsets(6..100);
        let dropped = table.drop_dead_letters(&some);
        assert_eq!(dropped.is_err(), moment.is_some());
        assert_sound_from_outside(&fixture);
        end_at(&table, None);
        let (store, table) = reopened(&fixture, (store, table));
        table.drop_dead_letters(&some).unwrap();
        assert_eq!(dead_offsets(&table), [5]);
        assert_eq!(counts(&table), [1, 0, 2], "{moment:?}");
        assert_eq!(column(&store, "y"), all_but(20, &[5, 7, 13]));
        assert_sound(&table);
    }
}
