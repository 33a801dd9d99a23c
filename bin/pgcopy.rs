//! `pgcopy`: copies data between databases that already have the same tables. All of it is in the library.

fn main() -> std::process::ExitCode {
    pgcopydb::pgcopy_main()
}
