//! The dependency audit: licences, sources and banned crates of everything that is linked, read from `cargo metadata`.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// Licences that a dependency may be used under.
const ALLOWED: &[&str] = &[
    "MIT",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "0BSD",
    "Unicode-3.0",
    "Unlicense",
    "CC0-1.0",
    "BSL-1.0",
    "MIT-0",
    "Apache-2.0 WITH LLVM-exception",
];
/// Crates that may not come in, with what to use in their place.
const BANNED: &[(&str, &str)] = &[
    ("openssl", "rustls"),
    ("openssl-sys", "rustls"),
    ("native-tls", "rustls"),
    ("lz4-sys", "lz4_flex"),
    ("lz4", "lz4_flex"),
    ("async-std", "tokio"),
];

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--all-features"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "cargo metadata: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).expect("cargo prints JSON")
}

/// Whether an SPDX expression leaves a choice that is allowed: every part of an AND, one part of an OR.
fn is_allowed(expression: &str) -> bool {
    let expression = expression.replace('/', " OR ").replace(['(', ')'], "");
    expression
        .split(" AND ")
        .all(|all| all.split(" OR ").any(|one| ALLOWED.contains(&one.trim())))
}

#[test]
fn every_dependency_is_from_the_registry_and_permissively_licensed() {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().expect("packages");
    assert!(packages.len() > 40, "only {} packages", packages.len());
    let mut faults = Vec::new();
    for package in packages {
        let name = package["name"].as_str().expect("name");
        let Some(source) = package["source"].as_str() else {
            continue;
        };
        if !source.starts_with("registry+") {
            faults.push(format!("{name}: comes from {source}"));
        }
        match package["license"].as_str() {
            Some(license) if is_allowed(license) => {}
            license => faults.push(format!("{name}: licence {license:?}")),
        }
        if let Some((_, better)) = BANNED.iter().find(|(banned, _)| *banned == name) {
            faults.push(format!("{name}: banned, use {better}"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// The crates that every build links; two major versions of one of them would be two copies in the binary.
#[test]
fn central_crates_come_once() {
    let metadata = metadata();
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in metadata["packages"].as_array().expect("packages") {
        versions
            .entry(package["name"].as_str().expect("name"))
            .or_default()
            .insert(package["version"].as_str().expect("version"));
    }
    for name in [
        "tokio",
        "bytes",
        "dashmap",
        "kafka-protocol",
        "openraft",
        "rustix",
        "zstd",
        "uuid",
        "tracing",
    ] {
        assert_eq!(
            versions.get(name).map_or(0, BTreeSet::len),
            1,
            "{name}: {:?}",
            versions.get(name)
        );
    }
}

#[test]
fn expressions_are_read_as_spdx_means_them() {
    for good in [
        "MIT",
        "MIT/Apache-2.0",
        "(MIT OR Apache-2.0) AND Unicode-3.0",
        "GPL-2.0 OR MIT",
    ] {
        assert!(is_allowed(good), "{good}");
    }
    for bad in ["GPL-3.0", "MPL-2.0", "MIT AND GPL-2.0"] {
        assert!(!is_allowed(bad), "{bad}");
    }
}
