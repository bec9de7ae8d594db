//! The transform, natively.

use alluvium_plugin::testing::{Records, Rows, run, values};
use {{crate}}::Shout;

#[test]
fn a_text_is_shouted_and_a_null_stays_one() {
    let rows = Rows::new().column("text", [Some("hear, hear"), None]);
    let made = run::<Records<Shout>>("{}", &rows).unwrap();
    assert_eq!(made.column("shout").unwrap(), values([Some("hear, hear!"), None]));
}

#[test]
fn an_option_that_is_not_known_is_refused() {
    let rows = Rows::new().column("text", [""]);
    let refusal = run::<Records<Shout>>(r#"{"sufix": "?"}"#, &rows).unwrap_err();
    assert!(refusal.contains("`suffix`"), "{refusal}");
}
