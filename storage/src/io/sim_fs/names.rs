//! The directory tree of the simulated disk: names that programs see, and names that survive a power loss.
//!
//! Invariant: applying all of `pending` to the durable names gives the current ones. Changes of names arrive on the
//! disk in order, as in a journal: a power loss keeps a prefix of those that no `sync_dir` has asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Component, Path};
use std::sync::{Arc, Mutex};

use super::content::Content;
use super::random::Random;

pub(super) type FileNode = Arc<Mutex<Content>>;
type DirId = u64;
const ROOT: DirId = 0;

#[derive(Debug, Clone)]
pub(super) enum Node {
    File(FileNode),
    Dir(DirId),
}

#[derive(Debug, Default)]
struct Dir {
    current: BTreeMap<String, Node>,
    durable: BTreeMap<String, Node>,
}

/// A change of names that is not synced; a rename is one change of two names.
#[derive(Debug)]
struct NameChange {
    removed: Option<(DirId, String)>,
    added: Option<(DirId, String, Node)>,
}

impl NameChange {
    fn dirs(&self) -> impl Iterator<Item = DirId> {
        let removed = self.removed.as_ref().map(|(dir, _)| *dir);
        removed.into_iter().chain(self.added.as_ref().map(|(dir, ..)| *dir))
    }
}

#[derive(Debug)]
pub(super) struct Names {
    dirs: BTreeMap<DirId, Dir>,
    next_dir: DirId,
    pending: Vec<NameChange>,
}

impl Names {
    pub(super) fn new() -> Self {
        Self {
            dirs: BTreeMap::from([(ROOT, Dir::default())]),
            next_dir: ROOT + 1,
            pending: Vec::new(),
        }
    }

    pub(super) fn find(&self, path: &Path) -> io::Result<Node> {
        let mut node = Node::Dir(ROOT);
        for name in components(path)? {
            let Node::Dir(dir) = node else {
                return Err(io::ErrorKind::NotADirectory.into());
            };
            node = self
                .dir(dir)
                .current
                .get(&name)
                .cloned()
                .ok_or(io::ErrorKind::NotFound)?;
        }
        Ok(node)
    }

