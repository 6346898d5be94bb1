//! Ends a process that cannot continue with one sentence and a documented exit code.
//!
//! Refused descriptors, threads and memory are errors like others wherever the program can see them. What is left are
//! panics of dependencies and of bugs, and allocations that return no error. [`install`] turns a panic's report and an
//! abort into a sentence, [`run`] the end of a panic into [`INTERNAL`], and [`Allocator`] ends the process with both when
//! memory is refused: the standard library would abort it, with advice on backtraces. Tensors, the large allocations, are
//! [allocated so](fallible) that a refusal is an error that a growth can be taken back after.

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
    // Without the handler an abort is the system's: no worse than before.
    drop(handled);
}

/// Runs a command; a panic that nothing else has caught ends it with [`INTERNAL`].
pub fn run(command: impl FnOnce() -> i32) -> i32 {
    catch_unwind(AssertUnwindSafe(command)).unwrap_or(INTERNAL)
}

/// Runs what may panic in a dependency and returns the panic's message as an error, without a report.
///
/// # Errors
/// The message.
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
    // With nowhere to write to, the exit code has to do.
    let _ = writeln!(std::io::stderr().lock(), "heirloom: {sentence}");
}

/// Whether a panic of the standard library or of rayon is about a thread or memory that it did not get.
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

/// False for panics at a thread's very start, before anything could catch them, and for those within other panics: the
/// standard library aborts after them.
fn can_unwind(message: &str) -> bool {
    !(message.contains("alternative stack") || message.contains("cannot unwind"))
}

fn exit_at_once() -> ! {
    // SAFETY: ends the process; no code of it runs any more.
    unsafe { libc::_exit(INTERNAL) }
}

/// Describes why the process ends, in a signal handler: no allocation, no lock.
fn on_abort() {
    write_error(b"heirloom: aborted by an internal error");
    write_error(RESUME);
    exit_at_once();
}

const RESUME: &[u8] = b". A run can be continued from its last checkpoint with --resume\n";

/// Runs `work` with allocations that may fail: it gets null pointers instead of the process being ended.
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

/// A number's digits, written without allocation.
fn decimal(mut n: usize, digits: &mut [u8; 20]) -> &[u8] {
    let mut at = digits.len();
    loop {
        at -= 1;
        // A remainder of 10 is one digit.
        digits[at] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 || at == 0 {
            return &digits[at..];
        }
    }
}

/// The system's allocator; ends the process with a sentence where it refuses memory, but within [`fallible`].
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
        // What std and rayon say when threads are refused.
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
