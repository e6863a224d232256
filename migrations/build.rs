//! The migrations are compiled into the program: a new file among them must compile it again.

fn main() {
    println!("cargo::rerun-if-changed=migrations");
}
