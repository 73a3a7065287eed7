//! Which trace an event is in (W3C Trace Context). Nothing is passed along: the trace's id derives from the id of the
//! event that started the chain, and the span's from the event's own. So a repeat is in the same trace, byte for byte,
//! and so is what the database alone knows of. See `docs/decisions/0011-one-trace.md`.
//! Source: <https://www.w3.org/TR/trace-context/#traceparent-header>

use std::fmt;

use sha2::{Digest, Sha256};

use crate::ids::EventId;

/// A place in a trace: the trace, and one span of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceContext {
    trace: [u8; 16],
    span: [u8; 8],
}

impl TraceContext {
    /// That of an event: in the trace of its chain, as the span of its publishing.
    #[must_use]
    pub fn of(correlation: &EventId, id: &EventId) -> Self {
        Self { trace: digest(correlation), span: digest(id) }
    }

    /// That of the event which started the same chain: its id is the chain's, so that its span begins like the trace.
    #[must_use]
    pub fn beginning(&self) -> Self {
        let mut span = [0; 8];
        span.copy_from_slice(&self.trace[..8]);
        Self { trace: self.trace, span }
    }

    /// Reads a `traceparent`; `None` when it is none that this version of the standard knows.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let ["00", trace, span, flags] = text.split('-').collect::<Vec<_>>()[..] else { return None };
        let read = Self { trace: bytes(trace)?, span: bytes(span)? };
        let _: [u8; 1] = bytes(flags)?;
        (read.trace != [0; 16] && read.span != [0; 8]).then_some(read)
    }

    /// The trace's id, as logs and tools write it: 32 hexadecimal digits.
    #[must_use]
    pub fn trace_id(&self) -> String {
        hex::encode(self.trace)
    }

    /// The trace's id.
    pub(crate) fn trace(&self) -> [u8; 16] {
        self.trace
    }

    /// The span's id.
    pub(crate) fn span(&self) -> [u8; 8] {
        self.span
    }
}

/// The first bytes of a hash.
fn digest<const N: usize>(id: &EventId) -> [u8; N] {
    let mut first = [0; N];
    first.copy_from_slice(&Sha256::digest(id.as_str())[..N]);
    first
}

/// Lower case only, as the standard wants it.
fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let lower = !text.bytes().any(|byte| byte.is_ascii_uppercase());
    (lower && hex::decode_to_slice(text, &mut bytes).is_ok()).then_some(bytes)
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-01", hex::encode(self.trace), hex::encode(self.span))
    }
}

impl fmt::Debug for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_is_one_trace_that_begins_with_its_first_event() {
        let [first, second] = ["webhook_1", "recharges.charged:1"].map(|id| EventId::parse(id).unwrap());
        let (begun, followed) = (TraceContext::of(&first, &first), TraceContext::of(&first, &second));
        assert_eq!(begun.trace_id(), followed.trace_id());
        assert_ne!(begun, followed);
        assert_eq!(followed.beginning(), begun);
        // Kept for ever: events that are stored carry it, and a repeat must equal them.
        assert_eq!(begun.to_string(), "00-1055ebf53b2140509ece244adececc86-1055ebf53b214050-01");
    }

    #[test]
    fn only_what_the_standard_says_is_read() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
        let read = TraceContext::parse(good).unwrap();
        assert_eq!(read.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(TraceContext::parse(&read.to_string()), Some(read));
        for bad in [
            "",
            "00-x-y-01",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "00-é-00f067aa0ba902b7-01",
        ] {
            assert_eq!(TraceContext::parse(bad), None, "{bad}");
        }
    }
}
