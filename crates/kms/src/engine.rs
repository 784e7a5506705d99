//! The engine: state, clock, randomness and audit log, and the one way through them.

mod cache;
mod epochs;
mod health;
mod rollback;
mod room;
mod serving;
mod view;

use cache::Cache;
pub(crate) use cache::Entry;
pub use health::Unhealthy;
pub use rollback::{Rollback, RollbackError};
pub(crate) use room::Room;
pub use serving::{By, Reopen};
pub(crate) use view::Aliases;
pub use view::{AliasEntry, GrantEntry, KeyEntry, View};

use crate::audit::{AuditError, AuditLog, Event, EventError, Exclusive, Ticket};
use crate::clock::{Clock, Steady};
use crate::device::Devices;
use crate::model::{
    self, PENDING_PREFIX, STORE_PREFIX, StoreRecord, pending_document, store_document,
};
use crate::op::{Perform, Uses};
use crate::policy::{Policy, PolicyKind, default_key_policy};
use crate::request::{Asking, Authenticated, Caller, Change, Origin, Outcome};
use crate::reserve::Reserve;
use crate::seal::RowSealer;
use crate::store::{Batch, Document, Expect, Store, StoreError};
use crate::tend::{self, Due};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;
use serving::Gate;
use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use time::OffsetDateTime;
use uuid::Uuid;
use waxseal_core::SecretBytes;
use waxseal_core::arn::Home;
use waxseal_core::crypto::certificate::TrustRoots;
use waxseal_core::crypto::random::{self, Drawn, Entropy};
use waxseal_kms_api::members::Members;
use waxseal_kms_api::{ErrorCode, KmsError};

/// What an engine is made of. Everything that touches the world is handed in.
pub struct Parts {
    /// Sealed state.
    pub store: Box<dyn Store>,
    /// Where every request is recorded before it is answered.
    pub audit: AuditLog,
    /// Seals and opens the rows of `store`.
    pub rows: RowSealer,
    /// Its own place: partition, Region and account of the owner's keys. Keys of other Regions and
    /// accounts may be in the same store.
    pub home: Home,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Gives keys, salts and ids.
    pub entropy: Arc<dyn Entropy>,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Parts({})", self.home)
    }
}

/// What an engine is made of, but for what it has only while it serves.
struct Held {
    store: Box<dyn Store>,
    audit: AuditLog,
    home: Arc<Home>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

/// A KMS: keys, aliases, and the operations on them. Shared by threads as it is.
pub struct Engine {
    parts: Held,
    gate: Gate,
    reopen: OnceLock<Box<dyn Reopen>>,
    /// After the parts: what they need no more is there for it.
    reserve: OnceLock<Reserve>,
    enclaves: OnceLock<TrustRoots>,
    tags_choose: OnceLock<()>,
    uses: Mutex<Uses>,
    devices: Devices,
    /// Whether the store's medium may have more of deleted material than it should.
    is_littered: AtomicBool,
    steady: Steady,
    /// The policies of keys that were given none, by partition and account.
    default_policies: Mutex<HashMap<(String, String), Arc<Policy>>>,
    /// Why the last commit failed, if it did.
    trouble: Mutex<Option<&'static str>>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Engine({})", self.parts.home)
    }
}

impl Engine {
    /// Puts the parts together, and finishes what a crash may have left: changes whose audit
    /// record was not written yet are recorded now.
    ///
    /// # Errors
    /// `KMSInternalException` when the store or the log cannot be read or written.
    pub fn new(parts: Parts) -> Result<Self, KmsError> {
        let engine = Self::unsettled(parts);
        engine.settle_all()?;
        Ok(engine)
    }

    fn unsettled(parts: Parts) -> Self {
        Self {
            steady: Steady::new(parts.clock.as_ref()),
            parts: Held {
                store: parts.store,
                audit: parts.audit,
                home: parts.home.into(),
                clock: parts.clock,
                entropy: parts.entropy,
            },
            gate: Gate::open(parts.rows),
            reopen: OnceLock::new(),
            reserve: OnceLock::new(),
            enclaves: OnceLock::new(),
            tags_choose: OnceLock::new(),
            uses: Mutex::default(),
            devices: Devices::default(),
            // What another process left behind is not known.
            is_littered: AtomicBool::new(true),
            default_policies: Mutex::default(),
            trouble: Mutex::default(),
        }
    }

