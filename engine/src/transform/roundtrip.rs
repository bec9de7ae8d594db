//! What goes through an identity comes back: every kind, both worlds, nulls and slices.

use std::sync::LazyLock;

use arrow_array::RecordBatch;
use proptest::prelude::*;

use super::guests::*;
use super::*;

/// A batch of every kind of column.
fn batch(values: &[Option<i32>]) -> RecordBatch {
    let columns = arrays(values).into_iter().enumerate();
    let columns = columns.map(|(i, array)| (format!("c{i}"), array, true));
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

/// An identity of each world on a pool.
static IDENTITIES: LazyLock<(TransformPool, [ChainPlan; 2])> = LazyLock::new(|| {
    let host = PluginHost::new().unwrap();
    let identity = Guest {
        record: ONE,
        ..Guest::default()
    };
    let limits = Limits {
        batch_rows: 16,
        ..small_limits()
    };
    let plans = [identity.component(), identity.record_component()].map(|bytes| {
        let bound = bind(&host, spec("t", OnError::Fail), &bytes);
        ChainPlan::new(&host, batch(&[]).schema(), vec![bound], limits.clone()).unwrap()
    });
    (TransformPool::new(3).unwrap(), plans)
});

proptest! {
    #[test]
    fn batches_of_any_values_come_back_equal_and_in_order(
        batches in prop::collection::vec(
            (prop::collection::vec(prop::option::of(any::<i32>()), 0..60), any::<prop::sample::Index>()),
            1..6,
        ),
    ) {
        let (pool, plans) = &*IDENTITIES;
        for plan in plans {
            let slices: Vec<_> = batches.iter().map(|(values, cut)| {
                let whole = batch(values);
                let start = cut.index(values.len() + 1);
                whole.slice(start, values.len() - start)
            }).collect();
            let pending: Vec<_> = slices.iter().map(|slice| pool.submit(plan, slice.clone())).collect();
            for (slice, pending) in slices.iter().zip(pending) {
                let made = pending.wait().unwrap();
                prop_assert!(made.origin.is_none() && made.failures.is_empty());
                prop_assert_eq!(&made.made, slice);
            }
        }
    }
}
