//! How the clients of each language are installed, and what runs their programs.
//!
//! **Invariants:** everything goes into the client's own directory (Python packages into a virtual environment, jars and
//! classes beside each other, the modules of Node, the programs that Go and Cargo build); the versions stand in `clients.txt`
//! alone, and what the packages need themselves is resolved by the language's own tool. The caller holds the directory's lock.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::librdkafka;

/// What installs a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Installer {
    /// Python packages; the scenarios are Python programs.
    Pip,
    /// `crate@version` with librdkafka's sources, and Python packages that are built against it.
    Librdkafka,
    /// `group:artifact:version` of Maven repositories, and the Java sources of the scenario directory compiled against them.
    Maven,
    /// `module@version`, and the Go sources of the scenario directory built with them.
    Go,
    /// `package@version` of npm and options of `npm install`, with the JavaScript sources of the scenario directory.
    Npm,
    /// `crate@=version`, or `crate@=version/feature,feature` where the default features are not the ones, and the Rust sources
    /// of the scenario directory built with them.
    Cargo,
    /// A tool that the machine has; the scenarios are shell scripts.
    Machine,
}

/// What keeps the classes of short-lived programs out of the optimizing compiler, which would cost more than it gains.
const JAVA: [&str; 4] = [
    "-XX:TieredStopAtLevel=1",
    "-XX:+UseSerialGC",
    "-Xshare:auto",
    "-Xmx256m",
];

impl Installer {
    /// By its name in the table.
    pub fn named(word: &str) -> Option<Self> {
        Some(match word {
            "pip" => Self::Pip,
            "librdkafka" => Self::Librdkafka,
            "maven" => Self::Maven,
            "go" => Self::Go,
            "npm" => Self::Npm,
            "cargo" => Self::Cargo,
            "-" => Self::Machine,
            _ => return None,
        })
    }

    /// The programs that must be on the search path, each with an argument that makes it tell its version.
    pub fn tools(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Pip => &[("python3", "--version")],
            Self::Librdkafka => &[
                ("python3", "--version"),
                ("cargo", "--version"),
                ("cc", "--version"),
                ("make", "--version"),
            ],
            Self::Maven => &[("mvn", "--version"), ("javac", "-version"), ("java", "-version")],
            Self::Go => &[("go", "version")],
            Self::Npm => &[("npm", "--version"), ("node", "--version")],
            Self::Cargo => &[("cargo", "--version")],
            Self::Machine => &[],
        }
    }

    /// The sources that are installed with the client: those in `scenarios`, and what all workers of a language share.
    pub fn sources(self, scenarios: &Path) -> Vec<PathBuf> {
        let (extension, shared) = match self {
            Self::Maven => ("java", None),
            Self::Go => ("go", Some("_go")),
            Self::Npm => ("js", Some("_node")),
            Self::Cargo => ("rs", Some("_rust")),
            Self::Pip | Self::Librdkafka | Self::Machine => return Vec::new(),
        };
        let shared = shared.map(|name| scenarios.with_file_name(name));
        let directories = [Some(scenarios.to_owned()), shared].into_iter().flatten();
        let entries = directories.flat_map(fs::read_dir).flatten().flatten();
        let paths = entries.map(|entry| entry.path());
        let mut sources: Vec<PathBuf> = paths
            .filter(|path| path.extension().is_some_and(|end| end == extension))
            .collect();
        sources.sort();
        sources
    }

    /// Installs `packages` into `directory`, which is empty or holds an earlier state.
    pub fn install(self, directory: &Path, packages: &[String], sources: &[PathBuf]) -> Result<(), String> {
        match self {
            Self::Pip => install_python(directory, packages),
            Self::Librdkafka => librdkafka::install(directory, packages),
            Self::Maven => install_java(directory, packages, sources),
            Self::Go => install_go(directory, packages, sources),
            Self::Npm => install_node(directory, packages, sources),
            Self::Cargo => install_rust(directory, packages, sources),
            Self::Machine => Ok(()),
        }
    }

    /// The words that run a program written for the client, up to the name of its file.
    pub fn interpreter(self, directory: &Path) -> Vec<OsString> {
        match self {
            Self::Pip | Self::Librdkafka => {
                let options = ["-B", "-W", "ignore", "-u"].map(OsString::from);
                [vec![directory.join("bin/python").into_os_string()], options.to_vec()].concat()
            }
            Self::Maven | Self::Go | Self::Npm | Self::Cargo | Self::Machine => vec!["bash".into()],
        }
    }

    /// The words that run the client's worker (`scenarios/_serve.py` says what a worker is), where it has one.
    pub fn worker(self, directory: &Path, scenarios: &Path) -> Option<Vec<OsString>> {
        let script = scenarios.join("_worker.py");
        match self {
            Self::Pip | Self::Librdkafka if script.is_file() => {
                Some([self.interpreter(directory), vec![script.into_os_string()]].concat())
            }
            Self::Pip | Self::Librdkafka | Self::Machine => None,
            Self::Maven => {
                let [jars, classes] = ["jars/*", "classes"].map(|part| directory.join(part).display().to_string());
                let path = format!("{classes}:{jars}");
                let words = [&["java"], &JAVA[..], &["-cp", &path, "Worker"]].concat();
                Some(words.into_iter().map(OsString::from).collect())
            }
            Self::Go => Some(vec![directory.join("worker").into_os_string()]),
            Self::Npm => Some(vec!["node".into(), directory.join("main.js").into_os_string()]),
            Self::Cargo => Some(vec![directory.join("target/debug/worker").into_os_string()]),
        }
    }
}

