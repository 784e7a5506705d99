//! A lease: how long an engine goes on without any of its roots.
//!
//! One thread asks the roots now and then whether they open the domain key still; a device may keep it
//! waiting. Another one looks at the time since they last did, and seals the engine when that is longer
//! than the lease. The first one lets it serve again when a root is back.

use super::EmbeddedHome;
use crate::engine::{By, Engine};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{io, thread};

/// The longest time between two proofs.
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// The longest while none succeeds.
const PAUSE_LOST: Duration = Duration::from_secs(1);
/// The shortest.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// How often the time is looked at.
const TICK: Duration = Duration::from_millis(50);

/// What happens to an engine under a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaseNotice {
    /// No root opens the domain key; the engine serves until the lease is over.
    Lost(String),
    /// The lease is over, and the engine is sealed.
    Sealed(String),
    /// A root opens the domain key again.
    Regained,
}

/// Two threads hold an engine to its lease until this is dropped.
#[derive(Debug)]
pub struct Keeper {
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    proof: Mutex<Proof>,
    ended: Condvar,
}

#[derive(Debug)]
struct Proof {
    at: Instant,
    /// Why the last one failed.
    failure: Option<String>,
    is_over: bool,
}

impl Proof {
    /// Whether it had failed.
    fn renewed(&mut self, at: Instant) -> bool {
        self.at = at;
        self.failure.take().is_some()
    }
}

impl State {
    fn proof(&self) -> MutexGuard<'_, Proof> {
        self.proof.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it goes on after this pause.
    fn pause(&self, pause: Duration) -> bool {
        let proof = self.proof();
        let waited = self
            .ended
            .wait_timeout_while(proof, pause, |proof| !proof.is_over);
        let (proof, _) = waited.unwrap_or_else(PoisonError::into_inner);
        !proof.is_over
    }
}

impl EmbeddedHome {
    /// Has the engine prove that one of its roots is there, and seals it when none was for longer than
    /// `lease`. `told` hears of what happens.
    ///
    /// # Errors
    /// When there can be no threads.
    pub fn keep_lease(
        &self,
        lease: Duration,
        told: impl Fn(LeaseNotice) + Send + Sync + 'static,
    ) -> io::Result<Keeper> {
        let state = Arc::new(State {
            proof: Mutex::new(Proof {
                at: Instant::now(),
                failure: None,
                is_over: false,
            }),
            ended: Condvar::new(),
        });
        let keeper = Keeper {
            state: state.clone(),
        };
        let told = Arc::new(told);
        let (engine, proofs, tell) = (self.engine.clone(), state.clone(), told.clone());
        let pause = (lease / 3).clamp(PAUSE_MIN, PAUSE_MAX);
        spawn("root", move || {
            let mut next = pause;
            while proofs.pause(next) {
                let holds = prove(&engine, &proofs, tell.as_ref());
                next = if holds { pause } else { pause.min(PAUSE_LOST) };
            }
        })?;
        let engine = self.engine.clone();
        spawn("lease", move || {
            while state.pause(TICK) {
                let proof = state.proof();
                if proof.at.elapsed() <= lease {
                    continue;
                }
                let why = proof.failure.clone();
                let why = why.unwrap_or_else(|| "no root has answered".to_owned());
                // No proof comes in between.
                let is_new = engine.seal(&why);
                drop(proof);
                if is_new {
                    told(LeaseNotice::Sealed(why));
                }
            }
        })?;
        Ok(keeper)
    }
}

/// Asks the roots; whether one opens the domain key.
fn prove(engine: &Engine, state: &State, told: &dyn Fn(LeaseNotice)) -> bool {
    // It holds from when it was asked for.
    let begun = Instant::now();
    match engine.open_root(By::Reachable) {
        Some(Ok(rows)) => {
            // Before the engine serves: it is not sealed again for the time before.
            let was_lost = state.proof().renewed(begun);
            let was_sealed = engine.serve(rows);
            if was_lost || was_sealed {
                told(LeaseNotice::Regained);
            }
            true
        }
        Some(Err(why)) => {
            let is_new = state.proof().failure.replace(why.clone()).is_none();
            if is_new {
                told(LeaseNotice::Lost(why));
            }
            false
        }
        None => {
            state.proof().renewed(begun);
            true
        }
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(run)
        .map(drop)
}

impl Drop for Keeper {
    /// A thread that waits for a device is not waited for.
    fn drop(&mut self) {
        self.state.proof().is_over = true;
        self.state.ended.notify_all();
    }
}
