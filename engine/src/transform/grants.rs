//! What a plugin may be granted of WASI, the standard interfaces to a system: the time, and random numbers.

use std::collections::BTreeSet;
use std::str::FromStr;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Lift, Linker, Lower};

use super::instance::HostState;
use crate::Error;

/// Something of the system that a transform's plugin may use. Nothing is granted by default; files,
/// network and environment never are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Grant {
    /// To read the time: `wasi:clocks/wall-clock` and `wasi:clocks/monotonic-clock`, but not to sleep.
    Clocks,
    /// To draw random numbers: `wasi:random`.
    Random,
}

/// The versions of WASI that are lent. A component of another 0.2 release finds them too.
const WASI: &str = "0.2.0";
/// Random bytes that a plugin may draw in one call.
const MAX_RANDOM: u64 = 1 << 20;

/// The interfaces that each grant allows.
const INTERFACES: [(&str, Grant); 5] = [
    ("wasi:clocks/wall-clock@0.2.", Grant::Clocks),
    ("wasi:clocks/monotonic-clock@0.2.", Grant::Clocks),
    ("wasi:random/random@0.2.", Grant::Random),
    ("wasi:random/insecure@0.2.", Grant::Random),
    ("wasi:random/insecure-seed@0.2.", Grant::Random),
];

impl Grant {
    /// The grant that allows an import, if there is one.
    pub(super) fn of_import(import: &str) -> Option<Self> {
        let mut all = INTERFACES.iter();
        all.find_map(|(interface, grant)| import.starts_with(interface).then_some(*grant))
    }

    /// The grant's name in a transforms file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Clocks => "clocks",
            Self::Random => "random",
        }
    }
}

impl FromStr for Grant {
    type Err = Error;

    /// The grant of that name.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there is none.
    fn from_str(name: &str) -> Result<Self, Error> {
        [Self::Clocks, Self::Random]
            .into_iter()
            .find(|grant| grant.name() == name)
            .ok_or_else(|| Error::invalid(format!("grant {name:?}"), "there are: clocks, random"))
    }
}

/// Checks that a plugin imports nothing that its transform isn't granted.
pub(super) fn check_grants(imports: &[String], granted: &BTreeSet<Grant>) -> Result<(), String> {
    for import in imports {
        if let Some(grant) = Grant::of_import(import).filter(|grant| !granted.contains(grant)) {
            return Err(format!(
                "it imports {import}, which is not granted; add {:?} to the transform's grants to allow it",
                grant.name()
            ));
        }
    }
    Ok(())
}

#[derive(ComponentType, Lift, Lower)]
#[component(record)]
struct Datetime {
    seconds: u64,
    nanoseconds: u32,
}

impl Datetime {
    fn now() -> Self {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            seconds: since.as_secs(),
            nanoseconds: since.subsec_nanos(),
        }
    }
}

type Context<'a> = StoreContextMut<'a, HostState>;

/// Lends all that can be granted: who may use it is checked when a transform is wired.
pub(super) fn add_to_linker(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    let mut wall = linker.instance(&format!("wasi:clocks/wall-clock@{WASI}"))?;
    wall.func_wrap("now", |_: Context<'_>, ()| Ok((Datetime::now(),)))?;
    wall.func_wrap("resolution", |_: Context<'_>, ()| {
        Ok((Datetime {
            seconds: 0,
            nanoseconds: 1000,
        },))
    })?;

    let start = Instant::now();
    let mut monotonic = linker.instance(&format!("wasi:clocks/monotonic-clock@{WASI}"))?;
    monotonic.func_wrap("now", move |_: Context<'_>, ()| {
        let nanoseconds = start.elapsed().as_nanos();
        Ok((u64::try_from(nanoseconds).unwrap_or(u64::MAX),))
    })?;
    monotonic.func_wrap("resolution", |_: Context<'_>, ()| Ok((1000_u64,)))?;

    for (interface, bytes, number) in [
        ("random", "get-random-bytes", "get-random-u64"),
        (
            "insecure",
            "get-insecure-random-bytes",
            "get-insecure-random-u64",
        ),
    ] {
        let mut random = linker.instance(&format!("wasi:random/{interface}@{WASI}"))?;
        random.func_wrap(bytes, |_: Context<'_>, (count,): (u64,)| {
            random_bytes(count).map(|b| (b,))
        })?;
        random.func_wrap(number, |_: Context<'_>, ()| Ok((random_number()?,)))?;
    }
    let mut seed = linker.instance(&format!("wasi:random/insecure-seed@{WASI}"))?;
    seed.func_wrap("insecure-seed", |_: Context<'_>, ()| {
        Ok(((random_number()?, random_number()?),))
    })
}

