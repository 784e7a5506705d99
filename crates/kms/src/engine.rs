//! The engine: state, clock, randomness and audit log, and the one way through them.

mod epochs;
mod health;
mod rollback;
mod room;
mod serving;

pub use health::Unhealthy;
pub use rollback::{Rollback, RollbackError};
pub(crate) use room::Room;
pub use serving::{By, Reopen};

use crate::attestation::{self, Enclave};
use crate::audit::{AuditLog, Event, EventError, Exclusive, Ticket};
use crate::clock::{Clock, Steady};
use crate::device::Devices;
use crate::federation::ProviderEntry;
use crate::model::{
    self, AliasRecord, GrantRecord, KeyRecord, PENDING_PREFIX, STORE_PREFIX, StoreRecord,
    alias_document, aliases_prefix, grants_prefix, key_document, material_document,
    pending_document, siblings_prefix, store_document,
};
use crate::op::{Perform, Uses};
use crate::policy::{Policy, PolicyKind};
use crate::principals::{AccessKeyRecord, PrincipalEntry, Session, Sort};
use crate::request::{Asking, Authenticated, Caller, Change, Outcome};
use crate::reserve::Reserve;
use crate::seal::RowSealer;
use crate::store::{Batch, Document, Expect, Store, StoreError};
use crate::tend::{self, Due};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use serving::Gate;
use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use time::OffsetDateTime;
use waxseal_core::arn::Home;
use waxseal_core::crypto::certificate::TrustRoots;
use waxseal_core::crypto::random::{self, Drawn, Entropy};
use waxseal_core::{AliasName, KeyArn, KeyId, KeyRef, SecretBytes};
use waxseal_kms_api::op::{KeyLastUsageData, RecipientInfo};
use waxseal_kms_api::shape::{Blob, SecretBlob};
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
    home: Home,
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
                home: parts.home,
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
        let place = Home {
            partition: self.home().partition.clone(),
            region: region.to_owned(),
            account: caller.account().to_owned(),
        };
        Ok(Authenticated::new(caller, place, self.uuid()?, input))
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
        let (outcome, event) = self.outcome(request)?;
        self.parts.audit.append(&event).map_err(internal)?;
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
            event_id: self.uuid()?,
            event_time: self.now(),
            event_source: format!("{service}.amazonaws.com").into(),
            event_name: match is_name(operation) {
                true => operation.to_owned().into(),
                false => "Unknown".into(),
            },
            aws_region: region.to_owned(),
            account_id: self.home().account.clone(),
            user_identity: caller.identity(),
            source_ip_address: caller.source_ip_address().to_owned(),
            user_agent: caller.user_agent().chars().take(1024).collect(),
            request_id: request_id.to_owned(),
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
        let (outcome, event) = self.outcome(request)?;
        let ticket = self.parts.audit.submit(&event).map_err(internal)?;
        Ok((outcome, ticket))
    }

    /// What comes of a request that changes nothing, and what is to be recorded of it.
    fn outcome<O: Perform>(
        &self,
        request: Authenticated<O>,
    ) -> Result<(Outcome<O>, Event), KmsError> {
        self.admit(Room::Common)?;
        self.refresh()?;
        let (origin, asking) = request.apart();
        let mut view = self.view(&origin.place, Some(&origin.caller));
        let outcome = perform(asking, &mut view);
        let event = outcome.event(&origin.caller, &view, uuid(view.entropy())?);
        Ok((outcome, event))
    }

    /// A request that may change state. Change and record cannot be separated by a crash: the
    /// record is committed to the store together with the change (`pending/…`), then written to
    /// the log, then removed from the store; whoever finds it there writes it first. The log's
    /// lock is held all the way, across processes, so a pending record that is seen under the
    /// lock belongs to a writer that is gone.
    fn change<O: Perform>(&self, request: Authenticated<O>) -> Result<O::Output, KmsError> {
        let room = Room::of::<O>();
        self.admit(room)?;
        let mut log = self.parts.audit.exclusive().map_err(internal)?;
        self.settle(&mut log, room)?;
        self.refresh()?;
        let (origin, asking) = request.apart();
        let mut view = self.view(&origin.place, Some(&origin.caller));
        let mut outcome = perform(asking, &mut view);
        let changes = outcome.take_changes();
        let event_id = uuid(view.entropy())?;
        if changes.is_empty() {
            let event = outcome.event(&origin.caller, &view, event_id);
            self.appended(&mut log, &event, room)?;
            return outcome.recorded().answer();
        }
        let event = outcome.event(&origin.caller, &view, event_id);
        if let Err(refused) = self.commit_recorded(&mut log, &changes, &event, room)? {
            outcome.fail(refused);
            let event = outcome.event(&origin.caller, &view, uuid(view.entropy())?);
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
        event: &Event,
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
    fn tidy(&self) -> Result<(), KmsError> {
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
        plan: impl FnOnce(&Self) -> Result<Option<(Vec<Change>, Event)>, KmsError>,
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
        additional: Map<String, Value>,
    ) -> Result<Event, KmsError> {
        Ok(Event {
            event_id: self.uuid()?,
            event_time: self.now(),
            event_source: tend::SERVICE.into(),
            event_name: name.into(),
            aws_region: place.region.clone(),
            account_id: place.account.clone(),
            user_identity: json!({ "type": "AWSService", "invokedBy": tend::SERVICE }).into(),
            source_ip_address: tend::SERVICE.to_owned(),
            user_agent: tend::SERVICE.to_owned(),
            request_id: self.uuid()?,
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
        event: &Event,
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
                    if model::is_secret(&change.key) {
                        self.is_littered.store(true, Ordering::Release);
                    }
                }
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
            let pending: Pending = self.open_json(&document)?;
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

    pub(crate) fn view<'e>(&'e self, place: &'e Home, caller: Option<&'e Caller>) -> View<'e> {
        View {
            engine: self,
            place,
            caller,
            now: self.now(),
            drawn: Drawn::new(self.entropy()),
            enclave: None,
        }
    }

    fn uuid(&self) -> Result<String, KmsError> {
        uuid(self.entropy())
    }

    /// Drops from memory what was changed since it was read, by whatever process. After this, a
    /// change that was answered before this request came is seen by it.
    pub(crate) fn refresh(&self) -> Result<(), KmsError> {
        let serving = self.serving()?;
        let head = serving
            .cache
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .head;
        let changes = self.parts.store.watch(head).map_err(internal)?;
        if changes.head == head {
            return Ok(());
        }
        let mut cache = serving
            .cache
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        for key in &changes.keys {
            // A key that was disabled, or waits for its deletion, is not to be used: its material leaves
            // this process. One that was changed in another way is opened again at its next use.
            if let Some(Entry::Key(_, record, ..)) = cache.entries.remove(key) {
                for material in record.material_documents(self.home()) {
                    cache.entries.remove(&material);
                }
            }
        }
        cache.head = cache.head.max(changes.head);
        drop(cache);
        match serving::names_root(&changes.keys) {
            true => self.learn_root(),
            false => Ok(()),
        }
    }

    /// The cached record of a document, read and opened when it is not there. What was read is kept only
    /// while nothing else was learnt since: another request may have found it changed meanwhile, and
    /// would not look again.
    pub(crate) fn cached(
        &self,
        key: &str,
        read: fn(&Self, &Document) -> Result<Entry, KmsError>,
    ) -> Result<Option<Entry>, KmsError> {
        let serving = self.serving()?;
        let head = {
            let cache = serving.cache.read();
            let cache = cache.unwrap_or_else(PoisonError::into_inner);
            if let Some(entry) = cache.entries.get(key) {
                return Ok(Some(entry.clone()));
            }
            cache.head
        };
        let document = match self.parts.store.get(key) {
            Ok(Some(document)) => document,
            // What no document can be called, though somebody asks for it, is none.
            Ok(None) | Err(StoreError::InvalidKey { .. }) => return Ok(None),
            Err(error) => return Err(internal(error)),
        };
        let entry = read(self, &document)?;
        let mut cache = serving
            .cache
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        // What was read before a change that others have seen since is not kept: nobody would see the
        // change any more.
        if cache.head == head {
            cache.entries.insert(key.to_owned(), entry.clone());
        }
        Ok(Some(entry))
    }

    pub(crate) fn scan(&self, prefix: &str) -> Result<Vec<Document>, KmsError> {
        self.parts.store.scan(prefix).map_err(internal)
    }

    /// All entries whose documents begin with `prefix`, in the order of their keys.
    pub(crate) fn entries(
        &self,
        prefix: &str,
        read: fn(&Self, &Document) -> Result<Entry, KmsError>,
    ) -> Result<Vec<Entry>, KmsError> {
        let documents = self.scan(prefix)?.into_iter();
        let entries = documents.map(|document| self.cached(&document.key, read));
        entries.filter_map(Result::transpose).collect()
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
        let _log = self.parts.audit.exclusive().map_err(internal)?;
        self.refresh()?;
        let mut batch = Batch::new();
        batch.put(name, expect, self.sealed(name, expect, body.expose())?);
        self.commit_batch(&batch)
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

/// A version 4 UUID (RFC 9562).
fn uuid(entropy: &dyn Entropy) -> Result<String, KmsError> {
    let bytes: [u8; 16] = random::array(entropy).map_err(internal)?;
    Ok(uuid::Builder::from_random_bytes(bytes)
        .into_uuid()
        .hyphenated()
        .to_string())
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
        for document in self.scan(model::KEY_PREFIX)? {
            let Some(due) = self.due(&document.key)? else {
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
            let Some(due) = self.due(&document.key)? else {
                continue;
            };
            let view = self.view(&due.arn.home, None);
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
        let Some(Entry::Key(arn, record, _, revision)) = self.cached(document, Entry::key)? else {
            return Ok(None);
        };
        let view = self.view(&arn.home, None);
        Ok(tend::what(&view, &arn, &record)?.map(|what| Due {
            what,
            arn,
            record,
            revision,
        }))
    }
}

/// `KMSInternalException` with what failed, which is never a secret.
pub(crate) fn internal(what: impl std::fmt::Display) -> KmsError {
    KmsError::new(ErrorCode::Internal, what.to_string())
}

/// An audit record that is committed with its change and not known to be in the log.
#[derive(Serialize, Deserialize)]
struct Pending {
    /// The log had no record of it below this sequence number.
    since_sequence: u64,
    event: Event,
}

#[derive(Default)]
struct Cache {
    /// Everything in `entries` is as new as this head of the store, or newer.
    head: u64,
    entries: HashMap<String, Entry>,
}

/// A record that was read and opened.
#[derive(Clone)]
pub(crate) enum Entry {
    Key(Arc<KeyArn>, Arc<KeyRecord>, Option<Arc<Policy>>, u64),
    Alias(Arc<AliasRecord>, u64),
    Material(Arc<SecretBytes>),
    Principal(Arc<PrincipalEntry>),
    AccessKey(Arc<AccessKeyRecord>),
    Provider(Arc<ProviderEntry>),
    KeyStore(Arc<StoreRecord>, u64),
}

impl Entry {
    fn key_store(engine: &Engine, document: &Document) -> Result<Self, KmsError> {
        let record = Arc::new(engine.open_json(document)?);
        Ok(Self::KeyStore(record, document.revision))
    }

    fn key(engine: &Engine, document: &Document) -> Result<Self, KmsError> {
        let record: KeyRecord = engine.open_json(document)?;
        let policy = record.policy.as_deref();
        // It was read before it was stored. One that cannot be read lets nobody in.
        let policy = policy
            .map(|text| Policy::parse(text, PolicyKind::Key))
            .transpose();
        let policy = policy.map_err(internal)?.map(Arc::new);
        let id = record.id.parse().map_err(internal)?;
        let arn = Arc::new(record.place(engine.home()).key_arn(id));
        Ok(Self::Key(arn, Arc::new(record), policy, document.revision))
    }

    fn alias(engine: &Engine, document: &Document) -> Result<Self, KmsError> {
        let record = Arc::new(engine.open_json(document)?);
        Ok(Self::Alias(record, document.revision))
    }
}

/// A key as one request sees it.
#[derive(Debug, Clone)]
pub struct KeyEntry {
    pub(crate) arn: Arc<KeyArn>,
    pub(crate) record: Arc<KeyRecord>,
    /// None is the default policy.
    pub(crate) policy: Option<Arc<Policy>>,
    pub(crate) revision: u64,
}

/// A grant as one request sees it.
#[derive(Debug, Clone)]
pub struct GrantEntry {
    pub(crate) record: GrantRecord,
    pub(crate) document: String,
    pub(crate) revision: u64,
}

/// An alias as one request sees it.
#[derive(Debug, Clone)]
pub struct AliasEntry {
    pub(crate) name: AliasName,
    pub(crate) record: Arc<AliasRecord>,
    pub(crate) revision: u64,
}

/// State, time and randomness for one request.
#[derive(Debug)]
pub struct View<'e> {
    engine: &'e Engine,
    place: &'e Home,
    /// Who asks, where somebody does.
    caller: Option<&'e Caller>,
    pub(crate) now: OffsetDateTime,
    drawn: Drawn<'e>,
    /// Whom the answer is encrypted for, where a request says so.
    enclave: Option<Enclave>,
}

impl View<'_> {
    /// Verifies whom the answer is to be encrypted for.
    pub(crate) fn attest(&mut self, recipient: Option<&RecipientInfo>) -> Result<(), KmsError> {
        let roots = self.engine.enclaves.get();
        let seconds = self.now.unix_timestamp();
        let enclave = recipient.map(|recipient| Enclave::verified(recipient, roots, seconds));
        self.enclave = enclave.transpose()?;
        Ok(())
    }

    /// Whom the answer is encrypted for.
    pub(crate) fn enclave(&self) -> Option<&Enclave> {
        self.enclave.as_ref()
    }

    /// The members `Plaintext` and `CiphertextForRecipient` of an answer.
    pub(crate) fn handed(
        &self,
        secret: SecretBytes,
    ) -> Result<(SecretBlob, Option<Blob>), KmsError> {
        attestation::handed(secret, self.enclave(), self.entropy())
    }

    /// The place of the request: its Region, and the account of its caller.
    pub(crate) fn home(&self) -> &Home {
        self.place
    }

    /// Who asks.
    pub(crate) fn caller(&self) -> Result<&Caller, KmsError> {
        self.caller.ok_or_else(|| internal("nobody asks"))
    }

    /// The document of an alias in the request's place.
    pub(crate) fn alias_document(&self, alias: &AliasName) -> String {
        alias_document(self.engine.home(), self.place, alias)
    }

    pub(crate) fn entropy(&self) -> &dyn Entropy {
        &self.drawn
    }

    /// Now, as records keep it.
    pub(crate) fn seconds(&self) -> f64 {
        model::seconds(self.now)
    }

    /// The same for what cannot be taken back: see [`Steady`].
    pub(crate) fn steady_seconds(&self) -> f64 {
        let engine = self.engine;
        model::seconds(engine.steady.now(engine.parts.clock.as_ref()))
    }

    /// A UUID; for a multi-Region key `mrk-` and its digits.
    pub(crate) fn new_key_id(&self, is_multi_region: bool) -> Result<KeyId, KmsError> {
        let uuid = uuid(self.entropy())?;
        let text = match is_multi_region {
            true => format!("mrk-{}", uuid.replace('-', "")),
            false => uuid,
        };
        text.parse().map_err(internal)
    }

    /// The key of this id in the request's Region, whichever account it is in.
    pub(crate) fn key(&self, id: &KeyId) -> Result<Option<KeyEntry>, KmsError> {
        let name = key_document(&self.place.region, id);
        let entry = self.engine.cached(&name, Entry::key)?;
        let entry = self.key_entry(entry);
        Ok(entry.filter(|entry| entry.arn.home.region == self.place.region))
    }

    /// Whether a key's deletion was pending, and is due: there is no such key any more.
    fn is_gone(&self, record: &KeyRecord) -> bool {
        record
            .deletion
            .is_some_and(|due| due <= self.steady_seconds())
    }

    fn key_entry(&self, entry: Option<Entry>) -> Option<KeyEntry> {
        match entry {
            Some(Entry::Key(arn, record, policy, revision)) if !self.is_gone(&record) => {
                // Material whose time is over is not there, whether it was removed yet or not.
                let lasting = match record.can_expire() {
                    true => record.without_expired(self.steady_seconds()),
                    false => None,
                };
                let record = lasting.map_or(record, |(_, record)| Arc::new(record));
                Some(KeyEntry {
                    arn,
                    record,
                    policy,
                    revision,
                })
            }
            _ => None,
        }
    }

    pub(crate) fn alias(&self, name: &AliasName) -> Result<Option<AliasEntry>, KmsError> {
        let entry = self
            .engine
            .cached(&self.alias_document(name), Entry::alias)?;
        Ok(match entry {
            Some(Entry::Alias(record, revision)) => Some(AliasEntry {
                name: name.clone(),
                record,
                revision,
            }),
            _ => None,
        })
    }

    /// The custom key store of a key in a device.
    pub(crate) fn store_of(&self, key: &KeyRecord) -> Result<Option<Arc<StoreRecord>>, KmsError> {
        let Some(id) = &key.custom_key_store else {
            return Ok(None);
        };
        let found = self.engine.key_store(id)?;
        Ok(found.map(|(record, _)| record))
    }

    /// Whether any key, those whose time is over included, is in a custom key store.
    pub(crate) fn is_store_in_use(&self, id: &str) -> Result<bool, KmsError> {
        let entries = self.engine.entries(model::KEY_PREFIX, Entry::key)?;
        let mut keys = entries.iter();
        Ok(keys.any(|entry| {
            matches!(entry, Entry::Key(_, record, ..) if record.custom_key_store.as_deref() == Some(id))
        }))
    }

    /// The backing key of one version, which is there.
    pub(crate) fn material(
        &self,
        key: &KeyArn,
        version: u32,
    ) -> Result<Arc<SecretBytes>, KmsError> {
        let name = material_document(&key.home.region, &key.id, version);
        let entry = self.engine.cached(&name, |engine, document| {
            Ok(Entry::Material(Arc::new(engine.opened(document)?)))
        })?;
        match entry {
            Some(Entry::Material(key)) => Ok(key),
            _ => Err(internal(
                "the material of the key is missing from the store",
            )),
        }
    }

    /// All keys of the request's place, in the order of their ids.
    pub(crate) fn keys(&self) -> Result<Vec<KeyEntry>, KmsError> {
        let documents = self.engine.scan(model::KEY_PREFIX)?;
        let mut keys = Vec::new();
        for document in &documents {
            let entry = self.engine.cached(&document.key, Entry::key)?;
            keys.extend(self.key_entry(entry));
        }
        keys.retain(|key| key.arn.home == *self.place);
        Ok(keys)
    }

    /// The key in the other Regions where a multi-Region key is.
    pub(crate) fn siblings(&self, key: &KeyArn) -> Result<Vec<KeyEntry>, KmsError> {
        let mut found = Vec::new();
        if !key.id.is_multi_region() {
            return Ok(found);
        }
        for document in self.engine.scan(&siblings_prefix(&key.id))? {
            let entry = self.engine.cached(&document.key, Entry::key)?;
            found.extend(self.key_entry(entry));
        }
        found.retain(|sibling| *sibling.arn != *key);
        Ok(found)
    }

    /// As [`Engine::seal_for_later`].
    pub(crate) fn seal(&self, name: &str, body: &[u8]) -> Result<Vec<u8>, KmsError> {
        self.engine.seal_for_later(name, body)
    }

    /// As [`Engine::open_sealed`].
    pub(crate) fn open(&self, name: &str, sealed: &[u8]) -> Result<SecretBytes, KmsError> {
        self.engine.open_sealed(name, sealed)
    }

    /// A user or role of the caller's account.
    pub(crate) fn principal(
        &self,
        sort: Sort,
        name: &str,
    ) -> Result<Option<Arc<PrincipalEntry>>, KmsError> {
        self.principal_of(sort, &self.place.account, name)
    }

    /// A user or role of any account.
    pub(crate) fn principal_of(
        &self,
        sort: Sort,
        account: &str,
        name: &str,
    ) -> Result<Option<Arc<PrincipalEntry>>, KmsError> {
        self.engine.principal(sort, account, name)
    }

    /// All users or roles of the caller's account, in the order of their names.
    pub(crate) fn principals(&self, sort: Sort) -> Result<Vec<Arc<PrincipalEntry>>, KmsError> {
        self.engine.principals(sort, &self.place.account)
    }

    /// The engine's own place, whoever asks.
    pub(crate) fn own_home(&self) -> &Home {
        self.engine.home()
    }

    /// The engine.
    pub(crate) fn engine(&self) -> &Engine {
        self.engine
    }

    /// An OpenID Connect provider of the caller's account.
    pub(crate) fn provider(&self, url: &str) -> Result<Option<Arc<ProviderEntry>>, KmsError> {
        self.engine.provider(&self.place.account, url)
    }

    /// All of them, in the order of their names.
    pub(crate) fn providers(&self) -> Result<Vec<Arc<ProviderEntry>>, KmsError> {
        self.engine.providers(&self.place.account)
    }

    /// As [`Engine::session_token`].
    pub(crate) fn session_token(
        &self,
        id: &str,
        session: &Session,
    ) -> Result<SecretBytes, KmsError> {
        self.engine.session_token(id, session)
    }

    /// The grants of a key, in the order of their ids.
    pub(crate) fn grants(&self, key: &KeyArn) -> Result<Vec<GrantEntry>, KmsError> {
        let documents = self
            .engine
            .scan(&grants_prefix(&key.home.region, &key.id))?;
        let entry = |document: &Document| {
            Ok(GrantEntry {
                record: self.engine.open_json(document)?,
                document: document.key.clone(),
                revision: document.revision,
            })
        };
        documents.iter().map(entry).collect()
    }

    /// The last use of the key with this ARN.
    pub(crate) fn last_use(&self, arn: &str) -> Result<Option<KeyLastUsageData>, KmsError> {
        let uses = self.engine.uses.lock();
        let mut uses = uses.unwrap_or_else(PoisonError::into_inner);
        uses.of(self.engine.parts.audit.dir(), arn)
            .map_err(internal)
    }

    /// A fresh id for a grant: 64 hexadecimal digits.
    pub(crate) fn new_grant_id(&self) -> Result<String, KmsError> {
        let bytes: [u8; 32] = random::array(self.entropy()).map_err(internal)?;
        Ok(hex::encode(bytes))
    }

    /// All aliases of the request's place, in the order of their names.
    pub(crate) fn aliases(&self) -> Result<Vec<AliasEntry>, KmsError> {
        let prefix = aliases_prefix(self.engine.home(), self.place);
        let documents = self.engine.scan(&format!("{prefix}alias/"))?;
        let entry = |document: &Document| {
            let name = document.key.strip_prefix(&prefix).unwrap_or_default();
            let name = name.parse().map_err(internal)?;
            let record = Arc::new(self.engine.open_json(document)?);
            Ok(AliasEntry {
                name,
                record,
                revision: document.revision,
            })
        };
        documents.iter().map(entry).collect()
    }

    /// The key that `text` names by id or ARN, and when `aliases` are allowed by alias too.
    pub(crate) fn resolve(&self, text: &str, aliases: Aliases) -> Result<KeyEntry, KmsError> {
        let invalid = || KmsError::new(ErrorCode::NotFound, format!("Invalid keyId '{text}'"));
        let name: KeyRef = text.parse().map_err(|_| invalid())?;
        let place = name.home().unwrap_or(self.place).clone();
        if place.region != self.place.region || place.partition != self.place.partition {
            let message = format!("Invalid arn {}", place.region);
            return Err(KmsError::new(ErrorCode::NotFound, message));
        }
        let id = match name {
            KeyRef::Id(id) if id.is_well_formed() => id,
            KeyRef::Arn(arn) => arn.id,
            KeyRef::Alias(alias) | KeyRef::AliasArn(_, alias) if aliases == Aliases::Allowed => {
                let there = View {
                    engine: self.engine,
                    place: &place,
                    caller: self.caller,
                    now: self.now,
                    drawn: Drawn::new(self.engine.entropy()),
                    enclave: None,
                };
                let entry = there.alias(&alias)?.ok_or_else(|| there.no_alias(&alias))?;
                entry.record.target.parse().map_err(internal)?
            }
            _ => return Err(invalid()),
        };
        let found = self.key(&id)?;
        found
            .filter(|key| key.arn.home.account == place.account)
            .ok_or_else(|| {
                let arn = place.key_arn(id);
                KmsError::new(ErrorCode::NotFound, format!("Key '{arn}' does not exist"))
            })
    }

    pub(crate) fn no_alias(&self, alias: &AliasName) -> KmsError {
        let arn = self.home().alias_arn(alias);
        KmsError::new(ErrorCode::NotFound, format!("Alias {arn} is not found."))
    }
}

/// Whether an operation takes aliases where it takes key ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Aliases {
    /// Cryptographic operations and DescribeKey.
    Allowed,
    /// Management operations.
    Refused,
}
