//! Writers that want the same lake, or the same round, at once.

use std::time::Duration;

use lance::dataset::cleanup::CleanupPolicy;

use super::*;
use crate::maintenance::Maintenance;

#[tokio::test]
async fn the_same_range_committed_twice_is_there_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut lake = Lake::create(&at(folder.path()), &columns()).await.unwrap();
    let mut zombie = Lake::open(&at(folder.path())).await.unwrap().unwrap();
    let table = Uuid::new_v4();
    let late = zombie
        .write(stream::iter([Ok(rows(0, 0, 10))]))
        .await
        .unwrap();
    append(&mut lake, table, 0, 0, 10).await.unwrap();
    let outcome = zombie.commit(late, &plain(table, 0, 0, 10)).await.unwrap();
    assert_eq!(
        outcome,
        Outcome::AlreadyCommitted(Progress {
            to: 10,
            rows: 10,
            ..Progress::default()
        })
    );
    assert_eq!(offsets(&zombie, 0).await, (0..10).collect::<Vec<_>>());
    assert_eq!(
        data_files(folder.path()),
        1,
        "the late round's file is left"
    );

    // Ranges that overlap, or leave a gap, are another story.
    for (from, to) in [(5, 15), (12, 15)] {
        let error = append(&mut zombie, table, 0, from, to).await.unwrap_err();
        assert!(matches!(error, Error::Fenced { .. }), "{error}");
        assert!(error.to_string().contains("up to offset 10"), "{error}");
    }
    assert_eq!(data_files(folder.path()), 1);
}

