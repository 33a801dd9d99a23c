//! `pgcopydb`: copies a PostgreSQL database. All of it is in the library.

fn main() -> std::process::ExitCode {
    pgcopydb::pgcopydb_main()
}
