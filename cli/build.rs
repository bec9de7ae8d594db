//! What `alluvium plugin new` writes is part of the command: it is built anew when that changes.

fn main() {
    for changed in ["templates", "../wit"] {
        println!("cargo:rerun-if-changed={changed}");
    }
    for language in ["rust", "c", "go", "python", "js"] {
        println!("cargo:rerun-if-changed=../plugins/sdk-{language}");
    }
}
