//! The part of libtest's command line that people and CI use, for tests with a harness of their own.
//!
//! **Invariant:** an option that is not known is no error: `cargo test` gives all tests the same ones.

use std::env;

/// Whether the whole suite is asked for, with all that takes long.
pub fn everything() -> bool {
    env::var("MONEDULA_COMPAT").is_ok_and(|value| value == "all")
}

/// What was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arguments {
    pub list: bool,
    exact: bool,
    ignored: bool,
    words: Vec<String>,
    skip: Vec<String>,
}

impl Arguments {
    /// Those of this process.
    pub fn from_command_line() -> Self {
        Self::parse(env::args().skip(1))
    }

    fn parse(mut arguments: impl Iterator<Item = String>) -> Self {
        let mut parsed = Self::default();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--list" => parsed.list = true,
                "--exact" => parsed.exact = true,
                "--ignored" => parsed.ignored = true,
                "--skip" => parsed.skip.extend(arguments.next()),
                "--test-threads" | "--format" | "--color" | "--logfile" | "-Z" => drop(arguments.next()),
                option if option.starts_with('-') => {}
                word => parsed.words.push(word.to_owned()),
            }
        }
        parsed
    }

    /// The words that choose tests.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.words.iter().map(String::as_str)
    }

    /// Whether they name no test.
    pub fn name_nothing(&self) -> bool {
        self.words.is_empty()
    }

    /// Whether a test of this name is wanted.
    pub fn selects(&self, name: &str) -> bool {
        let fits = |word: &String| {
            if self.exact {
                name == word
            } else {
                name.contains(word.as_str())
            }
        };
        let wanted = self.words.is_empty() || self.words.iter().any(fits);
        wanted && !self.skip.iter().any(fits) && !self.ignored
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_choose_and_skip_takes_away() {
        let parse = |text: &str| Arguments::parse(text.split_whitespace().map(str::to_owned));
        assert!(parse("").selects("topics"));
        assert!(parse("top --test-threads 1").selects("topics"));
        assert!(!parse("top --exact").selects("topics"));
        assert!(!parse("--skip top").selects("topics"));
        assert!(!parse("--ignored").selects("topics"));
    }
}
