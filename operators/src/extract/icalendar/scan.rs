//! Where the components of a calendar are, found by lines: one bad VEVENT does not take the others with it.

use std::ops::Range;

use super::lines::lines;

/// The calendars of a record, and where their components are.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// Whether there is a VCALENDAR at all.
    pub(super) calendar: bool,
    pub(super) cut_off: bool,
    /// A record may hold several, each with its own zone.
    pub(super) calendars: Vec<Components>,
}

/// Where the components of one VCALENDAR are.
#[derive(Debug, Default)]
pub(super) struct Components {
    pub(super) events: Vec<Block>,
    pub(super) zones: Vec<Range<usize>>,
    /// Lines of the calendar itself.
    pub(super) properties: Vec<Range<usize>>,
}

#[derive(Debug)]
pub(super) struct Block {
    pub(super) range: Range<usize>,
    /// How deep its components are nested, itself included.
    pub(super) depth: usize,
}

/// What the line scanner is inside of.
enum Inside {
    Calendar,
    Event { start: usize, open: usize, deepest: usize },
    Zone { start: usize },
    Other { open: usize },
}

impl Scan {
    pub(super) fn of(bytes: &[u8]) -> Self {
        let mut scan = Self { calendars: vec![Components::default()], ..Self::default() };
        let mut inside = Inside::Calendar;
        let mut ended = false;
        let skipped = if bytes.starts_with(b"\xEF\xBB\xBF") { 3 } else { 0 };
        for range in lines(bytes.get(skipped..).unwrap_or_default()) {
            let range = range.start + skipped..range.end + skipped;
            let line = bytes.get(range.clone()).unwrap_or_default();
            let name = component_name(line, b"BEGIN:").map(|name| (true, name));
            let name = name.or_else(|| component_name(line, b"END:").map(|name| (false, name)));
            match name {
                Some((begin, "VCALENDAR")) => {
                    scan.close(&mut inside, range.start);
                    if begin && scan.calendar {
                        scan.calendars.push(Components::default());
                    }
                    scan.calendar = true;
                    ended = !begin;
                }
                Some((begin, name)) => scan.component(&mut inside, begin, name, range),
                None if matches!(inside, Inside::Calendar) => scan.open().properties.push(range),
                None => {}
            }
        }
        scan.close(&mut inside, bytes.len());
        scan.cut_off = scan.calendar && !ended;
        scan
    }

    /// How many events there are in all calendars.
    pub(super) fn events(&self) -> usize {
        self.calendars.iter().map(|calendar| calendar.events.len()).sum()
    }

    /// The calendar that was begun last.
    fn open(&mut self) -> &mut Components {
        if self.calendars.is_empty() {
            self.calendars.push(Components::default());
        }
        let last = self.calendars.len() - 1;
        &mut self.calendars[last]
    }

    fn component(&mut self, inside: &mut Inside, begin: bool, name: &str, line: Range<usize>) {
        if begin && name == "VEVENT" {
            // Inside another component: the END of that one is missing.
            self.close(inside, line.start);
            *inside = Inside::Event { start: line.start, open: 1, deepest: 1 };
            return;
        }
        match inside {
            Inside::Calendar if begin && name == "VTIMEZONE" => *inside = Inside::Zone { start: line.start },
            Inside::Calendar if begin => *inside = Inside::Other { open: 1 },
            Inside::Calendar => {}
            Inside::Event { .. } if !begin && name == "VEVENT" => self.close(inside, line.end),
            Inside::Event { open, deepest, .. } if begin => {
                *open += 1;
                *deepest = (*deepest).max(*open);
            }
            Inside::Event { open, .. } => *open = open.saturating_sub(1).max(1),
            Inside::Zone { .. } if !begin && name == "VTIMEZONE" => self.close(inside, line.end),
            Inside::Zone { .. } => {}
            Inside::Other { open } if begin => *open += 1,
            Inside::Other { open } => {
                *open = open.saturating_sub(1);
                if *open == 0 {
                    *inside = Inside::Calendar;
                }
            }
        }
    }

    fn close(&mut self, inside: &mut Inside, end: usize) {
        match *inside {
            Inside::Event { start, deepest, .. } => {
                self.open().events.push(Block { range: start..end, depth: deepest })
            }
            Inside::Zone { start } => self.open().zones.push(start..end),
            Inside::Calendar | Inside::Other { .. } => {}
        }
        *inside = Inside::Calendar;
    }
}

/// The known name of the component that a line begins or ends.
fn component_name(line: &[u8], keyword: &[u8]) -> Option<&'static str> {
    let head = line.get(..keyword.len())?;
    let name = line.get(keyword.len()..)?.trim_ascii();
    if !head.eq_ignore_ascii_case(keyword) || name.is_empty() {
        return None;
    }
    let known = ["VCALENDAR", "VEVENT", "VTIMEZONE"].into_iter();
    Some(known.into_iter().find(|known| name.eq_ignore_ascii_case(known.as_bytes())).unwrap_or("other"))
}
