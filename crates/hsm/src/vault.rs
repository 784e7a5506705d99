//! A device that many AES keys live in.
//!
//! ```text
//! key in the device ─ CKM_AES_CBC_ENCRYPT_DATA (salt 32) ─▶ key of one message ─ AES-256-GCM ─▶ ciphertext | tag
//! ```
//!
//! Both keys are sensitive and not extractable, the first one generated on the device, and able to do
//! nothing but derive. The key of a message is a session object, and destroyed after its one use; its
//! initialization vector and its nonce are zeros, since the salt is fresh.
//!
//! PKCS #11 sessions are not for several threads, and a call into a device's library cannot be
//! interrupted. So a few threads have a session each and work on a queue; who asks waits for a while
//! and no longer, and what nobody waits for any more is not begun.

mod desk;

use crate::token::{self, NotOne, told};
use crate::uri::token::TokenUri;
use cryptoki::context::Pkcs11;
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::MechanismType;
use cryptoki::session::UserType;
use cryptoki::slot::{Limit, Slot, TokenInfo};
use cryptoki::types::AuthPin;
use desk::Desk;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use waxseal_core::SecretBytes;

/// Bytes that the key of one message is derived from.
pub const SALT_BYTES: usize = 32;

/// How long anybody waits for a device.
const DEADLINE: Duration = Duration::from_secs(5);
/// The most sessions with one device.
const SESSIONS_MAX: u64 = 4;

/// What a device must be able to do.
const NEEDED: [(MechanismType, &str); 3] = [
    (MechanismType::AES_KEY_GEN, "CKM_AES_KEY_GEN"),
    (MechanismType::AES_GCM, "CKM_AES_GCM"),
    (
        MechanismType::AES_CBC_ENCRYPT_DATA,
        "CKM_AES_CBC_ENCRYPT_DATA",
    ),
];

/// Why a device did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VaultError {
    /// The device, or its library, is not there, or the login is over.
    #[error("{0}")]
    Gone(String),
    /// The device cannot do what is needed of it.
    #[error("{0}")]
    Unfit(String),
    /// The PIN was refused. It was tried once.
    #[error("the device refused the PIN")]
    WrongPin,
    /// The device lets its user in no more.
    #[error("the device locked its user out")]
    Locked,
    /// The device's user has no PIN.
    #[error("the device's user has no PIN yet")]
    NoUser,
    /// This process is logged in already, so that the device would not look at the PIN.
    #[error("this process is logged in to the device already")]
    LoggedIn,
    /// There is no such key, or it is not as it must be.
    #[error("{0}")]
    Key(String),
    /// The tag is wrong.
    #[error("not authentic")]
    Unauthentic,
    /// There was no answer in time.
    #[error("the device did not answer in time")]
    Late,
}

/// A device by its name. Nothing is open.
#[derive(Debug)]
pub struct Vault {
    uri: TokenUri,
    /// Whether a login is under way, or hangs.
    is_connecting: Arc<AtomicBool>,
}

/// A device, logged in.
pub struct OpenVault {
    queue: Mutex<Option<Sender<Job>>>,
    /// Disconnected once no session is left.
    ended: Mutex<Receiver<()>>,
}

type Job = Box<dyn FnOnce(&mut Desk) + Send>;

impl std::fmt::Debug for OpenVault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OpenVault")
    }
}

impl Vault {
    /// The device of this name.
    pub fn new(uri: TokenUri) -> Self {
        Self {
            uri,
            is_connecting: Arc::default(),
        }
    }

    /// Whether the device is there, and can do what is needed. Nobody logs in.
    ///
    /// # Errors
    /// [`VaultError`].
    pub fn look(&self) -> Result<(), VaultError> {
        let uri = self.uri.clone();
        self.apart(move || found(&uri).map(drop))
    }

