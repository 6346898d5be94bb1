//! Runs the program in a pseudo-terminal, and gives access to its screen.

use std::io::{Read, Write};
use std::os::fd::{BorrowedFd, RawFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};

use super::{PATIENCE, Place};

/// A terminal in which the program runs.
pub struct Pty {
    master: Option<Box<dyn MasterPty + Send>>,
    writer: Option<Box<dyn Write + Send>>,
    child: Box<dyn Child + Send + Sync>,
    screen: Arc<Mutex<vt100::Parser>>,
    written: Arc<Mutex<Written>>,
    hung_up: Arc<AtomicBool>,
    reading: Option<JoinHandle<()>>,
}

/// The program's output.
#[derive(Default)]
struct Written {
    bytes: Vec<u8>,
    /// The time at which each part was read, and the number of bytes then.
    arrivals: Vec<(Instant, usize)>,
}

impl Pty {
    /// Starts the program with these arguments.
    pub fn start(place: &Place, args: &[&str], columns: u16, rows: u16) -> Self {
        Self::start_with(place, args, columns, rows, &[])
    }

    /// Starts the program with these environment variables.
    pub fn start_with(
        place: &Place,
        args: &[&str],
        columns: u16,
        rows: u16,
        env: &[(&str, &str)],
    ) -> Self {
        let program = Path::new(env!("CARGO_BIN_EXE_heirloom"));
        Self::start_program(program, place, args, (columns, rows), env)
    }

    /// Starts another build of the program.
    pub fn start_program(
        program: &Path,
        place: &Place,
        args: &[&str],
        (columns, rows): (u16, u16),
        env: &[(&str, &str)],
    ) -> Self {
        let size = PtySize {
            rows,
            cols: columns,
            pixel_width: 0,
            pixel_height: 0,
        };
        let pair = native_pty_system().openpty(size).unwrap();
        let mut command = CommandBuilder::new(program);
        command.args(args);
        command.cwd(place.path());
        command.env("TERM", "xterm-256color");
        command.env("LANG", "C.UTF-8");
        for name in [
            "NO_COLOR",
            "COLORTERM",
            "COLORFGBG",
            "HEIRLOOM_THEME",
            "LC_ALL",
            "HEIRLOOM_PARENT",
            "ACCESSIBLE",
        ] {
            command.env_remove(name);
        }
        for (name, value) in env {
            command.env(name, value);
        }
        let child = pair.slave.spawn_command(command).unwrap();
        drop(pair.slave);
        let screen = Arc::new(Mutex::new(vt100::Parser::new(rows, columns, 0)));
        let reader = pair.master.try_clone_reader().unwrap();
        let fd = pair.master.as_raw_fd().unwrap();
        let hung_up = Arc::new(AtomicBool::new(false));
        let written = Arc::new(Mutex::new(Written::default()));
        let (seen, gone) = (Arc::clone(&screen), Arc::clone(&hung_up));
        let all = Arc::clone(&written);
        let reading = std::thread::spawn(move || follow(reader, fd, &seen, &all, &gone));
        let writer = pair.master.take_writer().unwrap();
        Self {
            master: Some(pair.master),
            writer: Some(writer),
            child,
            screen,
            written,
            hung_up,
            reading: Some(reading),
        }
    }

    pub fn text(&self) -> String {
        self.screen.lock().unwrap().screen().contents()
    }

    /// Returns every byte that the program has written so far.
    pub fn written(&self) -> Vec<u8> {
        self.written.lock().unwrap().bytes.clone()
    }

    /// Returns the times at which parts of [`Self::written`] arrived, each with the number of bytes by then.
    pub fn arrivals(&self) -> Vec<(Instant, usize)> {
        self.written.lock().unwrap().arrivals.clone()
    }

    /// Whether the program uses the alternate screen.
    pub fn is_full_screen(&self) -> bool {
        self.screen.lock().unwrap().screen().alternate_screen()
    }