#[tokio::test]
async fn what_became_of_old_offsets_is_changed_only_where_nobody_else_did() {
    let folder = tempfile::tempdir().unwrap();
    let mut lake = Lake::create(&at(folder.path()), &columns()).await.unwrap();
    let mut zombie = Lake::open(&at(folder.path())).await.unwrap().unwrap();
    let table = Uuid::new_v4();
    append(&mut lake, table, 0, 0, 10).await.unwrap();
    let before = lake.progress(table, 0).await.unwrap();
    let round = Round {
        amends: Some(before),
        after: Progress { rows: 11, ..before },
        ..plain(table, 0, 10, 10)
    };
    for (lake, is_first) in [(&mut lake, true), (&mut zombie, false)] {
        let written = lake.write(stream::iter([Ok(rows(0, 3, 4))])).await.unwrap();
        let outcome = lake.commit(written, &round).await;
        assert_eq!(outcome.is_ok(), is_first, "{outcome:?}");
    }
    assert_eq!(zombie.progress(table, 0).await.unwrap().rows, 11);
    assert_eq!(data_files(folder.path()), 2);
    // A commit without rows takes the version on which a late one would fit.
    let fence = Round {
        amends: Some(round.after),
        ..round
    };
    let nothing = zombie
        .write(stream::iter([Ok(rows(0, 0, 0))]))
        .await
        .unwrap();
    zombie.commit(nothing, &fence).await.unwrap();
    assert_eq!(zombie.version(), lake.version() + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_writers_racing_with_one_round_one_wins() {
    let folder = tempfile::tempdir().unwrap();
    let table = Uuid::new_v4();
    let mut lake = Lake::create(&at(folder.path()), &columns()).await.unwrap();
    for round in 0..5 {
        let (from, to) = (round * 10, round * 10 + 10);
        let race = (0..6).map(|_| {
            let options = at(folder.path());
            tokio::spawn(async move {
                let mut lake = Lake::open(&options).await.unwrap().unwrap();
                append(&mut lake, table, 0, from, to).await.unwrap()
            })
        });
        let outcomes = futures::future::join_all(race).await;
        let won = outcomes
            .into_iter()
            .filter(|outcome| matches!(outcome.as_ref().unwrap(), Outcome::Committed(_)));
        assert_eq!(won.count(), 1);
    }
    lake.refresh().await.unwrap();
    assert_eq!(offsets(&lake, 0).await, (0..50).collect::<Vec<_>>());
    assert_eq!(data_files(folder.path()), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn buckets_and_foreign_writers_commit_at_once_and_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    Lake::create(&at(folder.path()), &columns()).await.unwrap();
    let engines = (0..3).map(|bucket| {
        let options = at(folder.path());
        tokio::spawn(async move {
            let mut lake = Lake::open(&options).await.unwrap().unwrap();
            let table = Uuid::new_v4();
            for from in 0..5 {
                append(&mut lake, table, bucket, from, from + 1)
                    .await
                    .unwrap();
            }
        })
    });
    let path = folder.path().to_path_buf();
    let other = tokio::spawn(async move {
        for offset in 0..5 {
            foreign(&path, rows(9, offset, offset + 1)).await;
        }
    });
    for engine in futures::future::join_all(engines).await {
        engine.unwrap();
    }
    other.await.unwrap();
    let lake = Lake::open(&at(folder.path())).await.unwrap().unwrap();
    for bucket in [0, 1, 2, 9] {
        assert_eq!(
            offsets(&lake, bucket).await,
            [0, 1, 2, 3, 4],
            "bucket {bucket}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn commits_that_came_too_late_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    Lake::create(&at(folder.path()), &columns()).await.unwrap();
    let engines = (0..4).map(|bucket| {
        let options = at(folder.path());
        tokio::spawn(async move {
            let mut lake = Lake::open(&options).await.unwrap().unwrap();
            let table = Uuid::new_v4();
            for from in 0..25 {
                append(&mut lake, table, bucket, from, from + 1)
                    .await
                    .unwrap();
            }
            (lake.take_retries(), lake.take_retries())
        })
    });
    let retries = futures::future::join_all(engines).await;
    let retries: Vec<_> = retries.into_iter().map(Result::unwrap).collect();
    assert!(retries.iter().any(|(first, _)| *first > 0), "{retries:?}");
    assert!(retries.iter().all(|(_, again)| *again == 0), "{retries:?}");
}

#[tokio::test]
async fn a_foreign_append_between_write_and_commit_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let mut lake = Lake::create(&at(folder.path()), &columns()).await.unwrap();
    let table = Uuid::new_v4();
    let written = lake.write(stream::iter([Ok(rows(0, 0, 4))])).await.unwrap();
    foreign(folder.path(), rows(9, 0, 2)).await;
    lake.commit(written, &plain(table, 0, 0, 4)).await.unwrap();
    assert_eq!(offsets(&lake, 0).await, [0, 1, 2, 3]);
    assert_eq!(offsets(&lake, 9).await, [0, 1]);
}

#[tokio::test]
async fn a_commit_never_skips_a_version_that_was_not_searched() {
    let folder = tempfile::tempdir().unwrap();
    let mut lake = Lake::create(&at(folder.path()), &columns()).await.unwrap();
    let mut zombie = Lake::open(&at(folder.path())).await.unwrap().unwrap();
    let table = Uuid::new_v4();
    let late = zombie
        .write(stream::iter([Ok(rows(0, 0, 10))]))
        .await
        .unwrap();
    let transaction = late.transaction(&plain(table, 0, 0, 10));
    // Its search is done, and now the other is faster.
    append(&mut lake, table, 0, 0, 10).await.unwrap();
    let error = zombie.publish(&transaction).await.unwrap_err();
    assert!(
        matches!(error, lance::Error::CommitConflict { .. }),
        "{error}"
    );
    lake.refresh().await.unwrap();
    assert_eq!(offsets(&lake, 0).await, (0..10).collect::<Vec<_>>());
}

/// A round of a lake in memory that sleeps before its last step, while another engine commits rounds and removes old versions.
async fn sleeps_through_a_cleanup(address: &str, earlier_rounds: u64, is_foreign: bool) {
    let faults = faulty::Faults::of(address, 0);
    let options = at(Path::new(&format!("{address}t.lance")));
    let (table, other_table) = (Uuid::new_v4(), Uuid::new_v4());
    let mut sleeper = Lake::create(&options, &columns()).await.unwrap();
    for from in 0..earlier_rounds {
        append(&mut sleeper, table, 0, from, from + 1)
            .await
            .unwrap();
    }
    let mut other = Lake::open(&options).await.unwrap().unwrap();
    let (is_there, go_on) = faults.hold_next_commit();
    let from = earlier_rounds;
    let late = tokio::spawn(async move {
        let ended = append(&mut sleeper, table, 0, from, from + 1).await;
        (sleeper, ended)
    });
    is_there.await.unwrap();
    for from in 0..2 {
        append(&mut other, other_table, 7, from, from + 1)
            .await
            .unwrap();
    }
    let policy = Maintenance::default()
        .keep_versions(1)
        .keep_versions_for(Duration::ZERO);
    match is_foreign {
        // As any Lance program would, which keeps no checkpoint.
        true => {
            let all_but_newest = CleanupPolicy {
                before_version: Some(other.version()),
                ..CleanupPolicy::default()
            };
            let cleaned = other.dataset().cleanup(all_but_newest).execute().await;
            assert!(cleaned.unwrap().old_versions > 1);
        }
        false => {
            let cleaned = other.clean(&policy).await;
            assert!(cleaned.unwrap().versions > 1);
        }
    }
    go_on.send(()).unwrap();
    let (mut sleeper, ended) = late.await.unwrap();

    let error = ended.unwrap_err().to_string();
    assert!(
        error.contains("no newer version knows of it"),
        "{address}: {error}"
    );
    let found = sleeper.progress(table, 0).await.unwrap();
    assert_eq!(found.to, from, "{address}");
    let mut reopened = Lake::open(&options).await.unwrap().unwrap();
    assert_eq!(reopened.progress(table, 0).await.unwrap().to, from);
    append(&mut sleeper, table, 0, from, from + 1)
        .await
        .unwrap();
    other.clean(&policy).await.unwrap();
    reopened.refresh().await.unwrap();
    let all: Vec<i64> = (0..=from as i64).collect();
    assert_eq!(offsets(&reopened, 0).await, all, "{address}");
    assert_eq!(offsets(&reopened, 7).await, [0, 1], "{address}");
}

#[tokio::test]
async fn a_commit_that_gets_the_name_of_a_version_that_was_removed_meanwhile_does_not_count() {
    for earlier_rounds in [0, 3] {
        for is_foreign in [false, true] {
            let address = format!("shared-memory://sleeps-{earlier_rounds}-{is_foreign}/");
            sleeps_through_a_cleanup(&address, earlier_rounds, is_foreign).await;
        }
    }
}

/// The transaction of a round that is committed, which nobody was told.
async fn landed(lake: &mut Lake, round: &Round) -> Transaction {
    let rows = rows(round.bucket, round.from, round.after.to);
    let written = lake.write(stream::iter([Ok(rows)])).await.unwrap();
    let transaction = written.transaction(round);
    lake.publish(&transaction).await.unwrap();
    transaction
}

#[tokio::test]
async fn a_commit_whose_reply_was_lost_is_recognized() {
    let folder = tempfile::tempdir().unwrap();
    let mut lake = Lake::create(&at(folder.path()), &columns()).await.unwrap();
    let table = Uuid::new_v4();
    let round = plain(table, 0, 0, 10);
    let transaction = landed(&mut lake, &round).await;
    let lost = lance::Error::timeout("the reply was lost".to_owned());
    let outcome = lake
        .after_failure(lost, &round, &transaction)
        .await
        .unwrap();
    assert_eq!(outcome, Outcome::Committed(round.after));
    assert_eq!(offsets(&lake, 0).await, (0..10).collect::<Vec<_>>());

    // One that has not landed is an error, and its files stay: the request may land yet.
    let round = plain(table, 0, 10, 20);
    let written = lake
        .write(stream::iter([Ok(rows(0, 10, 20))]))
        .await
        .unwrap();
    let transaction = written.transaction(&round);
    let down = lance::Error::timeout("it is down".to_owned());
    let error = lake
        .after_failure(down, &round, &transaction)
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            Error::Lake {
                action: "commit to",
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(data_files(folder.path()), 2);
}

#[tokio::test]
async fn a_commit_whose_reply_was_lost_is_recognized_also_when_its_version_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let mut lake = Lake::create(&at(folder.path()), &columns()).await.unwrap();
    let mut other = Lake::open(&at(folder.path())).await.unwrap().unwrap();
    let (table, other_table) = (Uuid::new_v4(), Uuid::new_v4());
    let round = plain(table, 0, 0, 10);
    let transaction = landed(&mut lake, &round).await;
    append(&mut other, other_table, 1, 0, 10).await.unwrap();
    let policy = crate::Maintenance::default()
        .keep_versions(1)
        .keep_versions_for(Duration::ZERO);
    assert!(other.clean(&policy).await.unwrap().versions > 0);
    let mut late = Lake::open(&at(folder.path())).await.unwrap().unwrap();
    let lost = lance::Error::timeout("the reply was lost".to_owned());
    let outcome = late.after_failure(lost, &round, &transaction).await;
    assert_eq!(outcome.unwrap(), Outcome::Committed(round.after));
    assert_eq!(offsets(&late, 0).await, (0..10).collect::<Vec<_>>());
}

#[tokio::test]
async fn rows_that_were_written_before_a_column_was_cast_or_dropped_are_not_let_in_without_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut lake = Lake::create(&at(folder.path()), &columns()).await.unwrap();
    let mut other = Lake::open(&at(folder.path())).await.unwrap().unwrap();
    let (table, other_table) = (Uuid::new_v4(), Uuid::new_v4());
    append(&mut lake, table, 0, 0, 10).await.unwrap();
    let columns = columns();
    let fields = columns
        .fields()
        .iter()
        .map(|field| match field.name().as_str() {
            "name" => Arc::new(Field::new("name", DataType::LargeUtf8, true)),
            _ => Arc::clone(field),
        });
    let cast = Schema::new(fields.collect::<Vec<_>>());
    let late = other.write(stream::iter([Ok(rows(1, 0, 10))])).await;
    lake.conform(&cast, &[]).await.unwrap();
    let round = plain(other_table, 1, 0, 10);
    let error = other.commit(late.unwrap(), &round).await.unwrap_err();
    assert!(format!("{error:?}").contains("once more"), "{error:?}");
    assert_eq!(offsets(&other, 1).await, Vec::<i64>::new());
    assert_eq!(offsets(&other, 0).await, (0..10).collect::<Vec<_>>());
}
