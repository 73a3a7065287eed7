#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod explore;
mod messages;
mod promises;
mod rules;
mod steps;
mod world;

pub use promises::promises;
pub use rules::{Bounds, Broken, Left};
pub use world::World;

use explore::{Machine, Report};

/// The system within bounds, with or without a rule that is broken on purpose.
#[derive(Debug, Clone)]
pub struct System {
    /// What happens at most.
    pub bounds: Bounds,
    /// The rule that is broken.
    pub broken: Option<Broken>,
}

impl System {
    /// Looks at every state that can be reached, or at `most` of them.
    #[must_use]
    pub fn explore(&self, most: usize) -> Report {
        explore::explore(self, most)
    }
}

impl Machine for System {
    type State = World;

    fn initial(&self) -> World {
        World::new(&self.bounds)
    }

    fn steps(&self, world: &World) -> Vec<explore::Step<World>> {
        steps::all(self, world)
    }

    fn always(&self, world: &World) -> Vec<&'static str> {
        promises::always(self, world)
    }

    fn at_rest(&self, world: &World) -> Vec<&'static str> {
        promises::at_rest(self, world)
    }
}