    /// Waits until the program has left the alternate screen: its last bytes are read after it has ended.
    #[track_caller]
    pub fn gives_the_screen_back(&self) {
        let begin = Instant::now();
        while self.is_full_screen() {
            assert!(begin.elapsed() < PATIENCE, "still full:\n{}", self.text());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.process_id().unwrap()
    }

    /// Waits until the screen shows `wanted`.
    #[track_caller]
    pub fn see(&self, wanted: &str) -> String {
        self.see_that(&format!("{wanted:?}"), |text| text.contains(wanted))
    }

    #[track_caller]
    pub fn see_that(&self, what: &str, fits: impl Fn(&str) -> bool) -> String {
        let begin = Instant::now();
        loop {
            let text = self.text();
            if fits(&text) {
                return text;
            }
            assert!(begin.elapsed() < PATIENCE, "never saw {what}:\n{text}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn press(&mut self, keys: &str) {
        self.press_bytes(keys.as_bytes());
    }

    pub fn press_bytes(&mut self, keys: &[u8]) {
        let writer = self.writer.as_mut().unwrap();
        writer.write_all(keys).unwrap();
        writer.flush().unwrap();
    }

    pub fn resize(&mut self, columns: u16, rows: u16) {
        let size = PtySize {
            rows,
            cols: columns,
            pixel_width: 0,
            pixel_height: 0,
        };
        self.screen
            .lock()
            .unwrap()
            .screen_mut()
            .set_size(rows, columns);
        self.master.as_ref().unwrap().resize(size).unwrap();
    }

    /// Closes the program's terminal, like a dropped connection.
    pub fn hang_up(&mut self) {
        // The reader also keeps the terminal open.
        self.hung_up.store(true, Ordering::SeqCst);
        self.reading.take().unwrap().join().unwrap();
        self.writer = None;
        self.master = None;
    }

    /// Waits for the end of the terminal's first process, and until all of its output is on the screen.
    #[track_caller]
    pub fn exit_code(&mut self) -> u32 {
        let begin = Instant::now();
        let mut code = None;
        loop {
            code = code.or_else(|| self.child.try_wait().unwrap().map(|s| s.exit_code()));
            if let Some(code) = code.filter(|_| self.is_drained()) {
                return code;
            }
            assert!(begin.elapsed() < PATIENCE, "did not end:\n{}", self.text());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Whether all output of the terminal is on the screen.
    fn is_drained(&self) -> bool {
        let (Some(reading), Some(master)) = (&self.reading, &self.master) else {
            return true;
        };
        // The lock is held between a read and the update of the screen.
        let _written = self.written.lock().unwrap();
        let fd = master.as_raw_fd().unwrap();
        // SAFETY: the master is open as long as this borrow of it lasts.
        let fd = unsafe { BorrowedFd::borrow_raw(fd) };
        let waits = poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], PollTimeout::ZERO);
        reading.is_finished() || waits == Ok(0)
    }
}

/// Feeds the program's output to the screen, until the program ends or the terminal is hung up.
fn follow(
    mut reader: Box<dyn Read + Send>,
    fd: RawFd,
    screen: &Mutex<vt100::Parser>,
    written: &Mutex<Written>,
    hung_up: &AtomicBool,
) {
    let mut bytes = [0; 8192];
    while !hung_up.load(Ordering::SeqCst) {
        // SAFETY: the reader is a duplicate of this descriptor, which is closed only after this thread has ended.
        let fd = unsafe { BorrowedFd::borrow_raw(fd) };
        let mut fds = [PollFd::new(fd, PollFlags::POLLIN)];
        // No output has arrived within 20 ms, or a signal has interrupted the wait.
        if matches!(poll(&mut fds, PollTimeout::from(20u8)), Ok(0) | Err(_)) {
            continue;
        }
        let mut all = written.lock().unwrap();
        match reader.read(&mut bytes) {
            Ok(n @ 1..) => {
                let now = Instant::now();
                all.bytes.extend_from_slice(&bytes[..n]);
                let total = all.bytes.len();
                all.arrivals.push((now, total));
                screen.lock().unwrap().process(&bytes[..n]);
            }
            _ => return,
        }
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        // After a failed test, no process keeps running.
        let _ = self.child.kill();
        self.hung_up.store(true, Ordering::SeqCst);
        if let Some(reading) = self.reading.take() {
            let _ = reading.join();
        }
    }
}
