//! The manager that uses a data key for several messages (AWS Encryption SDK specification,
//! `framework/caching-cmm.md`).
//!
//! Each message still has a key of its own, derived from the data key and a random message id,
//! so that no nonce meets a key twice. What is shared is the data key: whoever learns it can read
//! every message it was used for. That is what the limits bound.
//!
//! An entry is found by everything that must agree, each part behind its length:
//!
//! ```text
//! sealing  01 | policy | suite u16 | required names | context
//! opening  02 | policy | suite u16 | encrypted data keys, sorted | context
//! ```
//!
//! The commitment policy is a part, so that materials which a weaker policy admitted never serve a
//! stronger one, nor the reverse.

use super::{MaterialsManager, OpeningMaterials, OpeningRequest, SealingMaterials, SealingRequest};
use crate::message::{CommitmentPolicy, OpenError, SealError, Suite};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use waxseal_core::context::EncryptionContext;
use waxseal_core::crypto::hash;
use waxseal_core::keyring::BoxFuture;

/// How long and how often a data key is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheLimits {
    age_max: Duration,
    messages_max: u64,
    bytes_max: u64,
    entries_max: usize,
}

/// A limit that cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidLimits {
    /// An age of zero: nothing would ever be found.
    #[error("the age limit of a cached data key must be longer than zero")]
    Age,
    /// No message at all, or more than 2³².
    #[error("a cached data key seals 1 to 4,294,967,296 messages")]
    Messages,
    /// More than 2⁶³ − 1 bytes.
    #[error("a cached data key seals at most 9,223,372,036,854,775,807 bytes")]
    Bytes,
    /// Room for nothing.
    #[error("a cache of data keys has room for at least one")]
    Entries,
}

/// The most messages that a cached data key ever seals: 2³².
const MESSAGES_MAX: u64 = 1 << 32;
/// The most bytes that a cached data key ever seals: 2⁶³ − 1.
const BYTES_MAX: u64 = u64::MAX >> 1;
/// Entries unless [`CacheLimits::with_entries_max`] says otherwise.
const ENTRIES_MAX_DEFAULT: usize = 1000;

impl CacheLimits {
    /// A data key is used for `age_max` from when it was made or unwrapped. There is no default:
    /// for so long a key that was disabled goes on being used.
    ///
    /// # Errors
    /// [`InvalidLimits::Age`].
    pub fn by_age(age_max: Duration) -> Result<Self, InvalidLimits> {
        if age_max.is_zero() {
            return Err(InvalidLimits::Age);
        }
        Ok(Self {
            age_max,
            messages_max: MESSAGES_MAX,
            bytes_max: BYTES_MAX,
            entries_max: ENTRIES_MAX_DEFAULT,
        })
    }

    /// A data key seals at most so many messages; 2³² unless said otherwise, and at most.
    ///
    /// # Errors
    /// [`InvalidLimits::Messages`].
    pub fn with_messages_max(self, messages_max: u64) -> Result<Self, InvalidLimits> {
        match (1..=MESSAGES_MAX).contains(&messages_max) {
            true => Ok(Self {
                messages_max,
                ..self
            }),
            false => Err(InvalidLimits::Messages),
        }
    }

    /// A data key seals at most so many bytes of plaintext; 2⁶³ − 1 unless said otherwise, and at
    /// most. Zero admits empty messages only.
    ///
    /// # Errors
    /// [`InvalidLimits::Bytes`].
    pub fn with_bytes_max(self, bytes_max: u64) -> Result<Self, InvalidLimits> {
        match bytes_max <= BYTES_MAX {
            true => Ok(Self { bytes_max, ..self }),
            false => Err(InvalidLimits::Bytes),
        }
    }

    /// So many entries are kept, 1,000 unless said otherwise; the one unused for longest goes.
    ///
    /// # Errors
    /// [`InvalidLimits::Entries`].
    pub fn with_entries_max(self, entries_max: usize) -> Result<Self, InvalidLimits> {
        match entries_max > 0 {
            true => Ok(Self {
                entries_max,
                ..self
            }),
            false => Err(InvalidLimits::Entries),
        }
    }
}

