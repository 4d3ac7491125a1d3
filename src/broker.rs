//! The composition root: the only file that knows everybody. Starts the parts in order and stops them in the reverse.
//!
//! Invariants: nothing on the disk is touched before the listeners are bound; clients are served only when the metadata
//! is applied and the partitions are open; a stop answers what was accepted, and marks itself as clean only after every
//! log is closed; everything that is spawned here ends before `stop` returns.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use storage::checkpoint::{read_whole, write_atomic};
use storage::dir::meta_properties::MetaProperties;
use storage::dir::uuid_text::uuid_to_text;
use storage::dir::{LogDir, OpenLogDir};
use storage::error::StorageError;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::config::broker::BrokerConfig;
use crate::config::value::Listener;
use crate::controller::internal_topics;
use crate::controller::log::MetadataLog;
use crate::controller::producer_ids::ProducerIds;
use crate::controller::queue::{Controller, ControllerSettings};
use crate::controller::raft::{OpenError, OpenMetadataLog, RaftMetadataLog, SnapshotRules};
use crate::coordinator::GroupCoordinator;
use crate::coordinator::partition_log::PartitionLog;
use crate::coordinator::start::StartGroups;
use crate::dispatch::Dispatcher;
use crate::env::Env;
use crate::handlers::context::Services;
use crate::metadata::command::{Endpoint, RegisterBroker, TopicLimits};
use crate::metadata::delta::MetadataDelta;
use crate::metadata::image::MetadataImage;
use crate::metadata::publisher::{ImageListener, ListenerFuture, MetadataPublisher};
use crate::metadata::topic_name::{CLUSTER_METADATA, CONSUMER_OFFSETS};
use crate::network::connection::ConnectionShared;
use crate::network::limits::{ConnectionCounts, ConnectionLimits};
use crate::network::listener::{self, SocketOptions};
use crate::network::memory::RequestMemory;
use crate::partition::hosting::Hosting;
use crate::partition::registry::PartitionRegistry;

/// In the first of several log directories: the ids of all.
const KNOWN_DIRECTORIES_FILE: &str = "directories";
/// How long a stop waits for clients to take what they are owed.
const DRAIN_LIMIT: Duration = Duration::from_secs(2);
/// How long a stop waits for lookups and removals that nobody waits for any more.
const LEFTOVER_LIMIT: Duration = Duration::from_millis(100);
/// Answers that a connection may be owed before it is read on.
const MAX_IN_FLIGHT: usize = 64;
/// Bytes of answers that may wait for a socket before the connection is read on.
const MAX_OUTBOX_BYTES: usize = 8 << 20;
/// A large frame that stalls so long is given up while others wait for memory.
const STALLED_FRAME: Duration = Duration::from_secs(10);
/// Requests for changes of metadata that may wait.
const MAX_QUEUED_CHANGES: usize = 10_000;

/// The two runtimes: a stalled disk or a burst of requests must not delay the metadata log or group sessions.
#[derive(Debug)]
pub struct Runtimes {
    /// Raft, controller, coordinators, timers.
    pub control: Runtime,
    /// Connections, handlers, appends.
    pub data: Runtime,
}

impl Runtimes {
    /// Starts their threads.
    ///
    /// # Errors
    /// When the system gives no threads.
    pub fn new() -> io::Result<Self> {
        let build = |name: &str, workers: Option<usize>| {
            let mut builder = Builder::new_multi_thread();
            if let Some(workers) = workers {
                builder.worker_threads(workers);
            }
            builder.thread_name(name).enable_all().build()
        };
        Ok(Self {
            control: build("control", Some(1))?,
            data: build("data", None)?,
        })
    }
}

impl Runtimes {
    /// Ends the threads. Work on the blocking pool that takes longer is left behind; nothing there is owed to anybody.
    pub fn stop(self) {
        self.data.shutdown_timeout(LEFTOVER_LIMIT);
        self.control.shutdown_timeout(LEFTOVER_LIMIT);
    }
}

