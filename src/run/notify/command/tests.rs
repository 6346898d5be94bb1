use super::*;
use crate::run::dir::RunDir;
use crate::run::event::{
    Body, Done, Event, Log, NonFinite, RunEvent, RunStatus, TrainMetrics, Warning,
};
use crate::run::journal::Observer;
use crate::run::state::RunState;

const QUICK: Times = Times {
    command: Duration::from_secs(3),
    last: Duration::from_millis(700),
    look: Duration::from_millis(20),
    silent: 0.2,
};

/// A run, and the command that runs for it.
struct Fixture {
    tmp: tempfile::TempDir,
    observer: Option<Observer>,
    attendance: Arc<Presence>,
    notifier: Option<Notifier>,
    seq: u64,
}

impl Fixture {
    fn new(script: &str, on: &[Occasion]) -> Self {
        let tmp = tempfile::tempdir().unwrap();
        let (run, observer) = SharedRun::begin(RunState::default()).unwrap();
        let attendance = Presence::new(false);
        let place = Place {
            handle: Arc::new(RunHandle::open(&RunDir::at(tmp.path())).unwrap()),
            run,
            attendance: Arc::clone(&attendance),
            signalled: Signalled::none(),
        };
        let order = Order {
            command: ["sh", "-c", script].map(String::from).to_vec(),
            on: on.to_vec(),
        };
        Self {
            notifier: Some(Notifier::start_with(order, place, QUICK).unwrap()),
            observer: Some(observer),
            attendance,
            tmp,
            seq: 0,
        }
    }

    fn event(&mut self, body: Body) {
        self.seq += 1;
        let event = Event::numbered(self.seq, body);
        (self.observer.as_mut().unwrap())(&event);
    }

    fn running(&mut self) {
        let (info, message) = (None, None);
        self.event(Body::Run(RunEvent {
            status: RunStatus::Running,
            info,
            message,
        }));
    }

    fn nan(&mut self) {
        self.event(Body::Train(TrainMetrics {
            loss: None,
            nonfinite: Some(NonFinite::Nan),
            lr: 1e-3,
            grad_norm: None,
            tokens: 1,
            tokens_per_second: 1.0,
            ..Default::default()
        }));
    }

    fn done(&mut self) {
        self.event(Body::Done(Done {
            outcome: None,
            failed: false,
            message: "over".into(),
        }));
    }

    fn finish(&mut self, wait: bool) -> Duration {
        self.observer = None;
        let began = Instant::now();
        self.notifier.take().unwrap().finish(wait);
        began.elapsed()
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.tmp.path().join(name)).unwrap_or_default()
    }

    fn wait_until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let began = Instant::now();
        while !holds(self) {
            assert!(began.elapsed() < Duration::from_secs(20), "never: {what}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn news(&self) -> Vec<Body> {
        std::iter::from_fn(|| self.attendance.news()).collect()
    }
}

const REPORT: &str = "echo \"$HEIRLOOM_EVENT $HEIRLOOM_STEP $HEIRLOOM_TEXT\"; cd \"$HEIRLOOM_RUN\" && echo $HEIRLOOM_EVENT >>events";

#[test]
fn each_occasion_that_was_asked_for_runs_the_command_in_order() {
    let mut run = Fixture::new(REPORT, &[Occasion::Nan, Occasion::Done]);
    run.running();
    run.nan();
    run.wait_until("the command has run", |run| !run.read("events").is_empty());
    run.done();
    run.finish(true);
    assert_eq!(run.read("events"), "nan\ndone\n");
    assert_eq!(
        run.read("log.txt"),
        "nan 2 nan: the training loss is nan at step 2 of reference\nnotify nan: exit 0\ndone 3 done: over\nnotify done: exit 0\n"
    );
    let message = |text: &str| {
        Body::Log(Log {
            message: text.into(),
        })
    };
    assert_eq!(
        run.news(),
        [
            message("notify nan: exit 0"),
            message("notify done: exit 0")
        ]
    );
    let mut other = Fixture::new(REPORT, &[Occasion::Best]);
    other.nan();
    other.done();
    other.finish(true);
    assert_eq!(
        (other.read("events"), other.news()),
        (String::new(), vec![])
    );
}

#[test]
fn a_quiet_run_is_one_stall() {
    let mut run = Fixture::new(REPORT, &Occasion::ALL);
    run.running();
    run.wait_until("the command has run", |run| !run.read("events").is_empty());
    std::thread::sleep(Duration::from_millis(600));
    assert_eq!(run.read("events"), "stall\n");
    // The notification is journaled as an event, after which the run may be quiet again.
    let message = "notify stall: exit 0".into();
    run.event(Body::Log(Log { message }));
    run.wait_until("it is quiet again", |run| {
        run.read("events") == "stall\nstall\n"
    });
    run.finish(false);
}

#[test]
fn a_command_that_takes_too_long_is_a_warning_and_events_go_on() {
    let slow = "echo x >>$HEIRLOOM_RUN/started; sleep 60";
    let mut run = Fixture::new(slow, &[Occasion::Nan]);
    run.nan();
    run.wait_until("the first has begun", |run| run.read("started") == "x\n");
    let began = Instant::now();
    (0..1000).for_each(|_| run.nan());
    assert!(began.elapsed() < QUICK.command, "nothing waits for it");
    run.wait_until("the next has begun", |run| run.read("started") == "x\nx\n");
    assert!(run.finish(false) < Duration::from_secs(1));
    let news = run.news();
    let message = |text: &str| {
        Body::Warning(Warning {
            message: text.into(),
        })
    };
    assert_eq!(
        news,
        [
            message("notify nan: timed out after 3 s"),
            message("notify nan: killed, since the run's process ends"),
        ]
    );
}

#[test]
fn at_the_end_the_command_for_done_has_its_time_and_the_others_little() {
    let slow = "cd $HEIRLOOM_RUN; test $HEIRLOOM_EVENT = done || { >begun; sleep 60; }; sleep 1; echo over >>events";
    let mut run = Fixture::new(slow, &Occasion::ALL);
    run.nan();
    let begun = run.tmp.path().join("begun");
    run.wait_until("the first has begun", |_| begun.exists());
    run.done();
    let took = run.finish(true);
    assert_eq!(run.read("events"), "over\n");
    assert!(
        took > Duration::from_secs(1) && took < Duration::from_secs(10),
        "{took:?}"
    );
    let log = run.read("log.txt");
    assert!(log.starts_with("notify nan: killed"), "{log}");
    assert!(log.ends_with("notify done: exit 0\n"), "{log}");
}
