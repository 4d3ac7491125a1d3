//! The file `meta.properties`: to which cluster and node a log directory belongs.
//!
//! Pure text codec. (Kafka's `MetaProperties`, version 1; Java's properties syntax as far as these values need it.)

use uuid::Uuid;

use super::uuid_text::{uuid_from_text, uuid_to_text};

/// Name of the file.
pub const META_PROPERTIES: &str = "meta.properties";

/// Identity of a log directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetaProperties {
    /// `cluster.id`.
    pub cluster_id: String,
    /// `node.id`.
    pub node_id: i32,
    /// `directory.id`.
    pub directory_id: Uuid,
}

/// What the file says; the directory id may be missing in files of older Kafka versions.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct StoredProperties {
    pub(super) cluster_id: String,
    pub(super) node_id: i32,
    pub(super) directory_id: Option<Uuid>,
}

impl MetaProperties {
    pub(super) fn to_text(&self) -> String {
        let directory_id = uuid_to_text(self.directory_id);
        format!(
            "#\nversion=1\ncluster.id={}\nnode.id={}\ndirectory.id={directory_id}\n",
            self.cluster_id, self.node_id
        )
    }
}

impl StoredProperties {
    /// Reads the file's text; the error completes the sentence "meta.properties …".
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let value = |key: &str| text.lines().filter_map(split_property).find(|(name, _)| *name == key);
        let required = |key: &str| {
            value(key)
                .map(|(_, value)| value)
                .ok_or_else(|| format!("of the directory lacks {key}"))
        };
        match value("version")
            .map_or_else(|| "0".to_owned(), |(_, value)| value)
            .as_str()
        {
            "1" => {}
            "0" => return Err("has version 0, which Kafka used with ZooKeeper and which has no node.id".to_owned()),
            other => return Err(format!("has the unknown version {other:?} (known: 1)")),
        }
        let cluster_id = required("cluster.id")?;
        let node_id = required("node.id")?;
        let node_id = node_id
            .parse()
            .map_err(|_| format!("has the node.id {node_id:?}, which is no number"))?;
        let directory_id = value("directory.id").map(|(_, value)| value);
        let directory_id = match directory_id {
            None => None,
            Some(text) => Some(
                uuid_from_text(&text)
                    .ok_or_else(|| format!("has the directory.id {text:?}, which is no base64 UUID"))?,
            ),
        };
        Ok(Self {
            cluster_id,
            node_id,
            directory_id,
        })
    }
}

/// `key=value` or `key: value`; `None` for comments and blank lines. A backslash makes the next character plain.
fn split_property(line: &str) -> Option<(&str, String)> {
    let line = line.trim_start();
    if line.starts_with(['#', '!']) {
        return None;
    }
    let (key, value) = line.split_once(['=', ':'])?;
    let mut plain = String::with_capacity(value.len());
    let mut characters = value.trim_start().chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => plain.extend(characters.next()),
            other => plain.push(other),
        }
    }
    Some((key.trim_end(), plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_apache_kafka_writes() {
        let text = "#\n#Sat Nov 21 10:00:00 UTC 2026\ncluster.id=MkU3OEVBNTcwNTJENDM2Qg\ndirectory.id=AAAAAAAAAAAAAAAAAAABAA\nnode.id=3\nversion=1\n";
        let stored = StoredProperties::parse(text).expect("valid");
        assert_eq!(
            (stored.cluster_id.as_str(), stored.node_id),
            ("MkU3OEVBNTcwNTJENDM2Qg", 3)
        );
        assert_eq!(stored.directory_id, Some(Uuid::from_u128(0x100)));
        assert_eq!(split_property("a.b = c\\=d\\:e"), Some(("a.b", "c=d:e".to_owned())));
    }

    #[test]
    fn reads_what_it_writes() {
        let meta = MetaProperties {
            cluster_id: "c-1".into(),
            node_id: 7,
            directory_id: Uuid::from_u128(1 << 100),
        };
        let stored = StoredProperties::parse(&meta.to_text()).expect("valid");
        assert_eq!((stored.cluster_id, stored.node_id), (meta.cluster_id, 7));
        assert_eq!(stored.directory_id, Some(meta.directory_id));
    }

    #[test]
    fn refuses_with_the_key_that_is_wrong() {
        for (text, part) in [
            ("", "version 0"),
            ("version=2\ncluster.id=a\nnode.id=1", "unknown version \"2\""),
            ("version=1\nnode.id=1", "lacks cluster.id"),
            ("version=1\ncluster.id=a", "lacks node.id"),
            ("version=1\ncluster.id=a\nnode.id=x", "no number"),
            ("version=1\ncluster.id=a\nnode.id=1\ndirectory.id=?", "no base64 UUID"),
        ] {
            let why = StoredProperties::parse(text).expect_err(text);
            assert!(why.contains(part), "{text:?}: {why}");
        }
    }
}
