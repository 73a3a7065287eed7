//! From amounts and times to places in a picture. Pure, and in whole numbers: whatever is put in, something can be drawn.

use common::clock::Timestamp;
use rust_decimal::Decimal;

/// How wide and how high the picture is.
pub(super) const WIDTH: i128 = 1_000;
pub(super) const HEIGHT: i128 = 300;
/// An amount is counted in ten-thousandths.
const PARTS: u32 = 4;
/// At most so many distances between lines of the grid.
const MOST_STEPS: i128 = 4;

/// An amount as a whole number of ten-thousandths. The largest decimal has 29 digits, so that there is room for sums.
pub(super) fn units(amount: Decimal) -> i128 {
    let cut = amount.trunc_with_scale(PARTS);
    let missing = PARTS.saturating_sub(cut.scale());
    cut.mantissa().saturating_mul(10_i128.pow(missing))
}

/// The way back, as far as a decimal can hold it.
fn amount(units: i128) -> Decimal {
    Decimal::try_from_i128_with_scale(units, PARTS).unwrap_or_default().normalize()
}

/// What the vertical axis shows: from `low` to `high`, with a line every `step`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Scale {
    low: i128,
    high: i128,
    step: i128,
}

impl Scale {
    /// A scale with round numbers on which all of these can be seen. It begins at zero, unless that would squeeze everything
    /// into the upper half.
    pub(super) fn over(amounts: impl IntoIterator<Item = i128>) -> Self {
        let (mut least, mut most) = (None::<i128>, 0_i128);
        for amount in amounts {
            least = Some(least.map_or(amount, |least| least.min(amount)));
            most = most.max(amount);
        }
        let least = least.unwrap_or(0);
        let squeezed = least.saturating_mul(2) >= most && least < most;
        let from = if least > 0 && !squeezed { 0 } else { least };
        let most = if most > from { most } else { from.saturating_add(10_i128.pow(PARTS)) };
        let step = round_step(most.saturating_sub(from).max(1));
        let low = from.div_euclid(step).saturating_mul(step);
        let reach = most.saturating_sub(low).max(1);
        // Rounding the beginning down may need one more step.
        let step = if (reach + step - 1) / step > MOST_STEPS + 1 { round_step(reach) } else { step };
        let low = from.div_euclid(step).saturating_mul(step);
        let steps = ((most.saturating_sub(low)) + step - 1).div_euclid(step).max(1);
        Self { low, high: low.saturating_add(steps.saturating_mul(step)), step }
    }

    /// Where an amount is, from the top.
    pub(super) fn y(&self, amount: i128) -> i128 {
        let span = self.high.saturating_sub(self.low).max(1);
        let above = amount.clamp(self.low, self.high) - self.low;
        HEIGHT - above.saturating_mul(HEIGHT) / span
    }

    /// The amounts of the grid's lines, from top to bottom, with their places.
    pub(super) fn lines(&self) -> Vec<(Decimal, i128)> {
        let steps = (self.high - self.low) / self.step.max(1);
        (0..=steps).rev().map(|step| self.low + step * self.step).map(|at| (amount(at), self.y(at))).collect()
    }
}

/// The smallest of 1, 2, 2.5, 5 times a power of ten of which a few are enough.
fn round_step(span: i128) -> i128 {
    let least = (span + MOST_STEPS - 1) / MOST_STEPS;
    let mut power = 1_i128;
    loop {
        for (times, over) in [(1, 1), (2, 1), (5, 2), (5, 1)] {
            let step = power.saturating_mul(times) / over;
            if step >= least && power.saturating_mul(times) % over == 0 {
                return step;
            }
        }
        power = power.saturating_mul(10);
    }
}

/// Where a time is between `from` and `to`, from the left.
pub(super) fn x(at: Timestamp, from: Timestamp, to: Timestamp) -> i128 {
    let millis = |at: Timestamp| i128::from(at.timestamp_millis());
    let span = (millis(to) - millis(from)).max(1);
    ((millis(at) - millis(from)) * WIDTH / span).clamp(0, WIDTH)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dec(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    #[test]
    fn round_numbers() {
        for (amounts, want) in [
            (&["0", "600"][..], "600 400 200 0"),
            (&["520", "500", "700"], "700 650 600 550 500"),
            (&["3", "1000"], "1000 750 500 250 0"),
            (&["0"], "1 0.75 0.5 0.25 0"),
            (&[], "1 0.75 0.5 0.25 0"),
            (&["500", "500"], "600 400 200 0"),
            (&["0.01", "0.03"], "0.03 0.02 0.01 0"),
            (&["100000", "100400"], "100400 100300 100200 100100 100000"),
            (&["-50", "100"], "100 50 0 -50"),
        ] {
            let scale = Scale::over(amounts.iter().map(|amount| units(dec(amount))));
            let lines: Vec<_> = scale.lines().iter().map(|(amount, _)| amount.to_string()).collect();
            assert_eq!(lines.join(" "), want, "{amounts:?}");
        }
    }

    #[test]
    fn whatever_is_put_in_stays_in_the_picture() {
        let largest = [Decimal::MAX, Decimal::MIN, Decimal::ZERO, dec("0.0000000000000000000000000001"), dec("-1e-9")];
        for low in largest {
            for high in largest {
                let scale = Scale::over([units(low), units(high)]);
                let lines = scale.lines();
                assert!((2..=7).contains(&lines.len()), "{low} {high}: {lines:?}");
                assert_eq!((lines[0].1, lines[lines.len() - 1].1), (0, HEIGHT), "{low} {high}");
                for amount in largest {
                    assert!((0..=HEIGHT).contains(&scale.y(units(amount))));
                }
            }
        }
        let times = [Timestamp::MIN_UTC, Timestamp::UNIX_EPOCH, Timestamp::MAX_UTC];
        for at in times {
            for from in times {
                for to in times {
                    assert!((0..=WIDTH).contains(&x(at, from, to)));
                }
            }
        }
        let hour = |hours| Timestamp::UNIX_EPOCH + chrono::Duration::hours(hours);
        assert_eq!(x(hour(5), hour(0), hour(10)), 500);
    }
}