/// Time that never goes back.
pub trait Clock: Send + Sync {
    /// How long it has been since some moment that stays the same.
    fn now(&self) -> Duration;
}

/// The system's monotonic clock, counted from when this value was made.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock(Instant);

impl SystemClock {
    /// Starts counting.
    pub fn start() -> Self {
        Self(Instant::now())
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

/// What a [`CachingManager`] has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CacheStatistics {
    /// Messages whose data key was there already.
    pub hits: u64,
    /// Messages for which the manager behind was asked: calls to the key service.
    pub misses: u64,
    /// Of the misses, those that nothing could be kept of: a suite without key derivation, or a
    /// plaintext of unknown length.
    pub bypassed: u64,
}

/// Asks another manager, and remembers what it said within [`CacheLimits`].
///
/// Not remembered are the keys of suites that derive none (each message would have the same key),
/// and sealing keys for a plaintext of unknown length (its bytes could not be counted).
///
/// Two callers that ask for the same at the same time both reach the manager behind; what the
/// later one got is kept.
pub struct CachingManager<M> {
    manager: M,
    limits: CacheLimits,
    clock: Arc<dyn Clock>,
    cache: Mutex<Cache>,
}

#[derive(Default)]
struct Cache {
    sealing: HashMap<Id, Entry<SealingMaterials>>,
    opening: HashMap<Id, Entry<OpeningMaterials>>,
    statistics: CacheStatistics,
}

type Id = [u8; 32];

struct Entry<T> {
    materials: T,
    made: Duration,
    used: Duration,
    messages: u64,
    bytes: u64,
}

impl<M: MaterialsManager> CachingManager<M> {
    /// A manager with an empty cache. `clock` measures the age of entries.
    pub fn new(manager: M, limits: CacheLimits, clock: Arc<dyn Clock>) -> Self {
        Self {
            manager,
            limits,
            clock,
            cache: Mutex::default(),
        }
    }

    /// What it has done until now.
    pub fn statistics(&self) -> CacheStatistics {
        self.cache().statistics
    }

    /// Forgets, and wipes, everything that no message is using.
    pub fn clear(&self) {
        let mut cache = self.cache();
        cache.sealing.clear();
        cache.opening.clear();
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn seal(&self, request: SealingRequest<'_>) -> Result<SealingMaterials, SealError> {
        let bytes = request
            .plaintext_bytes
            .filter(|bytes| request.suite.derives_keys() && *bytes <= self.limits.bytes_max);
        let Some(bytes) = bytes else {
            self.cache().bypass();
            return self.manager.for_sealing(request).await;
        };
        let id = sealing_id(&request)?;
        if let Some(found) = self.cached_sealing(&id, bytes) {
            return Ok(found);
        }
        let made = self.manager.for_sealing(request).await?;
        self.keep(made.clone(), bytes, |cache| &mut cache.sealing, id);
        Ok(made)
    }

    /// An entry that this message would use up beyond its limits is as good as none.
    fn cached_sealing(&self, id: &Id, bytes: u64) -> Option<SealingMaterials> {
        let now = self.clock.now();
        let mut cache = self.cache();
        let fits = |entry: &Entry<SealingMaterials>| {
            self.is_young(entry, now)
                && entry.messages < self.limits.messages_max
                && entry.bytes.saturating_add(bytes) <= self.limits.bytes_max
        };
        let found = match cache.sealing.get_mut(id) {
            Some(entry) if fits(entry) => {
                entry.used = now;
                entry.messages += 1;
                entry.bytes += bytes;
                Some(entry.materials.clone())
            }
            Some(_) => {
                cache.sealing.remove(id);
                None
            }
            None => None,
        };
        cache.count(found.is_some());
        found
    }

    async fn open(&self, request: OpeningRequest<'_>) -> Result<OpeningMaterials, OpenError> {
        if !request.suite.derives_keys() {
            self.cache().bypass();
            return self.manager.for_opening(request).await;
        }
        let id = opening_id(&request)?;
        if let Some(found) = self.cached_opening(&id) {
            return Ok(found);
        }
        let made = self.manager.for_opening(request).await?;
        self.keep(made.clone(), 0, |cache| &mut cache.opening, id);
        Ok(made)
    }

    fn cached_opening(&self, id: &Id) -> Option<OpeningMaterials> {
        let now = self.clock.now();
        let mut cache = self.cache();
        let found = match cache.opening.get_mut(id) {
            Some(entry) if self.is_young(entry, now) => {
                entry.used = now;
                Some(entry.materials.clone())
            }
            Some(_) => {
                cache.opening.remove(id);
                None
            }
            None => None,
        };
        cache.count(found.is_some());
        found
    }

    fn is_young<T>(&self, entry: &Entry<T>, now: Duration) -> bool {
        now.saturating_sub(entry.made) < self.limits.age_max
    }

    /// Keeps what has been used once. What is over its age goes on this occasion.
    fn keep<T>(
        &self,
        materials: T,
        bytes: u64,
        kind: impl Fn(&mut Cache) -> &mut HashMap<Id, Entry<T>>,
        id: Id,
    ) {
        let now = self.clock.now();
        let mut cache = self.cache();
        let entries = kind(&mut cache);
        entries.retain(|_, entry| self.is_young(entry, now));
        if entries.len() >= self.limits.entries_max && !entries.contains_key(&id) {
            let oldest = entries.iter().min_by_key(|(_, entry)| entry.used);
            if let Some(oldest) = oldest.map(|(id, _)| *id) {
                entries.remove(&oldest);
            }
        }
        let entry = Entry {
            materials,
            made: now,
            used: now,
            messages: 1,
            bytes,
        };
        entries.insert(id, entry);
    }
}

impl Cache {
    fn count(&mut self, found: bool) {
        match found {
            true => self.statistics.hits += 1,
            false => self.statistics.misses += 1,
        }
    }