fn random_bytes(count: u64) -> wasmtime::Result<Vec<u8>> {
    if count > MAX_RANDOM {
        return Err(wasmtime::Error::msg(format!(
            "{count} random bytes, where {MAX_RANDOM} may be drawn at once"
        )));
    }
    let mut bytes = vec![0; usize::try_from(count)?];
    getrandom::fill(&mut bytes).map_err(|error| wasmtime::Error::msg(error.to_string()))?;
    Ok(bytes)
}

fn random_number() -> wasmtime::Result<u64> {
    getrandom::u64().map_err(|error| wasmtime::Error::msg(error.to_string()))
}

#[cfg(test)]
mod tests {
    use arrow_array::cast::AsArray;
    use arrow_array::types::Int32Type;

    use super::super::guests::*;
    use super::super::*;
    use super::*;

    /// Answers with the second that it is and with a random number.
    fn guest() -> Vec<u8> {
        Guest {
            imports: r#"
              (import "wasi:clocks/wall-clock@0.2.3" (instance $clock
                (type $datetime' (record (field "seconds" u64) (field "nanoseconds" u32)))
                (export "datetime" (type $datetime (eq $datetime')))
                (export "now" (func (result $datetime)))))
              (import "wasi:random/random@0.2.3" (instance $random
                (export "get-random-bytes" (func (param "len" u64) (result (list u8))))
                (export "get-random-u64" (func (result u64)))))"#,
            lowered: r#"
              (core func $now (canon lower (func $clock "now") (memory (core memory $libc "memory"))))
              (core func $draw (canon lower (func $random "get-random-u64")))
              (core func $bytes (canon lower (func $random "get-random-bytes")
                (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))"#,
            lent: r#"(export "now" (func $now)) (export "draw" (func $draw)) (export "bytes" (func $bytes))"#,
            module: r#"
              (import "host" "now" (func $now (param i32)))
              (import "host" "draw" (func $draw (result i64)))
              (import "host" "bytes" (func $bytes (param i64 i32)))"#,
            apply: "
              (call $now (i32.const 600))
              (i32.store (local.get $data) (i32.load (i32.const 600)))
              (i32.store offset=4 (local.get $data) (i32.wrap_i64 (call $draw)))
              (call $bytes (i64.extend_i32_u (local.get $rows)) (i32.const 700))
              (if (i32.ne (i32.load (i32.const 704)) (local.get $rows)) (then unreachable))
              (if (i32.eq (local.get $rows) (i32.const 13))
                (then (call $bytes (i64.const 100000000000) (i32.const 700))))",
            ..Guest::default()
        }
        .component()
    }

    fn chain(grants: &[Grant], rows: i32) -> crate::Result<Transformed> {
        let host = PluginHost::new()?;
        let mut bound = bind(&host, spec("t", OnError::DeadLetter), &guest());
        bound.spec.grants = grants.iter().copied().collect();
        let batch = numbers(rows);
        Chain::new(&host, batch.schema(), vec![bound], small_limits())?.apply(&batch)
    }

    #[test]
    fn a_plugin_is_refused_what_its_transform_does_not_grant() {
        let refused = |grants: &[Grant]| chain(grants, 2).unwrap_err().to_string();
        let none = refused(&[]);
        assert!(
            none.contains("transform \"t\"")
                && none.contains("wasi:clocks/wall-clock@0.2.3")
                && none.contains("add \"clocks\""),
            "{none}"
        );
        let clocks = refused(&[Grant::Clocks]);
        assert!(
            clocks.contains("wasi:random/random@0.2.3") && clocks.contains("add \"random\""),
            "{clocks}"
        );
    }

    #[test]
    fn a_plugin_reads_the_time_and_draws_numbers_that_it_was_granted() {
        let values = || {
            let done = chain(&[Grant::Clocks, Grant::Random], 2).unwrap();
            let values = done.batch.column(0).as_primitive::<Int32Type>();
            (values.value(0), values.value(1))
        };
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs();
        let (first, second) = (values(), values());
        assert!((i64::from(first.0) - now as i64).abs() < 60, "{first:?}");
        assert_ne!(first.1, second.1);
    }

    #[test]
    fn random_bytes_without_end_are_not_drawn() {
        // The call with 13 rows draws 100 GB; those with fewer do not.
        let done = chain(&[Grant::Clocks, Grant::Random], 13).unwrap();
        assert!(done.failures.is_empty(), "{:?}", done.failures);
    }

    #[test]
    fn what_a_plugin_needs_is_told() {
        let host = PluginHost::new().unwrap();
        let info = Plugin::compile(&host, "p", &guest()).unwrap().inspect();
        assert_eq!(info.grants, [Grant::Clocks, Grant::Random].into());
        assert_eq!("random".parse::<Grant>().unwrap(), Grant::Random);
        assert!(
            "files"
                .parse::<Grant>()
                .unwrap_err()
                .to_string()
                .contains("clocks, random")
        );
    }
}
