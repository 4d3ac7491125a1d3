//! Groups at scale: one group with many members, many groups, many committed offsets, and what a restart makes of them.
//!
//! Measured are the time that clients see, the broker's CPU time and its resident memory. The same requests go to any broker;
//! a peer is started by a command of its own. Other than in `run`, the clients share the machine with the broker and need
//! more of it than the broker does: times are upper bounds, and beside them stands what the smallest request took.

mod calls;
mod crowd;
mod process;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use self::calls::{Client, Joined, TOPIC, expect};
use self::crowd::{Crowd, Rebalance};
use self::process::Broker;
use crate::{Failure, frames, target, wire};

/// Partitions of the topic, and so how many offsets a group can have.
const TOPIC_PARTITIONS: i32 = 100;
/// Committed offsets per group where there are many groups.
const OFFSETS_PER_GROUP: i32 = 10;
/// Connections over which many groups are made and asked.
const WORKERS: usize = 8;
/// How often a member sends a heartbeat where time to join is measured; and where the group rebalances without a pause.
const HEARTBEAT: Duration = Duration::from_secs(1);
const FAST_HEARTBEAT: Duration = Duration::from_millis(250);
/// The groups that are watched while another one rebalances: how many of each kind, how often, how long.
const WATCHED: usize = 8;
const WATCH_INTERVAL: Duration = Duration::from_millis(20);
const WATCH_TIME: Duration = Duration::from_secs(10);
/// Partitions of `__consumer_offsets`.
const OFFSETS_PARTITIONS: i32 = 50;

const ILLEGAL_GENERATION: i16 = 22;
const MEMBER_ID_REQUIRED: i16 = 79;

/// What to measure, and how large.
#[derive(Debug)]
pub(crate) struct Options {
    broker: Option<PathBuf>,
    peer: Option<(String, String)>,
    members: usize,
    groups: usize,
    commits: i64,
    data: PathBuf,
}

impl Options {
    /// Reads flags.
    pub(crate) fn parse(words: &[&str]) -> Result<Self, Failure> {
        let mut options = Self {
            broker: None,
            peer: None,
            members: 1_000,
            groups: 10_000,
            commits: 1_000_000,
            data: std::env::temp_dir().join("monedula-bench"),
        };
        let (mut address, mut command) = (None, None);
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
            match *word {
                "--broker" => options.broker = Some(PathBuf::from(value()?)),
                "--kafka" => address = Some((*value()?).to_owned()),
                "--command" => command = Some((*value()?).to_owned()),
                "--members" => options.members = value()?.parse()?,
                "--groups" => options.groups = value()?.parse()?,
                "--commits" => options.commits = value()?.parse()?,
                "--data" => options.data = PathBuf::from(value()?),
                flag => return Err(format!("unknown flag {flag}").into()),
            }
        }
        options.peer = match (address, command) {
            (Some(address), Some(command)) => Some((address, command)),
            (None, None) => None,
            _ => return Err("--kafka ADDRESS and --command PATH belong together".into()),
        };
        if options.broker.is_none() && options.peer.is_none() {
            return Err("--broker or --kafka must be given".into());
        }
        std::fs::create_dir_all(&options.data)?;
        Ok(options)
    }

    fn start(&self, binary: &Path, name: &str, settings: &[&str]) -> Result<(Broker, PathBuf), Failure> {
        let data = self.data.join(format!("groups-{name}-{}", std::process::id()));
        let address = format!("127.0.0.1:{}", target::free_port()?);
        let mut command = vec![binary.display().to_string()];
        let own = [
            format!("listeners=PLAINTEXT://{address}"),
            format!("log.dirs={}", data.display()),
        ];
        for setting in own.iter().map(String::as_str).chain(settings.iter().copied()) {
            command.extend(["--override".to_owned(), setting.to_owned()]);
        }
        Ok((Broker::start(command, address, Some(data.clone()))?, data))
    }
}

