//! Consume, transform, produce: every committed input has become exactly one committed output, in the right partition.

use std::collections::HashMap;

use super::history::Isolation;
use super::view::View;
use super::{Findings, Kind};

pub(super) fn check(view: &View<'_>, findings: &mut Findings) {
    if view.history.drained == Some(false) {
        findings.add(Kind::StuckPipeline, || {
            "it did not come to the end of its input".to_owned()
        });
    }
    let Some(pipeline) = &view.history.pipeline else { return };
    let mut made: HashMap<u64, u64> = HashMap::new();
    for output in view.writes.iter().filter(|write| write.seen_committed) {
        let Some(source) = output.source else { continue };
        let input = view.write(source).filter(|input| input.seen_committed);
        let place = input.and_then(|input| pipeline.outputs.get(&input.key));
        if place != Some(&output.key) {
            findings.add(Kind::WrongOutput, || {
                format!(
                    "{} in {} was made of {source}, which is {input:?}",
                    output.value,
                    view.history.name(output.key)
                )
            });
        }
        if let Some(first) = made.insert(source, output.value) {
            let told = |value: u64| {
                let write = view.write(value).expect("it was seen");
                format!("{value} at {:?} by {}", write.offset, view.tell(view.operation(write)))
            };
            findings.add(Kind::DuplicatedOutput, || {
                format!("{source} became {} and {}", told(first), told(output.value))
            });
        }
    }
    let read_all = |key: &u32| view.partition(Isolation::Committed, *key).complete;
    if view.history.drained != Some(true) {
        return;
    }
    for input in view.writes.iter().filter(|write| write.seen_committed) {
        let output = pipeline.outputs.get(&input.key);
        if output.is_some_and(read_all) && !made.contains_key(&input.value) {
            findings.add(Kind::MissingOutput, || {
                format!(
                    "{} at {:?} in {} has none",
                    input.value,
                    input.offset,
                    view.history.name(input.key)
                )
            });
        }
    }
}
