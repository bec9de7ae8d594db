//! What a plugin may try when it is registered.

use std::time::Duration;

use super::*;

/// Why a plugin can't be registered.
fn refusal(guest: &Guest<'_>) -> String {
    let host = PluginHost::new().unwrap();
    let schema = numbers(1).schema();
    let limits = Limits {
        open_deadline: Duration::from_millis(200),
        ..small_limits()
    };
    let plugin = Plugin::compile(&host, "test", &guest.component());
    let chain = plugin.and_then(|plugin| {
        let bound = BoundTransform::new(spec("hostile", OnError::DeadLetter), plugin);
        Chain::new(&host, schema, vec![bound], limits)
    });
    chain.unwrap_err().to_string()
}

#[test]
fn what_goes_wrong_when_a_plugin_opens_refuses_it() {
    let field = |store: &str| format!("(i32.{store})");
    for (open, reason) in [
        ("unreachable", "trapped"),
        (FOREVER, "ran past its deadline of 200 ms"),
        (ALL_MEMORY, "out of memory (4 MiB)"),
        ("(call $deep)", "call stack exhausted"),
        // The plan: inputs 4 8, outputs 12 16; a field: name 0 4, kind 8, nullable 9, dim 12.
        (
            &field("store offset=8 (local.get $r) (i32.const 0x7fffffff)"),
            "malformed",
        ),
        (
            &field("store offset=4 (local.get $r) (i32.const -4)"),
            "malformed",
        ),
        (
            &field("store8 offset=8 (local.get $schema) (i32.const 200)"),
            "malformed",
        ),
        (
            &field("store offset=4 (local.get $schema) (i32.const 0)"),
            "name has 0 bytes",
        ),
        (
            &field("store offset=4 (local.get $schema) (i32.const 300)"),
            "name has 300 bytes",
        ),
        (
            "(i32.store8 (i32.load (local.get $schema)) (i32.const 0xff))",
            "malformed",
        ),
        (
            "(i32.store8 offset=8 (local.get $schema) (i32.const 7))",
            "of dimension 0",
        ),
        (
            "(i32.store8 offset=8 (local.get $schema) (i32.const 7)) (i32.store offset=12 (local.get $schema) (i32.const 70000))",
            "of dimension 70000",
        ),
    ] {
        let reason_given = refusal(&Guest {
            open,
            module: RECURSION,
            ..Guest::default()
        });
        assert!(reason_given.contains(reason), "{open}: {reason_given}");
    }
}

#[test]
fn what_a_plugin_is_made_of_is_bounded() {
    let many = |part: &str, count: usize| part.repeat(count);
    for (imports, module, reason) in [
        ("", "(func $trap unreachable) (start $trap)", "trapped"),
        ("", "(memory 100)", "out of memory (4 MiB)"),
        ("", "(memory 5000)", "out of memory (256 MiB)"),
        ("", "(table 1000000 funcref)", "out of memory (4 MiB)"),
        (
            many("(core instance (instantiate $tiny))", 300).as_str(),
            "",
            "instance count too high",
        ),
        ("", many("(memory 1)", 20).as_str(), "memory count too high"),
        ("", many("(table 1 funcref)", 300).as_str(), "table"),
    ] {
        let reason_given = refusal(&Guest {
            imports: &format!("(core module $tiny) {imports}"),
            module,
            ..Guest::default()
        });
        assert!(reason_given.contains(reason), "{reason}: {reason_given}");
    }
    let host = PluginHost::new().unwrap();
    let large = Plugin::compile(&host, "p", &vec![0; (64 << 20) + 1]).unwrap_err();
    assert!(large.to_string().contains("at most 64 MiB"), "{large}");
}
