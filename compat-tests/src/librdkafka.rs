//! An old confluent-kafka for which no Python has wheels any more: its librdkafka is built from the sources that a crate
//! carries, and the Python package against it.
//!
//! **Invariants:** everything lies in the client's own directory; librdkafka is found there by its absolute path and by no
//! search path. It is built with what every machine with a C compiler has, without TLS, SASL and zstd.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::installer::run;

/// The first of `packages` is `crate@version`, the others are Python packages of which the last is compiled.
pub fn install(directory: &Path, packages: &[String]) -> Result<(), String> {
    let [sources, python @ ..] = packages else {
        return Err("the crate with librdkafka's sources is missing".to_owned());
    };
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(directory))?;
    let own = directory.join("librdkafka");
    build(&own, sources)?;
    let library = own.join("src");
    let mut pip = Command::new(directory.join("bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
    pip.args(["--no-cache-dir", "--no-binary", "confluent-kafka"])
        .args(python);
    pip.env("C_INCLUDE_PATH", &own).env("LIBRARY_PATH", &library);
    run(pip.env("LDFLAGS", format!("-Wl,-rpath,{}", library.display())))
}

fn build(own: &Path, sources: &str) -> Result<(), String> {
    let (name, version) = sources.split_once('@').ok_or("crate@version")?;
    let at = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
    // A package that is never built: Cargo fetches the sources for it.
    let package = own.join("package");
    let source = package.join("src");
    fs::create_dir_all(&source).map_err(|error| at(&source, error))?;
    let manifest = format!(
        "[package]\nname = \"sources\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[dependencies]\n{name} = \"={version}\"\n\n\
         [workspace]\n"
    );
    for (path, text) in [
        (package.join("Cargo.toml"), manifest.as_str()),
        (source.join("lib.rs"), ""),
    ] {
        fs::write(&path, text).map_err(|error| at(&path, error))?;
    }
    run(Command::new("cargo")
        .args(["vendor", "--quiet", "vendor"])
        .current_dir(&package))?;
    let unpacked = package.join("vendor").join(name).join("librdkafka");
    // The headers are included as <librdkafka/rdkafka.h>, which the link makes of `src`.
    run(Command::new("cp").arg("-r").arg(unpacked.join(".")).arg(own))?;
    let without = ["gssapi", "ssl", "curl", "zstd"].map(|part| format!("--disable-{part}"));
    run(Command::new("bash").arg("configure").args(without).current_dir(own))?;
    run(Command::new("make")
        .args(["-C", "src", "-j2", "librdkafka.so.1"])
        .current_dir(own))?;
    run(Command::new("ln")
        .args(["-s", "librdkafka.so.1", "src/librdkafka.so"])
        .current_dir(own))?;
    run(Command::new("ln").args(["-s", "src", "librdkafka"]).current_dir(own))
}
