//! The picture of usage against quota over time. Pure.

use std::fmt::{self, Write};

use common::clock::Timestamp;
use common::money::Currency;
use rust_decimal::Decimal;

use super::chart_scale::{HEIGHT, Scale, WIDTH, units, x};
use super::data::{Look, round};
use crate::console::amount::Amount;
use crate::console::moment::Moment;

/// So many distances are there between the labels of time: an even number, so that one is in the middle.
const TIMES: i32 = 4;

/// Something that happened at a moment.
#[derive(Debug, Clone)]
pub(super) struct Event {
    pub(super) at: Moment,
    pub(super) class: &'static str,
    pub(super) href: String,
    /// What happened, in words.
    pub(super) says: String,
}

/// The same at its place.
#[derive(Debug)]
pub(super) struct Mark {
    pub(super) class: &'static str,
    pub(super) href: String,
    pub(super) says: String,
    pub(super) place: String,
}

/// What is drawn.
#[derive(Debug)]
pub(super) struct Picture {
    pub(super) grid: String,
    pub(super) usage_area: String,
    pub(super) usage_line: String,
    pub(super) quota_line: String,
    /// Where usage makes a recharge necessary.
    pub(super) floor_line: Option<String>,
    pub(super) marks: Vec<Mark>,
    /// From top to bottom.
    pub(super) amounts: Vec<String>,
    pub(super) times: Vec<Day>,
    /// The last look of each day, newest first.
    pub(super) days: Vec<Look>,
}

/// A day, as a label.
#[derive(Debug, Clone, Copy)]
pub(super) struct Day(pub(super) Timestamp);

impl askama::filters::HtmlSafe for Day {}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = self.0.format("%Y-%m-%dT%H:%M:%SZ");
        write!(f, r#"<time datetime="{exact}" data-at="{exact}" data-style="day">{}</time>"#, self.0.format("%m-%d"))
    }
}

/// What a picture is of.
pub(super) struct Seen<'a> {
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
    /// In any order.
    pub(super) looks: &'a [Look],
    pub(super) events: &'a [Event],
    /// Below so much a recharge is made; `None`: none is.
    pub(super) minimum: Option<Decimal>,
    pub(super) currency: Currency,
    /// The quota that is in force at the end, which nobody may have looked at usage with.
    pub(super) quota_now: Option<Amount>,
}

/// Draws; `None` where nobody has looked in this time.
pub(super) fn draw(seen: &Seen<'_>) -> Option<Picture> {
    let mut looks = seen.looks.to_vec();
    looks.sort_by_key(|look| look.at);
    let days = days(&looks);
    let (first, last) = (looks.first()?.clone(), looks.last()?.clone());
    looks.extend(seen.quota_now.map(|quota| Look { at: Moment(seen.to), quota, ..last.clone() }));
    let last = looks.last()?.clone();
    let amounts = looks.iter().flat_map(|look| [units(look.usage.0), units(look.quota.0)]);
    let scale = Scale::over(amounts);
    let place = |at: Moment| x(at.0, seen.from, seen.to);

    let begin = place(first.at);
    let mut usage_line = format!("M{begin} {}", scale.y(units(first.usage.0)));
    for look in looks.iter().skip(1) {
        // Writing to a string never fails.
        let _ = write!(usage_line, "L{} {}", place(look.at), scale.y(units(look.usage.0)));
    }
    let _ = write!(usage_line, "H{WIDTH}");
    let usage_area = format!("{usage_line}V{HEIGHT}H{begin}Z");
    let stairs = |level: &dyn Fn(&Look) -> i128| {
        let mut line = format!("M{begin} {}", level(&first));
        let mut before = level(&first);
        for look in looks.iter().skip(1) {
            let here = level(look);
            if here != before {
                let _ = write!(line, "H{}V{here}", place(look.at));
                before = here;
            }
        }
        let _ = write!(line, "H{WIDTH}");
        line
    };
    let quota_line = stairs(&|look| scale.y(units(look.quota.0)));
    let floor =
        |minimum: Decimal| stairs(&|look| scale.y(units(look.quota.0.checked_sub(minimum).unwrap_or_default())));

    // An event stands on the quota that was in force after it.
    let level = |at: Moment| looks.iter().find(|look| look.at >= at).unwrap_or(&last).quota;
    let within = seen.events.iter().filter(|event| event.at.0 >= seen.from && event.at.0 <= seen.to);
    let marks = within.map(|event| Mark {
        class: event.class,
        href: event.href.clone(),
        says: event.says.clone(),
        place: format!("M{} {}h0", place(event.at), scale.y(units(level(event.at).0))),
    });
    let lines = scale.lines();
    let grid = lines.iter().take(lines.len().saturating_sub(1)).fold(String::new(), |mut grid, (_, y)| {
        let _ = write!(grid, "M0 {y}H{WIDTH}");
        grid
    });
    let span = seen.to - seen.from;
    let times = (0..=TIMES).map(|part| Day(seen.from.checked_add_signed(span / TIMES * part).unwrap_or(seen.to)));
    Some(Picture {
        grid,
        usage_area,
        usage_line,
        quota_line,
        floor_line: seen.minimum.filter(|minimum| *minimum > Decimal::ZERO).map(floor),
        marks: marks.collect(),
        amounts: lines.iter().map(|(amount, _)| round(Amount(*amount), &seen.currency)).collect(),
        times: times.collect(),
        days,
    })
}