    fn bypass(&mut self) {
        self.statistics.misses += 1;
        self.statistics.bypassed += 1;
    }
}

impl<M: MaterialsManager> MaterialsManager for CachingManager<M> {
    fn for_sealing<'a>(
        &'a self,
        request: SealingRequest<'a>,
    ) -> BoxFuture<'a, Result<SealingMaterials, SealError>> {
        Box::pin(self.seal(request))
    }

    fn for_opening<'a>(
        &'a self,
        request: OpeningRequest<'a>,
    ) -> BoxFuture<'a, Result<OpeningMaterials, OpenError>> {
        Box::pin(self.open(request))
    }
}

impl<M> std::fmt::Debug for CachingManager<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CachingManager({:?})", self.limits)
    }
}

fn sealing_id(request: &SealingRequest<'_>) -> Result<Id, SealError> {
    let mut text = Text::new(1, request.commitment, request.suite);
    text.count(request.required_names.len());
    for name in request.required_names {
        text.part(name.as_bytes());
    }
    text.part(&request.context.serialize()?);
    Ok(text.id())
}

fn opening_id(request: &OpeningRequest<'_>) -> Result<Id, OpenError> {
    let mut keys: Vec<Id> = request
        .encrypted_data_keys
        .iter()
        .map(|key| {
            let mut text = Text(Vec::new());
            text.part(key.provider_id.as_bytes());
            text.part(&key.provider_info);
            text.part(&key.ciphertext);
            text.id()
        })
        .collect();
    keys.sort_unstable();
    let mut text = Text::new(2, request.commitment, request.suite);
    text.count(keys.len());
    for key in keys {
        text.part(&key);
    }
    let context: &EncryptionContext = request.context;
    text.part(&context.serialize().map_err(OpenError::MalformedContext)?);
    Ok(text.id())
}

/// Parts behind their lengths, so that no two sequences of parts look alike.
struct Text(Vec<u8>);

impl Text {
    fn new(kind: u8, policy: CommitmentPolicy, suite: Suite) -> Self {
        let [high, low] = suite.id().to_be_bytes();
        Self(vec![kind, policy as u8, high, low])
    }

    fn count(&mut self, count: usize) {
        self.0.extend_from_slice(&(count as u64).to_be_bytes());
    }

    fn part(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.0.extend_from_slice(bytes);
    }

    fn id(&self) -> Id {
        hash::sha256(&[&self.0])
    }
}

#[cfg(test)]
mod tests;
