//! The container image: what it understands by itself, and the Kafka modules of Testcontainers with it in the place of
//! Kafka's images. One test per module and way to start it, with the harness' own words.
//!
//! `cargo test -p monedula-compat-tests --test testcontainers -- java` runs those whose name has the word.
//! Without a word they are left to `MONEDULA_COMPAT=all`, since the image takes a static build of the broker.
//! **Invariants:** without a Docker engine, or without a language's tools, a test is skipped by name and says why; with
//! `CI=true` that is a failure. The image is built once, and nothing is pulled.

use std::env;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

use compat_tests::arguments::{self, Arguments};
use compat_tests::container_modules::{MODULES, Module};
use compat_tests::image::{self, Container};
use compat_tests::installer;
use compat_tests::wire::text;
use kafka_protocol::messages::{CreateTopicsRequest, MetadataRequest, MetadataResponse};

type Check = fn(&str);

const IMAGE_TESTS: &[(&str, Check)] = &[
    ("image::is_small", is_small),
    ("image::starts_without_configuration", starts_without_configuration),
    ("image::reads_the_variables_of_apache", reads_the_variables_of_apache),
    ("image::reads_the_variables_of_bitnami", reads_the_variables_of_bitnami),
    (
        "image::reads_a_mounted_file_under_its_variables",
        reads_a_mounted_file_under_its_variables,
    ),
    ("image::keeps_its_data_in_the_volume", keeps_its_data_in_the_volume),
];

enum Outcome {
    Passed,
    Skipped(String),
    Failed(String),
}

fn main() -> ExitCode {
    let arguments = Arguments::from_command_line();
    let is_wanted = |name: &str| arguments.selects(name);
    let modules = MODULES
        .iter()
        .flat_map(|module| module.variants.iter().map(move |variant| (module, *variant)));
    let names = IMAGE_TESTS.iter().map(|(name, _)| (*name).to_owned());
    let all = names.chain(modules.clone().map(|(module, variant)| module_test(module, variant)));
    let wanted: Vec<String> = all.filter(|name| is_wanted(name)).collect();
    if arguments.list {
        wanted.iter().for_each(|name| say(&format!("{name}: test")));
        return ExitCode::SUCCESS;
    }
    let started = Instant::now();
    if arguments.name_nothing() && !arguments::everything() {
        say("\nrunning 0 tests\nleft to MONEDULA_COMPAT=all: the container image, which takes a build of its own");
        return summarize(&[], started);
    }
    say(&format!("\nrunning {} tests", wanted.len()));
    let image = if wanted.is_empty() {
        Err("nothing to be tested".to_owned())
    } else {
        image::prepare().map_err(|why| why.to_string())
    };
    let mut outcomes = Vec::new();
    for (name, check) in IMAGE_TESTS.iter().filter(|(name, _)| is_wanted(name)) {
        let outcome = with(&image, |image| {
            caught(|| check(image)).map_or_else(Outcome::Failed, |()| Outcome::Passed)
        });
        announce(&mut outcomes, name, outcome);
    }
    for module in MODULES {
        let variants = || {
            module
                .variants
                .iter()
                .map(|variant| (variant, module_test(module, variant)))
        };
        let variants: Vec<_> = variants().filter(|(_, name)| is_wanted(name)).collect();
        if variants.is_empty() {
            continue;
        }
        let installed = image.clone().and_then(|image| installed(module).map(|()| image));
        for (variant, name) in variants {
            let outcome = with(&installed, |image| start_module(module, image, variant));
            announce(&mut outcomes, &name, outcome);
        }
    }
    summarize(&outcomes, started)
}

fn module_test(module: &Module, variant: &str) -> String {
    format!("{}::{variant}", module.language)
}

fn installed(module: &Module) -> Result<(), String> {
    match module.missing_tool() {
        Some(why) => Err(why),
        None => module.install(),
    }
}

/// Something that a test needs and that is not there fails it in CI.
fn with(needed: &Result<String, String>, test: impl FnOnce(&str) -> Outcome) -> Outcome {
    match needed {
        Ok(image) => test(image),
        Err(why) if env::var("CI").is_ok_and(|value| value == "true") => Outcome::Failed(why.clone()),
        Err(why) => Outcome::Skipped(why.clone()),
    }
}

