//! Files that are not where, or what, they should be.

use super::*;
use crate::log::tests_disk::Done;

fn assert_corrupt(specimen: &Specimen, named: &Path) {
    match specimen.read(open) {
        Err(Error::Corrupt { path, .. }) => assert_eq!(path, named),
        other => panic!("{}: {other:?}", named.display()),
    }
}

fn path_at(specimen: &Specimen, index: usize) -> PathBuf {
    specimen.files.keys().nth(index).unwrap().clone()
}

#[test]
fn a_segment_under_a_wrong_offset_is_reported() {
    let specimen = Specimen::new();
    for (path, bytes) in &specimen.files {
        let base: u64 = path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
        for wrong in [base - 5, base + 5, base + 1_000_000] {
            let wrong = Segment::path_of(specimen.directory.path(), wrong);
            specimen.write(path, bytes);
            fs::rename(path, &wrong).unwrap();
            assert!(
                matches!(specimen.read(open), Err(Error::Corrupt { .. })),
                "{} as {}",
                path.display(),
                wrong.display()
            );
        }
    }
}

#[test]
fn the_only_segment_under_a_wrong_offset_is_reported() {
    let directory = TempDir::new().unwrap();
    let log = open(directory.path()).unwrap();
    append(&log, None);
    kill(log);
    let specimen = Specimen::of(directory);
    let path = path_at(&specimen, 0);
    for wrong in [5, 1_000_000] {
        let wrong = Segment::path_of(specimen.directory.path(), wrong);
        specimen.write(&path, &specimen.files[&path]);
        fs::rename(&path, &wrong).unwrap();
        assert_corrupt(&specimen, &wrong);
    }
}

#[test]
fn a_shortened_segment_is_reported() {
    let specimen = Specimen::new();
    for (path, bytes) in &specimen.files {
        for length in [0, 1, 4096, 8192, bytes.len() - 4096, bytes.len() - 1] {
            specimen.write(path, &bytes[..length]);
            assert_corrupt(&specimen, path);
        }
    }
}

#[test]
fn a_segment_that_is_missing_in_the_middle_is_reported() {
    let specimen = Specimen::new();
    assert_eq!(specimen.files.len(), 3);
    for index in 1..specimen.files.len() - 1 {
        let path = path_at(&specimen, index);
        specimen.write(&path, &[]);
        fs::remove_file(&path).unwrap();
        assert_corrupt(&specimen, &path_at(&specimen, index + 1));
    }
}

#[test]
fn two_segments_under_each_others_names_are_reported() {
    let specimen = Specimen::new();
    let (one, other) = (path_at(&specimen, 0), path_at(&specimen, 1));
    specimen.write(&one, &specimen.files[&other]);
    fs::write(&other, &specimen.files[&one]).unwrap();
    assert_corrupt(&specimen, &one);
}

#[test]
fn a_segment_of_another_table_or_log_is_reported() {
    let specimen = Specimen::new();
    let path = path_at(&specimen, 1);
    for (table, kind) in [(2, LogKind::Raw), (1, LogKind::Dead)] {
        let directory = TempDir::new().unwrap();
        let options = LogOptions {
            table_id: Uuid::from_u128(table),
            kind,
            ..small(directory.path())
        };
        drop(Log::open(options, 1, None).unwrap());
        let other = fs::read(&segments(directory.path())[0]).unwrap();
        specimen.write(&path, &other);
        assert_corrupt(&specimen, &path);
    }
}

#[test]
fn what_is_in_a_spare_does_not_matter() {
    let specimen = Specimen::new();
    let (path, bytes) = specimen.files.iter().next().unwrap();
    let stems = ["", "x", "00000000000000000001", "18446744073709551615"];
    for content in [&b"garbage"[..], &[], bytes] {
        specimen.write(path, bytes);
        for stem in stems {
            let spare = specimen.directory.path().join(format!("{stem}.spare"));
            fs::write(spare, content).unwrap();
        }
        assert_eq!(specimen.read(open).unwrap().0, specimen.rows);
        let left = segments(specimen.directory.path());
        let spares = left
            .iter()
            .filter(|p| p.to_string_lossy().ends_with("x.spare"));
        assert_eq!(spares.count(), 0);
    }
}

#[test]
fn a_segment_whose_name_is_no_offset_is_reported() {
    let specimen = Specimen::new();
    let (path, bytes) = specimen.files.iter().next().unwrap();
    for stem in ["x", "1", "-0000000000000000001", "99999999999999999999"] {
        specimen.write(path, bytes);
        let wrong = specimen.directory.path().join(format!("{stem}.seg"));
        fs::write(&wrong, bytes).unwrap();
        assert_corrupt(&specimen, &wrong);
    }
}

#[test]
fn a_segment_that_has_its_name_and_nothing_else_gets_its_roll_call() {
    let specimen = Specimen::new();
    let path = specimen.places.last().unwrap().path.clone();
    let mut bytes = specimen.files[&path].clone();
    let end = bytes.len() - BLOCK_BYTES as usize;
    bytes[FRAMES_START as usize..end].fill(0);
    specimen.write(&path, &bytes);
    let log = open(specimen.directory.path()).unwrap();
    append(&log, None);
    log.release(log.committed()).unwrap();
    assert_eq!(log.size().0, 1);
    kill(log);
    let log = open(specimen.directory.path()).unwrap();
    assert_eq!(log.last_sequence(7), Some(1));
}

#[test]
fn names_that_a_killed_process_gave_are_durable_before_anything_is_acknowledged() {
    let specimen = Specimen::new();
    let disk = Disk::unsynced();
    let storage = Arc::clone(&disk) as _;
    let options = small(specimen.directory.path());
    let log = Log::open(LogOptions { storage, ..options }, 1, None).unwrap();
    assert!(disk.done.lock().contains(&Done::Synced));
    drop(log);
}
