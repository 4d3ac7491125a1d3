//! The container image of `docker/` under test, and containers of it.
//!
//! **Invariants:** the image is built from this machine's files, nothing is pulled; a container started here is removed with
//! its handle, its volumes too.
//!
//! Environment: `MONEDULA_IMAGE` (`NAME:TAG` of an image that is there; its tag has to look like a Confluent version from 8
//! on, because modules of Testcontainers read it), `MONEDULA_STATIC_BIN` (a static binary to build the image with).

use std::env;
use std::io;
use std::net::SocketAddr;
use std::process::{Command, Output, Stdio};

use crate::broker::free_port;
use crate::client::{Unavailable, crate_dir};
use crate::requests::until;
use crate::wire::Connection;

const NAME: &str = "monedula-compat:8.0.0";

/// Makes the image, and says by what name it goes.
pub fn prepare() -> Result<String, Unavailable> {
    let engine = docker(&["version", "--format", "{{.Server.Version}}"]);
    match engine {
        Ok(output) if output.status.success() => {}
        Ok(output) => return Err(missing(&format!("no Docker engine answers: {}", said(&output)))),
        Err(error) => return Err(missing(&format!("docker does not run ({error})"))),
    }
    if let Ok(image) = env::var("MONEDULA_IMAGE") {
        return Ok(image);
    }
    let script = crate_dir().join("../docker/build.sh");
    let output = Command::new(script).arg(NAME).stdin(Stdio::null()).output();
    let output = output.map_err(|error| missing(&format!("docker/build.sh does not run ({error})")))?;
    let last = said(&output);
    if output.status.success() {
        Ok(NAME.to_owned())
    } else if last.contains("is missing: install") {
        Err(missing(&last))
    } else {
        panic!("docker/build.sh: {}: {last}", output.status);
    }
}

fn missing(why: &str) -> Unavailable {
    Unavailable::Missing(why.to_owned())
}

/// Bytes of all files in the image.
pub fn size_bytes(image: &str) -> u64 {
    let told = run(&["image", "inspect", "--format", "{{.Size}}", image]);
    told.parse()
        .unwrap_or_else(|_| panic!("docker tells the size {told:?}"))
}

/// A running container with one published port.
#[derive(Debug)]
pub struct Container {
    id: String,
    address: SocketAddr,
}

impl Container {
    /// Runs `image` with `options` for `docker run`, in which `{port}` stands for the published port; `inside` is the port
    /// that is published. Waits until it takes clients.
    pub fn start(image: &str, inside: u16, options: &[&str]) -> Self {
        let port = free_port();
        let published = format!("127.0.0.1:{port}:{inside}");
        let options: Vec<String> = options
            .iter()
            .map(|option| option.replace("{port}", &port.to_string()))
            .collect();
        let mut arguments = vec!["run", "--detach", "--publish", &published];
        arguments.extend(options.iter().map(String::as_str));
        arguments.push(image);
        let container = Self {
            id: run(&arguments),
            address: SocketAddr::from(([127, 0, 0, 1], port)),
        };
        // the engine accepts for a container that does not listen yet, so that only the broker's own word counts
        until("the container takes clients", || {
            let is_running = run(&["inspect", "--format", "{{.State.Running}}", &container.id]);
            assert_eq!(is_running, "true", "the container ended:\n{}", container.output());
            container.output().contains("Kafka Server started").then_some(())
        });
        container
    }

    /// A connection through the published port.
    pub fn connect(&self) -> Connection {
        Connection::open(self.address)
    }

    /// The published port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// What it has printed.
    pub fn output(&self) -> String {
        let output = docker(&["logs", &self.id]).expect("docker runs");
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }

    /// Asks it to stop, and returns the exit code of its first process.
    pub fn stop(&self) -> String {
        run(&["stop", &self.id]);
        run(&["inspect", "--format", "{{.State.ExitCode}}", &self.id])
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // what is gone already need not be removed
        drop(docker(&["rm", "--force", "--volumes", &self.id]));
    }
}

/// Runs docker, and returns the line that it prints.
pub fn run(arguments: &[&str]) -> String {
    let output = docker(arguments).expect("docker runs");
    assert!(output.status.success(), "docker {arguments:?}: {}", said(&output));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn docker(arguments: &[&str]) -> io::Result<Output> {
    Command::new("docker").args(arguments).stdin(Stdio::null()).output()
}

/// The end of what a command said.
fn said(output: &Output) -> String {
    let text = [output.stdout.clone(), output.stderr.clone()].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    let lines: Vec<&str> = text.trim().lines().collect();
    lines[lines.len().saturating_sub(6)..].join("\n")
}