    fn settle_all(&self) -> Result<(), KmsError> {
        if !self.scan(PENDING_PREFIX)?.is_empty() {
            let mut log = self.parts.audit.exclusive().map_err(internal)?;
            self.settle(&mut log, Room::Reserve)?;
        }
        Ok(())
    }

    /// Its own place: partition, Region and account of the owner's keys.
    pub fn home(&self) -> &Home {
        &self.parts.home
    }

    /// Trusts enclaves whose attestation documents lead to one of these certificates: answers can
    /// be encrypted for them. Said once; what is said later is passed over.
    pub fn trust_enclaves(&self, roots: TrustRoots) {
        // The first word holds.
        let _ = self.enclaves.set(roots);
    }

    /// Lets tags of CreateKey choose ids and material (see `chosen`), for development: from then on.
    pub fn let_tags_choose(&self) {
        // Once is enough.
        let _ = self.tags_choose.set(());
    }

    /// The policy of an account's keys that were given none: one for all of them.
    fn default_policy(&self, home: &Home) -> Result<Arc<Policy>, KmsError> {
        let mut known = self
            .default_policies
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let account = (home.partition.clone(), home.account.clone());
        if let Some(policy) = known.get(&account) {
            return Ok(Arc::clone(policy));
        }
        let text = default_key_policy(&home.partition, &home.account);
        let policy = Arc::new(Policy::parse(&text, PolicyKind::Key).map_err(internal)?);
        known.insert(account, Arc::clone(&policy));
        Ok(policy)
    }

    pub(crate) fn lets_tags_choose(&self) -> bool {
        self.tags_choose.get().is_some()
    }

    /// Whether an alias of this name is there. A look at the state, not a use of a key: nothing is
    /// recorded.
    ///
    /// # Errors
    /// `KMSInternalException` when the store cannot be read.
    pub fn has_alias(&self, name: &str) -> Result<bool, KmsError> {
        self.refresh()?;
        match name.parse() {
            Ok(name) => Ok(self.view(self.home(), None).alias(&name)?.is_some()),
            Err(_) => Ok(false),
        }
    }

    /// A request by the owner of this KMS: whoever could open it.
    ///
    /// # Errors
    /// `KMSInternalException` when there is no randomness for the request id.
    pub fn by_owner<O: Perform>(
        &self,
        user_agent: &str,
        input: O,
    ) -> Result<Authenticated<O>, KmsError> {
        let caller = Caller::owner(self.home(), user_agent);
        self.by_caller(caller, &self.home().region, input)
    }

    /// A request in `region` of a caller who proved to be the one that `caller` names.
    ///
    /// # Errors
    /// `KMSInternalException` when there is no randomness for the request id.
    pub fn by_caller<O: Perform>(
        &self,
        caller: Caller,
        region: &str,
        input: O,
    ) -> Result<Authenticated<O>, KmsError> {
        let own = &self.parts.home;
        let place = match own.region == region && own.account == caller.account() {
            true => own.clone(),
            false => Arc::new(Home {
                partition: own.partition.clone(),
                region: region.to_owned(),
                account: caller.account().to_owned(),
            }),
        };
        let drawn = self.draw();
        let request_id = uuid(&drawn)?;
        let origin = Origin {
            caller,
            place,
            drawn,
        };
        Ok(Authenticated::new(origin, request_id, input))
    }

    /// An id for a request that comes to nothing.
    ///
    /// # Errors
    /// `KMSInternalException` when there is no randomness.
    pub fn request_id(&self) -> Result<String, KmsError> {
        self.uuid()
    }

    /// Runs a request. The answer leaves only after its record is durable in the audit log.
    ///
    /// # Errors
    /// As the operation; `KMSInternalException` when the record could not be written: nothing is
    /// then answered, whatever came of the operation.
    pub fn call<O: Perform>(&self, request: Authenticated<O>) -> Result<O::Output, KmsError> {
        if !O::MUTATES {
            return self.consult(request);
        }
        let answer = self.change(request)?;
        if O::FORGETS {
            // It is done and recorded. What is left is tried again by whoever tends.
            let _ = self.tidy();
        }
        if O::CONNECTS {
            self.follow_stores()?;
        }
        Ok(answer)
    }

