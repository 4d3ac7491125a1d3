//! The layouts of requests, compiled from the schema table `schemas.txt`, one per API and version.
//!
//! Invariants: the table is compiled once, at the first use; a mistake in the table is ours and
//! panics then (a test compiles it); runs of fields of fixed length are one step.

use std::sync::LazyLock;

use crate::api::{ApiSpec, find as find_served};

static SCHEMAS: &str = include_str!("schemas.txt");
static REQUESTS: LazyLock<Vec<Request>> = LazyLock::new(|| compile(SCHEMAS));

/// The fields of a request body, or of a struct in it, in one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Whether lengths are compact and tagged fields follow the others.
    pub flexible: bool,
    /// The fields in order, without the tagged ones.
    pub fields: Vec<Shape>,
    /// The tagged fields that the message knows; `None` = known, but not in this version.
    pub tagged: Vec<(u32, Option<Shape>)>,
    /// The fewest bytes that this can take.
    pub min_bytes: usize,
}

/// The form of one value, or of several neighbours of fixed length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    /// So many bytes.
    Fixed(usize),
    /// A string.
    String {
        /// Whether it may be null.
        nullable: bool,
    },
    /// Bytes or records.
    Bytes {
        /// Whether they may be null.
        nullable: bool,
    },
    /// An array.
    Array {
        /// Whether it may be null.
        nullable: bool,
        /// The form of its elements.
        element: Box<Self>,
    },
    /// A struct.
    Struct(Layout),
    /// A struct behind a presence byte.
    NullableStruct(Layout),
}

impl Shape {
    /// The fewest bytes that a value can take; never 0.
    pub fn min_bytes(&self, flexible: bool) -> usize {
        match self {
            Self::Fixed(length) => *length,
            Self::String { .. } if flexible => 1,
            Self::String { .. } => 2,
            Self::Bytes { .. } | Self::Array { .. } if flexible => 1,
            Self::Bytes { .. } | Self::Array { .. } => 4,
            Self::Struct(layout) => layout.min_bytes.max(1),
            Self::NullableStruct(_) => 1,
        }
    }
}

struct Request {
    api_key: i16,
    versions: Versions,
    layouts: Vec<Layout>,
}

pub(super) fn find(api_key: i16, version: i16) -> Option<&'static Layout> {
    let requests = &*REQUESTS;
    let request = &requests[requests
        .binary_search_by_key(&api_key, |request| request.api_key)
        .ok()?];
    let index = version.checked_sub(request.versions.first)?;
    request.layouts.get(usize::try_from(index).ok()?)
}

/// The versions of every request in the table: API key, first, last.
#[cfg(test)]
pub(super) fn ranges() -> Vec<(i16, i16, i16)> {
    REQUESTS
        .iter()
        .map(|request| (request.api_key, request.versions.first, request.versions.last))
        .collect()
}

#[derive(Clone, Copy)]
struct Versions {
    first: i16,
    last: i16,
}

impl Versions {
    /// `first-last`.
    fn parse(text: &str) -> Self {
        let (first, last) = text.split_once('-').expect("the table writes versions as first-last");
        Self {
            first: number(first),
            last: number(last),
        }
    }

    const fn contains(self, version: i16) -> bool {
        self.first <= version && version <= self.last
    }
}

/// A line of the table and the lines indented below it.
struct Node {
    kind: &'static str,
    versions: Option<Versions>,
    null: Option<Versions>,
    tag: Option<(u32, Versions)>,
    children: Vec<Self>,
}

fn number(text: &str) -> i16 {
    text.parse().expect("the table has decimal numbers")
}

fn compile(text: &'static str) -> Vec<Request> {
    let mut lines = text.lines().filter(|line| !line.starts_with('#')).peekable();
    let mut requests = Vec::new();
    while let Some(line) = lines.next() {
        let mut api_key = None;
        let mut versions = None;
        let mut flexible_from = i16::MAX;
        for word in line.split(' ').skip(1) {
            match word.split_once('=') {
                Some(("key", key)) => api_key = Some(number(key)),
                Some(("versions", range)) => versions = Some(Versions::parse(range)),
                Some(("flexible", "none")) => {}
                Some(("flexible", version)) => flexible_from = number(version),
                _ => panic!("the table has a request with an unknown word {word:?}"),
            }
        }
        let api_key = api_key.expect("the table gives every request a key");
        let versions = versions.expect("the table gives every request its versions");
        let nodes = children(&mut lines, 1);
        let served_flexible_from = find_served(api_key).map(|api: &ApiSpec| api.flexible_from);
        assert!(
            served_flexible_from.is_none_or(|served| served == flexible_from),
            "API key {api_key}"
        );
        let layouts = (versions.first..=versions.last)
            .map(|version| layout_of(&nodes, version, version >= flexible_from))
            .collect();
        requests.push(Request {
            api_key,
            versions,
            layouts,
        });
    }
    assert!(
        requests.is_sorted_by(|one, next| one.api_key < next.api_key),
        "the table is in key order"
    );
    requests
}

