//! Clients of outside services. Every answer becomes a domain outcome, exhaustively.
pub mod quota;
pub mod stripe;
