//! How fast one address may send webhooks, look at customers' pages, or try tokens.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota};

/// When more addresses than this are remembered, those that are quiet are forgotten.
const REMEMBERED: usize = 10_000;

/// The limit, if there is one.
pub(crate) struct SourceLimit(Option<DefaultKeyedRateLimiter<IpAddr>>);

impl SourceLimit {
    /// So many a second on average, so many at once. A rate of 0 is no limit.
    pub(crate) fn new(per_second: u32, burst: u32) -> Self {
        let rate = NonZeroU32::new(per_second);
        Self(rate.map(|rate| {
            let burst = NonZeroU32::new(burst).unwrap_or(rate);
            DefaultKeyedRateLimiter::keyed(Quota::per_second(rate).allow_burst(burst))
        }))
    }

    /// So many a minute, all at once if need be. 0 is no limit.
    pub(crate) fn per_minute(number: u32) -> Self {
        Self(NonZeroU32::new(number).map(|number| DefaultKeyedRateLimiter::keyed(Quota::per_minute(number))))
    }

    /// Counts one from `source`, or says after how many seconds to come again.
    pub(crate) fn check(&self, source: Option<IpAddr>) -> Result<(), u64> {
        let (Some(limiter), Some(source)) = (&self.0, source) else { return Ok(()) };
        if limiter.len() > REMEMBERED {
            limiter.retain_recent();
            limiter.shrink_to_fit();
        }
        limiter.check_key(&network(source)).map_err(|not_until| {
            let wait = not_until.wait_time_from(DefaultClock::default().now());
            wait.as_secs().saturating_add(1)
        })
    }
}

/// One household or host has a whole /64 of IPv6 addresses: it counts as one source.
fn network(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_source_has_its_own_allowance() {
        let limit = SourceLimit::new(1, 3);
        let from = |address: &str| limit.check(address.parse().ok());
        for _ in 0..3 {
            assert_eq!(from("10.0.0.1"), Ok(()));
        }
        assert_eq!(from("10.0.0.1"), Err(1));
        assert_eq!(from("::ffff:10.0.0.1"), Err(1));
        assert_eq!(from("10.0.0.2"), Ok(()));
        for last in 1..=3 {
            assert_eq!(from(&format!("2001:db8::{last}")), Ok(()));
        }
        assert_eq!(from("2001:db8::ffff"), Err(1));
        assert_eq!(from("2001:db8:0:1::1"), Ok(()));
    }

    #[test]
    fn a_rate_of_zero_is_no_limit() {
        let limit = SourceLimit::new(0, 0);
        assert!((0..10_000).all(|_| limit.check("10.0.0.1".parse().ok()).is_ok()));
    }
}