/// The last look of each day, newest first.
fn days(looks: &[Look]) -> Vec<Look> {
    let mut days: Vec<Look> = Vec::new();
    for look in looks.iter().rev() {
        if days.last().is_none_or(|newer| newer.at.0.date_naive() != look.at.0.date_naive()) {
            days.push(look.clone());
        }
    }
    days
}

#[cfg(test)]
mod tests {
    use chrono::Duration;

    use super::*;

    fn hour(hours: i64) -> Moment {
        Moment(Timestamp::UNIX_EPOCH + Duration::hours(hours))
    }

    fn look(hours: i64, usage: &str, quota: &str) -> Look {
        Look { at: hour(hours), usage: Amount(usage.parse().unwrap()), quota: Amount(quota.parse().unwrap()) }
    }

    fn drawn(looks: &[Look], events: &[Event], minimum: Option<Decimal>) -> Option<Picture> {
        let (from, to, currency) = (hour(0).0, hour(100).0, Currency::USD);
        draw(&Seen { from, to, looks, events, minimum, currency, quota_now: None })
    }

    #[test]
    fn usage_climbs_and_the_quota_steps() {
        let looks = [look(90, "550", "700"), look(10, "0", "500"), look(60, "450", "500"), look(61, "460", "700")];
        let event = |hours, class| Event { at: hour(hours), class, href: "/x".to_owned(), says: String::new() };
        let events = [event(60, "of-recharge"), event(99, "of-refund"), event(-1, "of-recharge")];
        let picture = drawn(&looks, &events, Some(Decimal::ONE_HUNDRED)).unwrap();
        assert_eq!(picture.amounts, ["$800", "$600", "$400", "$200", "$0"]);
        assert_eq!(picture.usage_line, "M100 300L600 132L610 128L900 94H1000");
        assert_eq!(picture.usage_area, "M100 300L600 132L610 128L900 94H1000V300H100Z");
        assert_eq!(picture.quota_line, "M100 113H610V38H1000");
        assert_eq!(picture.floor_line.as_deref(), Some("M100 150H610V75H1000"));
        assert_eq!(picture.grid, "M0 0H1000M0 75H1000M0 150H1000M0 225H1000");
        let marks: Vec<_> = picture.marks.iter().map(|mark| (mark.class, mark.place.as_str())).collect();
        assert_eq!(marks, [("of-recharge", "M600 113h0"), ("of-refund", "M990 38h0")]);
        assert_eq!(picture.times.len(), 5);
        assert_eq!(picture.days.iter().map(|day| day.at).collect::<Vec<_>>(), [hour(90), hour(61), hour(10)]);
    }

    #[test]
    fn little_to_draw() {
        assert!(drawn(&[], &[], None).is_none());
        let one = drawn(&[look(50, "100", "500")], &[], None).unwrap();
        assert_eq!((one.usage_line.as_str(), one.quota_line.as_str()), ("M500 250H1000", "M500 50H1000"));
        assert!(one.floor_line.is_none());
        // What was bought since the last look is in force.
        let (from, to, currency, looks) = (hour(0).0, hour(100).0, Currency::USD, [look(50, "100", "500")]);
        let quota_now = Some(Amount(Decimal::from(600)));
        let bought = draw(&Seen { from, to, looks: &looks, events: &[], minimum: None, currency, quota_now }).unwrap();
        assert_eq!((bought.quota_line.as_str(), bought.days.len()), ("M500 50H1000V0H1000", 1));
        let flat = drawn(&[look(0, "0", "0"), look(100, "0", "0")], &[], Some(Decimal::ZERO)).unwrap();
        assert_eq!((flat.usage_line.as_str(), flat.quota_line.as_str()), ("M0 300L1000 300H1000", "M0 300H1000"));
    }

    #[test]
    fn nothing_is_too_large_or_too_far() {
        let mut looks = vec![look(5, "79228162514264337593543950335", "-79228162514264337593543950335")];
        looks.extend(
            [Timestamp::MIN_UTC, Timestamp::MAX_UTC].map(|at| Look { at: Moment(at), ..look(0, "1e-28", "0") }),
        );
        let events =
            [Event { at: Moment(Timestamp::MAX_UTC), class: "of-refund", href: String::new(), says: String::new() }];
        for (from, to) in [
            (hour(0).0, hour(0).0),
            (hour(1).0, hour(0).0),
            (Timestamp::MIN_UTC, Timestamp::MAX_UTC),
            (Timestamp::MAX_UTC, Timestamp::MIN_UTC),
        ] {
            let minimum = Some(Decimal::MAX);
            let seen = Seen {
                from,
                to,
                looks: &looks,
                events: &events,
                minimum,
                currency: Currency::USD,
                quota_now: Some(Amount(Decimal::MAX)),
            };
            let picture = draw(&seen).unwrap();
            for line in [&picture.usage_line, &picture.quota_line, picture.floor_line.as_ref().unwrap()] {
                let numbers = line.split(|c: char| !c.is_ascii_digit() && c != '-').filter(|number| !number.is_empty());
                assert!(
                    numbers.map(|number| number.parse::<i64>().unwrap()).all(|at| (0..=1_000).contains(&at)),
                    "{line}"
                );
            }
        }
    }
}
