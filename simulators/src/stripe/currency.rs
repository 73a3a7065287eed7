//! Currencies, and what Stripe accepts as an amount of them.

use super::error::ApiError;

const MAXIMUM: i64 = 99_999_999;

const KNOWN: &str = "usd aed afn all amd ang aoa ars aud awg azn bam bbd bdt bgn bhd bif bmd bnd bob brl bsd bwp byn bzd cad cdf chf clp cny cop crc cve czk djf dkk dop dzd egp etb eur fjd fkp gbp gel gip gmd gnf gtq gyd hkd hnl htg huf idr ils inr isk jmd jod jpy kes kgs khr kmf krw kwd kyd kzt lak lbp lkr lrd lsl mad mdl mga mkd mmk mnt mop mur mvr mwk mxn myr mzn nad ngn nio nok npr nzd omr pab pen pgk php pkr pln pyg qar ron rsd rub rwf sar sbd scr sek sgd shp sle sos srd std szl thb tjs tnd top try ttd twd tzs uah ugx uyu uzs vnd vuv wst xaf xcd xof xpf yer zar zmw";
const ZERO_DECIMAL: &str = "bif clp djf gnf jpy kmf krw mga pyg rwf ugx vnd vuv xaf xof xpf";
const THREE_DECIMAL: &str = "bhd jod kwd omr tnd";

/// The least one can charge, in minor units.
fn minimum(currency: &str) -> i64 {
    match currency {
        "gbp" => 30,
        "aed" | "myr" | "pln" | "ron" => 200,
        "bgn" => 100,
        "czk" => 1500,
        "dkk" => 250,
        "hkd" => 400,
        "huf" => 17_500,
        "mxn" | "thb" => 1000,
        "nok" | "sek" => 300,
        _ => 50,
    }
}

fn listed(list: &str, currency: &str) -> bool {
    list.split(' ').any(|known| known == currency)
}

/// The currency in lower case, when Stripe knows it.
pub(super) fn known(currency: &str) -> Result<String, ApiError> {
    let lower = currency.to_lowercase();
    if listed(KNOWN, &lower) {
        return Ok(lower);
    }
    Err(ApiError::invalid(
        "currency",
        format!("Invalid currency: {lower}. Stripe currently supports these currencies: {}", KNOWN.replace(' ', ", ")),
    ))
}

/// Checks the amount of a payment.
pub(super) fn check_amount(amount: i64, currency: &str) -> Result<(), ApiError> {
    if amount < 0 {
        return Err(ApiError::invalid("amount", "This value must be greater than or equal to 1.")
            .code("parameter_invalid_integer"));
    }
    if amount < minimum(currency) {
        let message = format!("Amount must be at least {} {currency}", show(minimum(currency), currency));
        return Err(ApiError::invalid("amount", message).code("amount_too_small"));
    }
    if amount > MAXIMUM {
        let message = format!("Amount must be no more than {}", show(MAXIMUM, currency));
        return Err(ApiError::invalid("amount", message).code("amount_too_large"));
    }
    if listed(THREE_DECIMAL, currency) && amount % 10 != 0 {
        let message = format!(
            "Invalid amount: the last digit of an amount in {currency} must be 0, because three-decimal currencies are charged with two decimals."
        );
        return Err(ApiError::invalid("amount", message).code("parameter_invalid_integer"));
    }
    Ok(())
}

/// An amount as Stripe's messages write it.
pub(super) fn show(amount: i64, currency: &str) -> String {
    let symbol = match currency {
        "usd" => "$",
        "eur" => "€",
        "gbp" => "£",
        "jpy" => "¥",
        _ => "",
    };
    let decimals = if listed(ZERO_DECIMAL, currency) {
        0
    } else if listed(THREE_DECIMAL, currency) {
        3
    } else {
        2
    };
    let unit = 10_i64.pow(decimals);
    let whole = grouped(amount / unit);
    match decimals {
        0 => format!("{symbol}{whole}"),
        2 => format!("{symbol}{whole}.{:02}", amount % unit),
        _ => format!("{symbol}{whole}.{:03}", amount % unit),
    }
}

fn grouped(number: i64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
