//! The Kafka modules of Testcontainers: how each language's is installed, and what runs its program in `testcontainers/`.
//!
//! **Invariants:** everything goes below `.venvs/`, made again when a version or a source changes; versions stand in
//! [`MODULES`] alone (Rust's in its lock file). The reaper, a second container that the libraries pull, is left out: the
//! programs stop what they start.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::client::crate_dir;
use crate::installer::{Installer, run};

/// Where the libraries say that published ports are.
const HOST: &str = "TESTCONTAINERS_HOST_OVERRIDE";

/// A language's module, and the ways in which its program can start it.
#[derive(Debug)]
pub struct Module {
    pub language: &'static str,
    pub variants: &'static [&'static str],
    packages: &'static [&'static str],
}

pub const MODULES: &[Module] = &[
    Module {
        language: "rust",
        variants: &["apache", "confluent"],
        packages: &[],
    },
    Module {
        language: "python",
        variants: &["kraft", "zookeeper"],
        // packaging is used by the module, but not asked for
        packages: &["testcontainers==4.15.0", "packaging==26.0", "kafka-python==3.0.12"],
    },
    Module {
        language: "java",
        variants: &["apache", "confluent", "old-kraft", "old-zookeeper"],
        packages: &[
            "org.testcontainers:testcontainers-kafka:2.0.5",
            "org.apache.kafka:kafka-clients:4.3.1",
            "org.slf4j:slf4j-nop:1.7.36",
        ],
    },
    Module {
        language: "go",
        variants: &["local"],
        packages: &[
            "github.com/testcontainers/testcontainers-go/modules/kafka@v0.40.0",
            "github.com/twmb/franz-go@v1.22.2",
        ],
    },
    Module {
        language: "node",
        variants: &["confluent"],
        // the last one for Node 20
        packages: &["@testcontainers/kafka@11.14.0", "kafkajs@2.2.4"],
    },
];

impl Module {
    /// The program that must be on the search path and does not answer, if there is one.
    pub fn missing_tool(&self) -> Option<String> {
        let tools: &[(&str, &str)] = match self.language {
            "rust" => &[("cargo", "--version")],
            "node" => &[("node", "--version"), ("npm", "--version")],
            _ => self.installer().tools(),
        };
        let answers = |tool: &str, argument: &str| run(Command::new(tool).arg(argument)).is_ok();
        let missing = tools.iter().find(|(tool, argument)| !answers(tool, argument));
        missing.map(|(tool, _)| format!("{tool} does not run"))
    }

    /// Installs it, where that was not done before.
    pub fn install(&self) -> Result<(), String> {
        if self.language == "rust" {
            // cargo knows itself what is to be done
            let manifest = self.sources_dir().join("Cargo.toml");
            let mut cargo = Command::new("cargo");
            cargo
                .args(["build", "--quiet", "--locked", "--manifest-path"])
                .arg(manifest);
            return run(cargo.arg("--target-dir").arg(self.directory()));
        }
        let at = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
        let packages: Vec<String> = self.packages.iter().map(|&package| package.to_owned()).collect();
        let sources = self.sources();
        let mut wanted = packages.join(" ");
        for source in &sources {
            wanted.push('\n');
            wanted.push_str(&fs::read_to_string(source).map_err(|error| at(source, error))?);
        }
        let directory = self.directory();
        let marker = directory.join("installed.txt");
        if fs::read_to_string(&marker).is_ok_and(|installed| installed == wanted) {
            return Ok(());
        }
        if self.language == "node" {
            install_node(&directory, &packages).map_err(|error| at(&directory, error))??;
        } else {
            fs::create_dir_all(&directory).map_err(|error| at(&directory, error))?;
            self.installer().install(&directory, &packages, &sources)?;
        }
        fs::write(&marker, wanted).map_err(|error| at(&marker, error))
    }

    /// What runs the program with `image` in one of its variants.
    pub fn command(&self, image: &str, variant: &str) -> Command {
        let directory = self.directory();
        let worker = || self.installer().worker(&directory, &directory);
        let script = |name: &str| self.sources_dir().join(name).into_os_string();
        let words: Vec<OsString> = match self.language {
            "rust" => vec![directory.join("debug/monedula-testcontainers").into()],
            "python" => [Installer::Pip.interpreter(&directory), vec![script("module.py")]].concat(),
            "node" => vec!["node".into(), script("module.js")],
            _ => worker().expect("what is compiled has a worker"),
        };
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).args([image, variant]);
        command.env("NODE_PATH", directory.join("node_modules"));
        command.env("TESTCONTAINERS_RYUK_DISABLED", "true");
        if env::var_os(HOST).is_none() {
            // the engine is on this machine, which libraries doubt where the machine looks like a container
            command.env(HOST, "localhost");
        }
        command
    }

    fn installer(&self) -> Installer {
        match self.language {
            "python" => Installer::Pip,
            "java" => Installer::Maven,
            "go" => Installer::Go,
            other => unreachable!("{other} installs its module itself"),
        }
    }

    fn sources_dir(&self) -> PathBuf {
        crate_dir().join("testcontainers").join(self.language)
    }

    fn sources(&self) -> Vec<PathBuf> {
        match self.language {
            "java" | "go" => self.installer().sources(&self.sources_dir()),
            _ => Vec::new(),
        }
    }

    fn directory(&self) -> PathBuf {
        crate_dir()
            .join(".venvs")
            .join(format!("testcontainers-{}", self.language))
    }
}

fn install_node(directory: &Path, packages: &[String]) -> std::io::Result<Result<(), String>> {
    if directory.exists() {
        fs::remove_dir_all(directory)?;
    }
    fs::create_dir_all(directory)?;
    // without a package of its own here npm would install into one further up
    fs::write(directory.join("package.json"), "{\"private\": true}\n")?;
    let mut npm = Command::new("npm");
    npm.args(["install", "--silent", "--no-audit", "--no-fund", "--no-save"]);
    Ok(run(npm.args(packages).current_dir(directory)))
}
