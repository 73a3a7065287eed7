//! Breadth first through every state that can be reached.
//!
//! Two kinds of steps are told apart: *progress*, which happens sooner or later where it can, and *faults*, which need not.
//! A state is at rest when no progress leads anywhere else. So three things can be asked: what is true always, what is true
//! at rest, and whether every state comes to rest once the faults end. The last is why this is not `stateright`: it looks at
//! single paths, and can't say that from *every* state a state of rest can be reached.

use std::collections::hash_map::{DefaultHasher, Entry};
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::hash::{Hash, Hasher};

/// What happens at a step: the words, and the number of what it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Label(pub &'static str, pub usize);

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} #{}", self.0, self.1)
    }
}

/// One step.
#[derive(Debug, Clone)]
pub struct Step<S> {
    /// What happens.
    pub label: Label,
    /// Whether it is a fault, which need not happen.
    pub is_fault: bool,
    /// What it leads to.
    pub state: S,
}

/// What is explored.
pub trait Machine {
    /// A state.
    type State: Clone + Eq + Hash + fmt::Debug;
    /// Where it begins.
    fn initial(&self) -> Self::State;
    /// Everything that may happen next.
    fn steps(&self, state: &Self::State) -> Vec<Step<Self::State>>;
    /// The promises that this state breaks.
    fn always(&self, state: &Self::State) -> Vec<&'static str>;
    /// The promises that this state breaks if nothing more happens.
    fn at_rest(&self, state: &Self::State) -> Vec<&'static str>;
}

/// A promise that was broken, and the shortest way there.
#[derive(Debug, Clone)]
pub struct Violation {
    /// Which.
    pub promise: &'static str,
    /// How it came to that.
    pub trace: Vec<Label>,
    /// The state.
    pub state: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "VIOLATED: {}", self.promise)?;
        for (number, label) in self.trace.iter().enumerate() {
            writeln!(f, "  {:>2}. {label}", number + 1)?;
        }
        write!(f, "  {}", self.state)
    }
}

/// What was seen.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// How many states.
    pub states: usize,
    /// How many steps between them.
    pub steps: usize,
    /// How many states are at rest.
    pub at_rest: usize,
    /// The longest of the shortest ways.
    pub depth: usize,
    /// Whether there was nothing more to see.
    pub is_complete: bool,
    /// The first violation of each promise.
    pub violations: Vec<Violation>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = if self.is_complete { "all of them" } else { "NOT all of them" };
        write!(
            f,
            "{} states ({all}), {} steps, {} at rest, depth {}, {} promises violated",
            self.states,
            self.steps,
            self.at_rest,
            self.depth,
            self.violations.len()
        )
    }
}

/// The promise that every state comes to rest.
pub const COMES_TO_REST: &str = "once the faults end, everything comes to rest";

struct Seen {
    parent: u32,
    label: Label,
    depth: u32,
    at_rest: bool,
}

struct Explorer<'a, M: Machine> {
    machine: &'a M,
    ids: HashMap<u64, u32>,
    seen: Vec<Seen>,
    frontier: VecDeque<(u32, M::State)>,
    /// Progress, backwards: who leads to whom.
    back: Vec<(u32, u32)>,
    report: Report,
}

/// Looks at every state that can be reached, or at `most` of them. Ends early when the machine is meant to be broken and was:
/// the first violation of each promise is kept, with the shortest way to it.
pub fn explore<M: Machine>(machine: &M, most: usize) -> Report {
    let mut explorer = Explorer {
        machine,
        ids: HashMap::new(),
        seen: Vec::new(),
        frontier: VecDeque::new(),
        back: Vec::new(),
        report: Report::default(),
    };
    explorer.meet(machine.initial(), 0, Label("the beginning", 0), 0);
    while let Some((id, state)) = explorer.frontier.pop_front() {
        if explorer.seen.len() >= most {
            explorer.report.states = explorer.seen.len();
            return explorer.report;
        }
        explorer.expand(id, &state);
    }
    explorer.report.is_complete = true;
    explorer.comes_to_rest();
    explorer.report.states = explorer.seen.len();
    explorer.report
}

