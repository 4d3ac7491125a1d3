//! Finds the known name that somebody most likely meant.
//!
//! Invariant: a name that is too far from everything is answered with nothing rather than with a bad guess.

/// The candidate with the fewest changed, missing, added or swapped characters, when those are at most a quarter of
/// the name (and at least two are forgiven).
pub fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let most = (name.chars().count() / 4).max(2);
    candidates
        .map(|candidate| (distance(name, candidate), candidate))
        .filter(|&(changes, _)| changes <= most)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Optimal string alignment distance.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=right.len()).collect();
    let mut left_previous = None;
    for (row, left_char) in left.chars().enumerate() {
        let mut current = Vec::with_capacity(right.len() + 1);
        current.push(row + 1);
        for (column, &right_char) in right.iter().enumerate() {
            let replaced = last[column] + usize::from(left_char != right_char);
            let mut best = replaced.min(last[column + 1] + 1).min(current[column] + 1);
            if column > 0 && left_previous == Some(right_char) && left_char == right[column - 1] {
                best = best.min(before_last[column - 1] + 1);
            }
            current.push(best);
        }
        before_last = std::mem::replace(&mut last, current);
        left_previous = Some(left_char);
    }
    last[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (left, right, expected) in [
            ("", "", 0),
            ("abc", "abc", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("ab", "ba", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(left, right), expected, "{left} {right}");
        }
    }

    #[test]
    fn the_nearest_name_is_found_unless_all_are_far() {
        let names = ["log.dir", "log.dirs", "num.partitions", "listeners"];
        let find = |name| nearest(name, names.into_iter());
        assert_eq!(find("log.dris"), Some("log.dirs"));
        assert_eq!(find("num.partition"), Some("num.partitions"));
        assert_eq!(find("listner"), Some("listeners"));
        assert_eq!(find("super.users"), None);
    }
}
