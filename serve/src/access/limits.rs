//! Requests a second of each client, by token buckets.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Clients that are remembered. Those that ask for nothing are forgotten first.
const MOST_CLIENTS: usize = 100_000;

/// Who is counted as one client.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Client {
    /// Who has this key.
    Key(Arc<str>),
    /// An address; of IPv6 the network of 64 bits, which is what a household gets.
    Address(IpAddr),
}

impl Client {
    /// The client at an address.
    pub(crate) fn at(address: IpAddr) -> Self {
        Self::Address(match address.to_canonical() {
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
            }
            address => address,
        })
    }
}

/// What a client still has.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Quota {
    /// Requests that it may still make at once.
    pub(crate) remaining: u32,
    /// Until it may make another one; zero where it may now.
    pub(crate) wait: Duration,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

/// Lets each client make `burst` requests at once, and `rate` a second.
#[derive(Debug)]
pub(crate) struct Limiter {
    rate: f64,
    burst: f64,
    buckets: Mutex<HashMap<Client, Bucket, foldhash::fast::RandomState>>,
}

impl Limiter {
    pub(crate) fn new(rate: u32, burst: u32) -> Self {
        Self { rate: rate.max(1).into(), burst: burst.max(1).into(), buckets: Mutex::default() }
    }

    /// Requests at once, and the seconds that a used-up bucket takes to be full again.
    pub(crate) fn policy(&self) -> (u32, u64) {
        (self.burst as u32, (self.burst / self.rate).ceil() as u64)
    }

    /// Counts a request of `client`. It is to be refused where the quota says to wait.
    pub(crate) fn take(&self, client: Client) -> Quota {
        self.take_at(client, Instant::now())
    }

    /// Whether a request of `client` would be refused. It is not counted.
    pub(crate) fn has_used_up(&self, client: &Client) -> bool {
        let buckets = self.buckets();
        buckets.get(client).is_some_and(|bucket| self.filled(*bucket, Instant::now()) < 1.0)
    }

    fn take_at(&self, client: Client, now: Instant) -> Quota {
        let mut buckets = self.buckets();
        if buckets.len() >= MOST_CLIENTS && !buckets.contains_key(&client) {
            self.forget(&mut buckets, now);
        }
        let bucket = buckets.entry(client).or_insert(Bucket { tokens: self.burst, at: now });
        *bucket = Bucket { tokens: self.filled(*bucket, now), at: now };
        if bucket.tokens < 1.0 {
            return Quota { remaining: 0, wait: Duration::from_secs_f64((1.0 - bucket.tokens) / self.rate) };
        }
        bucket.tokens -= 1.0;
        Quota { remaining: bucket.tokens as u32, wait: Duration::ZERO }
    }

    fn buckets(&self) -> MutexGuard<'_, HashMap<Client, Bucket, foldhash::fast::RandomState>> {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn filled(&self, bucket: Bucket, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(bucket.at).as_secs_f64();
        (bucket.tokens + passed * self.rate).min(self.burst)
    }

    /// A full bucket says nothing that a new one does not. Where all are in use, everybody begins anew: that is
    /// better than to refuse strangers.
    fn forget(&self, buckets: &mut HashMap<Client, Bucket, foldhash::fast::RandomState>, now: Instant) {
        buckets.retain(|_, bucket| self.filled(*bucket, now) < self.burst);
        if buckets.len() >= MOST_CLIENTS {
            buckets.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(number: u32) -> Client {
        Client::at(IpAddr::V4(number.into()))
    }

    #[test]
    fn a_client_has_a_burst_and_then_a_rate() {
        let limiter = Limiter::new(10, 3);
        let now = Instant::now();
        let after = |ms: u64| limiter.take_at(client(1), now + Duration::from_millis(ms));
        assert_eq!(
            [after(0), after(0), after(0)].map(|quota| (quota.remaining, quota.wait.is_zero())),
            [(2, true), (1, true), (0, true)]
        );
        let refused = after(50);
        assert!(refused.wait > Duration::from_millis(45) && refused.wait < Duration::from_millis(55), "{refused:?}");
        assert!(after(110).wait.is_zero());
        assert!(limiter.take_at(client(2), now).wait.is_zero(), "another client is not counted");
        assert_eq!(limiter.policy(), (3, 1));
    }

    #[test]
    fn a_household_is_one_client_and_many_are_forgotten() {
        let at = |address: &str| Client::at(address.parse().unwrap());
        assert_eq!(at("2001:db8:1:2:3::4"), at("2001:db8:1:2::"));
        assert_ne!(at("2001:db8:1:2::1"), at("2001:db8:1:3::1"));
        assert_eq!(at("::ffff:192.0.2.1"), at("192.0.2.1"));
        let limiter = Limiter::new(1, 1);
        let now = Instant::now();
        (0..MOST_CLIENTS as u32 + 10).for_each(|number| {
            limiter.take_at(client(number), now);
        });
        assert!(limiter.buckets().len() <= MOST_CLIENTS);
    }
}