    /// Logs in. The PIN is tried once, and not at all where the device says that it is locked.
    ///
    /// # Errors
    /// [`VaultError`].
    pub fn connect(&self, pin: &SecretBytes) -> Result<OpenVault, VaultError> {
        let (uri, pin) = (self.uri.clone(), SecretBytes::copy_of(pin.expose()));
        self.apart(move || OpenVault::open(&uri, &pin))
    }

    /// Does it in a thread of its own, and waits as long as one waits. While one hangs, no other is
    /// begun.
    fn apart<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, VaultError> + Send + 'static,
    ) -> Result<T, VaultError> {
        if self.is_connecting.swap(true, Ordering::AcqRel) {
            return Err(VaultError::Late);
        }
        let flag = Flag(self.is_connecting.clone());
        let (answer, answers) = mpsc::sync_channel(1);
        let spawned = std::thread::Builder::new()
            .name("device".to_owned())
            .spawn(move || {
                let done = work();
                drop(flag);
                // Who does not wait any more does not get it.
                let _ = answer.send(done);
            });
        spawned.map_err(|error| VaultError::Gone(error.to_string()))?;
        answers
            .recv_timeout(DEADLINE)
            .unwrap_or(Err(VaultError::Late))
    }
}

/// Lowered when it is dropped.
struct Flag(Arc<AtomicBool>);

impl Drop for Flag {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl OpenVault {
    fn open(uri: &TokenUri, pin: &SecretBytes) -> Result<Self, VaultError> {
        let (device, slot, token) = found(uri)?;
        if !token.user_pin_initialized() {
            return Err(VaultError::NoUser);
        }
        if token.user_pin_locked() {
            return Err(VaultError::Locked);
        }
        let most = match token.max_rw_session_count() {
            Limit::Max(most) => most.clamp(1, SESSIONS_MAX),
            Limit::Unavailable | Limit::Infinite => SESSIONS_MAX,
        };
        let first = device.open_rw_session(slot).map_err(|error| gone(&error))?;
        let text = std::str::from_utf8(pin.expose()).map_err(|_| VaultError::WrongPin)?;
        first
            .login(UserType::User, Some(&AuthPin::from(text.to_owned())))
            .map_err(|error| match error {
                Error::Pkcs11(RvError::UserAlreadyLoggedIn, _) => VaultError::LoggedIn,
                Error::Pkcs11(RvError::PinLocked, _) => VaultError::Locked,
                Error::Pkcs11(RvError::UserPinNotInitialized, _) => VaultError::NoUser,
                Error::Pkcs11(
                    RvError::PinIncorrect
                    | RvError::PinInvalid
                    | RvError::PinLenRange
                    | RvError::PinExpired,
                    _,
                ) => VaultError::WrongPin,
                error => gone(&error),
            })?;
        let mut sessions = vec![first];
        while (sessions.len() as u64) < most {
            // A device that has no more to give works with those that there are.
            let Ok(session) = device.open_rw_session(slot) else {
                break;
            };
            sessions.push(session);
        }
        let (queue, jobs) = mpsc::channel::<Job>();
        let jobs = Arc::new(Mutex::new(jobs));
        let (alive, ended) = mpsc::channel();
        for session in sessions {
            let (jobs, alive) = (jobs.clone(), alive.clone());
            let mut desk = Desk::new(session);
            std::thread::Builder::new()
                .name("device".to_owned())
                .spawn(move || {
                    work(&jobs, &mut desk);
                    drop(desk);
                    drop(alive);
                })
                .map_err(|error| VaultError::Gone(error.to_string()))?;
        }
        Ok(Self {
            queue: Mutex::new(Some(queue)),
            ended: Mutex::new(ended),
        })
    }

    /// Makes a key of this label, and tries it out.
    ///
    /// # Errors
    /// [`VaultError`].
    pub fn generate(&self, label: &str) -> Result<(), VaultError> {
        let label = label.to_owned();
        self.ask(move |desk| desk.generate(&label))
    }

