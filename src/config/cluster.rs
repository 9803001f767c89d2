//! `[cluster]`: the topology as several processes.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde::Deserialize;
use serde::de::{self, Deserializer, SeqAccess, Visitor};

use super::problem::Invalid;
use super::values::Period;
use crate::engine::ClusterOptions;

/// `[cluster]`: the topology as several processes, on one machine or on several.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClusterSection {
    /// How many processes there are. Default: as many as there are hosts, or else one.
    pub processes: Option<usize>,
    /// Which of them this is, from 0. Process 0 commits, and serves the views.
    pub process: usize,
    /// Where each process is found by the others, in order: `host:port`. A list, a text with
    /// commas, or the name of a file with one a line. Default: this machine, ports from 2101.
    #[serde(deserialize_with = "hosts")]
    pub hosts: Vec<String>,
    /// `address:port` on which this process listens for the others. Default: its place in `hosts`.
    pub listen: Option<String>,
    /// How long missing processes are waited for at the start.
    pub wait: Period,
    /// A process that says nothing for so long has gone, and the topology ends.
    pub silent_after: Period,
}

impl Default for ClusterSection {
    fn default() -> Self {
        Self {
            processes: None,
            process: 0,
            hosts: Vec::new(),
            listen: None,
            wait: Period::from_secs(120),
            silent_after: Period::from_secs(30),
        }
    }
}

/// The port of process 0 where no hosts are named; the others follow.
const FIRST_PORT: usize = 2101;

/// More processes than anybody has.
const MOST_PROCESSES: usize = 256;

impl ClusterSection {
    /// Where each process is found.
    pub fn addresses(&self) -> Vec<String> {
        if !self.hosts.is_empty() {
            return self.hosts.clone();
        }
        let count = self.processes.unwrap_or(1).min(MOST_PROCESSES);
        (0..count).map(|process| format!("127.0.0.1:{}", FIRST_PORT + process)).collect()
    }

    /// Whether this process leads: whether it is process 0, or the only one.
    pub fn leads(&self) -> bool {
        self.process == 0
    }

    /// The processes as the engine has to know them; `None` where there is just one. `stop` is set
    /// when the process is asked to end.
    pub fn options(&self, stop: &Arc<AtomicBool>) -> Option<ClusterOptions> {
        let addresses = self.addresses();
        let own = addresses.get(self.process).filter(|_| addresses.len() > 1)?;
        Some(ClusterOptions {
            process: self.process,
            listen: self.listen.clone().unwrap_or_else(|| own.clone()),
            addresses,
            wait: self.wait.get(),
            silent_after: self.silent_after.get(),
            stop: Arc::clone(stop),
        })
    }

    /// Whether all processes are on this machine, as far as their addresses tell.
    pub fn is_local(&self) -> bool {
        self.addresses().iter().filter_map(|address| parts(address)).all(|(host, _)| {
            let ip = host.trim_matches(['[', ']']).parse::<IpAddr>();
            host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
        })
    }

    /// What is wrong: the key within the section, and why.
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        let mut wrong = |key, message: String| problems.push((key, message));
        let count = self.addresses().len();
        match self.processes {
            Some(processes) if !(1..=MOST_PROCESSES).contains(&processes) => {
                wrong("processes", format!("must be from 1 to {MOST_PROCESSES}"));
            }
            Some(processes) if processes != count => {
                wrong("processes", format!("is {processes}, but there are {count} hosts"));
            }
            _ => {}
        }
        if self.process >= count {
            let message = format!("is {}, but there are {count} processes, numbered from 0", self.process);
            wrong("process", message);
        }
        let mut seen = BTreeSet::new();
        for host in &self.hosts {
            if parts(host).is_none() {
                wrong("hosts", format!("{host:?} is not of the form host:port"));
            } else if !seen.insert(host) {
                wrong("hosts", format!("{host:?} is named twice"));
            }
        }
        if let Some(listen) = self.listen.as_ref().filter(|listen| parts(listen).is_none()) {
            wrong("listen", format!("{listen:?} is not of the form address:port"));
        }
        let (second, day) = (Period::from_secs(1), Period::from_days(1));
        let times = [("wait", self.wait, Period::default()), ("silent_after", self.silent_after, second)];
        for (key, value, least) in times {
            let outside = Invalid::outside(key, value, least, day);
            outside.into_iter().for_each(|invalid| wrong(key, invalid.message));
        }
        problems
    }
}

