//! Kills, pauses and restarts, one after another, until the load is over; then everything runs again.

use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::crew::Crew;
use super::random::Random;
use super::target::Target;

/// Disturbs broker and clients until `until`.
pub fn disturb(target: &mut Target, crew: &Crew<'_>, random: &mut Random, until: Instant) {
    let recorder = &crew.recorder;
    let mut breath = Duration::ZERO;
    loop {
        // A broker that takes long to start gets time to work in between.
        let pause = random.milliseconds(700, 3_500) + breath * 2;
        breath = Duration::ZERO;
        if Instant::now() + pause >= until {
            thread::sleep(until.saturating_duration_since(Instant::now()));
            return;
        }
        thread::sleep(pause);
        match random.between(0, 11) {
            0..4 if target.is_mortal() => {
                recorder.disturb("broker kills", None);
                target.kill();
                rest(random, 0, 800);
                breath = restart(target);
            }
            4 if target.is_mortal() => {
                recorder.disturb("broker stops", None);
                target.stop();
                rest(random, 0, 300);
                breath = restart(target);
            }
            5..7 if target.is_mortal() => {
                recorder.disturb("broker pauses", None);
                target.signal(Signal::STOP);
                // Now and then longer than clients wait for an answer, and than transactions may take.
                let most = if random.chance(20) { 6_500 } else { 1_500 };
                rest(random, 200, most);
                target.signal(Signal::CONT);
            }
            7..9 => {
                if let Some(process) = victim(crew, random) {
                    recorder.disturb("client kills", Some(process));
                    crew.living.signal(process, Signal::KILL);
                }
            }
            _ => {
                if let Some(process) = victim(crew, random) {
                    recorder.disturb("client pauses", Some(process));
                    crew.living.signal(process, Signal::STOP);
                    let most = if random.chance(30) { 7_000 } else { 1_500 };
                    rest(random, 200, most);
                    crew.living.signal(process, Signal::CONT);
                }
            }
        }
    }
}

/// Starts the broker again; how long that took.
fn restart(target: &mut Target) -> Duration {
    let started = Instant::now();
    target.restart();
    started.elapsed()
}

fn victim(crew: &Crew<'_>, random: &mut Random) -> Option<u32> {
    let processes = crew.living.processes();
    (!processes.is_empty()).then(|| *random.pick(&processes))
}

fn rest(random: &mut Random, low: u64, high: u64) {
    let pause: Duration = random.milliseconds(low, high);
    thread::sleep(pause);
}
