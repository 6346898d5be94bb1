//! Ends a process that cannot continue with one sentence and a documented exit code.
//!
//! Refused descriptors, threads and memory are ordinary errors wherever the program can detect them. The exceptions are panics
//! (of dependencies, or from bugs) and allocations that cannot return an error. [`install`] turns the report of a panic or an
//! abort into a sentence, [`run`] ends the process with [`INTERNAL`] after a panic, and [`Allocator`] does both when memory is
//! refused, where the standard library would abort with advice on backtraces. Tensors, which are large, are allocated
//! [fallibly](fallible), so that a refusal is an error after which a growth can be undone.

use std::alloc::{GlobalAlloc, Layout, System};
use std::any::Any;
use std::cell::Cell;
use std::io::Write;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};

use crate::text;

/// Exit code of an internal error, or of memory or a thread that was refused where no error could be returned.
pub const INTERNAL: i32 = 70;

thread_local! {
    /// Whether this thread's panics are caught and reported by the caller.
    static QUIET: Cell<bool> = const { Cell::new(false) };
    /// Whether this thread's allocations may fail.
    static FALLIBLE: Cell<bool> = const { Cell::new(false) };
}

/// Reports panics and aborts of this process in one sentence each, from now on.
pub fn install() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if QUIET.get() {
            return;
        }
        report(panic);
        if std::env::var_os("RUST_BACKTRACE").is_some_and(|wanted| wanted != "0") {
            usual(panic);
        }
        if !can_unwind(&message(panic.payload())) {
            exit_at_once();
        }
    }));
    // SAFETY: the handler calls write and _exit only, which are safe in a signal handler, on memory of its own.
    let handled = unsafe { signal_hook::low_level::register(libc::SIGABRT, on_abort) };
    // If the handler cannot be installed, the system reports an abort as usual.
    drop(handled);
}

/// Runs a command and returns its exit code, or [`INTERNAL`] after a panic that was not caught elsewhere.
pub fn run(command: impl FnOnce() -> i32) -> i32 {
    catch_unwind(AssertUnwindSafe(command)).unwrap_or(INTERNAL)
}

/// Runs work that may panic in a dependency, without a report.
///
/// # Errors
/// The panic's message.
pub fn quietly<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    let before = QUIET.replace(true);
    let done = catch_unwind(AssertUnwindSafe(work));
    QUIET.set(before);
    done.map_err(|panic| message(&*panic))
}

/// Returns a panic's message.
pub fn panic_words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("without a message")
}

fn message(panic: &(dyn Any + Send)) -> String {
    text::clean(panic_words(panic)).into_owned()
}

fn report(panic: &PanicHookInfo<'_>) {
    let message = message(panic.payload());
    let sentence = match is_refusal(&message) {
        true => format!(
            "the system refused a thread or memory ({message}): raise the limit on processes and threads (ulimit -u, the pids \
             limit of a container or a job) or on memory (ulimit -v). A run can be continued from its last checkpoint \
             with --resume"
        ),
        false => {
            let thread = std::thread::current();
            let place = panic.location().map(|at| format!(" at {at}"));
            format!(
                "internal error in thread {}{}: {message}. This is a bug in heirloom; a run can be continued from its \
                 last checkpoint with --resume",
                thread.name().unwrap_or("without a name"),
                place.unwrap_or_default()
            )
        }
    };
    // If stderr cannot be written, the exit code must suffice.
    let _ = writeln!(std::io::stderr().lock(), "heirloom: {sentence}");
}

/// Whether a panic of the standard library or of rayon reports a refused thread or refused memory.
fn is_refusal(message: &str) -> bool {
    [
        "failed to spawn thread",
        "ThreadPoolBuildError",
        "alternative stack",
        "Cannot allocate memory",
        "Resource temporarily unavailable",
    ]
    .iter()
    .any(|part| message.contains(part))
}

/// Whether a panic unwinds. The standard library aborts after a panic at a thread's very start, where it cannot be caught, and
/// after a panic within another one.
fn can_unwind(message: &str) -> bool {
    !(message.contains("alternative stack") || message.contains("cannot unwind"))
}

fn exit_at_once() -> ! {
    // SAFETY: ends the process; no code of it runs any more.
    unsafe { libc::_exit(INTERNAL) }
}

/// Reports why the process ends. Runs in a signal handler, so it neither allocates nor locks.
fn on_abort() {
    write_error(b"heirloom: aborted by an internal error");
    write_error(RESUME);
    exit_at_once();
}

const RESUME: &[u8] = b". A run can be continued from its last checkpoint with --resume\n";

/// Runs `work` with allocations that may fail: a refused one returns a null pointer instead of ending the process.
pub fn fallible<T>(work: impl FnOnce() -> T) -> T {
    let before = FALLIBLE.replace(true);
    let done = work();
    FALLIBLE.set(before);
    done
}

fn write_error(bytes: &[u8]) {
    // SAFETY: the pointer and the length are those of one slice.
    let _ = unsafe { libc::write(libc::STDERR_FILENO, bytes.as_ptr().cast(), bytes.len()) };
}

/// Writes a number's digits without allocation.
fn decimal(mut n: usize, digits: &mut [u8; 20]) -> &[u8] {
    let mut at = digits.len();
    loop {
        at -= 1;
        // A remainder modulo 10 fits into a byte.
        digits[at] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 || at == 0 {
            return &digits[at..];
        }
    }
}

/// The system's allocator. Outside [`fallible`], refused memory ends the process with a sentence.
pub struct Allocator;

fn checked(memory: *mut u8, bytes: usize) -> *mut u8 {
    if memory.is_null() && !FALLIBLE.get() {
        write_error(b"heirloom: out of memory: the system refused ");
        write_error(decimal(bytes, &mut [0; 20]));
        write_error(b" bytes (ulimit -v, the limit of a container or a job, or a full machine)");
        write_error(RESUME);
        exit_at_once();
    }
    memory
}

// SAFETY: every call is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are passed on.
        checked(unsafe { System.alloc(layout) }, layout.size())
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are passed on.
        checked(unsafe { System.alloc_zeroed(layout) }, layout.size())
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's promises are passed on.
        checked(unsafe { System.realloc(memory, layout, size) }, size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_without_memory() {
        for n in [0, 7, 10, 4096, usize::MAX] {
            assert_eq!(decimal(n, &mut [0; 20]), n.to_string().as_bytes());
        }
    }

    #[test]
    fn a_panic_is_an_exit_code_or_an_error() {
        assert_eq!(run(|| 3), 3);
        assert_eq!(quietly(|| 7), Ok(7));
        assert_eq!(quietly(|| -> u8 { panic!("no {}", 1) }), Err("no 1".into()));
        let code = quietly(|| run(|| panic!("bug")));
        assert_eq!(code, Ok(INTERNAL));
        assert!(!QUIET.get());
    }

    #[test]
    fn what_the_system_refuses_is_no_bug() {
        // Messages of std and rayon when threads are refused.
        for message in [
            "failed to spawn thread: Os { code: 11, kind: WouldBlock, message: \"Resource temporarily unavailable\" }",
            "The global thread pool has not been initialized.: ThreadPoolBuildError { kind: IOError(..) }",
            "failed to allocate an alternative stack: Cannot allocate memory (os error 12)",
        ] {
            assert!(is_refusal(message), "{message}");
        }
        assert!(!is_refusal(
            "index out of bounds: the len is 3 but the index is 3"
        ));
        assert!(!can_unwind("failed to allocate an alternative stack: x"));
        assert!(!can_unwind("panic in a function that cannot unwind"));
    }
}