/// Why the broker does not start; one sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener's address cannot be used.
    #[error(
        "cannot listen on {listener}: {source}; end the other program or choose another port with --override listeners=PLAINTEXT://127.0.0.1:PORT"
    )]
    Bind {
        /// The listener as configured.
        listener: String,
        /// The system's reason.
        source: io::Error,
    },
    /// A log directory cannot be used.
    #[error(transparent)]
    LogDir(#[from] StorageError),
    /// The metadata log cannot be used.
    #[error(transparent)]
    Metadata(#[from] OpenError),
    /// The log directories do not belong together.
    #[error(
        "the log directories {first} and {second} belong to different clusters; name the directories of one cluster in log.dirs"
    )]
    MixedClusters {
        /// One.
        first: String,
        /// Another.
        second: String,
    },
    /// A directory that was in use is not among the log directories.
    #[error(
        "the log directory with directory.id {0} is missing: mount it or name it in log.dirs again; to give up what it holds, remove its line from {1}"
    )]
    MissingDir(String, String),
    /// The internal topics cannot be made.
    #[error("cannot create the topic {0}: {1}")]
    InternalTopic(&'static str, String),
}

/// A running broker.
#[derive(Debug)]
pub struct Broker {
    services: Arc<Services>,
    hosting: Hosting,
    metadata: Arc<RaftMetadataLog>,
    bound: Vec<(Arc<Listener>, SocketAddr)>,
    stopping: watch::Sender<bool>,
    /// Tasks that serve clients.
    serving: JoinSet<()>,
    /// Tasks that end with the metadata log and the controller.
    background: Vec<JoinHandle<()>>,
    data: Handle,
}

impl Broker {
    /// Starts everything; clients are taken when it returns. To be called on the control runtime.
    ///
    /// # Errors
    /// A sentence for the user; nothing is damaged.
    pub async fn start(config: BrokerConfig, env: Env, runtimes: &Runtimes) -> Result<Self, StartError> {
        let config = Arc::new(config);
        let sockets = bind(&config)?;
        let dirs = open_dirs(&config, &env)?;
        let metadata = Arc::new(open_metadata(&config, &env, &dirs).await?);
        let (stopping, stopped) = watch::channel(false);

        let partitions = Arc::new(PartitionRegistry::default());
        let image = Arc::clone(&metadata.images().borrow());
        let hosting = Hosting::new(env.clone(), Arc::clone(&config), Arc::clone(&partitions), dirs, &image)?;
        let publisher = Arc::new(MetadataPublisher::new());
        let log: Arc<dyn MetadataLog> = Arc::clone(&metadata) as Arc<dyn MetadataLog>;
        let listener = Arc::new(OnImage {
            hosting: hosting.clone(),
            groups: OnceLock::new(),
        });
        let publishing = {
            let (publisher, listener) = (Arc::clone(&publisher), Arc::clone(&listener));
            let images = metadata.images();
            tokio::spawn(async move { publisher.run(images, listener).await })
        };
        let (controller, controlling) =
            Controller::new(controller_settings(&config), env.clone(), log, Arc::clone(&publisher));
        let controller = Arc::new(controller);
        let mut background = vec![publishing, tokio::spawn(controlling)];
        publisher
            .wait_for(image.applied_index)
            .await
            .map_err(|error| internal(CONSUMER_OFFSETS, &error))?;
        make_internal_topics(&controller, &publisher, &config).await?;

        let groups = start_groups(&config, &env, &partitions, &publisher);
        listener.groups.set(Arc::clone(&groups)).expect("set once");
        background.push(tokio::spawn(checkpoint_regularly(
            hosting.clone(),
            Arc::clone(&config),
            stopped.clone(),
        )));
        background.push(tokio::spawn(end_with_the_metadata_log(
            Arc::clone(&metadata),
            stopped.clone(),
        )));
        let producer_ids = Arc::new(ProducerIds::new(config.resolved.node_id, Arc::clone(&controller)));
        let node_id = config.resolved.node_id;
        let services = Arc::new(Services {
            node_id,
            env,
            config,
            publisher,
            partitions,
            controller,
            producer_ids,
            groups,
            stopping: stopped,
        });
        let data = runtimes.data.handle().clone();
        let (serving, bound) = serve(&services, sockets, &data)?;
        Ok(Self {
            services,
            hosting,
            metadata,
            bound,
            stopping,
            serving,
            background,
            data,
        })
    }