/// Host and port of `host:port`.
fn parts(address: &str) -> Option<(&str, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port > 0)?;
    let legal = !host.is_empty() && !host.contains(char::is_whitespace);
    legal.then_some((host, port))
}

fn hosts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    deserializer.deserialize_any(Hosts)
}

struct Hosts;

impl<'de> Visitor<'de> for Hosts {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of host:port, a text of them with commas, or the name of a file with one a line")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        if text.contains(':') {
            return Ok(text.split(',').map(|host| host.trim().to_owned()).collect());
        }
        let lines =
            std::fs::read_to_string(text).map_err(|e| E::custom(format!("cannot read the hosts in {text:?}: {e}")))?;
        let lines = lines.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        Ok(lines.map(str::to_owned).collect())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut hosts = Vec::new();
        while let Some(host) = list.next_element()? {
            hosts.push(host);
        }
        Ok(hosts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(toml: &str) -> Result<ClusterSection, String> {
        toml::from_str(toml).map_err(|error: toml::de::Error| error.to_string())
    }

    fn keys(toml: &str) -> Vec<&'static str> {
        section(toml).unwrap().problems().into_iter().map(|(key, _)| key).collect()
    }

    #[test]
    fn hosts_are_a_list_a_text_or_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("hosts");
        std::fs::write(&file, "# the two of us\na:1\n\n b:2\n").unwrap();
        let named = format!("hosts = {:?}", file.to_str().unwrap());
        for toml in ["hosts = ['a:1', 'b:2']", "hosts = 'a:1, b:2'", &named] {
            let section = section(toml).unwrap();
            assert_eq!(section.addresses(), ["a:1", "b:2"], "{toml}");
            assert_eq!(section.problems(), []);
        }
        let error = section("hosts = 'nowhere'").unwrap_err();
        assert!(error.contains("cannot read the hosts in \"nowhere\""), "{error}");
    }

    #[test]
    fn without_hosts_the_processes_are_on_this_machine() {
        let stop = Arc::new(AtomicBool::new(false));
        let two = section("processes = 2\nprocess = 1").unwrap();
        assert!(two.is_local() && !two.leads());
        let options = two.options(&stop).unwrap();
        assert_eq!((options.process, options.listen.as_str()), (1, "127.0.0.1:2102"));
        assert_eq!(options.addresses, ["127.0.0.1:2101", "127.0.0.1:2102"]);
        assert!(ClusterSection::default().options(&stop).is_none());
        assert!(section("hosts = ['localhost:1', '[::1]:2']").unwrap().is_local());
        assert!(!section("hosts = ['localhost:1', '10.0.0.1:2']").unwrap().is_local());
    }

    #[test]
    fn what_cannot_be_is_said() {
        assert_eq!(keys(""), [""; 0]);
        assert_eq!(keys("processes = 0"), ["processes", "process"]);
        assert_eq!(keys("process = 1"), ["process"]);
        assert_eq!(keys("processes = 2\nprocess = 2"), ["process"]);
        assert_eq!(keys("processes = 3\nhosts = ['a:1', 'b:2']"), ["processes"]);
        assert_eq!(keys("hosts = ['a', 'b:0', 'c:9', 'c:9']"), ["hosts", "hosts", "hosts"]);
        assert_eq!(keys("listen = '2101'\nsilent_after = '1 ms'"), ["listen", "silent_after"]);
    }
}
