//! The composition root: the only file that knows everybody. Starts the parts in order and stops them in the reverse.
//!
//! Invariants: nothing on the disk is touched before the listeners are bound; clients are served only when the metadata
//! is applied and the partitions are open; a stop answers what was accepted, and marks itself as clean only after every
//! log is closed; everything that is spawned here ends before `stop` returns.

mod background;
mod coordinators;
mod dirs;
pub mod error;
mod quotas;
mod ready_lines;
pub mod runtimes;
mod serve;
mod transactions;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use storage::dir::LogDir;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use self::coordinators::Coordinators;
use self::dirs::open_dirs;
use self::error::StartError;
use self::quotas::{connection_rates, make_quotas};
use self::runtimes::Runtimes;
use self::serve::{bind, connection_counts, serve};
use crate::config::broker::BrokerConfig;
use crate::config::live::LiveConfig;
use crate::config::remarks;
use crate::config::value::Listener;
use crate::controller::internal_topics;
use crate::controller::log::MetadataLog;
use crate::controller::queue::{Controller, ControllerSettings};
use crate::controller::raft::{OpenMetadataLog, RaftMetadataLog, SnapshotRules};
use crate::coordinator::GroupCoordinator;
use crate::coordinator::transaction::TransactionCoordinator;
use crate::env::Env;
use crate::fetch_session::cache::FetchSessionCache;
use crate::handlers::context::Services;
use crate::handlers::fetch::copies::CopyRoom;
use crate::metadata::command::{ConfigResource, Endpoint, RegisterBroker, TopicLimits};
use crate::metadata::delta::MetadataDelta;
use crate::metadata::features;
use crate::metadata::image::MetadataImage;
use crate::metadata::publisher::{ImageListener, ListenerFuture, MetadataPublisher};
use crate::metadata::topic_name::{CLUSTER_METADATA, CONSUMER_OFFSETS};
use crate::network::limits::ConnectionCounts;
use crate::partition::cold_reads::ColdReads;
use crate::partition::hosting::Hosting;
use crate::partition::registry::PartitionRegistry;
use crate::quota::clients::Quotas;
use crate::quota::connections::ConnectionRates;

