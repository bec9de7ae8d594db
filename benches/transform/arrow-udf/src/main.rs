//! Calls a function of arrow-udf on batches each time it is asked to, and tells how many seconds it took.

#[path = "../inputs.rs"]
mod inputs;

use std::time::Instant;

use arrow_schema::DataType;
use arrow_udf_runtime::wasm::Runtime;
use inputs::{ROWS_OF_A_TURN, batch, check};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let module = arguments.next().expect("a module");
    let name = arguments.next().expect("a function");
    let rows = arguments.next().expect("how many rows a batch has");
    let rows: usize = rows.parse().expect("a number");
    let runtime = Runtime::new(&std::fs::read(module).expect("a file")).expect("a runtime");
    let input = batch(&name);
    let types: Vec<DataType> = input
        .schema()
        .fields()
        .iter()
        .map(|field| field.data_type().clone())
        .collect();
    let result = types[0].clone();
    let function = runtime
        .find_function(&name, types, result)
        .expect("the function");
    let call = |input| runtime.call(&function, input).expect("called");
    check(&name, call(&input).column(0));
    let input = input.slice(0, rows);
    println!("ready");
    for _ in std::io::stdin().lines() {
        let begin = Instant::now();
        for _ in 0..ROWS_OF_A_TURN / rows {
            std::hint::black_box(call(&input));
        }
        println!("{}", begin.elapsed().as_secs_f64());
    }
}