    /// A request that changes nothing.
    fn consult<O: Perform>(&self, request: Authenticated<O>) -> Result<O::Output, KmsError> {
        let (outcome, _) = self.outcome(request, |event| self.parts.audit.append(event))?;
        outcome.recorded().answer()
    }

    /// Records a refusal of what never became a request of an operation: nobody knows who asked,
    /// there is no such operation, or its input is none. `operation` is what was asked for, as
    /// somebody wrote it.
    ///
    /// # Errors
    /// `KMSInternalException` when it cannot be recorded.
    pub(crate) fn record_refusal(
        &self,
        caller: &Caller,
        (service, region): (&str, &str),
        operation: &str,
        request_id: &str,
        error: &KmsError,
    ) -> Result<(), KmsError> {
        self.admit(Room::Common)?;
        let is_name = |text: &str| {
            (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
        };
        let event = Event {
            event_id: self.uuid()?.into(),
            event_time: self.now(),
            event_source: format!("{service}.amazonaws.com").into(),
            event_name: match is_name(operation) {
                true => operation.to_owned().into(),
                false => "Unknown".into(),
            },
            aws_region: region.into(),
            account_id: (&self.home().account).into(),
            user_identity: caller.identity(),
            source_ip_address: caller.source_ip_address().into(),
            user_agent: caller.user_agent().chars().take(1024).collect(),
            request_id: request_id.into(),
            request_parameters: None,
            response_elements: None,
            additional: Default::default(),
            resources: Vec::new(),
            read_only: true,
            error: Some(EventError {
                code: error.code.name().to_owned(),
                message: error.message.clone().unwrap_or_default(),
            }),
        };
        self.parts.audit.append(&event).map(drop).map_err(internal)
    }

    /// The same, without waiting for its record.
    pub(crate) fn begin<O: Perform>(
        &self,
        request: Authenticated<O>,
    ) -> Result<(Outcome<O>, Ticket), KmsError> {
        self.outcome(request, |event| self.parts.audit.submit(event))
    }

    /// What comes of a request that changes nothing, and of handing in its record.
    fn outcome<O: Perform, R>(
        &self,
        request: Authenticated<O>,
        record: impl FnOnce(&Event<'_>) -> Result<R, AuditError>,
    ) -> Result<(Outcome<O>, R), KmsError> {
        self.admit(Room::Common)?;
        self.refresh()?;
        let (caller, place, drawn, asking) = request.apart();
        let mut view = self.view_drawing(drawn, &place, Some(&caller));
        let mut outcome = perform(asking, &mut view);
        let mut id = Uuid::encode_buffer();
        let event = outcome.event(&caller, &view, uuid_in(&mut id, view.entropy())?);
        let recorded = record(&event).map_err(internal)?;
        Ok((outcome, recorded))
    }

    /// A request that may change state. Change and record cannot be separated by a crash: the
    /// record is committed to the store together with the change (`pending/…`), then written to
    /// the log, then removed from the store; whoever finds it there writes it first. The log's
    /// lock is held all the way, across processes, so a pending record that is seen under the
    /// lock belongs to a writer that is gone.
    fn change<O: Perform>(&self, request: Authenticated<O>) -> Result<O::Output, KmsError> {
        let room = Room::of::<O>();
        self.admit(room)?;
        let (caller, place, drawn, asking) = request.apart();
        let ahead = match O::MAKES {
            true => {
                self.refresh()?;
                asking.made_ahead(&self.view(&place, Some(&caller)))
            }
            false => None,
        };
        let mut log = self.parts.audit.exclusive().map_err(internal)?;
        self.settle(&mut log, room)?;
        self.refresh()?;
        let mut view = self.view_drawing(drawn, &place, Some(&caller)).with(ahead);
        let mut outcome = perform(asking, &mut view);
        let changes = outcome.take_changes();
        let mut ids = [Uuid::encode_buffer(); 2];
        let [id, another] = &mut ids;
        let event_id = uuid_in(id, view.entropy())?;
        if changes.is_empty() {
            let event = outcome.event(&caller, &view, event_id);
            self.appended(&mut log, &event, room)?;
            return outcome.recorded().answer();
        }
        let event = outcome.event(&caller, &view, event_id);
        if let Err(refused) = self.commit_recorded(&mut log, &changes, &event, room)? {
            outcome.fail(refused);
            let event = outcome.event(&caller, &view, uuid_in(another, view.entropy())?);
            self.appended(&mut log, &event, room)?;
        }
        outcome.recorded().answer()
    }

    /// Commits changes together with their record, and writes the record. The inner error is that
    /// of a commit which changed nothing.
    fn commit_recorded(
        &self,
        log: &mut Exclusive<'_>,
        changes: &[Change],
        event: &Event<'_>,
        room: Room,
    ) -> Result<Result<(), KmsError>, KmsError> {
        if let Err(refused) = self.commit(changes, event, log, room) {
            return Ok(Err(refused));
        }
        self.appended_change(log, event, room)?;
        self.forget(pending_document(), log, room)?;
        Ok(Ok(()))
    }

    /// Sees to it that nothing is left of material that was deleted: in the memory of this process,
    /// and on the store's medium. What somebody still reads is left for the next time.
    pub(crate) fn tidy(&self) -> Result<(), KmsError> {
        self.refresh()?;
        if self.is_littered.load(Ordering::Acquire) && self.parts.store.scrub().map_err(internal)? {
            self.is_littered.store(false, Ordering::Release);
        }
        Ok(())
    }

    /// A change of the service itself, planned while nobody else changes anything, with its record;
    /// whether it was made. The caller holds nothing of the log.
    pub(crate) fn change_itself(
        &self,
        plan: impl FnOnce(&Self) -> Result<Option<(Vec<Change>, Event<'static>)>, KmsError>,
    ) -> Result<bool, KmsError> {
        let mut log = self.parts.audit.exclusive().map_err(internal)?;
        self.settle(&mut log, Room::Common)?;
        self.refresh()?;
        let Some((changes, event)) = plan(self)? else {
            return Ok(false);
        };
        let done = self.commit_recorded(&mut log, &changes, &event, Room::Common)?;
        Ok(done.is_ok())
    }

    /// An event of the service itself, which is about no key.
    pub(crate) fn event_itself(
        &self,
        place: &Home,
        name: &'static str,
        additional: Members,
    ) -> Result<Event<'static>, KmsError> {
        Ok(Event {
            event_id: self.uuid()?.into(),
            event_time: self.now(),
            event_source: tend::SERVICE.into(),
            event_name: name.into(),
            aws_region: place.region.clone().into(),
            account_id: place.account.clone().into(),
            user_identity: json!({ "type": "AWSService", "invokedBy": tend::SERVICE }).into(),
            source_ip_address: tend::SERVICE.into(),
            user_agent: tend::SERVICE.into(),
            request_id: self.uuid()?.into(),
            request_parameters: None,
            response_elements: None,
            additional,
            resources: Vec::new(),
            read_only: false,
            error: None,
        })
    }

    fn commit(
        &self,
        changes: &[Change],
        event: &Event<'_>,
        log: &mut Exclusive<'_>,
        room: Room,
    ) -> Result<(), KmsError> {
        let mut batch = Batch::new();
        for change in changes {
            match &change.body {
                Some(body) => {
                    let body = self.sealed(&change.key, change.expect, body.expose())?;
                    batch.put(change.key.clone(), change.expect, body);
                }
                None => {
                    batch.delete(change.key.clone(), change.expect);
                }
            }
            // The medium may have what it said before.
            if model::is_secret(&change.key) && change.expect != Expect::Absent {
                self.is_littered.store(true, Ordering::Release);
            }
        }
        self.mark_log(log, &mut batch)?;
        let key = pending_document();
        let pending = Pending {
            since_sequence: log.next_sequence(),
            event: event.clone(),
        };
        let body = serde_json::to_vec(&pending).map_err(internal)?;
        let body = self.sealed(&key, Expect::Absent, &body)?;
        batch.put(key, Expect::Absent, body);
        self.committed(&batch, room).map_err(|error| match error {
            StoreError::Conflict { .. } => KmsError::new(
                ErrorCode::Conflict,
                "The request met another change of the same resource. Try again.",
            ),
            other => internal(&other),
        })
    }

    /// Writes the records that a crash kept from the log. Called under the log's lock.
    fn settle(&self, log: &mut Exclusive<'_>, room: Room) -> Result<(), KmsError> {
        // What is written under the lock is sealed under the domain key of now.
        self.refresh()?;
        for document in self.scan(PENDING_PREFIX)? {
            let pending: Pending<'_> = self.open_json(&document)?;
            let written = log
                .contains(pending.since_sequence, &pending.event.event_id)
                .map_err(internal)?;
            if !written {
                self.appended_change(log, &pending.event, room)?;
            }
            self.forget(document.key, log, room)?;
        }
        Ok(())
    }

    /// Removes a record that is in the log now from the store, and marks that it is.
    fn forget(
        &self,
        document: String,
        log: &mut Exclusive<'_>,
        room: Room,
    ) -> Result<(), KmsError> {
        let mut batch = Batch::new();
        self.mark_log(log, &mut batch)?;
        batch.delete(document, Expect::Revision(1));
        self.committed(&batch, room).map_err(internal)
    }

    pub(crate) fn sealed(
        &self,
        key: &str,
        expect: Expect,
        body: &[u8],
    ) -> Result<Vec<u8>, KmsError> {
        let revision = match expect {
            Expect::Absent => 1,
            Expect::Revision(revision) => revision + 1,
        };
        let serving = self.serving()?;
        serving.rows.seal(key, revision, body, self.entropy())
    }

    /// Seals what only this KMS can open again, and only under the same name.
    pub(crate) fn seal_for_later(&self, name: &str, body: &[u8]) -> Result<Vec<u8>, KmsError> {
        self.sealed(name, Expect::Absent, body)
    }

    /// Opens what [`Engine::seal_for_later`] gave.
    pub(crate) fn open_sealed(&self, name: &str, sealed: &[u8]) -> Result<SecretBytes, KmsError> {
        self.opened(&Document {
            key: name.to_owned(),
            revision: 1,
            body: sealed.to_owned(),
        })
    }

    pub(crate) fn now(&self) -> OffsetDateTime {
        self.parts.clock.now()
    }

    fn entropy(&self) -> &dyn Entropy {
        self.parts.entropy.as_ref()
    }

    /// Randomness for one request.
    fn draw(&self) -> Drawn {
        Drawn::new(self.parts.entropy.clone())
    }

    fn uuid(&self) -> Result<String, KmsError> {
        uuid(self.entropy())
    }

    pub(crate) fn scan(&self, prefix: &str) -> Result<Vec<Document>, KmsError> {
        self.parts.store.scan(prefix).map_err(internal)
    }

    /// The keys of documents, in their order, for those who have use of what is cached of them.
    pub(crate) fn names(&self, prefix: &str) -> Result<Vec<String>, KmsError> {
        self.parts.store.names(prefix).map_err(internal)
    }

    pub(crate) fn document(&self, key: &str) -> Result<Option<Document>, KmsError> {
        self.parts.store.get(key).map_err(internal)
    }

    /// Writes one document outside of any request. Under the log's lock, as every change: nothing is
    /// sealed under a domain key that was let go meanwhile.
    pub(crate) fn commit_row(
        &self,
        name: &str,
        expect: Expect,
        body: &SecretBytes,
    ) -> Result<(), KmsError> {
        self.commit_rows(|batch| {
            batch.put(name, expect, self.sealed(name, expect, body.expose())?);
            Ok(())
        })
    }

    /// The same of several, which `fill` seals and adds to the batch.
    pub(crate) fn commit_rows(
        &self,
        fill: impl FnOnce(&mut Batch) -> Result<(), KmsError>,
    ) -> Result<(), KmsError> {
        let _log = self.parts.audit.exclusive().map_err(internal)?;
        self.refresh()?;
        let mut batch = Batch::new();
        fill(&mut batch)?;
        match batch.is_empty() {
            true => Ok(()),
            false => self.commit_batch(&batch),
        }
    }

    fn commit_batch(&self, batch: &Batch) -> Result<(), KmsError> {
        self.committed(batch, Room::Common).map_err(internal)
    }

    /// The folder of the audit log.
    pub(crate) fn audit_directory(&self) -> &Path {
        self.parts.audit.dir()
    }

    /// How many records the audit log has, all of them durable, and SHA-256 of the last one's line.
    pub(crate) fn log_end(&self) -> Result<(u64, [u8; 32]), KmsError> {
        let log = self.parts.audit.exclusive().map_err(internal)?;
        Ok((log.next_sequence() - 1, log.head()))
    }

    /// The sequence number that the next record gets. All before it are durable.
    pub(crate) fn next_record(&self) -> Result<u64, KmsError> {
        let log = self.parts.audit.exclusive().map_err(internal)?;
        Ok(log.next_sequence())
    }

    /// A custom key store, and the revision of its record.
    pub(crate) fn key_store(&self, id: &str) -> Result<Option<(Arc<StoreRecord>, u64)>, KmsError> {
        Ok(match self.cached(&store_document(id), Entry::key_store)? {
            Some(Entry::KeyStore(record, revision)) => Some((record, revision)),
            _ => None,
        })
    }

    /// All custom key stores of all places, in the order of their ids.
    pub(crate) fn key_stores(&self) -> Result<Vec<(Arc<StoreRecord>, u64)>, KmsError> {
        let entries = self.entries(STORE_PREFIX, Entry::key_store)?;
        let store = |entry| match entry {
            Entry::KeyStore(record, revision) => Some((record, revision)),
            _ => None,
        };
        Ok(entries.into_iter().filter_map(store).collect())
    }

    pub(crate) fn devices(&self) -> &Devices {
        &self.devices
    }

    pub(crate) fn open_json<T: DeserializeOwned>(
        &self,
        document: &Document,
    ) -> Result<T, KmsError> {
        let body = self.opened(document)?;
        serde_json::from_slice(body.expose()).map_err(internal)
    }
}

/// The bytes of a UUID in text, and those that the library asks room for.
const ID_BYTES: usize = Uuid::encode_buffer().len();

/// A version 4 UUID (RFC 9562).
fn uuid(entropy: &dyn Entropy) -> Result<String, KmsError> {
    uuid_in(&mut Uuid::encode_buffer(), entropy).map(str::to_owned)
}

/// The same in memory of the caller's.
fn uuid_in<'r>(room: &'r mut [u8; ID_BYTES], entropy: &dyn Entropy) -> Result<&'r str, KmsError> {
    let bytes: [u8; 16] = random::array(entropy).map_err(internal)?;
    let uuid = uuid::Builder::from_random_bytes(bytes).into_uuid();
    Ok(uuid.hyphenated().encode_lower(room))
}

