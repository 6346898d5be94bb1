//! Twenty attached clients, some of them frozen, and a flood of commands hardly slow training.

mod common;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use common::{Background, Place};
use serde_json::{Value, json};

/// Duration of a measurement, and number of measurements of each kind.
const SECONDS: u64 = 6;
const ROUNDS: usize = 5;

struct Run {
    place: Place,
    training: Background,
    socket: String,
}

impl Run {
    fn start() -> Self {
        let place = Place::new();
        // A model with steps of some milliseconds, as a small real one has, and its usual number of events.
        let settings = [
            "--set",
            "model.n_embd=64",
            "--set",
            "model.n_head=4",
            "--set",
            "train.batch_tokens=256",
            "--set",
            "reference.train.steps=1000000",
            "--set",
            "eval.every=1000",
            "--set",
            "checkpoint.every=0",
            "--set",
            "train.log_every=10",
        ];
        let training = place.in_background("mine", &settings, "");
        let socket = place.lock("mine")["socket"].as_str().unwrap().into();
        Self {
            place,
            training,
            socket,
        }
    }

    fn step(&self) -> u64 {
        let status = self.place.expect(0, &["ctl", "mine", "status", "--json"]);
        let status: Value = serde_json::from_str(&status).unwrap();
        status["step"].as_u64().unwrap()
    }

    /// Measures the steps per second, and the CPU seconds of the control thread per second.
    fn measure(&self) -> (f64, f64) {
        let (begin, step, cpu) = (Instant::now(), self.step(), self.control_cpu());
        std::thread::sleep(Duration::from_secs(SECONDS));
        let seconds = begin.elapsed().as_secs_f64();
        let steps = self.step() - step;
        (steps as f64 / seconds, (self.control_cpu() - cpu) / seconds)
    }

    fn control_cpu(&self) -> f64 {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.training.0)).unwrap();
        let mut seconds = 0.0;
        for task in tasks.flatten() {
            let Ok(stat) = std::fs::read_to_string(task.path().join("stat")) else {
                continue;
            };
            if !stat.contains("(control)") {
                continue;
            }
            // Nanoseconds on the processor.
            let text = std::fs::read_to_string(task.path().join("schedstat")).unwrap();
            let ns: f64 = text.split_whitespace().next().unwrap().parse().unwrap();
            seconds += ns / 1e9;
        }
        seconds
    }

    fn attach(&self) -> UnixStream {
        let mut stream = UnixStream::connect(&self.socket).unwrap();
        let subscribe = json!({"v": 1, "type": "subscribe", "after": 0});
        stream
            .write_all(format!("{subscribe}\n").as_bytes())
            .unwrap();
        stream
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Run with `cargo test --test clients_do_not_slow_training -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement of two minutes that needs a quiet machine"]
fn twenty_clients_and_a_flood_of_commands() {
    let run = Run::start();
    run.place
        .wait_event("mine", "training", |e| e["kind"] == "train");
    let (mut alone, mut watched, mut flooded) = (Vec::new(), Vec::new(), Vec::new());
    let (mut cpu_watched, mut cpu_flooded) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        alone.push(run.measure().0);
        {
            // Ten clients read, and ten are frozen.
            let readers: Vec<UnixStream> = (0..10).map(|_| run.attach()).collect();
            let _frozen: Vec<UnixStream> = (0..10).map(|_| run.attach()).collect();
            let threads: Vec<_> = readers
                .iter()
                .map(|stream| {
                    let mut stream = stream.try_clone().unwrap();
                    std::thread::spawn(move || {
                        let mut bytes = vec![0; 65536];
                        while stream.read(&mut bytes).is_ok_and(|n| n > 0) {}
                    })
                })
                .collect();
            let (speed, cpu) = run.measure();
            watched.push(speed);
            cpu_watched.push(cpu);
            for stream in &readers {
                stream.shutdown(std::net::Shutdown::Both).unwrap();
            }
            threads.into_iter().for_each(|t| t.join().unwrap());
        }
        let mut stream = run.attach();
        let mut reader = stream.try_clone().unwrap();
        let reading = std::thread::spawn(move || {
            let mut bytes = vec![0; 65536];
            while reader.read(&mut bytes).is_ok_and(|n| n > 0) {}
        });
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let flooding = std::thread::spawn(move || {
            let mut id = 0;
            while stopped.try_recv().is_err() {
                for _ in 0..10 {
                    id += 1;
                    let command = json!({"v": 1, "type": "command", "id": id, "script": true,
                        "command": {"name": "extend", "steps": 1}});
                    stream.write_all(format!("{command}\n").as_bytes()).unwrap();
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            stream.shutdown(std::net::Shutdown::Both).unwrap();
        });
        // Its own `ctl status` calls are not counted among the commands.
        let (speed, cpu) = run.measure();
        flooded.push(speed);
        cpu_flooded.push(cpu);
        stop.send(()).unwrap();
        flooding.join().unwrap();
        reading.join().unwrap();
    }
    let (alone, watched, flooded) = (median(alone), median(watched), median(flooded));
    println!("steps a second: {alone:.1} alone");
    println!(
        "  {watched:.1} with 10 reading and 10 frozen clients ({:+.2} %), control thread {:.3} % of a core",
        100.0 * (watched / alone - 1.0),
        100.0 * median(cpu_watched)
    );
    println!(
        "  {flooded:.1} with 1000 commands a second ({:+.2} %), control thread {:.3} % of a core",
        100.0 * (flooded / alone - 1.0),
        100.0 * median(cpu_flooded)
    );
    assert!(watched > 0.8 * alone && flooded > 0.8 * alone);
}