fn children(lines: &mut std::iter::Peekable<impl Iterator<Item = &'static str>>, indent: usize) -> Vec<Node> {
    let mut nodes = Vec::new();
    while let Some(line) = lines.next_if(|line| line.len() - line.trim_start().len() == indent) {
        let mut node = parse_field(line.trim_start());
        node.children = children(lines, indent + 1);
        assert_eq!(
            matches!(node.kind, "[]" | "struct"),
            !node.children.is_empty(),
            "{line}"
        );
        nodes.push(node);
    }
    nodes
}

fn parse_field(line: &'static str) -> Node {
    let mut words = line.split(' ').skip(1);
    let kind = words.next().expect("the table gives every field a type");
    let mut node = Node {
        kind,
        versions: None,
        null: None,
        tag: None,
        children: Vec::new(),
    };
    for word in words {
        if let Some(range) = word.strip_prefix("null:") {
            node.null = Some(Versions::parse(range));
        } else if let Some(range) = word.strip_prefix('v') {
            node.versions = Some(Versions::parse(range));
        } else {
            let (tag, range) = word
                .strip_prefix("tag")
                .and_then(|tag| tag.split_once(':'))
                .expect("the table has no other words");
            node.tag = Some((number(tag).unsigned_abs().into(), Versions::parse(range)));
        }
    }
    node
}

fn layout_of(nodes: &[Node], version: i16, flexible: bool) -> Layout {
    let mut fields = Vec::new();
    let mut tagged = Vec::new();
    for node in nodes {
        let present = node.versions.is_none_or(|versions| versions.contains(version));
        match node.tag {
            Some((tag, versions)) if flexible => {
                let valid = present && versions.contains(version);
                tagged.push((tag, valid.then(|| shape_of(node, version, flexible))));
            }
            Some(_) => {}
            None if present => push(&mut fields, shape_of(node, version, flexible)),
            None => {}
        }
    }
    let min_bytes = fields.iter().map(|shape| shape.min_bytes(flexible)).sum::<usize>() + usize::from(flexible);
    Layout {
        flexible,
        fields,
        tagged,
        min_bytes,
    }
}

fn push(fields: &mut Vec<Shape>, shape: Shape) {
    match (fields.last_mut(), &shape) {
        (Some(Shape::Fixed(run)), Shape::Fixed(length)) => *run += length,
        _ => fields.push(shape),
    }
}

fn shape_of(node: &Node, version: i16, flexible: bool) -> Shape {
    let nullable = node.null.is_some_and(|versions| versions.contains(version));
    match (node.kind, node.kind.strip_prefix("[]")) {
        ("struct", _) if nullable => Shape::NullableStruct(layout_of(&node.children, version, flexible)),
        ("struct", _) => Shape::Struct(layout_of(&node.children, version, flexible)),
        (_, Some("")) => {
            let element = Box::new(Shape::Struct(layout_of(&node.children, version, flexible)));
            Shape::Array { nullable, element }
        }
        (_, Some(kind)) => Shape::Array {
            nullable,
            element: Box::new(primitive(kind, false)),
        },
        (kind, None) => primitive(kind, nullable),
    }
}

fn primitive(kind: &str, nullable: bool) -> Shape {
    match kind {
        "bool" | "int8" => Shape::Fixed(1),
        "int16" | "uint16" => Shape::Fixed(2),
        "int32" => Shape::Fixed(4),
        "int64" | "float64" => Shape::Fixed(8),
        "uuid" => Shape::Fixed(16),
        "string" => Shape::String { nullable },
        "bytes" => Shape::Bytes { nullable },
        _ => panic!("the table has a field of unknown type {kind:?}"),
    }
}
