//! The entry point: parses arguments, runs the command, and exits with its code.

use std::process::ExitCode;

use heirloom::cli::{self, exit, say};
use heirloom::failure;

#[global_allocator]
static ALLOCATOR: failure::Allocator = failure::Allocator;

fn main() -> ExitCode {
    heirloom::secrets::protect_environment();
    keep_freed_memory();
    failure::install();
    // If the handler cannot be installed, the kernel ends a process that writes too large a file.
    let _ = heirloom::signals::survive_size_limit();
    let code = failure::run(|| match cli::parse() {
        Ok(cli) => cli.run().unwrap_or_else(|error| {
            say::err(&exit::words(&error));
            exit::code(&error)
        }),
        // Help and the version are also printed here.
        Err(told) => say::usage(&told),
    });
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}

/// Makes glibc keep freed memory instead of returning it page by page: faulting it in again can take more time than the
/// arithmetic.
fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: mallopt takes plain numbers and runs before any other thread exists.
    unsafe {
        const LARGE: i32 = 1 << 30;
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
        libc::mallopt(libc::M_TRIM_THRESHOLD, i32::MAX);
        libc::mallopt(libc::M_TOP_PAD, 64 << 20);
    }
}