    /// The addresses that are listened on.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.bound.iter().map(|(_, address)| *address)
    }

    /// One line: where clients are taken, what they are told, where the data lies.
    pub fn greeting(&self) -> String {
        let listeners: Vec<_> = self
            .bound
            .iter()
            .map(|(listener, address)| match &listener.advertised {
                Some((host, port)) => format!("{address} (clients are told {host}:{port})"),
                None => format!("{address} (clients are told the address that they dialled)"),
            })
            .collect();
        let dirs: Vec<_> = self
            .services
            .config
            .resolved
            .log_dirs
            .iter()
            .map(|dir| shown(dir))
            .collect();
        let version = env!("CARGO_PKG_VERSION");
        format!(
            "monedula {version} takes clients on {}; data in {}",
            listeners.join(", "),
            dirs.join(", ")
        )
    }

    /// Stops: answers what was accepted, closes connections, groups, metadata and logs.
    pub async fn stop(mut self) {
        tracing::info!("stopping");
        self.stopping.send_replace(true);
        self.services.groups.shutdown().await;
        let drained = tokio::time::timeout(DRAIN_LIMIT, async { while self.serving.join_next().await.is_some() {} });
        if drained.await.is_err() {
            tracing::warn!("some clients did not take their answers in time");
            self.serving.shutdown().await;
        }
        self.metadata.close().await;
        for task in self.background {
            task.abort();
            // an aborted task is what is wanted here
            let _ended = task.await;
        }
        let hosting = self.hosting;
        let closed = self.data.spawn_blocking(move || hosting.close()).await;
        closed.expect("closing logs does not panic");
        tracing::info!("stopped");
    }
}

/// Brings the partitions in line with a new image, then tells the groups which topics are gone.
#[derive(Debug)]
struct OnImage {
    hosting: Hosting,
    groups: OnceLock<Arc<GroupCoordinator>>,
}

impl ImageListener for OnImage {
    fn on_image<'a>(&'a self, old: &'a Arc<MetadataImage>, new: &'a Arc<MetadataImage>) -> ListenerFuture<'a> {
        Box::pin(async move {
            self.hosting.on_image(old, new).await;
            let gone = MetadataDelta::between(old, new).deleted_topics;
            let gone: Vec<_> = gone.iter().map(|topic| (Arc::clone(&topic.name), topic.id)).collect();
            if let Some(groups) = self.groups.get().filter(|_| !gone.is_empty()) {
                groups.on_topics_deleted(&gone);
            }
        })
    }
}

fn shown(dir: &Path) -> String {
    std::path::absolute(dir)
        .unwrap_or_else(|_| PathBuf::from(dir))
        .display()
        .to_string()
}

fn internal(topic: &'static str, error: &dyn std::fmt::Display) -> StartError {
    StartError::InternalTopic(topic, error.to_string())
}

fn bind(config: &BrokerConfig) -> Result<Vec<(Arc<Listener>, std::net::TcpListener)>, StartError> {
    let size = |bytes: i32| usize::try_from(bytes).ok();
    let options = SocketOptions {
        backlog: config.socket_listen_backlog_size,
        send_buffer_bytes: size(config.socket_send_buffer_bytes),
        receive_buffer_bytes: size(config.socket_receive_buffer_bytes),
    };
    let bind = |configured: &Listener| match listener::bind(configured, options) {
        Ok(socket) => Ok((Arc::new(configured.clone()), socket)),
        Err(source) => Err(StartError::Bind {
            listener: configured.to_string(),
            source,
        }),
    };
    config.resolved.listeners.iter().map(bind).collect()
}

/// Opens and locks the log directories; each with whether its last stop was clean.
fn open_dirs(config: &BrokerConfig, env: &Env) -> Result<Vec<(LogDir, bool)>, StartError> {
    let mut dirs: Vec<(LogDir, bool)> = Vec::new();
    for path in &config.resolved.log_dirs {
        let known = dirs.first().map(|(first, _)| first.meta().cluster_id.clone());
        let dir = LogDir::open(OpenLogDir {
            fs: env.fs(),
            path: path.clone(),
            expected_cluster_id: None,
            expected_node_id: Some(config.resolved.node_id),
            fresh: MetaProperties {
                cluster_id: known.clone().unwrap_or_else(|| uuid_to_text(env.uuid())),
                node_id: config.resolved.node_id,
                directory_id: env.uuid(),
            },
        })?;
        if let Some(cluster_id) = known
            && cluster_id != dir.meta().cluster_id
        {
            return Err(StartError::MixedClusters {
                first: shown(&config.resolved.log_dirs[0]),
                second: shown(path),
            });
        }
        let clean_shutdown = dir.take_clean_shutdown()?;
        dirs.push((dir, clean_shutdown));
    }
    check_that_none_is_missing(&dirs)?;
    Ok(dirs)
}

