//! The Kafka modules of testcontainers for Rust with this image in the place of theirs.
//!
//! `monedula-testcontainers IMAGE:TAG apache|confluent`; ends with `OK`.

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

use rskafka::client::ClientBuilder;
use rskafka::client::partition::{Compression, UnknownTopicHandling};
use rskafka::record::Record;
use testcontainers_modules::kafka::{self, apache};
use testcontainers_modules::testcontainers::core::ContainerPort;
use testcontainers_modules::testcontainers::runners::AsyncRunner;
use testcontainers_modules::testcontainers::{Image, ImageExt};

const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [image, module] = &arguments[..] else {
        return Err("usage: monedula-testcontainers IMAGE:TAG apache|confluent".into());
    };
    let (name, tag) = image.split_once(':').ok_or("the image needs a tag")?;
    let run = async {
        match module.as_str() {
            "apache" => use_module(apache::Kafka::default(), apache::KAFKA_PORT, name, tag).await,
            "confluent" => use_module(kafka::Kafka::default(), kafka::KAFKA_PORT, name, tag).await,
            other => Err(format!("there is no module {other}").into()),
        }
    };
    tokio::time::timeout(PATIENCE, run).await??;
    println!("OK");
    Ok(())
}

async fn use_module<I>(module: I, port: ContainerPort, name: &str, tag: &str) -> Result<(), Box<dyn Error>>
where
    I: Image + Send + Sync,
{
    let container = module.with_name(name).with_tag(tag).start().await?;
    let address = format!("127.0.0.1:{}", container.get_host_port_ipv4(port).await?);
    let client = ClientBuilder::new(vec![address]).build().await?;
    client.controller_client()?.create_topic("visits", 1, 1, 5_000).await?;
    let partition = client.partition_client("visits", 0, UnknownTopicHandling::Retry).await?;
    let sent: Vec<Record> = (0..10).map(record).collect();
    let offsets = partition.produce(sent.clone(), Compression::NoCompression).await?;
    assert_eq!(offsets, (0..10).collect::<Vec<i64>>());
    let (fetched, high_watermark) = partition.fetch_records(0, 1..1_000_000, 5_000).await?;
    assert_eq!(high_watermark, 10);
    let found: Vec<Record> = fetched.into_iter().map(|fetched| fetched.record).collect();
    assert_eq!(found, sent);
    container.stop().await?;
    container.rm().await?;
    Ok(())
}

fn record(number: i64) -> Record {
    Record {
        key: Some(format!("key-{number}").into_bytes()),
        value: Some(format!("value-{number}").into_bytes()),
        headers: BTreeMap::from([("number".to_owned(), number.to_string().into_bytes())]),
        timestamp: chrono::DateTime::from_timestamp_millis(1_700_000_000_000 + number).expect("a time within range"),
    }
}
