//! Separators: what stands between the parts of a title, such as ", " or " with ".

/// Some separators, in small letters. Each begins with a space, a comma or a colon and has two bytes or more.
pub(super) struct Separators {
    all: &'static [&'static str],
    /// What stands second in any: few places of a title have to be looked at closely.
    second: [bool; 256],
}

impl Separators {
    pub(super) const fn new(all: &'static [&'static str]) -> Self {
        let mut second = [false; 256];
        let mut at = 0;
        while at < all.len() {
            let byte = all[at].as_bytes()[1];
            second[byte as usize] = true;
            second[byte.to_ascii_uppercase() as usize] = true;
            at += 1;
        }
        Self { all, second }
    }

    /// Where the first one is in a text, and how long it is; of several at one place the first of the list. Large
    /// letters are as good as small ones.
    pub(super) fn first_in(&self, text: &str) -> Option<(usize, usize)> {
        let bytes = text.as_bytes();
        let may_begin = |pair: &[u8]| match *pair {
            [b' ' | b',' | b':', second] => self.second.get(usize::from(second)).is_some_and(|is| *is),
            _ => false,
        };
        let begin = |rest: &[u8], one: &str| {
            rest.get(..one.len()).is_some_and(|head| head.eq_ignore_ascii_case(one.as_bytes()))
        };
        let places = bytes.windows(2).enumerate().filter(|(_, pair)| may_begin(pair));
        places.map(|(at, _)| at).find_map(|at| {
            let rest = bytes.get(at..)?;
            self.all.iter().find(|one| begin(rest, one)).map(|one| (at, one.len()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_place_counts() {
        const SOME: Separators = Separators::new(&[" w/", ", ", ": ", " with "]);
        for (text, found) in [
            ("Owls With Reeds, late", Some((4, 6))),
            ("Owls, with Reeds", Some((4, 2))),
            ("Owls: Reeds", Some((4, 2))),
            ("Owls W/Reeds", Some((4, 3))),
            ("Owls within", None),
            ("Owls,", None),
            ("", None),
        ] {
            assert_eq!(SOME.first_in(text), found, "{text}");
        }
    }
}