/// How long a stop waits for clients to take what they are owed.
const DRAIN_LIMIT: Duration = Duration::from_secs(2);
/// Requests for changes of metadata that may wait.
const MAX_QUEUED_CHANGES: usize = 10_000;

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
        let live = Arc::new(LiveConfig::new(Arc::clone(&config)));
        let hosting = Hosting::new(env.clone(), Arc::clone(&live), Arc::clone(&partitions), dirs, &image)?;
        let publisher = Arc::new(MetadataPublisher::new());
        let log: Arc<dyn MetadataLog> = Arc::clone(&metadata) as Arc<dyn MetadataLog>;
        let (quotas, connection_rates) = make_quotas(&config);
        let counts = ConnectionCounts::new(connection_counts(&config));
        let listener = Arc::new(OnImage {
            config: Arc::clone(&live),
            counts: Arc::clone(&counts),
            hosting: hosting.clone(),
            quotas: Arc::clone(&quotas),
            connection_rates: Arc::clone(&connection_rates),
            groups: OnceLock::new(),
            transactions: OnceLock::new(),
        });
        let publishing = {
            let (publisher, listener) = (Arc::clone(&publisher), Arc::clone(&listener));
            let images = metadata.images();
            tokio::spawn(async move { publisher.run(images, listener).await })
        };
        let (controller, controlling) =
            Controller::new(controller_settings(&live), env.clone(), log, Arc::clone(&publisher));
        let controller = Arc::new(controller);
        let mut background = vec![publishing, tokio::spawn(controlling)];
        publisher
            .wait_for(image.applied_index)
            .await
            .map_err(|error| internal(CONSUMER_OFFSETS, &error))?;
        make_internal_topics(&controller, &publisher, &config).await?;

        let coordinators = Coordinators::start(&config, &env, &partitions, &publisher, &controller, &listener);
        background.extend(background::spawn(&hosting, &config, &metadata, &stopped));
        let services = Arc::new(Services {
            node_id: config.resolved.node_id,
            env,
            config: live,
            cold_reads: Arc::new(ColdReads::configured(&config)),
            copies: CopyRoom::new(usize::try_from(config.monedula_fetch_copies_max_bytes).unwrap_or(usize::MAX)),
            fetch_sessions: FetchSessionCache::configured(&config),
            publisher,
            hosting: hosting.clone(),
            partitions,
            controller,
            producer_ids: coordinators.producer_ids,
            groups: coordinators.groups,
            transactions: coordinators.transactions,
            markers: coordinators.markers,
            quotas,
            stopping: stopped,
        });
        let data = runtimes.data.handle().clone();
        let (serving, bound) = serve(&services, &counts, &connection_rates, sockets, &data)?;
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
            .at_start()
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

    /// What `monedula.kafka.ready.lines` asks to be printed now.
    pub fn kafka_ready_lines(&self) -> Option<String> {
        let config = self.services.config.at_start();
        config
            .monedula_kafka_ready_lines
            .then(|| ready_lines::of_kafka(config.resolved.node_id))
    }

    /// Stops: answers what was accepted, closes connections, groups, metadata and logs.
    pub async fn stop(mut self) {
        tracing::info!("stopping");
        self.stopping.send_replace(true);
        self.services.transactions.shutdown().await;
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

/// Puts the configuration of a new image in force, brings the partitions in line with it, then tells the groups which
/// topics are gone.
#[derive(Debug)]
struct OnImage {
    config: Arc<LiveConfig>,
    counts: Arc<ConnectionCounts>,
    hosting: Hosting,
    quotas: Arc<Quotas>,
    connection_rates: Arc<ConnectionRates>,
    groups: OnceLock<Arc<GroupCoordinator>>,
    transactions: OnceLock<Arc<TransactionCoordinator>>,
}

impl ImageListener for OnImage {
    fn on_image<'a>(&'a self, old: &'a Arc<MetadataImage>, new: &'a Arc<MetadataImage>) -> ListenerFuture<'a> {
        Box::pin(async move {
            self.apply_configs(new);
            self.hosting.on_image(old, new).await;
            if !new.quotas.is_same(&old.quotas) {
                self.quotas.update(&new.quotas);
                self.connection_rates.update(&new.quotas);
            }
            let gone = MetadataDelta::between(old, new).deleted_topics;
            let gone: Vec<_> = gone.iter().map(|topic| (Arc::clone(&topic.name), topic.id)).collect();
            if let Some(transactions) = self.transactions.get() {
                transactions::on_image(transactions, self.config.at_start().resolved.node_id, Some(old), new);
            }
            if let Some(groups) = self.groups.get().filter(|_| !gone.is_empty()) {
                groups.on_topics_deleted(&gone);
            }
        })
    }
}

impl OnImage {
    fn apply_configs(&self, image: &MetadataImage) {
        let own = ConfigResource::Broker(self.config.at_start().resolved.node_id);
        let all = image.configs.get(&ConfigResource::ClusterDefault);
        remarks::log(&self.config.apply(all, image.configs.get(&own)));
        self.counts.set_limits(connection_counts(&self.config.load()));
        let (broker_rate, listener_rates) = connection_rates(&self.config.load());
        self.connection_rates.set_rates(broker_rate, listener_rates);
        for (kind, is_there) in [
            ("group", image.configs.groups().next().is_some()),
            ("client-metrics", image.configs.client_metrics().next().is_some()),
        ] {
            if is_there {
                remarks::log(self.config.remark_on_idle_resource(kind).as_slice());
            }
        }
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
        directory_id: first.meta().directory_id,
        cluster_id: first.meta().cluster_id.clone(),
        may_found: first.formatted_now() || !has_partitions,
        broker,
        snapshots: SnapshotRules::default(),
    };
    Ok(RaftMetadataLog::open(open).await?)
}

fn controller_settings(live: &Arc<LiveConfig>) -> ControllerSettings {
    let config = live.at_start();
    let limit = |most: i32| u32::try_from(most).expect("checked to be positive");
    ControllerSettings {
        broker: Arc::clone(live),
        max_partitions_per_request: 10_000,
        limits: TopicLimits {
            max_topics: limit(config.monedula_max_topics),
            max_partitions: limit(config.monedula_max_partitions),
        },
        max_queued_requests: MAX_QUEUED_CHANGES,
        features: features::SUPPORTED,
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
