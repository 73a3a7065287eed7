//! What an operator watches: metrics, alerts and the dashboard, each against the others and against what runs.

mod alerting;
mod asked;
mod dashboard;
mod exposition;
mod expression;
mod rules;
mod scrape;
