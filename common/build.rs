//! A new migration must be seen by the next build: `sqlx::migrate!` alone looks only at files that it knows.
fn main() {
    println!("cargo:rerun-if-changed=../migrations");
}