impl<M: Machine> Explorer<'_, M> {
    fn meet(&mut self, state: M::State, parent: u32, label: Label, depth: u32) -> u32 {
        let mut hasher = DefaultHasher::new();
        state.hash(&mut hasher);
        let next = u32::try_from(self.seen.len()).unwrap_or(u32::MAX);
        match self.ids.entry(hasher.finish()) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(place) => {
                place.insert(next);
                self.seen.push(Seen { parent, label, depth, at_rest: false });
                self.report.depth = self.report.depth.max(depth as usize);
                for promise in self.machine.always(&state) {
                    self.violated(promise, next, &state);
                }
                self.frontier.push_back((next, state));
                next
            }
        }
    }

    fn expand(&mut self, id: u32, state: &M::State) {
        let depth = self.seen.get(id as usize).map_or(0, |seen| seen.depth);
        let mut rests = true;
        for step in self.machine.steps(state) {
            self.report.steps += 1;
            if step.state == *state {
                continue;
            }
            let next = self.meet(step.state, id, step.label, depth + 1);
            if !step.is_fault {
                rests = false;
                self.back.push((next, id));
            }
        }
        if rests {
            self.report.at_rest += 1;
            if let Some(seen) = self.seen.get_mut(id as usize) {
                seen.at_rest = true;
            }
            for promise in self.machine.at_rest(state) {
                self.violated(promise, id, state);
            }
        }
    }

    fn violated(&mut self, promise: &'static str, id: u32, state: &M::State) {
        if self.report.violations.iter().any(|known| known.promise == promise) {
            return;
        }
        let trace = self.trace(id);
        self.report.violations.push(Violation { promise, trace, state: format!("{state:?}") });
    }

    fn trace(&self, mut id: u32) -> Vec<Label> {
        let mut labels = Vec::new();
        while let Some(seen) = self.seen.get(id as usize).filter(|_| id != 0) {
            labels.push(seen.label);
            id = seen.parent;
        }
        labels.reverse();
        labels
    }

    /// From every state a state of rest must be reached by progress alone.
    fn comes_to_rest(&mut self) {
        self.back.sort_unstable();
        let mut reaches: Vec<bool> = self.seen.iter().map(|seen| seen.at_rest).collect();
        let mut queue: VecDeque<u32> = (0_u32..).zip(&reaches).filter(|(_, rests)| **rests).map(|(id, _)| id).collect();
        while let Some(id) = queue.pop_front() {
            let first = self.back.partition_point(|(to, _)| *to < id);
            for (_, from) in self.back[first..].iter().take_while(|(to, _)| *to == id) {
                if let Some(reached) = reaches.get_mut(*from as usize).filter(|reached| !**reached) {
                    *reached = true;
                    queue.push_back(*from);
                }
            }
        }
        if let Some(stuck) = (0_u32..).zip(&reaches).find(|(_, reached)| !**reached).map(|(id, _)| id) {
            let trace = self.trace(stuck);
            let state = format!("state {stuck}");
            self.report.violations.push(Violation { promise: COMES_TO_REST, trace, state });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A counter that goes up to three; a fault may send it into a circle.
    struct Counter {
        circle: bool,
    }

    impl Machine for Counter {
        type State = u8;
        fn initial(&self) -> u8 {
            0
        }
        fn steps(&self, state: &u8) -> Vec<Step<u8>> {
            let step = |label, is_fault, state| Step { label: Label(label, 0), is_fault, state };
            match *state {
                0..3 if self.circle => vec![step("up", false, state + 1), step("leap", true, 10)],
                0..3 => vec![step("up", false, state + 1)],
                3 => vec![step("stay", false, 3)],
                10 => vec![step("round", false, 11)],
                _ => vec![step("round", false, 10)],
            }
        }
        fn always(&self, state: &u8) -> Vec<&'static str> {
            if *state == 2 { vec!["never two"] } else { Vec::new() }
        }
        fn at_rest(&self, state: &u8) -> Vec<&'static str> {
            if *state == 3 { vec!["never three at rest"] } else { Vec::new() }
        }
    }

    #[test]
    fn what_is_broken_is_found_with_the_shortest_way() {
        let report = explore(&Counter { circle: false }, 100);
        assert!(report.is_complete);
        assert_eq!((report.states, report.steps, report.at_rest, report.depth), (4, 4, 1, 3));
        let found: Vec<_> = report.violations.iter().map(|v| (v.promise, v.trace.len())).collect();
        assert_eq!(found, [("never two", 2), ("never three at rest", 3)]);
    }

    #[test]
    fn a_circle_that_never_rests_is_found() {
        let report = explore(&Counter { circle: true }, 100);
        let stuck = report.violations.iter().find(|violation| violation.promise == COMES_TO_REST).unwrap();
        assert_eq!(stuck.trace, [Label("leap", 0)]);
    }

    #[test]
    fn a_limit_says_that_not_all_was_seen() {
        assert!(!explore(&Counter { circle: false }, 2).is_complete);
    }
}
