//! The command, run as a user would. One program of tests, so that those that wait do so side by side.

mod crashed;
mod fleet;
mod killed;
mod outage;
mod photos;
mod plugin_new;
mod plugin_run;
mod readers;
