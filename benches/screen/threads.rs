//! Measures the CPU time of each thread of a process.

use std::collections::HashMap;
use std::fs;

/// A thread of a process. The first one has the program's name, and draws.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Thread {
    id: u32,
    pub name: String,
}

/// Returns the seconds that each thread of a process has been on a processor. A thread that has just ended is left out.
pub fn cpu_seconds(pid: u32) -> HashMap<Thread, f64> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the process is there");
    let mut all = HashMap::new();
    for task in tasks.flatten() {
        let read = |file: &str| fs::read_to_string(task.path().join(file)).ok();
        let id: Option<u32> = task.file_name().to_str().and_then(|id| id.parse().ok());
        if let (Some(id), Some(name), Some(times)) = (id, read("comm"), read("schedstat")) {
            let ns: Option<f64> = times.split(' ').next().and_then(|ns| ns.parse().ok());
            let name = name.trim_end().to_string();
            all.insert(Thread { id, name }, ns.unwrap_or(0.0) / 1e9);
        }
    }
    all
}

/// Whether a thread of this name belongs to training and would also run without a screen.
pub fn trains(name: &str) -> bool {
    name.starts_with("compute-") || ["trainer", "batches", "checkpoints"].contains(&name)
}