fn install_python(directory: &Path, packages: &[String]) -> Result<(), String> {
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(directory))?;
    let pip = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--only-binary",
        ":all:",
    ];
    run(Command::new(directory.join("bin/python")).args(pip).args(packages))
}

fn install_java(directory: &Path, packages: &[String], sources: &[PathBuf]) -> Result<(), String> {
    empty(directory)?;
    let mut dependencies = String::new();
    for package in packages {
        let [group, artifact, version] = package.split(':').collect::<Vec<_>>()[..] else {
            return Err(format!("{package} is not group:artifact:version"));
        };
        write!(
            dependencies,
            "<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId><version>{version}</version></dependency>"
        )
        .expect("writing to a string does not fail");
    }
    let project = format!(
        "<project xmlns=\"http://maven.apache.org/POM/4.0.0\"><modelVersion>4.0.0</modelVersion><groupId>client</groupId>\
         <artifactId>client</artifactId><version>1</version><dependencies>{dependencies}</dependencies></project>\n"
    );
    let file = directory.join("pom.xml");
    write(&file, &project)?;
    let jars = directory.join("jars");
    let goal = format!("-DoutputDirectory={}", jars.display());
    run(Command::new("mvn")
        .args(["--quiet", "--batch-mode", "--file"])
        .arg(&file)
        .args(["dependency:copy-dependencies", "-DincludeScope=runtime", &goal]))?;
    let mut compiler = Command::new("javac");
    compiler
        .args(["-Xlint:all,-processing", "-Werror", "-d"])
        .arg(directory.join("classes"));
    run(compiler.arg("-cp").arg(jars.join("*")).args(sources))
}

fn install_go(directory: &Path, packages: &[String], sources: &[PathBuf]) -> Result<(), String> {
    empty(directory)?;
    copy(sources, directory)?;
    // A build of its own, whatever module or workspace lies around the directory.
    let go = |arguments: &[&str]| {
        let mut command = Command::new("go");
        command.args(arguments).current_dir(directory);
        command.env("GOWORK", "off").env("GOFLAGS", "-mod=mod -buildvcs=false");
        command
    };
    run(&mut go(&["mod", "init", "worker"]))?;
    run(go(&["get"]).args(packages))?;
    run(&mut go(&["vet", "."]))?;
    run(&mut go(&["build", "-o", "worker", "."]))
}

fn install_node(directory: &Path, packages: &[String], sources: &[PathBuf]) -> Result<(), String> {
    empty(directory)?;
    copy(sources, directory)?;
    write(&directory.join("package.json"), "{\"private\": true}\n")?;
    let mut npm = Command::new("npm");
    npm.current_dir(directory)
        .args(["install", "--no-audit", "--no-fund", "--save-exact"])
        .args(packages);
    // Modules with native parts: built with the headers and the libraries of this machine, so that no build fetches anything.
    npm.env("CKJS_LINKING", "dynamic");
    let prefix = Command::new("node")
        .args(["-p", "path.resolve(process.execPath, '../..')"])
        .output();
    let prefix = prefix.map_err(|error| format!("node: {error}"))?;
    let prefix = PathBuf::from(String::from_utf8_lossy(&prefix.stdout).trim_end());
    if prefix.join("include/node/node.h").is_file() {
        npm.env("npm_config_nodedir", prefix);
    }
    run(&mut npm)
}

fn install_rust(directory: &Path, packages: &[String], sources: &[PathBuf]) -> Result<(), String> {
    // The crates that were built stay: a worker that changes needs none of them again.
    let [code, manifest] = ["src", "Cargo.toml"].map(|name| directory.join(name));
    empty(&code)?;
    copy(sources, &code)?;
    // A workspace of its own, whatever lies around the directory, and no more of debugging than a backtrace needs.
    write(
        &manifest,
        "[package]\nname = \"worker\"\nversion = \"0.0.0\"\nedition = \"2024\"\npublish = false\n\n[workspace]\n\n\
         [profile.dev]\ndebug = \"line-tables-only\"\n\n[lints.rust]\nwarnings = \"deny\"\n",
    )?;
    let cargo = |command: &str| {
        let mut cargo = Command::new("cargo");
        cargo.args([command, "--quiet", "--manifest-path"]).arg(&manifest);
        cargo
    };
    for package in packages {
        let (name, features) = package.split_once('/').unwrap_or((package, ""));
        let chosen: &[&str] = if features.is_empty() {
            &[]
        } else {
            &["--no-default-features", "--features", features]
        };
        run(cargo("add").arg(name).args(chosen))?;
    }
    run(cargo("build").arg("--target-dir").arg(directory.join("target")))
}

fn copy(sources: &[PathBuf], directory: &Path) -> Result<(), String> {
    for source in sources {
        let copy = directory.join(source.file_name().expect("a file found in a directory"));
        fs::copy(source, &copy).map_err(|error| format!("{}: {error}", source.display()))?;
    }
    Ok(())
}

fn write(file: &Path, text: &str) -> Result<(), String> {
    fs::write(file, text).map_err(|error| format!("{}: {error}", file.display()))
}

fn empty(directory: &Path) -> Result<(), String> {
    if directory.exists() {
        fs::remove_dir_all(directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    }
    fs::create_dir_all(directory).map_err(|error| format!("{}: {error}", directory.display()))
}

/// Runs a command to its end; what it said last, where it failed.
pub fn run(command: &mut Command) -> Result<(), String> {
    let shown = format!("{command:?}");
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{shown}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    let end = lines[lines.len().saturating_sub(6)..].join("\n");
    Err(format!("{shown}: {}: {end}", output.status))
}