/// Measures and prints.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    if let Some(binary) = &options.broker {
        wire::say("monedula, defaults");
        let (broker, _) = options.start(binary, "defaults", &[])?;
        prepare(&broker)?;
        large_group(&broker, options, false)?;
        drop(broker);
        wire::say("monedula, group.initial.rebalance.delay.ms=0");
        let (mut broker, data) = options.start(binary, "quick", &["group.initial.rebalance.delay.ms=0"])?;
        all(&mut broker, options, Some(&data))?;
    }
    if let Some((address, command)) = &options.peer {
        wire::say(&format!("{command} at {address}"));
        let mut broker = Broker::start(vec![command.clone()], address.clone(), None)?;
        all(&mut broker, options, None)?;
    }
    Ok(())
}

fn all(broker: &mut Broker, options: &Options, data: Option<&Path>) -> Result<(), Failure> {
    prepare(broker)?;
    large_group(broker, options, true)?;
    many_groups(broker, options)?;
    reload(broker, options, data)?;
    many_commits(broker, options, data)
}

/// Makes the topic and waits for the coordinator, which a peer makes only when it is asked.
fn prepare(broker: &Broker) -> Result<(), Failure> {
    let mut stream = wire::connect(&broker.address)?;
    wire::call(&mut stream, &frames::create_topic(TOPIC, TOPIC_PARTITIONS)?)?;
    let mut client = Client::connect(&broker.address)?;
    client.find_coordinator("any")?;
    for group in 0..OFFSETS_PARTITIONS {
        let group_id = group_on(group, 0);
        while client.commit(&group_id, (-1, ""), 1, 0)? != 0 {
            if broker.started.elapsed() > Duration::from_secs(60) {
                return Err("no coordinator".into());
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
    Ok(())
}

fn large_group(broker: &Broker, options: &Options, with_others: bool) -> Result<(), Failure> {
    let members = options.members;
    let (memory, cpu) = (broker.resident_bytes()?, broker.cpu_seconds()?);
    let (crowd, joined) = Crowd::join(&broker.address, "crowd", members, HEARTBEAT)?;
    say_rebalance(
        &format!("{members} members join one group"),
        &joined,
        broker.cpu_seconds()? - cpu,
    );
    say_memory("  with their connections", memory, broker.resident_bytes()?, members);
    let cpu = broker.cpu_seconds()?;
    let rebalanced = crowd.replace_one(3)?;
    say_rebalance("  one leaves, another comes", &rebalanced, broker.cpu_seconds()? - cpu);
    crowd.end()?;
    if with_others {
        bystanders(broker, options)?;
    }
    Ok(())
}

/// What other groups feel while a large one rebalances without a pause.
fn bystanders(broker: &Broker, options: &Options) -> Result<(), Failure> {
    let group_id = "crowd-without-rest";
    let (crowd, _) = Crowd::join(&broker.address, group_id, options.members, FAST_HEARTBEAT)?;
    let shard = partition_of(group_id);
    let quiet = watch(broker, shard, || {
        thread::sleep(WATCH_TIME);
        Ok(0)
    })?;
    say_watched("other groups, all quiet", &quiet);
    let mut rebalances = 0;
    let busy = watch(broker, shard, || {
        let begun = Instant::now();
        while begun.elapsed() < WATCH_TIME {
            crowd.replace_one(rebalances % WATCHED)?;
            rebalances += 1;
        }
        Ok(rebalances)
    })?;
    say_watched(&format!("other groups, {rebalances} rebalances beside them"), &busy);
    crowd.end()
}

/// Latencies of three kinds: groups of the same shard, groups of others, and the smallest request.
#[derive(Debug, Default)]
struct Watched([Vec<Duration>; 3]);

fn watch(broker: &Broker, shard: i32, meanwhile: impl FnOnce() -> Result<usize, Failure>) -> Result<Watched, Failure> {
    let stop = AtomicBool::new(false);
    let mut watched = Watched::default();
    thread::scope(|scope| {
        let mut threads = Vec::new();
        for kind in 0..3 {
            for index in 0..WATCHED {
                let other = (shard + 1 + i32::try_from(index)?) % OFFSETS_PARTITIONS;
                let group_id = group_on(if kind == 0 { shard } else { other }, index + 1);
                let (stop, address) = (&stop, &broker.address);
                let watcher = move || {
                    let latencies = watch_one(address, &group_id, kind == 2, stop);
                    latencies.map(|latencies| (kind, latencies))
                };
                threads.push(scope.spawn(watcher));
            }
        }
        let result = meanwhile();
        stop.store(true, Ordering::Relaxed);
        for thread in threads {
            let (kind, latencies) = thread.join().map_err(|_| "a watcher panicked")??;
            watched.0[kind].extend(latencies);
        }
        result.map(drop)
    })?;
    Ok(watched)
}

/// Sends a heartbeat and a commit (or a ping) at fixed times; the latency counts from then.
fn watch_one(address: &str, group_id: &str, only_pings: bool, stop: &AtomicBool) -> Result<Vec<Duration>, Failure> {
    let mut client = Client::connect(address)?;
    let member = if only_pings {
        None
    } else {
        Some(join_alone(&mut client, group_id)?)
    };
    let mut latencies = Vec::new();
    let mut due = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        match &member {
            // as many round trips as the others have
            None => (0..2).try_for_each(|_| client.ping())?,
            Some(joined) => {
                let generation_id = joined.generation_id;
                expect(
                    "Heartbeat",
                    client.heartbeat(group_id, generation_id, &joined.member_id)?,
                )?;
                let committed = client.commit(group_id, (generation_id, &joined.member_id), 1, 1)?;
                expect("OffsetCommit", committed)?;
            }
        }
        latencies.push(due.elapsed());
        due += WATCH_INTERVAL;
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    if let Some(joined) = &member {
        client.leave(group_id, &joined.member_id)?;
    }
    Ok(latencies)
}

/// A group of one member, stable.
fn join_alone(client: &mut Client, group_id: &str) -> Result<Joined, Failure> {
    let mut joined = client.join(group_id, "")?;
    if joined.error == MEMBER_ID_REQUIRED {
        joined = client.join(group_id, &joined.member_id)?;
    }
    expect("JoinGroup", joined.error)?;
    match client.sync(group_id, &joined)? {
        // a predecessor in the group was given up meanwhile
        ILLEGAL_GENERATION => join_alone(client, group_id),
        error => expect("SyncGroup", error).map(|()| joined),
    }
}

fn many_groups(broker: &Broker, options: &Options) -> Result<(), Failure> {
    let groups = options.groups;
    let (memory, cpu, begun) = (broker.resident_bytes()?, broker.cpu_seconds()?, Instant::now());
    let members = for_each_group(broker, groups, join_alone)?;
    say_work(
        &format!("{groups} groups of one member"),
        begun.elapsed(),
        broker.cpu_seconds()? - cpu,
    );
    say_memory("  each", memory, broker.resident_bytes()?, groups);
    let (memory, cpu, begun) = (broker.resident_bytes()?, broker.cpu_seconds()?, Instant::now());
    let committed = for_each_group(broker, groups, |client, group_id| {
        let member: &Joined = &members[number_of(group_id)?];
        let member = (member.generation_id, member.member_id.as_str());
        expect(
            "OffsetCommit",
            client.commit(group_id, member, OFFSETS_PER_GROUP, offset_of(group_id)?)?,
        )
    })?;
    let offsets = committed.len() * usize::try_from(OFFSETS_PER_GROUP)?;
    say_work(
        &format!("{offsets} committed offsets"),
        begun.elapsed(),
        broker.cpu_seconds()? - cpu,
    );
    say_memory("  each", memory, broker.resident_bytes()?, offsets);
    Ok(())
}

/// Restarts, after a stop and after a kill: when every group's offsets are told again.
fn reload(broker: &mut Broker, options: &Options, data: Option<&Path>) -> Result<(), Failure> {
    if let Some(data) = data {
        wire::say(&format!(
            "__consumer_offsets on disk                     {:10.1} MB",
            on_disk(data)? / 1e6
        ));
    }
    for (name, signal) in [("SIGTERM", Signal::TERM), ("kill -9", Signal::KILL)] {
        broker.restart(signal)?;
        let answers = broker.started.elapsed();
        for_each_group(broker, options.groups, |client, group_id| {
            let offset = offset_of(group_id)?;
            until_loaded(broker.started, || {
                client.has_committed(group_id, OFFSETS_PER_GROUP, offset)
            })
        })?;
        wire::say(&format!(
            "restart after {name}: first answer {:.0} ms, every group told its offsets after {:.0} ms, {:.1} MB resident",
            answers.as_secs_f64() * 1e3,
            broker.started.elapsed().as_secs_f64() * 1e3,
            broker.resident_bytes()? as f64 / 1e6,
        ));
    }
    Ok(())
}

/// One group that commits the same partitions again and again: what the log keeps of it costs at the next start.
fn many_commits(broker: &mut Broker, options: &Options, data: Option<&Path>) -> Result<(), Failure> {
    let group_id = "committer";
    let times = options.commits / i64::from(TOPIC_PARTITIONS);
    let (memory, cpu, begun) = (broker.resident_bytes()?, broker.cpu_seconds()?, Instant::now());
    Client::connect(&broker.address)?.commit_many(group_id, TOPIC_PARTITIONS, times)?;
    let commits = options.commits;
    say_work(
        &format!("{commits} commits to {TOPIC_PARTITIONS} partitions"),
        begun.elapsed(),
        broker.cpu_seconds()? - cpu,
    );
    say_memory("  together", memory, broker.resident_bytes()?, 1);
    if let Some(data) = data {
        wire::say(&format!(
            "__consumer_offsets on disk                     {:10.1} MB",
            on_disk(data)? / 1e6
        ));
    }
    broker.restart(Signal::TERM)?;
    let answers = broker.started.elapsed();
    let mut client = Client::connect(&broker.address)?;
    until_loaded(broker.started, || {
        client.has_committed(group_id, TOPIC_PARTITIONS, times)
    })?;
    wire::say(&format!(
        "restart after SIGTERM: first answer {:.0} ms, the committer told its offsets after {:.0} ms, {:.1} MB resident",
        answers.as_secs_f64() * 1e3,
        broker.started.elapsed().as_secs_f64() * 1e3,
        broker.resident_bytes()? as f64 / 1e6,
    ));
    Ok(())
}

fn until_loaded(started: Instant, mut ask: impl FnMut() -> Result<bool, Failure>) -> Result<(), Failure> {
    while !ask()? {
        if started.elapsed() > Duration::from_secs(120) {
            return Err("the coordinator does not load".into());
        }
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Does something for each of many groups over a few connections; the results in the order of the groups' numbers.
fn for_each_group<T: Send>(
    broker: &Broker,
    groups: usize,
    work: impl Fn(&mut Client, &str) -> Result<T, Failure> + Sync,
) -> Result<Vec<T>, Failure> {
    let (work, address) = (&work, &broker.address);
    thread::scope(|scope| {
        let per_worker = groups.div_ceil(WORKERS);
        let mut workers = Vec::new();
        for first in (0..groups).step_by(per_worker) {
            let numbers = first..(first + per_worker).min(groups);
            workers.push(scope.spawn(move || {
                let mut client = Client::connect(address)?;
                let results = numbers.map(|number| work(&mut client, &format!("many-{number}")));
                results.collect::<Result<Vec<T>, Failure>>()
            }));
        }
        let mut results = Vec::with_capacity(groups);
        for worker in workers {
            results.extend(worker.join().map_err(|_| "a worker panicked")??);
        }
        Ok(results)
    })
}

fn number_of(group_id: &str) -> Result<usize, Failure> {
    Ok(group_id.trim_start_matches("many-").parse()?)
}

/// What a group commits: no two the same.
fn offset_of(group_id: &str) -> Result<i64, Failure> {
    Ok(i64::try_from(number_of(group_id)?)? + 1_000)
}

/// The partition of `__consumer_offsets` that Kafka puts a group on (names here are ASCII).
fn partition_of(group_id: &str) -> i32 {
    let step = |hash: i32, byte: u8| hash.wrapping_mul(31).wrapping_add(i32::from(byte));
    let hash = group_id.bytes().fold(0, step);
    hash.checked_abs().unwrap_or(0) % OFFSETS_PARTITIONS
}

/// The name of a group on that partition; another one for each `number`.
fn group_on(partition: i32, number: usize) -> String {
    let mut names = (0..).map(|attempt| format!("on-{partition}-{number}-{attempt}"));
    names
        .find(|name| partition_of(name) == partition)
        .expect("hashes are spread over all partitions")
}

/// Bytes of the files of all partitions of `__consumer_offsets`, as far as they were written.
fn on_disk(data: &Path) -> Result<f64, Failure> {
    let mut bytes = 0;
    for directory in std::fs::read_dir(data)? {
        let directory = directory?;
        if directory
            .file_name()
            .to_string_lossy()
            .starts_with("__consumer_offsets-")
        {
            for file in std::fs::read_dir(directory.path())? {
                let file = file?;
                if file.path().extension().is_some_and(|extension| extension == "log") {
                    bytes += file.metadata()?.len();
                }
            }
        }
    }
    Ok(bytes as f64)
}

fn say_rebalance(what: &str, rebalance: &Rebalance, cpu_seconds: f64) {
    wire::say(&format!(
        "{what:<46} {:10.0} ms, {:.0} ms after the last JoinGroup, {:.0} ms CPU of the broker, {} retries",
        rebalance.whole.as_secs_f64() * 1e3,
        rebalance.after_last_join.as_secs_f64() * 1e3,
        cpu_seconds * 1e3,
        rebalance.retries,
    ));
    if !rebalance.heartbeats.is_empty() {
        say_latencies("  heartbeats meanwhile", &rebalance.heartbeats);
    }
}

fn say_watched(what: &str, watched: &Watched) {
    wire::say(what);
    for (kind, latencies) in ["  of the same shard", "  of other shards", "  smallest request"]
        .into_iter()
        .zip(&watched.0)
    {
        say_latencies(kind, latencies);
    }
}

fn say_latencies(what: &str, latencies: &[Duration]) {
    let mut sorted = latencies.to_vec();
    sorted.sort_unstable();
    let at = |share: f64| {
        let index = ((sorted.len() as f64 * share) as usize).min(sorted.len().saturating_sub(1));
        sorted.get(index).map_or(0.0, |latency| latency.as_secs_f64() * 1e3)
    };
    wire::say(&format!(
        "{what:<46} p50 {:.2} ms, p99 {:.2} ms, longest {:.2} ms of {}",
        at(0.5),
        at(0.99),
        at(1.0),
        sorted.len()
    ));
}

fn say_work(what: &str, took: Duration, cpu_seconds: f64) {
    wire::say(&format!(
        "{what:<46} {:10.0} ms, {:.0} ms CPU of the broker",
        took.as_secs_f64() * 1e3,
        cpu_seconds * 1e3
    ));
}

fn say_memory(what: &str, before: u64, after: u64, count: usize) {
    let grown = after.saturating_sub(before) as f64;
    wire::say(&format!(
        "{what:<46} {:10.0} bytes ({:.1} MB resident before, {:.1} after)",
        grown / count.max(1) as f64,
        before as f64 / 1e6,
        after as f64 / 1e6
    ));
}
