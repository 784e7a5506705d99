//! One data key for many files.

use crate::args::Caching;
use crate::failure::Failure;
use crate::tree::tally::DataKeyCount;
use std::sync::Arc;
use std::time::Duration;
use waxseal::materials::{
    CacheLimits, CachingManager, DefaultManager, InvalidLimits, MaterialsManager, OpeningMaterials,
    OpeningRequest, SealingMaterials, SealingRequest, SystemClock,
};
use waxseal::message::{OpenError, SealError};
use waxseal_core::keyring::{BoxFuture, Keyring};

type Asking = DefaultManager<Arc<dyn Keyring>>;

/// Where the keys of messages come from.
pub(super) enum Manager {
    /// Each message asks its keyring.
    Asking(Asking),
    /// Many files share data keys.
    Caching(Arc<CachingManager<Asking>>),
}

/// What two passes over one message may take: the second one follows at once.
const TWO_PASSES_AGE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// The manager for many files, as the options have it.
pub(super) fn manager(keyring: Arc<dyn Keyring>, args: &Caching) -> Result<Manager, Failure> {
    let asking = DefaultManager::new(keyring);
    if args.cache_max_age == 0 {
        return Ok(Manager::Asking(asking));
    }
    let limits = CacheLimits::by_age(Duration::from_secs(args.cache_max_age.into()));
    let limits = limits.and_then(|limits| limits.with_messages_max(args.cache_max_messages));
    let clock = Arc::new(SystemClock::start());
    let caching = CachingManager::new(asking, limits.map_err(wrong_limits)?, clock);
    Ok(Manager::Caching(Arc::new(caching)))
}

/// A manager that answers a second pass over a message without another call to the key service.
pub(super) fn for_two_passes(manager: &Manager) -> Result<CachingManager<&Manager>, Failure> {
    let limits = CacheLimits::by_age(TWO_PASSES_AGE_MAX).map_err(wrong_limits)?;
    let clock = Arc::new(SystemClock::start());
    Ok(CachingManager::new(manager, limits, clock))
}

fn wrong_limits(error: InvalidLimits) -> Failure {
    Failure::usage(
        error.to_string(),
        "see --cache-max-age and --cache-max-messages",
    )
}

impl Manager {
    /// What tells how many data keys the keyring was asked for, where files share them.
    pub(super) fn data_key_count(&self) -> Option<DataKeyCount> {
        match self {
            Self::Asking(_) => None,
            Self::Caching(manager) => {
                let manager = manager.clone();
                Some(Box::new(move || manager.statistics().misses))
            }
        }
    }

    fn inner(&self) -> &dyn MaterialsManager {
        match self {
            Self::Asking(manager) => manager,
            Self::Caching(manager) => manager.as_ref(),
        }
    }
}

impl MaterialsManager for Manager {
    fn for_sealing<'a>(
        &'a self,
        request: SealingRequest<'a>,
    ) -> BoxFuture<'a, Result<SealingMaterials, SealError>> {
        self.inner().for_sealing(request)
    }

    fn for_opening<'a>(
        &'a self,
        request: OpeningRequest<'a>,
    ) -> BoxFuture<'a, Result<OpeningMaterials, OpenError>> {
        self.inner().for_opening(request)
    }
}
