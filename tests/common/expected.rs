//! Computes the expected figures on the screen from the lines of a journal, without the program's types except its formats of
//! numbers.

use heirloom::run::show::duration;
use heirloom::run::table::{bytes, count};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;

/// A choice of a decision, by its name in the tables.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Choice {
    Grow(u64),
    TrainOn(u64),
    Stop,
}

/// The events of a journal, and the time `now` at which they are shown, Unix time in milliseconds.
pub struct Expected {
    events: Vec<Value>,
    now: i64,
}

/// Formats `12,345`.
pub fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let groups = digits.as_bytes().rchunks(3).rev();
    let groups: Vec<&str> = groups.map(|g| std::str::from_utf8(g).unwrap()).collect();
    groups.join(",")
}

/// Formats `4 min ago`.
fn ago(ms: i64) -> String {
    match (ms as f64 / 1000.0).round() as i64 {
        0..10 => "just now".into(),
        s @ 10..120 => format!("{} s ago", s / 10 * 10),
        s @ 120..7200 => format!("{} min ago", s / 60),
        s @ 7200..172_800 => format!("{} h ago", s / 3600),
        s => format!("{} d ago", s / 86_400),
    }
}

/// Formats a duration of more than ten minutes: in whole minutes, rounded up.
fn coarse(seconds: f64) -> String {
    assert!(seconds > 600.0, "{seconds}");
    duration((seconds / 60.0).ceil() * 60.0)
}

impl Expected {
    /// Reads a journal that is shown `silence` milliseconds after its last event.
    pub fn new(journal: &str, silence: i64) -> Self {
        let lines = journal.lines();
        let events: Vec<Value> = lines.map(|l| serde_json::from_str(l).unwrap()).collect();
        let now = events.last().unwrap()["t"].as_i64().unwrap() + silence;
        Self { events, now }
    }

    fn is_kind(event: &Value, kind: &str) -> bool {
        event["kind"] == kind
    }

    /// Returns the index at which the present phase begins.
    fn begin(&self) -> usize {
        let begins = |e: &Value| Self::is_kind(e, "phase") && e["result"].is_null();
        self.events.iter().rposition(begins).unwrap()
    }

    /// Returns the events of a kind in the present phase.
    fn in_phase(&self, kind: &str) -> Vec<&Value> {
        let events = self.events[self.begin()..].iter();
        events.filter(|e| Self::is_kind(e, kind)).collect()
    }

    fn last(&self, kind: &str) -> &Value {
        let mut events = self.events.iter().rev();
        events.find(|e| Self::is_kind(e, kind)).unwrap()
    }

    fn info(&self, key: &str) -> u64 {
        self.events[0]["info"][key].as_u64().unwrap()
    }

    fn step(&self) -> u64 {
        self.events.last().unwrap()["phase_step"].as_u64().unwrap()
    }

    fn due(&self) -> u64 {
        let steps = self.events[self.begin()]["steps"].as_u64().unwrap();
        let commands = self.in_phase("command");
        let extended = commands.iter().filter(|e| e["command"]["name"] == "extend");
        steps
            + extended
                .map(|e| e["command"]["steps"].as_u64().unwrap())
                .sum::<u64>()
    }

    fn layers(&self) -> u64 {
        self.events[self.begin()]["layers"].as_u64().unwrap()
    }

    /// Returns the progress of the round: `step 62,300/100,000`.
    pub fn progress(&self) -> String {
        format!("step {}/{}", thousands(self.step()), thousands(self.due()))
    }

    /// Returns the training loss: an average with a decay of 0.98 per step, or the text for a loss that is not finite.
    pub fn train(&self) -> String {
        let events = self.in_phase("train");
        let last = events.last().unwrap();
        let step = |e: &Value| e["phase_step"].as_u64().unwrap();
        if last["loss"].is_null() {
            return format!("train not finite @{}", thousands(step(last)));
        }
        // Older values have weights below 1e-8.
        let recent: Vec<&&Value> = events
            .iter()
            .filter(|e| step(e) + 1000 >= step(last))
            .collect();
        let (mut sum, mut weight) = (0.0, 0.0);
        for (i, event) in recent.iter().enumerate() {
            let steps = match i {
                0 => step(recent[1]) - step(recent[0]),
                i => step(recent[i]) - step(recent[i - 1]),
            };
            let decay = 0.98_f64.powf(steps as f64);
            sum = decay * sum + (1.0 - decay) * event["loss"].as_f64().unwrap();
            weight = decay * weight + 1.0 - decay;
        }
        format!("train {:.3}", sum / weight)
    }