/// Refuses to start without a directory that was in use: its partitions would silently begin anew. The first directory
/// remembers the ids of all, where there are several.
fn check_that_none_is_missing(dirs: &[(LogDir, bool)]) -> Result<(), StartError> {
    let first = &dirs[0].0;
    let path = first.path().join(KNOWN_DIRECTORIES_FILE);
    let known = read_whole(&**first.fs(), &path)?.unwrap_or_default();
    let known = String::from_utf8_lossy(&known).into_owned();
    let here: Vec<_> = dirs
        .iter()
        .map(|(dir, _)| uuid_to_text(dir.meta().directory_id))
        .collect();
    if let Some(gone) = known
        .lines()
        .find(|id| !id.is_empty() && !here.iter().any(|here| here == id))
    {
        return Err(StartError::MissingDir(gone.to_owned(), shown(&path)));
    }
    let text = here.join("\n") + "\n";
    if dirs.len() > 1 && text != known {
        write_atomic(&**first.fs(), &path, text.as_bytes())?;
    }
    Ok(())
}

async fn open_metadata(
    config: &BrokerConfig,
    env: &Env,
    dirs: &[(LogDir, bool)],
) -> Result<RaftMetadataLog, StartError> {
    let first = &dirs[0].0;
    let mut has_partitions = false;
    for (dir, _) in dirs {
        // the metadata log's own directory may be there from a first start that was killed
        has_partitions |= dir
            .partition_dirs()?
            .iter()
            .any(|found| found.topic != CLUSTER_METADATA);
    }
    let endpoint = |listener: &Listener| {
        let (host, port) = listener.advertised.clone().unwrap_or((String::new(), listener.port));
        Endpoint {
            listener: listener.name.clone(),
            host,
            port,
        }
    };
    let broker = RegisterBroker {
        broker_id: config.resolved.node_id,
        incarnation: env.uuid(),
        endpoints: config.resolved.listeners.iter().map(endpoint).collect(),
        rack: config.broker_rack.clone(),
        clean_shutdown: dirs.iter().all(|(_, clean_shutdown)| *clean_shutdown),
    };
    let open = OpenMetadataLog {
        fs: env.fs(),
        log_dir: first.path().to_path_buf(),
        cluster_id: first.meta().cluster_id.clone(),
        may_found: first.formatted_now() || !has_partitions,
        broker,
        snapshots: SnapshotRules::default(),
    };
    Ok(RaftMetadataLog::open(open).await?)
}

fn controller_settings(config: &Arc<BrokerConfig>) -> ControllerSettings {
    let limit = |most: i32| u32::try_from(most).expect("checked to be positive");
    ControllerSettings {
        broker: Arc::clone(config),
        max_partitions_per_request: 10_000,
        limits: TopicLimits {
            max_topics: limit(config.monedula_max_topics),
            max_partitions: limit(config.monedula_max_partitions),
        },
        max_queued_requests: MAX_QUEUED_CHANGES,
    }
}

/// Makes the internal topics that are missing, so that the first group need not wait for them.
async fn make_internal_topics(
    controller: &Controller,
    publisher: &MetadataPublisher,
    config: &BrokerConfig,
) -> Result<(), StartError> {
    if publisher.current().topic(CONSUMER_OFFSETS).is_some() {
        return Ok(());
    }
    let (partitions, segment_bytes) = (config.offsets_topic_num_partitions, config.offsets_topic_segment_bytes);
    let topic = internal_topics::consumer_offsets(partitions, 1, segment_bytes);
    let outcomes = controller.create_topics(vec![topic], false).await;
    let outcomes = outcomes.map_err(|error| internal(CONSUMER_OFFSETS, &error))?;
    match outcomes.first().map(|outcome| &outcome.result) {
        Some(Ok(_)) => Ok(()),
        other => Err(internal(CONSUMER_OFFSETS, &format!("{other:?}"))),
    }
}

