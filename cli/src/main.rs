//! The `alluvium` command: create, ingest, tier, query and verify a store.

#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]

mod args;
mod batches;
mod columns;
mod commands;
mod failure;
mod input;
mod metrics;
mod output;
mod output_file;
mod signals;

use std::io::IsTerminal as _;
use std::process::ExitCode;

use args::{Cli, Command};
use clap::Parser as _;
use failure::Failure;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let log = tracing_subscriber::fmt::layer()
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    tracing_subscriber::registry()
        .with(log.with_filter(log_filter()))
        .init();

    let result = match cli.command {
        Command::Create(args) => args.run(),
        Command::Alter(args) => args.run(),
        Command::Ingest(args) => args.run(),
        Command::Tier(args) => args.run(),
        Command::Run(args) => args.run(),
        Command::Status(args) => args.run(),
        Command::Verify(args) => args.run(),
        Command::DeadLetters(args) => args.run(),
        Command::Query(args) => args.run(),
        Command::Search(args) => args.run(),
        Command::Bench(args) => args.run(),
        Command::Maintain(args) => args.run(),
        Command::Index(command) => command.run(),
        Command::Transforms(command) => command.run(),
        Command::Plugin(command) => command.run(),
    };
    match result {
        Ok(()) | Err(Failure::Pipe) => ExitCode::SUCCESS,
        Err(Failure::Message(text)) => {
            // Causes from other libraries may span lines; the message is one.
            let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
            eprintln!("alluvium: {}", output::plain(&line));
            ExitCode::FAILURE
        }
    }
}

/// What is logged: what RUST_LOG says (`info`, `warn,alluvium=debug`), warnings otherwise, but for what the
/// commands tell themselves.
fn log_filter() -> Targets {
    let wanted = std::env::var("RUST_LOG")
        .ok()
        .filter(|text| !text.is_empty());
    wanted
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(|| {
            Targets::new()
                .with_default(LevelFilter::WARN)
                .with_target("alluvium::tier::tierer", LevelFilter::ERROR)
                .with_target("alluvium::store", LevelFilter::OFF)
        })
}