fn perform<O: Perform>(request: Asking<O>, view: &mut View<'_>) -> Outcome<O> {
    match request.authorize(view) {
        Ok(authorized) => authorized.run(view),
        Err(refused) => *refused,
    }
}

impl Engine {
    /// Does what has come due: keys are rotated, and keys whose waiting period is over are removed
    /// with their material and aliases. Each is recorded as an event of the service itself.
    /// Whoever runs an engine for long calls this now and then; how much was done.
    ///
    /// # Errors
    /// `KMSInternalException` when the store or the log cannot be read or written.
    pub fn tend(&self) -> Result<usize, KmsError> {
        self.admit(Room::Common)?;
        self.refresh()?;
        self.follow_stores()?;
        let mut done = 0;
        for name in self.names(model::KEY_PREFIX)? {
            let Some(due) = self.due(&name)? else {
                continue;
            };
            // A device takes its time, and nobody has to wait for it.
            if !due.is_clear(self)? {
                continue;
            }
            let mut log = self.parts.audit.exclusive().map_err(internal)?;
            self.settle(&mut log, Room::Common)?;
            self.refresh()?;
            // Somebody else may have done it until the lock was ours.
            let Some(due) = self.due(&name)? else {
                continue;
            };
            let view = self.view(&due.key.arn.home, None);
            let event = due.event(&view, self.uuid()?, self.uuid()?);
            if self
                .commit_recorded(&mut log, &due.changes(&view)?, &event, Room::Common)?
                .is_ok()
            {
                done += 1;
            }
        }
        self.tidy()?;
        self.note_log()?;
        Ok(done)
    }

    /// What is due for the key in a document.
    fn due(&self, document: &str) -> Result<Option<Due>, KmsError> {
        let Some(Entry::Key(key)) = self.cached(document, Entry::key)? else {
            return Ok(None);
        };
        let view = self.view(&key.arn.home, None);
        Ok(tend::what(&view, &key.arn, &key.record)?.map(|what| Due { what, key }))
    }
}

/// `KMSInternalException` with what failed, which is never a secret.
pub(crate) fn internal(what: impl std::fmt::Display) -> KmsError {
    KmsError::new(ErrorCode::Internal, what.to_string())
}

/// An audit record that is committed with its change and not known to be in the log.
#[derive(Serialize, Deserialize)]
struct Pending<'a> {
    /// The log had no record of it below this sequence number.
    since_sequence: u64,
    event: Event<'a>,
}
