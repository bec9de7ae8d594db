//! What a program learns of what went wrong with a table.

use std::fs;

use crate::pipeline::tests::{Fixture, rows};
use crate::tier::context::TierReport;
use crate::transform::guests::{ERR, guest, on_value};
use crate::{Error, ErrorKind, OnError, Store, StoreOptions, Table};

/// A table whose ten rows are in the lake, and 13 must not come.
fn settled(fixture: &Fixture) -> (Store, Table) {
    let strict = fixture.transform(&guest("", &on_value(13, ERR)), "y", OnError::Fail);
    let (store, table) = fixture.create(vec![strict]);
    let _ = table.append(&rows(0..10)).unwrap();
    table.flush_to_lake().unwrap();
    (store, table)
}

#[test]
fn a_flush_fails_with_what_the_round_failed_with_and_the_status_tells_the_same() {
    let fixture = Fixture::new();
    let (_store, table) = settled(&fixture);
    let _ = table.append(&rows(10..20)).unwrap();
    let error = table.flush_to_lake().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transform);
    let Error::Tiering { source } = error else {
        panic!("{error}")
    };
    for told in [Some(source), table.status().unwrap().last_error] {
        let told = told.unwrap();
        assert!(
            matches!(&*told, Error::RecordFailed { transform, offset: 13, .. } if transform == "y"),
            "{told}"
        );
    }
}

#[test]
fn what_failed_in_another_process_has_its_kind_and_its_text() {
    let fixture = Fixture::new();
    let (_store, table) = settled(&fixture);
    let _ = table.append(&rows(10..20)).unwrap();
    table.flush_to_lake().unwrap_err();
    let reader = StoreOptions::new().read_only(true);
    let reader = reader.open(fixture.path()).unwrap().table("t").unwrap();
    let status = reader.status().unwrap();
    let told = status.last_error.clone().unwrap();
    assert!(matches!(*told, Error::Reported { .. }), "{told:?}");
    assert_eq!(told.kind(), ErrorKind::Transform);
    assert!(told.to_string().contains("offset 13"), "{told}");
    let json = serde_json::to_value(&status).unwrap();
    assert_eq!(json["last_error"]["kind"], "transform");
    assert_eq!(json["last_error"]["message"], told.to_string());
}

#[test]
fn a_report_of_before_errors_had_kinds_is_read() {
    let fixture = Fixture::new();
    let (_store, table) = settled(&fixture);
    let directory = &table.inner.tierer.context.directory;
    let report = directory.join("tier.json");
    fs::write(report, r#"{"tiered":7,"last_error":"it was odd"}"#).unwrap();
    let report = TierReport::read(directory);
    assert_eq!(report.tiered, 7);
    let told = report.last_error.unwrap();
    assert_eq!(told.to_string(), "it was odd");
    assert_eq!(told.kind(), ErrorKind::Other);
}

/// A table that was settled, opened again after its lake was removed.
fn settled_and_robbed(fixture: &Fixture) -> (Store, Table) {
    let (store, table) = settled(fixture);
    drop(table);
    store.close().unwrap();
    fs::remove_dir_all(fixture.path().join("lake")).unwrap();
    fixture.open()
}

#[test]
fn the_status_in_a_process_that_writes_does_not_ask_the_lake() {
    let fixture = Fixture::new();
    let (_store, table) = settled_and_robbed(&fixture);
    let status = table.status().unwrap();
    assert!(status.last_error.is_none(), "{status:?}");
    assert_eq!((status.rows_tiered, status.lag_rows), (10, 0));
}

#[test]
fn a_lake_that_is_gone_is_a_mismatch_and_not_an_outage() {
    let fixture = Fixture::new();
    let (_store, table) = settled_and_robbed(&fixture);
    let _ = table.append(&rows(20..30)).unwrap();
    let error = table.flush_to_lake().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Mismatch, "{error}");
}
