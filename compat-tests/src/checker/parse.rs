//! Histories as JSON lines, the form in which the workload writes them (`workload::recorder`), so that one can be kept, read
//! by people, and checked again.
//!
//! | `type` | what |
//! |---|---|
//! | `keys` | `value`: topics and partitions; everything else names them by their place in this list |
//! | `pipeline` | `value`: pairs of keys, input and output |
//! | `process` | a client: `process`, `isolation`, `group`, `rewinds` |
//! | `ok`, `fail`, `info` | a finished operation: `f`, `process`, `begin`, `time`, `committing`, `value`: its steps |
//! | `part` | a piece of a long read |
//! | `read_all` | the keys (`value`) that a process has read completely |
//! | `incomplete` | a final read that failed, `value` says how |
//! | `ends` | `value`: key, last stable offset and end of each log |
//! | `drained` | whether the pipeline came to its end |
//! | others | for people (`invoke`, `nemesis`) |
//!
//! Steps: `["send", key, value, offset or null, source?]`, `["poll", time, {key: [[offset, value, source?]]}]`,
//! `["start", key, offset]`, `["assigned" or "revoked", time, keys]`, `["committed", time, [[key, offset]]]`, `["error", text]`.
//!
//! **Invariant:** a line that is not understood is an error, never left out.

use serde_json::Value;

use super::history::{Function, History, Isolation, Key, LogEnd, Operation, Outcome, Pipeline, Process, Record, Step};

/// Adds a line to a history.
pub fn add_line(history: &mut History, line: &str) -> Result<(), String> {
    let event: Value = serde_json::from_str(line).map_err(|error| format!("{error}: {line}"))?;
    add(history, &event).ok_or_else(|| format!("not understood: {line}"))
}

fn add(history: &mut History, event: &Value) -> Option<()> {
    let value = &event["value"];
    match event["type"].as_str()? {
        "keys" => {
            for place in value.as_array()? {
                let partition = i32::try_from(place[1].as_i64()?).ok()?;
                history.keys.push((place[0].as_str()?.to_owned(), partition));
            }
        }
        "pipeline" => {
            let pipeline = history.pipeline.get_or_insert_with(Pipeline::default);
            for pair in value.as_array()? {
                pipeline.outputs.insert(number(&pair[0])?, number(&pair[1])?);
            }
        }
        "process" => {
            let process = Process {
                isolation: match event["isolation"].as_str()? {
                    "read_committed" => Isolation::Committed,
                    "read_uncommitted" => Isolation::Uncommitted,
                    _ => return None,
                },
                group: event["group"].as_str().map(str::to_owned),
                rewinds: event["rewinds"].as_bool().unwrap_or(false),
                read_all: Vec::new(),
            };
            history.processes.insert(number(&event["process"])?, process);
        }
        "ok" => history.operations.push(operation(event, Outcome::Ok)?),
        "fail" => history.operations.push(operation(event, Outcome::Fail)?),
        "info" => history.operations.push(operation(event, Outcome::Info)?),
        "part" => history.operations.push(operation(event, Outcome::Ok)?),
        "read_all" => {
            let keys: Option<Vec<Key>> = value.as_array()?.iter().map(number).collect();
            let process = history.processes.get_mut(&number(&event["process"])?)?;
            process.read_all.extend(keys?);
        }
        "incomplete" => history.incomplete_reads.push(value.as_str()?.to_owned()),
        "ends" => {
            for end in value.as_array()? {
                history.ends.push(LogEnd {
                    key: number(&end[0])?,
                    last_stable: end[1].as_i64()?,
                    end: end[2].as_i64()?,
                });
            }
        }
        "drained" => history.drained = Some(value.as_bool()?),
        "invoke" | "nemesis" | "note" => {}
        _ => return None,
    }
    Some(())
}

fn operation(event: &Value, outcome: Outcome) -> Option<Operation> {
    let function = match event["f"].as_str().unwrap_or("part") {
        "txn" | "pipe" => Function::Transaction,
        "send" | "poll" | "assign" | "start" | "part" => Function::Plain,
        _ => return None,
    };
    let end = event["time"].as_u64()?;
    let steps = event["value"].as_array()?.iter();
    let steps = steps
        .filter(|step| step[0] != "error")
        .map(|step| parse_step(step, outcome));
    Some(Operation {
        process: number(&event["process"])?,
        function,
        outcome,
        begin: event["begin"].as_u64().unwrap_or(end),
        committing: event["committing"].as_u64(),
        end,
        steps: steps.collect::<Option<_>>()?,
    })
}

fn parse_step(step: &Value, outcome: Outcome) -> Option<Step> {
    match step[0].as_str()? {
        "send" => {
            let offset = step[3].as_i64();
            Some(Step::Send {
                key: number(&step[1])?,
                value: step[2].as_u64()?,
                source: step[4].as_u64(),
                offset,
                acknowledged: offset.is_some() || outcome == Outcome::Ok,
            })
        }
        "poll" => {
            let mut records = Vec::new();
            for (key, polled) in step[2].as_object()? {
                let key = key.parse().ok()?;
                for record in polled.as_array()? {
                    records.push(Record {
                        key,
                        offset: record[0].as_i64()?,
                        value: record[1].as_u64()?,
                    });
                }
            }
            Some(Step::Poll {
                time: step[1].as_u64()?,
                records,
            })
        }
        "start" => Some(Step::Start {
            key: number(&step[1])?,
            offset: step[2].as_i64()?,
        }),
        kind @ ("assigned" | "revoked") => {
            let keys = step[2].as_array()?.iter().map(number).collect::<Option<_>>()?;
            let time = step[1].as_u64()?;
            Some(match kind {
                "assigned" => Step::Assigned { time, keys },
                _ => Step::Revoked(keys),
            })
        }
        "committed" => {
            let pairs = step[2].as_array()?.iter();
            let pairs = pairs.map(|pair| Some((number(&pair[0])?, pair[1].as_i64()?)));
            Some(Step::Committed {
                time: step[1].as_u64()?,
                offsets: pairs.collect::<Option<_>>()?,
            })
        }
        _ => None,
    }
}

fn number(value: &Value) -> Option<u32> {
    u32::try_from(value.as_u64()?).ok()
}