    /// Returns the validation loss with the best of the phase: `val 2.9493 best`, `val 2.9493 (best 2.9402 @61,000)`.
    pub fn val(&self) -> String {
        let evals = self.in_phase("eval");
        let loss = |e: &Value| e["val_loss"].as_f64().unwrap();
        let last = loss(evals.last().unwrap());
        let mut best = evals[0];
        for eval in &evals {
            if loss(eval) < loss(best) {
                best = eval;
            }
        }
        match loss(best) == last {
            true => format!("val {last:.4} best"),
            false => {
                let step = thousands(best["phase_step"].as_u64().unwrap());
                format!("val {last:.4} (best {:.4} @{step})", loss(best))
            }
        }
    }

    pub fn gap(&self) -> String {
        let eval = *self.in_phase("eval").last().unwrap();
        let [gap, stderr] = ["gap", "gap_stderr"].map(|key| eval[key].as_f64().unwrap());
        format!("gap {gap:+.4} ±{stderr:.4}")
    }

    /// Returns the ages of the last evaluation and of the last checkpoint.
    pub fn ages(&self) -> [String; 2] {
        let age = |kind| ago(self.now - self.last(kind)["t"].as_i64().unwrap());
        [
            format!("eval {}", age("eval")),
            format!("ckpt {}", age("checkpoint")),
        ]
    }

    /// Returns the relative cost of a token with a number of layers: matrices and attention of each layer, and the head.
    fn cost(&self, layers: u64) -> f64 {
        let [d, t, v] = ["n_embd", "context_length", "vocab"].map(|key| self.info(key) as f64);
        layers as f64 * (12.0 * d * d + t * d) + v * d
    }

    /// Returns the seconds of a number of steps and layers, at the speed of the last 50 training events.
    fn seconds(&self, steps: u64, layers: u64) -> f64 {
        let events = self.in_phase("train");
        let recent = &events[events.len().saturating_sub(50)..];
        let (a, b) = (recent[0], recent[recent.len() - 1]);
        let of = |e: &Value, key: &str| e[key].as_f64().unwrap();
        let speed = (of(b, "tokens") - of(a, "tokens")) / (of(b, "elapsed") - of(a, "elapsed"));
        let tokens = (steps * self.info("batch_tokens")) as f64;
        tokens / speed * self.cost(layers) / self.cost(self.layers())
    }

    /// Returns the time to the next decision, while its round trains.
    pub fn decision_in(&self) -> String {
        let left = self.seconds(self.due() - self.step(), self.layers());
        format!("decision in {}", coarse(left))
    }

    /// Returns the time to the end of the recipe with all possible growths, and the time of day of the end.
    pub fn done_in(&self) -> String {
        let left = self.due().saturating_sub(self.step());
        let mut seconds = self.seconds(left, self.layers());
        let mut layers = self.layers();
        while layers < self.info("max_layers") {
            layers += self.info("grow_step");
            seconds += self.seconds(self.info("round_steps"), layers);
        }
        format!("done in ~{}, {}", coarse(seconds), self.clock(seconds))
    }

    /// Formats the local time in `seconds` seconds: the time of day, with the weekday unless it is today, or the date.
    fn clock(&self, seconds: f64) -> String {
        let local = |ms| {
            let time = Timestamp::from_millisecond(ms).unwrap();
            time.to_zoned_datetime(TimeZone::UTC)
        };
        let (now, then) = (local(self.now), local(self.now + (1000.0 * seconds) as i64));
        let days = (then.date() - now.date()).get_days();
        let form = match days {
            0 => "%H:%M",
            1..7 => "%a %H:%M",
            _ => "%b %-d",
        };
        then.strftime(form).to_string()
    }

