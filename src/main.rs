//! The binary `dispatch`.

fn main() -> std::process::ExitCode {
    dispatch_engine::cli::main()
}
