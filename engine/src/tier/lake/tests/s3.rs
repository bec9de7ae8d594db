//! A lake on a real S3 server, which `make setup-python` installs: `make test` runs those that take seconds,
//! `make soak` all.

use std::time::{Duration, Instant};

use alluvium_tests::{BUCKET, S3Server};

use super::*;
use crate::{Store, TableOptions};

fn on(server: &S3Server, bucket: &str) -> LakeOptions {
    let options = server.options().into_iter();
    LakeOptions {
        uri: format!("s3://{bucket}/{}/events.lance/", Uuid::new_v4()),
        storage_options: options.map(|(key, value)| (key.into(), value)).collect(),
        ..LakeOptions::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs an S3 server"]
async fn on_s3_rounds_of_racing_writers_are_there_once() {
    let server = S3Server::start();
    let options = on(&server, BUCKET);
    assert!(Lake::open(&options).await.unwrap().is_none());
    Lake::open_or_create(&options, &columns()).await.unwrap();
    let table = Uuid::new_v4();
    for round in 0..3 {
        let (from, to) = (round * 10, round * 10 + 10);
        let race = (0..4).map(|_| {
            let options = options.clone();
            tokio::spawn(async move {
                let mut lake = Lake::open(&options).await.unwrap().unwrap();
                append(&mut lake, table, 0, from, to).await.unwrap()
            })
        });
        for outcome in futures::future::join_all(race).await {
            outcome.unwrap();
        }
    }
    let started = Instant::now();
    let lake = Lake::open(&options).await.unwrap().unwrap();
    assert_eq!(lake.progress(table, 0).await.unwrap().to, 30);
    println!("open and progress: {:?}", started.elapsed());
    assert_eq!(offsets(&lake, 0).await, (0..30).collect::<Vec<_>>());
}

/// What is told of a table that is created at a place where it cannot be.
fn told_at_create(server: &S3Server, bucket: &str, secret: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path().join("s")).unwrap();
    let lake = format!("s3://{bucket}/events.lance");
    let schema = Schema::new(vec![Field::new("n", DataType::Int64, false)]);
    let mut options = TableOptions::new(Arc::new(schema))
        .lake(&lake)
        .secrets_in_clear(true);
    for (name, value) in server.options() {
        options = options.storage_option(name, value);
    }
    options = options.storage_option("secret_access_key", secret);
    let error = store.create_table("t", options).unwrap_err();
    let told = error.to_string();
    assert!(told.contains(&lake), "{told}");
    assert_eq!(told.lines().count(), 1, "{told}");
    assert!(!format!("{error:?} {told}").contains(secret), "{told}");
    assert!(store.table_names().unwrap().is_empty());
    told
}

#[test]
#[ignore = "needs an S3 server"]
fn on_s3_a_missing_bucket_is_told_at_create_with_what_to_do() {
    let server = S3Server::start();
    let options = server.options();
    let secret = options
        .iter()
        .find(|(name, _)| *name == "secret_access_key");
    let told = told_at_create(&server, "no-such-bucket", &secret.unwrap().1);
    println!("{told}");
    assert!(
        told.contains("there is no such bucket; create it"),
        "{told}"
    );
}

#[test]
#[ignore = "needs an S3 server"]
fn on_s3_a_wrong_secret_is_told_at_create_with_what_to_do() {
    let server = S3Server::start();
    let told = told_at_create(&server, BUCKET, "hunter2");
    println!("{told}");
    assert!(told.contains("refuses the credentials; check"), "{told}");
}

#[tokio::test]
#[ignore = "needs an S3 server"]
async fn what_keeps_us_out_of_s3_is_told_soon() {
    let server = S3Server::start();
    // Accepts connections and never answers.
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("http://{}", socket.local_addr().unwrap());
    let with = |name: &str, value: &str| {
        let mut options = on(&server, BUCKET);
        options.storage_options.insert(name.into(), value.into());
        options
    };
    use crate::ErrorKind::{Denied, Missing, Unreachable};
    let down = with("endpoint", "http://127.0.0.1:1");
    for (what, kind, options) in [
        (
            "a wrong secret",
            Denied,
            with("secret_access_key", "hunter2"),
        ),
        ("a missing bucket", Missing, on(&server, "no-such-bucket")),
        ("a server that is down", Unreachable, down),
        (
            "a server that is silent",
            Unreachable,
            with("endpoint", &silent),
        ),
    ] {
        for create in [false, true] {
            let started = Instant::now();
            let error = match create {
                false => Lake::open(&options)
                    .await
                    .map(|lake| format!("{:?}", lake.is_some())),
                true => Lake::open_or_create(&options, &columns())
                    .await
                    .map(|_| "created".into()),
            };
            let took = started.elapsed();
            println!("{what}, create {create}: {took:?}: {error:?}");
            if let Err(error) = &error {
                println!("   {error}");
            }
            assert!(
                matches!(error, Err(Error::Lake { kind: told, .. }) if told == kind),
                "{what}: {error:?}"
            );
            assert!(took < Duration::from_secs(65), "{what}: {took:?}");
            assert!(!format!("{error:?}").contains("hunter2"));
        }
    }
}