    /// Returns the last decision that was opened, with its evidence.
    fn decision(&self) -> &Value {
        let mut events = self.events.iter().rev();
        let opens = |e: &&Value| Self::is_kind(e, "decision") && e["status"] == "open";
        events.find(opens).unwrap()
    }

    /// Returns the step of the evidence, its age, and a hint if newer figures exist.
    pub fn evidence(&self, open: bool) -> String {
        let decision = self.decision();
        let round = &decision["evidence"]["round"];
        let step = thousands(decision["phase_step"].as_u64().unwrap());
        let at = decision["evidence_step"].as_u64().unwrap();
        let old = thousands(self.events.last().unwrap()["step"].as_u64().unwrap() - at);
        let newer = self.last("eval")["step"].as_u64().unwrap() > at;
        let rest = match (newer, open) {
            (true, true) => "; D gathers newer",
            (true, false) => "",
            (false, _) => ", no newer evaluation",
        };
        format!("evidence of round {round} step {step}, {old} steps old{rest}")
    }

    /// Returns layers, parameters, memory, tokens per second, duration and end of a choice that is made now.
    pub fn cells(&self, choice: Choice) -> [String; 6] {
        let have = self.layers();
        let costs = self.decision()["evidence"]["costs"].as_array().unwrap();
        let of = |layers: u64| costs.iter().find(|c| c["layers"] == layers).unwrap();
        let parameters = self.events[self.begin()]["parameters"].as_u64().unwrap();
        let whole = |cost: &Value, key: &str| cost[key].as_u64().unwrap();
        let batch = self.info("batch_tokens");
        let takes = |steps: u64, speed: f64| {
            let seconds = (steps * batch) as f64 / speed;
            [duration(seconds), self.clock(seconds)]
        };
        let speed_now = self.last("train")["tokens_per_second"].as_f64().unwrap();
        match choice {
            Choice::Grow(add) => {
                let cost = of(have + add);
                let speed = cost["tokens_per_second"].as_f64().unwrap();
                let [duration, end] = takes(self.info("round_steps"), speed);
                [
                    format!("{have}→{}", have + add),
                    count(whole(cost, "parameters")),
                    bytes(whole(cost, "memory_bytes")),
                    // The fixture's run has not trained a model of this size.
                    format!("~{}", count(speed as u64)),
                    format!("~{duration}"),
                    end,
                ]
            }
            Choice::TrainOn(steps) => {
                let [duration, end] = takes(steps, speed_now);
                [
                    have.to_string(),
                    count(parameters),
                    bytes(whole(of(have), "memory_bytes")),
                    count(speed_now as u64),
                    duration,
                    end,
                ]
            }
            // The config asks for no controls.
            Choice::Stop => {
                let dash = || "-".to_string();
                [
                    have.to_string(),
                    count(parameters),
                    dash(),
                    dash(),
                    dash(),
                    dash(),
                ]
            }
        }
    }

    /// Returns the cells that a confirmation repeats.
    pub fn repeated(&self, choice: Choice) -> Vec<String> {
        let [layers, parameters, memory, speed, takes, end] = self.cells(choice);
        let until = format!("{takes}, until {end}");
        match choice {
            Choice::Grow(_) => vec![
                format!("{} layers", layers.replace('→', " → ")),
                format!("{parameters} parameters, {memory}, {speed} tok/s"),
                until,
            ],
            Choice::TrainOn(_) => vec![format!("{layers} layers"), until],
            Choice::Stop => vec![format!("{layers} layers"), "the run ends".into()],
        }
    }

    /// Returns the sentence of the prompt about a choice.
    pub fn sentence(&self, choice: Choice) -> String {
        let [layers, parameters, memory, speed, takes, end] = self.cells(choice);
        match choice {
            Choice::Stop => format!("{layers} layers · {parameters} params"),
            _ => format!(
                "{layers} layers · {parameters} params · {memory} · {speed} tok/s · {takes} · until {end}"
            ),
        }
    }
}