    /// Encrypts under a key that is derived from the key of this label and `salt`.
    ///
    /// # Errors
    /// [`VaultError`].
    pub fn encrypt(
        &self,
        label: &str,
        salt: [u8; SALT_BYTES],
        associated: Vec<u8>,
        plaintext: SecretBytes,
    ) -> Result<Vec<u8>, VaultError> {
        let label = label.to_owned();
        self.ask(move |desk| desk.encrypt(&label, &salt, &associated, &plaintext))
    }

    /// The reverse.
    ///
    /// # Errors
    /// [`VaultError`].
    pub fn decrypt(
        &self,
        label: &str,
        salt: [u8; SALT_BYTES],
        associated: Vec<u8>,
        sealed: Vec<u8>,
    ) -> Result<SecretBytes, VaultError> {
        let label = label.to_owned();
        self.ask(move |desk| desk.decrypt(&label, &salt, &associated, &sealed))
    }

    /// Destroys the key of this label, if it is there.
    ///
    /// # Errors
    /// [`VaultError`].
    pub fn destroy(&self, label: &str) -> Result<(), VaultError> {
        let label = label.to_owned();
        self.ask(move |desk| desk.destroy(&label))
    }

    /// Random bytes of the device's own.
    ///
    /// # Errors
    /// [`VaultError`].
    pub fn random(&self, bytes: usize) -> Result<SecretBytes, VaultError> {
        self.ask(move |desk| desk.random(bytes))
    }

    /// Ends the sessions, and with the last of them the login. Waits for what is under way.
    pub fn close(&self) {
        let queue = self
            .queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        drop(queue);
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        // Nothing is ever sent: this ends when the last session did, or when it takes too long.
        let _ = ended.recv_timeout(DEADLINE);
    }

    fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Desk) -> Result<T, VaultError> + Send + 'static,
    ) -> Result<T, VaultError> {
        let closed = || VaultError::Gone("the store was disconnected".to_owned());
        let deadline = Instant::now() + DEADLINE;
        let (answer, answers) = mpsc::sync_channel(1);
        let job: Job = Box::new(move |desk| {
            if Instant::now() < deadline {
                // Who does not wait any more does not get it.
                let _ = answer.send(work(desk));
            }
        });
        {
            let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            let queue = queue.as_ref().ok_or_else(closed)?;
            queue.send(job).map_err(|_| closed())?;
        }
        answers
            .recv_timeout(DEADLINE)
            .map_err(|error| match error {
                RecvTimeoutError::Timeout => VaultError::Late,
                RecvTimeoutError::Disconnected => closed(),
            })?
    }
}

impl Drop for OpenVault {
    /// Sessions end before whoever had the device goes on, to the end of the process for instance: a
    /// library that is torn down does not bear calls.
    fn drop(&mut self) {
        self.close();
    }
}

/// Works until nobody can ask any more.
fn work(jobs: &Mutex<Receiver<Job>>, desk: &mut Desk) {
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match job {
            Ok(job) => job(desk),
            Err(_) => return,
        }
    }
}

/// The one token that the name fits, able to do what is needed.
fn found(uri: &TokenUri) -> Result<(Pkcs11, Slot, TokenInfo), VaultError> {
    let device = token::loaded(&uri.module).map_err(VaultError::Gone)?;
    let one = token::one(&device, uri.token.as_deref(), uri.serial.as_deref());
    let (slot, token) = one.map_err(|why| match why {
        NotOne::Failed(why) | NotOne::Absent(why) => VaultError::Gone(why),
        NotOne::Several(why) => VaultError::Unfit(why),
    })?;
    let able = device
        .get_mechanism_list(slot)
        .map_err(|error| gone(&error))?;
    for (mechanism, named) in NEEDED {
        if !able.contains(&mechanism) {
            return Err(VaultError::Unfit(format!("it has no {named}")));
        }
    }
    Ok((device, slot, token))
}

fn gone(error: &Error) -> VaultError {
    VaultError::Gone(told(error))
}
