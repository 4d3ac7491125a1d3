//! A broker of numbers and a client that knows only what answers told it: whatever happens between, the client ends with
//! the view that a fetch of everything would give.

use proptest::prelude::*;

use super::*;

const PARTITIONS: i32 = 6;

fn key(partition: i32) -> PartitionKey {
    PartitionKey {
        topic: TopicKey::Name("topic".into()),
        partition,
    }
}

fn wanted(partition: i32, fetch_offset: i64) -> WantedPartition {
    WantedPartition {
        key: key(partition),
        fetch: PartitionFetch {
            current_leader_epoch: -1,
            fetch_offset,
            last_fetched_epoch: -1,
            partition_max_bytes: 1,
        },
    }
}

/// What a look at a partition shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shown {
    high_watermark: i64,
    log_start_offset: i64,
    failed: bool,
}

impl Shown {
    fn answer(self, partition: i32) -> FetchedPartition {
        if self.failed {
            return FetchedPartition::error(partition, ErrorCode::KafkaStorageError);
        }
        FetchedPartition {
            high_watermark: self.high_watermark,
            last_stable_offset: self.high_watermark,
            log_start_offset: self.log_start_offset,
            ..FetchedPartition::error(partition, ErrorCode::None)
        }
    }
}

/// A partition of an answer: its index, what it shows, whether there are records.
type Told = (i32, Shown, bool);

/// Partitions, and the slots of the session that watch each.
#[derive(Debug)]
struct Broker {
    partitions: Vec<(Shown, BTreeSet<u32>)>,
    told: BTreeSet<u32>,
    session: Option<Session<()>>,
}

impl Broker {
    fn new() -> Self {
        let fresh = Shown {
            high_watermark: 0,
            log_start_offset: 0,
            failed: false,
        };
        Self {
            partitions: vec![(fresh, BTreeSet::new()); PARTITIONS as usize],
            told: BTreeSet::new(),
            session: None,
        }
    }

    fn shown(&self, partition: i32) -> Shown {
        self.partitions[partition as usize].0
    }

    /// Something happens: whoever watches is told, once.
    fn change(&mut self, partition: i32, change: impl FnOnce(&mut Shown)) {
        let (shown, watching) = &mut self.partitions[partition as usize];
        change(shown);
        self.told.append(watching);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Append(partition) => self.change(partition, |shown| shown.high_watermark += 10),
            Event::MoveStart(partition) => {
                self.change(partition, |shown| shown.log_start_offset = shown.high_watermark / 2);
            }
            Event::Fail(partition) => self.change(partition, |shown| shown.failed = true),
            Event::Recover(partition) => self.change(partition, |shown| shown.failed = false),
        }
    }

    /// Answers with a session; `None` when the session or its epoch is not the one that the client believes in.
    fn incremental(&mut self, request: Request, fetch: Incremental) -> Option<(Vec<Told>, Vec<Shown>)> {
        let session = self.session.as_mut()?;
        if session.epoch() != request.epoch {
            return None;
        }
        let forgotten: Vec<_> = request.forgotten.iter().map(|partition| key(*partition)).collect();
        session.update(0, request.wanted, forgotten);
        session.on_told(&std::mem::take(&mut self.told));
        let mut records_left = fetch.max_records;
        let mut looks = Vec::new();
        for slot in session.pending() {
            let known = session.partition_mut(slot).expect("pending slots are there");
            let partition = known.key.partition;
            let (shown, watching) = &mut self.partitions[partition as usize];
            if known.quiet || fetch.parks {
                known.watched = true;
                watching.insert(slot);
            }
            let readable = !shown.failed && known.fetch.fetch_offset < shown.high_watermark;
            let has_records = readable && records_left > 0;
            records_left -= usize::from(has_records);
            looks.push((slot, partition, *shown, readable, has_records, known.watched));
        }
        let truth = self.partitions.iter().map(|(shown, _)| *shown).collect();
        // the answer is made a while after the look
        if let Some(event) = fetch.before_answer {
            self.happen(event);
        }
        let session = self.session.as_mut().expect("still there");
        let mut answer = Vec::new();
        for (slot, partition, shown, readable, has_records, watched) in looks {
            let seen = Seen {
                partition: &shown.answer(partition),
                has_records,
                readable,
                watched,
            };
            if session.settle(slot, seen) {
                answer.push((partition, shown, has_records));
            }
        }
        Some((answer, truth))
    }

    fn full(&mut self, wanted: &[WantedPartition]) -> Vec<Told> {
        let answers: Vec<_> = wanted
            .iter()
            .map(|wanted| self.shown(wanted.key.partition).answer(wanted.key.partition))
            .collect();
        self.told.clear();
        for (_, watching) in &mut self.partitions {
            watching.clear();
        }
        self.session = Some(Session::new(
            false,
            0,
            wanted
                .iter()
                .cloned()
                .zip(&answers)
                .map(|(wanted, answer)| (wanted, (), answer)),
        ));
        let partitions = wanted.iter().map(|wanted| wanted.key.partition);
        partitions
            .map(|partition| (partition, self.shown(partition), false))
            .collect()
    }
}

