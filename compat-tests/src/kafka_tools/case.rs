//! Cases: transcripts of sessions with tools, as files.
//!
//! - `# ...` at the head says what the case is about; `# broker: KEY=VALUE ...` sets the broker up, `# long: REASON` leaves it
//!   to `MONEDULA_COMPAT=all`. Later lines that begin with `# ` are remarks;
//! - `$ tool arguments | shell filter` runs once and must print the lines that follow (`pattern` says how they are compared);
//!   `~` instead of `$` runs it again until it does; `& name: tool arguments` starts it and goes on. A `\` at a line's end
//!   joins the next one;
//! - `< text` behind a command is a line of its standard input;
//! - `= Monedula: reason` ends what Apache Kafka prints; what follows is what Monedula prints instead, and why.
//!
//! **Invariant:** reading is strict; whatever is not understood is an error with its line number.

use std::path::Path;

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    pub name: String,
    pub settings: Vec<String>,
    /// Why it is not among those that every run plays.
    pub long: Option<String>,
    pub steps: Vec<Step>,
}

/// How a command is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Manner {
    Once,
    /// Again, until it prints what is expected.
    Until,
    /// In the background, under a name.
    Background(String),
}

/// A command and what it prints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Its line in the file, from 1.
    pub line: usize,
    pub manner: Manner,
    pub command: String,
    pub input: Vec<String>,
    /// What Apache Kafka prints.
    pub expected: Vec<String>,
    /// Why Monedula prints something else, and what.
    pub ours: Option<(String, Vec<String>)>,
}

impl Step {
    /// What must be printed.
    pub fn expected(&self, by_kafka: bool) -> &[String] {
        match &self.ours {
            Some((_, ours)) if !by_kafka => ours,
            _ => &self.expected,
        }
    }
}

impl Case {
    /// Whether it runs Connect or Streams.
    pub fn needs_frameworks(&self) -> bool {
        let frameworks = |step: &Step| step.command.contains("connect-") || step.command.contains("word-count");
        self.steps.iter().any(frameworks)
    }

    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Self::parse(name, &text).map_err(|why| format!("{}: {why}", path.display()))
    }

    fn parse(name: String, text: &str) -> Result<Self, String> {
        let mut case = Self {
            name,
            settings: Vec::new(),
            long: None,
            steps: Vec::new(),
        };
        let mut lines = text.lines().enumerate();
        while let Some((index, line)) = lines.next() {
            let mut line = line.trim_end().to_owned();
            while line.ends_with('\\') {
                line.pop();
                let (_, next) = lines.next().ok_or_else(|| format!("{}: nothing follows", index + 1))?;
                line.push_str(next.trim());
            }
            case.take(index + 1, &line)
                .map_err(|why| format!("line {}: {why}", index + 1))?;
        }
        match case.steps.is_empty() {
            true => Err("no command".to_owned()),
            false => Ok(case),
        }
    }

    fn take(&mut self, number: usize, line: &str) -> Result<(), String> {
        if let Some(settings) = line.strip_prefix("# broker: ") {
            self.settings.extend(settings.split_whitespace().map(str::to_owned));
        } else if let Some(reason) = line.strip_prefix("# long: ") {
            self.long = Some(reason.to_owned());
        } else if line.is_empty() || line == "#" || line.starts_with("# ") {
            // A remark.
        } else if let Some(command) = line.strip_prefix("$ ") {
            self.add(number, Manner::Once, command);
        } else if let Some(command) = line.strip_prefix("~ ") {
            self.add(number, Manner::Until, command);
        } else if let Some(command) = line.strip_prefix("& ") {
            let (name, command) = command.split_once(": ").ok_or("no name")?;
            self.add(number, Manner::Background(name.to_owned()), command);
        } else {
            let step = self.steps.last_mut().ok_or("output without a command")?;
            if let Some(input) = line.strip_prefix("< ") {
                step.input.push(input.to_owned());
            } else if let Some(reason) = line.strip_prefix("= Monedula: ") {
                step.ours = Some((reason.to_owned(), Vec::new()));
            } else {
                let expected = step.ours.as_mut().map_or(&mut step.expected, |(_, lines)| lines);
                expected.push(line.to_owned());
            }
        }
        Ok(())
    }

    fn add(&mut self, line: usize, manner: Manner, command: &str) {
        self.steps.push(Step {
            line,
            manner,
            command: command.to_owned(),
            input: Vec::new(),
            expected: Vec::new(),
            ours: None,
        });
    }
}

/// The words of a command as a shell takes them apart, and the filter behind the first ` | `.
pub fn words(command: &str) -> Result<(Vec<String>, Option<String>), String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for (at, letter) in command.char_indices() {
        match quote {
            Some(open) if open == letter => quote = None,
            Some(_) => word.get_or_insert_default().push(letter),
            None if letter == '\'' || letter == '"' => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            None if letter == ' ' => words.extend(word.take()),
            None if letter == '|' && word.is_none() => {
                return Ok((words, Some(command[at + 1..].trim().to_owned())));
            }
            None => word.get_or_insert_default().push(letter),
        }
    }
    if quote.is_some() {
        return Err(format!("a quote is left open: {command}"));
    }
    words.extend(word);
    Ok((words, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# What it is.\n# broker: a=1 b=2\n\n$ tool --x 'a b' | sort\n< in\nout\n\nmore\n= Monedula: it is small\nother\n& one: tool \\\n  --y\n~ stop one\n";

    #[test]
    fn a_transcript_is_read() {
        let case = Case::parse("x".to_owned(), TEXT).expect("a good transcript");
        assert_eq!(case.settings, ["a=1", "b=2"]);
        let [first, second, third] = &case.steps[..] else {
            panic!("{case:?}")
        };
        assert_eq!(
            (first.line, &first.manner, &first.input[..]),
            (4, &Manner::Once, &["in".to_owned()][..])
        );
        assert_eq!(first.expected(true), ["out", "more"]);
        assert_eq!(first.expected(false), ["other"]);
        assert_eq!(
            (second.manner.clone(), &second.command[..]),
            (Manner::Background("one".to_owned()), "tool --y")
        );
        assert_eq!(third.manner, Manner::Until);
    }

    #[test]
    fn output_needs_a_command() {
        assert_eq!(
            Case::parse("x".to_owned(), "# a\nout\n"),
            Err("line 2: output without a command".to_owned())
        );
        assert_eq!(Case::parse("x".to_owned(), "# a\n"), Err("no command".to_owned()));
    }

    #[test]
    fn words_are_a_shells() {
        let (split, filter) = words("a  'b c'\"d|\" e=|f '' | grep \"x | y\"").expect("closed quotes");
        assert_eq!(split, ["a", "b cd|", "e=|f", ""]);
        assert_eq!(filter.as_deref(), Some("grep \"x | y\""));
        assert!(words("a 'b").is_err());
    }
}
