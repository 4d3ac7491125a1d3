//! Opens the log directories at the start.
//!
//! Invariants: all directories belong to one cluster; a directory that was in use and is not named any more is missed,
//! not begun anew.

use storage::checkpoint::{read_whole, write_atomic};
use storage::dir::meta_properties::MetaProperties;
use storage::dir::uuid_text::uuid_to_text;
use storage::dir::{LogDir, OpenLogDir};

use super::error::StartError;
use super::shown;
use crate::config::broker::BrokerConfig;
use crate::env::Env;

/// In the first of several log directories: the ids of all.
const KNOWN_DIRECTORIES_FILE: &str = "directories";

/// Opens and locks the log directories; each with whether its last stop was clean.
pub(super) fn open_dirs(config: &BrokerConfig, env: &Env) -> Result<Vec<(LogDir, bool)>, StartError> {
    let mut dirs: Vec<(LogDir, bool)> = Vec::new();
    for path in &config.resolved.log_dirs {
        let known = dirs.first().map(|(first, _)| first.meta().cluster_id.clone());
        let dir = LogDir::open(OpenLogDir {
            fs: env.fs(),
            path: path.clone(),
            expected_cluster_id: config.monedula_cluster_id.clone(),
            expected_node_id: Some(config.resolved.node_id),
            fresh: MetaProperties {
                cluster_id: known
                    .clone()
                    .or_else(|| config.monedula_cluster_id.clone())
                    .unwrap_or_else(|| uuid_to_text(env.uuid())),
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
pub(super) fn check_that_none_is_missing(dirs: &[(LogDir, bool)]) -> Result<(), StartError> {
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
