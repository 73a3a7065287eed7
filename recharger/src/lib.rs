//! recharger
