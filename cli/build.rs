//! What `alluvium plugin new` writes is part of the command: it is built anew when that changes.

fn main() {
    println!("cargo:rerun-if-changed=templates");
    println!("cargo:rerun-if-changed=../plugins/sdk-rust");
    println!("cargo:rerun-if-changed=../wit");
}