fn start_module(module: &Module, image: &str, variant: &str) -> Outcome {
    let mut command = module.command(image, variant);
    match installer::run(&mut command) {
        Ok(()) => Outcome::Passed,
        Err(why) => Outcome::Failed(why),
    }
}

fn caught(test: impl FnOnce()) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(test)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
            .unwrap_or_else(|| "panicked".to_owned())
    })
}

fn announce(outcomes: &mut Vec<(String, Outcome)>, name: &str, outcome: Outcome) {
    let word = match &outcome {
        Outcome::Passed => "ok".to_owned(),
        Outcome::Skipped(why) => format!("ignored, {why}"),
        Outcome::Failed(_) => "FAILED".to_owned(),
    };
    say(&format!("test {name} ... {word}"));
    outcomes.push((name.to_owned(), outcome));
}

fn summarize(outcomes: &[(String, Outcome)], started: Instant) -> ExitCode {
    let mut counts = [0; 3];
    for (name, outcome) in outcomes {
        match outcome {
            Outcome::Passed => counts[0] += 1,
            Outcome::Failed(why) => {
                counts[1] += 1;
                say(&format!("\n---- {name} ----\n{why}"));
            }
            Outcome::Skipped(_) => counts[2] += 1,
        }
    }
    let [passed, failed, skipped] = counts;
    let verdict = if failed == 0 { "ok" } else { "FAILED" };
    say(&format!(
        "\ntest result: {verdict}. {passed} passed; {failed} failed; {skipped} ignored; 0 measured; 0 filtered out; \
         finished in {:.2}s\n",
        started.elapsed().as_secs_f64()
    ));
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn say(line: &str) {
    let mut out = io::stdout().lock();
    drop(writeln!(out, "{line}"));
    drop(out.flush());
}

fn is_small(image: &str) {
    let size_bytes = image::size_bytes(image);
    assert!(size_bytes < 20_000_000, "{size_bytes} bytes");
}

fn metadata(container: &Container) -> MetadataResponse {
    container
        .connect()
        .call(9, &MetadataRequest::default().with_topics(None))
}

/// Host and port that clients of the published port are told.
fn told(container: &Container) -> (String, u16) {
    let answer = metadata(container);
    let broker = answer.brokers.first().expect("the broker itself");
    (broker.host.to_string(), u16::try_from(broker.port).expect("a port"))
}

fn cluster_id(container: &Container) -> Option<String> {
    metadata(container).cluster_id.map(|id| id.to_string())
}

/// Partitions of a topic that is created without saying how many.
fn default_partitions(container: &Container) -> i32 {
    let topic = compat_tests::requests::creatable("asked", -1, &[]).with_replication_factor(-1);
    let request = CreateTopicsRequest::default()
        .with_topics(vec![topic])
        .with_timeout_ms(10_000);
    let answer = container.connect().call(7, &request);
    assert_eq!(answer.topics[0].error_code, 0, "{answer:?}");
    answer.topics[0].num_partitions
}

fn starts_without_configuration(image: &str) {
    let container = Container::start(image, 9092, &[]);
    assert_eq!(told(&container), ("localhost".to_owned(), 9092));
    assert_eq!(container.stop(), "0", "{}", container.output());
}

fn reads_the_variables_of_apache(image: &str) {
    let container = Container::start(
        image,
        29092,
        &[
            "--env=CLUSTER_ID=5L6g3nShT-eMCtK--X86sw",
            "--env=KAFKA_NODE_ID=7",
            "--env=KAFKA_PROCESS_ROLES=broker,controller",
            "--env=KAFKA_LISTENERS=INSIDE://:9092,OUTSIDE://:29092,CONTROLLER://:9093",
            "--env=KAFKA_ADVERTISED_LISTENERS=INSIDE://broker:9092,OUTSIDE://localhost:{port}",
            "--env=KAFKA_LISTENER_SECURITY_PROTOCOL_MAP=INSIDE:PLAINTEXT,OUTSIDE:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "--env=KAFKA_INTER_BROKER_LISTENER_NAME=INSIDE",
            "--env=KAFKA_CONTROLLER_LISTENER_NAMES=CONTROLLER",
            "--env=KAFKA_CONTROLLER_QUORUM_VOTERS=7@localhost:9093",
            "--env=KAFKA_NUM_PARTITIONS=5",
            "--env=KAFKA_HEAP_OPTS=-Xmx1g",
        ],
    );
    assert_eq!(told(&container), ("localhost".to_owned(), container.port()));
    assert_eq!(cluster_id(&container).as_deref(), Some("5L6g3nShT-eMCtK--X86sw"));
    assert_eq!(default_partitions(&container), 5);
    assert!(container.output().contains("[KafkaServer id=7] started"));
}

fn reads_the_variables_of_bitnami(image: &str) {
    let container = Container::start(
        image,
        9094,
        &[
            "--tmpfs=/bitnami/kafka:mode=777",
            "--env=ALLOW_PLAINTEXT_LISTENER=yes",
            "--env=KAFKA_ENABLE_KRAFT=yes",
            "--env=KAFKA_KRAFT_CLUSTER_ID=MkU3OEVBNTcwNTJENDM2Qk",
            "--env=KAFKA_CFG_NODE_ID=0",
            "--env=KAFKA_CFG_PROCESS_ROLES=controller,broker",
            "--env=KAFKA_CFG_LISTENERS=PLAINTEXT://:9092,CONTROLLER://:9093,EXTERNAL://:9094",
            "--env=KAFKA_CFG_ADVERTISED_LISTENERS=PLAINTEXT://kafka:9092,EXTERNAL://localhost:{port}",
            "--env=KAFKA_CFG_LISTENER_SECURITY_PROTOCOL_MAP=CONTROLLER:PLAINTEXT,EXTERNAL:PLAINTEXT,PLAINTEXT:PLAINTEXT",
            "--env=KAFKA_CFG_CONTROLLER_QUORUM_VOTERS=0@kafka:9093",
            "--env=KAFKA_CFG_CONTROLLER_LISTENER_NAMES=CONTROLLER",
            "--env=KAFKA_CFG_NUM_PARTITIONS=4",
        ],
    );
    assert_eq!(told(&container), ("localhost".to_owned(), container.port()));
    assert_eq!(cluster_id(&container).as_deref(), Some("MkU3OEVBNTcwNTJENDM2Qk"));
    assert_eq!(default_partitions(&container), 4);
    assert!(
        container.output().contains("data in /bitnami/kafka/data"),
        "{}",
        container.output()
    );
}

fn reads_a_mounted_file_under_its_variables(image: &str) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("server.properties");
    std::fs::write(
        &file,
        "num.partitions=2\nadvertised.listeners=PLAINTEXT://localhost:1\nnode.id=3\n",
    )
    .expect("a temporary file");
    let mount = format!("--volume={}:/mnt/shared/config/server.properties:ro", file.display());
    let variable = "--env=KAFKA_ADVERTISED_LISTENERS=PLAINTEXT://localhost:{port}";
    let ports = "--env=KAFKA_LISTENERS=PLAINTEXT://:9092";
    let container = Container::start(image, 9092, &[&mount, variable, ports]);
    assert_eq!(told(&container), ("localhost".to_owned(), container.port()));
    assert_eq!(default_partitions(&container), 2);
    assert!(container.output().contains("[KafkaServer id=3] started"));
}

fn keeps_its_data_in_the_volume(image: &str) {
    let volume = compat_tests::requests::unique("monedula-data");
    let mount = format!("--volume={volume}:/var/lib/kafka/data");
    let first = Container::start(image, 9092, &[&mount]);
    let id = cluster_id(&first);
    assert_eq!(default_partitions(&first), 1);
    assert_eq!(first.stop(), "0", "{}", first.output());
    drop(first);
    let second = Container::start(image, 9092, &[&mount]);
    let topics = metadata(&second).topics;
    let asked = Some(text("asked"));
    let found = topics
        .iter()
        .any(|topic| topic.name.as_ref().map(|name| &name.0) == asked.as_ref());
    let second_id = cluster_id(&second);
    drop(second);
    image::run(&["volume", "rm", &volume]);
    assert!(found, "{topics:?}");
    assert_eq!(second_id, id);
}