    pub(super) fn find_dir(&self, path: &Path) -> io::Result<u64> {
        match self.find(path)? {
            Node::Dir(dir) => Ok(dir),
            Node::File(_) => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    /// Names in a directory, sorted.
    pub(super) fn entries(&self, dir: DirId) -> impl Iterator<Item = (&String, &Node)> {
        self.dir(dir).current.iter()
    }

    pub(super) fn create_dir_all(&mut self, path: &Path) -> io::Result<()> {
        let mut parent = ROOT;
        for name in components(path)? {
            parent = match self.dir(parent).current.get(&name) {
                Some(Node::Dir(dir)) => *dir,
                Some(Node::File(_)) => return Err(io::ErrorKind::AlreadyExists.into()),
                None => {
                    let dir = self.next_dir;
                    self.next_dir += 1;
                    self.dirs.insert(dir, Dir::default());
                    self.change(NameChange {
                        removed: None,
                        added: Some((parent, name, Node::Dir(dir))),
                    });
                    dir
                }
            };
        }
        Ok(())
    }

    pub(super) fn add_file(&mut self, path: &Path) -> io::Result<FileNode> {
        let (parent, name) = self.parent(path)?;
        let file = FileNode::default();
        self.change(NameChange {
            removed: None,
            added: Some((parent, name, Node::File(Arc::clone(&file)))),
        });
        Ok(file)
    }

    pub(super) fn remove_file(&mut self, path: &Path) -> io::Result<()> {
        if let Node::Dir(_) = self.find(path)? {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let (parent, name) = self.parent(path)?;
        self.change(NameChange {
            removed: Some((parent, name)),
            added: None,
        });
        Ok(())
    }

    /// Removes what is below first, as separate changes: a power loss may leave a part.
    pub(super) fn remove_dir_all(&mut self, path: &Path) -> io::Result<()> {
        let dir = self.find_dir(path)?;
        let (parent, name) = self.parent(path)?;
        self.empty_dir(dir);
        self.change(NameChange {
            removed: Some((parent, name)),
            added: None,
        });
        Ok(())
    }

    fn empty_dir(&mut self, dir: DirId) {
        let entries: Vec<(String, Node)> = self
            .dir(dir)
            .current
            .iter()
            .map(|(name, node)| (name.clone(), node.clone()))
            .collect();
        for (name, node) in entries {
            if let Node::Dir(below) = node {
                self.empty_dir(below);
            }
            self.change(NameChange {
                removed: Some((dir, name)),
                added: None,
            });
        }
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let node = self.find(from)?;
        let (from_parent, from_name) = self.parent(from)?;
        let (to_parent, to_name) = self.parent(to)?;
        match (&node, self.dir(to_parent).current.get(&to_name)) {
            (_, None) | (Node::File(_), Some(Node::File(_))) => {}
            (Node::File(_), Some(Node::Dir(_))) => return Err(io::ErrorKind::IsADirectory.into()),
            (Node::Dir(_), Some(Node::File(_))) => return Err(io::ErrorKind::NotADirectory.into()),
            (Node::Dir(_), Some(Node::Dir(_))) => return Err(io::ErrorKind::DirectoryNotEmpty.into()),
        }
        if (from_parent, &from_name) != (to_parent, &to_name) {
            self.change(NameChange {
                removed: Some((from_parent, from_name)),
                added: Some((to_parent, to_name, node)),
            });
        }
        Ok(())
    }

    /// Makes the names in `dir` durable, with every earlier change that they stand on.
    pub(super) fn sync_dir(&mut self, dir: DirId) {
        let mut wanted = BTreeSet::from([dir]);
        let mut synced = vec![false; self.pending.len()];
        for (index, change) in self.pending.iter().enumerate().rev() {
            if change.dirs().any(|dir| wanted.contains(&dir)) {
                wanted.extend(change.dirs());
                synced[index] = true;
            }
        }
        for (change, synced) in std::mem::take(&mut self.pending).into_iter().zip(synced) {
            if synced {
                self.persist(change);
            } else {
                self.pending.push(change);
            }
        }
    }

    /// Keeps durable names and a prefix of the others, and returns the files that are left.
    pub(super) fn lose_power(&mut self, random: &mut Random) -> Vec<FileNode> {
        let kept = random.below(self.pending.len() + 1);
        for change in std::mem::take(&mut self.pending).into_iter().take(kept) {
            self.persist(change);
        }
        let mut files = Vec::new();
        let mut reached = BTreeMap::new();
        let mut todo = vec![ROOT];
        while let Some(dir) = todo.pop() {
            let durable = std::mem::take(&mut self.dirs.entry(dir).or_default().durable);
            for node in durable.values() {
                match node {
                    Node::Dir(below) => todo.push(*below),
                    Node::File(file) => files.push(Arc::clone(file)),
                }
            }
            reached.insert(
                dir,
                Dir {
                    current: durable.clone(),
                    durable,
                },
            );
        }
        self.dirs = reached;
        files
    }

    fn change(&mut self, change: NameChange) {
        if let Some((dir, name)) = &change.removed {
            self.dir_mut(*dir).current.remove(name);
        }
        if let Some((dir, name, node)) = &change.added {
            self.dir_mut(*dir).current.insert(name.clone(), node.clone());
        }
        self.pending.push(change);
    }

    fn persist(&mut self, change: NameChange) {
        if let Some((dir, name)) = change.removed {
            self.dir_mut(dir).durable.remove(&name);
        }
        if let Some((dir, name, node)) = change.added {
            self.dir_mut(dir).durable.insert(name, node);
        }
    }

    fn parent(&self, path: &Path) -> io::Result<(DirId, String)> {
        let mut names = components(path)?;
        let name = names.pop().ok_or(io::ErrorKind::InvalidInput)?;
        let mut dir = ROOT;
        for name in names {
            dir = match self.dir(dir).current.get(&name) {
                Some(Node::Dir(dir)) => *dir,
                Some(Node::File(_)) => return Err(io::ErrorKind::NotADirectory.into()),
                None => return Err(io::ErrorKind::NotFound.into()),
            };
        }
        Ok((dir, name))
    }

    fn dir(&self, dir: DirId) -> &Dir {
        self.dirs
            .get(&dir)
            .expect("directories are kept as long as a name or a change points to them")
    }

    fn dir_mut(&mut self, dir: DirId) -> &mut Dir {
        self.dirs
            .get_mut(&dir)
            .expect("directories are kept as long as a name or a change points to them")
    }
}

/// Names from the root on; relative paths begin at the root as well.
fn components(path: &Path) -> io::Result<Vec<String>> {
    path.components()
        .filter(|component| !matches!(component, Component::RootDir | Component::CurDir))
        .map(|component| match component {
            Component::Normal(name) => Ok(name.to_string_lossy().into_owned()),
            _ => Err(io::ErrorKind::InvalidInput.into()),
        })
        .collect()
}