#[derive(Debug, Clone, Copy)]
enum Event {
    Append(i32),
    MoveStart(i32),
    Fail(i32),
    Recover(i32),
}

/// A partition as the client sees it.
#[derive(Debug, Clone, Copy)]
struct View {
    offset: i64,
    /// The session does not know this offset yet.
    is_news: bool,
    shown: Option<Shown>,
}

#[derive(Debug)]
struct Request {
    epoch: i32,
    wanted: Vec<WantedPartition>,
    forgotten: Vec<i32>,
}

#[derive(Debug, Default)]
struct Client {
    epoch: i32,
    views: BTreeMap<i32, View>,
    /// What the next request takes out of the session, with what the client was told of it: until then it counts as told.
    forgotten: BTreeMap<i32, View>,
}

impl Client {
    fn request(&mut self) -> Request {
        let news = self.views.iter_mut().filter(|(_, view)| view.is_news);
        let wanted = news.map(|(partition, view)| {
            view.is_news = false;
            wanted(*partition, view.offset)
        });
        Request {
            epoch: self.epoch,
            wanted: wanted.collect(),
            forgotten: std::mem::take(&mut self.forgotten).into_keys().collect(),
        }
    }

    fn apply(&mut self, answer: &[Told], consumes: bool) {
        for (partition, shown, has_records) in answer {
            let Some(view) = self.views.get_mut(partition) else {
                continue;
            };
            view.shown = Some(*shown);
            if *has_records && consumes {
                view.offset = shown.high_watermark;
                view.is_news = true;
            }
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Incremental {
    /// The client takes what it gets, so that its next request says so.
    consumes: bool,
    /// The request waited, and so watches everything.
    parks: bool,
    max_records: usize,
    before_answer: Option<Event>,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Happen(Event),
    Fetch(Incremental),
    /// The same request once more, or a late one.
    WrongEpoch(i32),
    Evict,
    Add(i32),
    Forget(i32),
}

fn event() -> impl Strategy<Value = Event> {
    (0..PARTITIONS, 0..6).prop_map(|(partition, kind)| match kind {
        0 => Event::MoveStart(partition),
        1 => Event::Fail(partition),
        2 => Event::Recover(partition),
        _ => Event::Append(partition),
    })
}

fn step() -> impl Strategy<Value = Step> {
    let fetch = (any::<bool>(), any::<bool>(), 0..5_usize, proptest::option::of(event()));
    let fetch = fetch.prop_map(|(consumes, parks, max_records, before_answer)| {
        Step::Fetch(Incremental {
            consumes,
            parks,
            max_records,
            before_answer,
        })
    });
    prop_oneof![
        6 => event().prop_map(Step::Happen),
        6 => fetch,
        1 => (-2..5).prop_map(Step::WrongEpoch),
        1 => Just(Step::Evict),
        2 => (0..PARTITIONS).prop_map(Step::Add),
        1 => (0..PARTITIONS).prop_map(Step::Forget),
    ]
}

/// Fetches once; after it the client's view must be what the broker showed at the look.
fn fetch(broker: &mut Broker, client: &mut Client, incremental: Incremental) {
    let had_session = broker.session.is_some();
    let (answer, truth, in_full) = match broker.incremental(client.request(), incremental) {
        Some((answer, truth)) => (answer, truth, false),
        None => {
            assert!(!had_session, "the client keeps count");
            client.forgotten.clear();
            let all: Vec<_> = client
                .views
                .iter()
                .map(|(partition, view)| wanted(*partition, view.offset))
                .collect();
            let answer = broker.full(&all);
            client.epoch = 0;
            let truth = (0..PARTITIONS).map(|partition| broker.shown(partition)).collect();
            (answer, truth, true)
        }
    };
    client.epoch = next_epoch(client.epoch);
    let readable = client.views.iter().filter(|(partition, view)| {
        let shown: Shown = truth[**partition as usize];
        !shown.failed && view.offset < shown.high_watermark
    });
    let expected = if in_full {
        0
    } else {
        readable.count().min(incremental.max_records)
    };
    assert_eq!(answer.iter().filter(|(.., has_records)| *has_records).count(), expected);
    for partition in client
        .views
        .keys()
        .filter(|partition| truth[**partition as usize].failed)
    {
        assert!(
            answer.iter().any(|(told, ..)| told == partition),
            "an error is told as long as it lasts"
        );
    }
    client.apply(&answer, incremental.consumes);
    for (partition, view) in &client.views {
        assert_eq!(view.shown, Some(truth[*partition as usize]), "partition {partition}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn a_client_sees_what_a_full_fetch_would_show(steps in proptest::collection::vec(step(), 1..80)) {
        let mut broker = Broker::new();
        let mut client = Client::default();
        for step in steps {
            match step {
                Step::Happen(event) => broker.happen(event),
                Step::Fetch(incremental) => fetch(&mut broker, &mut client, incremental),
                Step::WrongEpoch(distance) => {
                    let epoch = client.epoch.wrapping_add(if distance == 0 { 7 } else { distance });
                    let request = Request { epoch, wanted: vec![wanted(0, 99)], forgotten: vec![1, 2] };
                    let nothing = Incremental { consumes: true, parks: true, max_records: 9, before_answer: None };
                    assert!(broker.incremental(request, nothing).is_none());
                }
                Step::Evict => broker.session = None,
                Step::Add(partition) => {
                    let known = client.forgotten.remove(&partition).and_then(|view| view.shown);
                    let view = View {
                        offset: 0,
                        is_news: true,
                        shown: known,
                    };
                    client.views.entry(partition).or_insert(view);
                }
                Step::Forget(partition) => {
                    if let Some(view) = client.views.remove(&partition) {
                        client.forgotten.insert(partition, view);
                    }
                }
            }
        }
        let last = Incremental { consumes: true, parks: false, max_records: 9, before_answer: None };
        fetch(&mut broker, &mut client, last);
    }
}

/// A session of `partitions` that all have something to read.
fn readable_session(partitions: i32) -> Session<()> {
    let mut session = Session::new(false, 0, []);
    session.update(0, (0..partitions).map(|partition| wanted(partition, 0)).collect(), []);
    session
}

fn settle(session: &mut Session<()>, slot: u32, has_records: bool, watched: bool) -> bool {
    let shown = Shown {
        high_watermark: 5,
        log_start_offset: 0,
        failed: false,
    };
    let partition = &shown.answer(0);
    session.settle(
        slot,
        Seen {
            partition,
            has_records,
            readable: has_records,
            watched,
        },
    )
}

#[test]
fn who_gave_records_goes_to_the_end() {
    let mut session = readable_session(7);
    let mut served = Vec::new();
    for _ in 0..5 {
        let pending = session.pending();
        for (place, slot) in pending.into_iter().enumerate() {
            if place < 3 {
                served.push(slot);
            }
            settle(&mut session, slot, place < 3, false);
        }
    }
    assert_eq!(served, [0, 1, 2, 3, 4, 5, 6, 0, 1, 2, 3, 4, 5, 6, 0]);
    assert!(
        session.order(0) > session.order(1),
        "the last one served is the last in order"
    );
}

#[test]
fn quiet_partitions_are_left_out_once_they_are_watched() {
    let mut session = readable_session(3);
    for slot in 0..3 {
        assert!(settle(&mut session, slot, false, false), "the high watermark is news");
        assert!(!settle(&mut session, slot, false, false), "but only once");
    }
    assert_eq!(session.pending(), [0, 1, 2], "nobody would tell");
    for slot in 0..3 {
        session.partition_mut(slot).expect("there").watched = true;
    }
    settle(&mut session, 0, false, true);
    settle(&mut session, 1, false, false);
    assert_eq!(session.pending(), [1, 2], "1 was not watched yet when it was looked at");
    settle(&mut session, 1, false, true);
    settle(&mut session, 2, false, true);
    assert!(session.pending().is_empty());
    session.on_told(&BTreeSet::from([1, 99]));
    assert_eq!(session.pending(), [1]);
    assert!(!session.partition_mut(1).expect("there").watched);
    session.update(0, vec![wanted(2, 3)], []);
    assert_eq!(session.pending(), [1, 2], "a new offset has to be looked at");
    session.update(1, Vec::new(), []);
    assert_eq!(
        session.pending(),
        [0, 1, 2],
        "as has everything when more or less is to be seen"
    );
}

#[test]
fn what_is_told_after_the_look_is_not_lost() {
    let mut session = readable_session(1);
    session.partition_mut(0).expect("there").watched = true;
    session.on_told(&BTreeSet::from([0]));
    settle(&mut session, 0, false, true);
    assert_eq!(session.pending(), [0]);
}

#[test]
fn a_partition_that_did_not_change_is_told_when_its_error_ends() {
    let mut session = readable_session(1);
    assert!(settle(&mut session, 0, false, false));
    assert!(!settle(&mut session, 0, false, false));
    let failed = FetchedPartition {
        high_watermark: 5,
        log_start_offset: 0,
        ..FetchedPartition::error(0, ErrorCode::NotLeaderOrFollower)
    };
    let seen = Seen {
        partition: &failed,
        has_records: false,
        readable: false,
        watched: true,
    };
    assert!(session.settle(0, seen) && session.settle(0, seen));
    assert!(settle(&mut session, 0, false, false));
    assert!(!settle(&mut session, 0, false, false));
}

#[test]
fn the_epoch_wraps_to_one() {
    assert_eq!(next_epoch(0), 1);
    assert_eq!(next_epoch(i32::MAX - 1), i32::MAX);
    assert_eq!(next_epoch(i32::MAX), 1);
    let mut session = readable_session(1);
    assert_eq!(session.epoch(), 2);
    session.epoch = i32::MAX;
    session.update(0, Vec::new(), []);
    assert_eq!(session.epoch(), 1);
}

#[test]
fn slots_are_used_again_but_not_forgotten_in_the_size() {
    let mut session = readable_session(10);
    let size_bytes = session.size_bytes();
    session.update(0, Vec::new(), (0..10).map(key));
    assert!(session.is_empty() && session.pending().is_empty());
    assert_eq!(
        session.size_bytes(),
        10 * PARTITION_BYTES,
        "their places are still there"
    );
    session.update(0, (20..30).map(|partition| wanted(partition, 0)).collect(), [key(5)]);
    assert_eq!((session.len(), session.size_bytes()), (10, size_bytes));
    assert_eq!(session.order(99), u64::MAX);
    assert!(!settle(&mut session, 99, true, true));
}