fn start_groups(
    config: &BrokerConfig,
    env: &Env,
    partitions: &Arc<PartitionRegistry>,
    publisher: &MetadataPublisher,
) -> Arc<GroupCoordinator> {
    let log = Arc::new(PartitionLog::new(CONSUMER_OFFSETS, Arc::clone(partitions), env.clone()));
    let image = publisher.current();
    let topic = image.topic(CONSUMER_OFFSETS).expect("made before");
    // the count that the topic was made with holds, whatever the configuration says now
    let count = i32::try_from(topic.partitions.len()).expect("partition counts are int32 on the wire");
    let groups = GroupCoordinator::start(StartGroups::new(config, count, log, env.clone(), Handle::current()));
    for partition in 0..count {
        groups.on_elected(partition);
    }
    groups
}

async fn checkpoint_regularly(hosting: Hosting, config: Arc<BrokerConfig>, mut stopped: watch::Receiver<bool>) {
    let interval_ms = u64::try_from(config.log_flush_offset_checkpoint_interval_ms)
        .unwrap_or(0)
        .max(1_000);
    let mut interval = tokio::time::interval(Duration::from_millis(interval_ms));
    interval.tick().await;
    loop {
        tokio::select! {
            _ = stopped.wait_for(|stopped| *stopped) => return,
            _ = interval.tick() => {}
        }
        let hosting = hosting.clone();
        let written = tokio::task::spawn_blocking(move || hosting.checkpoint()).await;
        written.expect("checkpoints do not panic");
    }
}

/// Without its metadata log a broker cannot keep its promises: it ends, and a restart tells why.
async fn end_with_the_metadata_log(metadata: Arc<RaftMetadataLog>, mut stopped: watch::Receiver<bool>) {
    tokio::select! {
        // a stop shuts the metadata log down too, which is no failure
        biased;
        _ = stopped.wait_for(|stopped| *stopped) => {}
        why = metadata.failed() => panic!("the metadata log has failed: {why}"),
    }
}

/// The tasks that accept, and what they are bound to.
type Serving = (JoinSet<()>, Vec<(Arc<Listener>, SocketAddr)>);

fn serve(
    services: &Arc<Services>,
    sockets: Vec<(Arc<Listener>, std::net::TcpListener)>,
    data: &Handle,
) -> Result<Serving, StartError> {
    let config = &services.config;
    let unlimited_when_negative = |value: i64| usize::try_from(value).unwrap_or(usize::MAX);
    let limits = Arc::new(ConnectionLimits {
        request_max_bytes: unlimited_when_negative(config.socket_request_max_bytes.into()),
        max_idle: match u64::try_from(config.connections_max_idle_ms) {
            Ok(ms) => Duration::from_millis(ms),
            // a negative value never closes one: a year is as good
            Err(_) => Duration::from_secs(365 * 24 * 3600),
        },
        max_in_flight: MAX_IN_FLIGHT,
        max_outbox_bytes: MAX_OUTBOX_BYTES,
        stalled_frame: STALLED_FRAME,
    });
    let per_ip = |limit: i32| unlimited_when_negative(limit.into());
    let overrides = &config.resolved.max_connections_per_ip_overrides;
    let counts = ConnectionCounts::new(
        unlimited_when_negative(config.max_connections.into()),
        per_ip(config.max_connections_per_ip),
        overrides.iter().map(|(ip, limit)| (*ip, per_ip(*limit))).collect(),
    );
    let dispatcher = Arc::new(Dispatcher::new(Arc::clone(services)));
    let memory = RequestMemory::new(unlimited_when_negative(config.queued_max_request_bytes));
    let mut serving = JoinSet::new();
    let mut bound = Vec::new();
    for (listener, socket) in sockets {
        let failed = |source| StartError::Bind {
            listener: listener.to_string(),
            source,
        };
        bound.push((Arc::clone(&listener), socket.local_addr().map_err(failed)?));
        let shared = ConnectionShared {
            dispatcher: Arc::clone(&dispatcher),
            memory: Arc::clone(&memory),
            limits: Arc::clone(&limits),
            listener,
            stopping: services.stopping.clone(),
        };
        let (counts, stopping) = (Arc::clone(&counts), services.stopping.clone());
        serving.spawn_on(
            async move {
                if let Err(error) = listener::serve(socket, shared, counts, stopping).await {
                    tracing::error!(%error, "a listener ended");
                }
            },
            data,
        );
    }
    Ok((serving, bound))
}
