//! Resizes the photographs that its arguments name each time it is asked to, and tells how many seconds it took.

use std::io::Write;
use std::time::Instant;

use alluvium_plugin::testing::{Files, Rows, open};
use resize_image::ResizeImage;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let config = arguments.next().expect("the configuration");
    let photographs: Vec<Vec<u8>> = arguments
        .map(|path| std::fs::read(path).expect("a photograph"))
        .collect();
    let rows = Rows::new().column("image", photographs.iter().map(|it| it.as_slice()));
    let mut native =
        open::<ResizeImage>(&config, rows.schema(), &Files::default()).expect("opened");
    // What detects AVX2 here does so in the decoder too.
    assert!(!std::is_x86_feature_detected!("avx2"));
    println!("ready");
    for _ in std::io::stdin().lines() {
        let begin = Instant::now();
        drop(native.apply(&rows).expect("transformed"));
        println!("{}", begin.elapsed().as_secs_f64());
        std::io::stdout().flush().expect("told");
    }
}
