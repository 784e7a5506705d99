//! The way of a request, in types.
//!
//! ```text
//! Authenticated<O>  a caller who was identified, and what they ask
//!   └─ authorize ─▶ Authorized<O>   the same, with every name resolved and every access allowed
//!        └─ run ─▶ Outcome<O>       an answer or an error, and the changes that go with it
//!             └─ record ─▶ Recorded<O>  the outcome is durable in the audit log
//!                  └─ answer ─▶ Result<O::Output, KmsError>
//! ```
//!
//! A refusal at any step is an outcome too: it is recorded before it is answered. Each type
//! is made only by the step before it, so a request cannot skip one.

pub use crate::caller::Caller;

use crate::audit::{Event, EventError, Resource as EventResource};
use crate::authorize::{self, Access, Asked};
use crate::engine::{Engine, View};
use crate::op::{NewKey, Perform};
use crate::store::Expect;
use serde_json::Value;
use std::sync::Arc;
use waxseal_core::arn::Home;
use waxseal_core::crypto::random::Drawn;
use waxseal_core::{KeyArn, SecretBytes};
use waxseal_kms_api::members::Members;
use waxseal_kms_api::{ErrorCode, KmsError};

/// Who asks, and where.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) caller: Caller,
    /// The Region of the request, and the account of its caller.
    pub(crate) place: Arc<Home>,
    /// Randomness for its ids and keys.
    pub(crate) drawn: Drawn,
}

/// A request whose caller is known.
#[derive(Debug)]
pub struct Authenticated<O> {
    origin: Origin,
    asking: Asking<O>,
}

/// What is asked.
#[derive(Debug)]
pub(crate) struct Asking<O> {
    request_id: String,
    input: O,
}

impl<O: Perform> Authenticated<O> {
    /// A request of somebody who proved to be the caller in `origin`: by a signature, or by opening the
    /// root key of an embedded KMS. `request_id` is a fresh UUID.
    pub(crate) fn new(origin: Origin, request_id: String, input: O) -> Self {
        Self {
            origin,
            asking: Asking { request_id, input },
        }
    }

    /// Whether it waits for a device.
    pub(crate) fn waits(&self, engine: &Engine) -> bool {
        let Origin { caller, place, .. } = &self.origin;
        engine.has_devices() && self.asking.input.waits(&engine.view(place, Some(caller)))
    }

    /// Who asks, where, and with which randomness, for the view of the state that the rest is looked at
    /// through.
    pub(crate) fn apart(self) -> (Caller, Arc<Home>, Drawn, Asking<O>) {
        let Origin {
            caller,
            place,
            drawn,
        } = self.origin;
        (caller, place, drawn, self.asking)
    }

    /// A fresh UUID, as in the audit log.
    pub fn request_id(&self) -> &str {
        &self.asking.request_id
    }
}

impl<O: Perform> Asking<O> {
    /// What takes long, made for a caller who may have it as things are. All is asked again before it is
    /// used: see [`Asking::authorize`].
    pub(crate) fn made_ahead(&self, view: &View<'_>) -> Option<NewKey> {
        let parameters = self.input.logged();
        self.input.validate().ok()?;
        let needs = self.input.needs(view).ok()?;
        allowed(&needs.accesses, &parameters, view).ok()?;
        self.input.made_ahead(view)
    }

    /// Resolves what the request names and asks whether the caller, who is the view's, may do it.
    pub(crate) fn authorize(self, view: &mut View<'_>) -> Result<Authorized<O>, Box<Outcome<O>>> {
        let Self { request_id, input } = self;
        let parameters = input.logged();
        let mut about = About {
            request_id,
            parameters,
            accesses: Vec::new(),
        };
        let checked = input.validate();
        let checked = checked.and_then(|()| view.attest(input.recipient()));
        let view = &*view;
        let needs = match checked.and_then(|()| input.needs(view)) {
            Ok(needs) => needs,
            Err(error) => return Err(about.refused(error)),
        };
        about.accesses = needs.accesses;
        match allowed(&about.accesses, &about.parameters, view) {
            Ok(()) => Ok(Authorized {
                about,
                input,
                target: needs.target,
            }),
            Err(error) => Err(about.refused(error)),
        }
    }
}

/// Whether the caller, who is the view's, may have all of these.
fn allowed(accesses: &[Access], parameters: &Members, view: &View<'_>) -> Result<(), KmsError> {
    let asked = Asked {
        caller: view.caller()?,
        parameters,
        view,
    };
    let mut accesses = accesses.iter();
    accesses.try_for_each(|access| authorize::decide(&asked, access))
}

/// What is known of a request before its outcome.
struct About {
    request_id: String,
    parameters: Members,
    accesses: Vec<Access>,
}

impl About {
    fn refused<O: Perform>(self, error: KmsError) -> Box<Outcome<O>> {
        Box::new(Outcome {
            about: self,
            result: Err(error),
        })
    }
}

/// A request that its caller may make.
pub(crate) struct Authorized<O: Perform> {
    about: About,
    input: O,
    target: O::Target,
}

impl<O: Perform> Authorized<O> {
    /// Does it.
    pub(crate) fn run(self, view: &View<'_>) -> Outcome<O> {
        let is_dry_run = self.input.is_dry_run();
        let result = self.input.run(self.target, view);
        let result = match result {
            // What it would have changed is not, and its answer goes no further.
            Ok(_) if is_dry_run => Err(KmsError::new(
                ErrorCode::DryRun,
                "The request would have succeeded, but the DryRun option is set.",
            )),
            other => other,
        };
        Outcome {
            about: self.about,
            result,
        }
    }
}

/// A change of one document, not yet sealed.
pub(crate) struct Change {
    pub(crate) key: String,
    pub(crate) expect: Expect,
    /// `None` deletes.
    pub(crate) body: Option<SecretBytes>,
}

/// What an operation gives.
pub struct Done<T> {
    pub(crate) output: T,
    pub(crate) changes: Vec<Change>,
    /// `responseElements` of the audit record: null for cryptographic operations.
    pub(crate) response_elements: Option<Value>,
    /// `additionalEventData` of the audit record.
    pub(crate) additional: Members,
    /// A key that did not exist before the request, for `resources` of the audit record.
    pub(crate) created: Option<KeyArn>,
}

impl<T> Done<T> {
    pub(crate) fn read(output: T) -> Self {
        Self {
            output,
            changes: Vec::new(),
            response_elements: None,
            additional: Members::new(),
            created: None,
        }
    }
}

impl<T> std::fmt::Debug for Done<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Done({} changes)", self.changes.len())
    }
}

/// What came of a request: done or refused, and not yet recorded.
pub(crate) struct Outcome<O: Perform> {
    about: About,
    result: Result<Done<O::Output>, KmsError>,
}

impl<O: Perform> Outcome<O> {
    /// Changes to commit; taken once.
    pub(crate) fn take_changes(&mut self) -> Vec<Change> {
        match &mut self.result {
            Ok(done) => std::mem::take(&mut done.changes),
            Err(_) => Vec::new(),
        }
    }

    /// The id of the request; taken once.
    pub(crate) fn take_request_id(&mut self) -> String {
        std::mem::take(&mut self.about.request_id)
    }

    /// Turns the outcome into a failure whose changes were not made.
    pub(crate) fn fail(&mut self, error: KmsError) {
        self.result = Err(error);
    }

    /// The audit record of a request of `caller`. It gets what the outcome has for it, but for what the
    /// record of a change that then fails ([`Outcome::fail`]) needs again.
    pub(crate) fn event<'a>(
        &'a mut self,
        caller: &'a Caller,
        view: &'a View<'_>,
        event_id: &'a str,
    ) -> Event<'a> {
        let About {
            request_id,
            parameters,
            accesses,
        } = &mut self.about;
        let parameters = match O::MUTATES {
            true => parameters.clone(),
            false => std::mem::take(parameters),
        };
        let (error, response_elements, mut additional) = match &mut self.result {
            Ok(done) => (
                None,
                done.response_elements.take(),
                std::mem::take(&mut done.additional),
            ),
            Err(error) => (
                Some(EventError {
                    code: error.code.name().to_owned(),
                    message: error.message.clone().unwrap_or_default(),
                }),
                None,
                Members::new(),
            ),
        };
        if let Some(enclave) = view.enclave() {
            additional.insert("recipient", enclave.told());
        }
        let mut resources: Vec<EventResource<'_>> = Vec::new();
        if let Ok(Done {
            created: Some(key), ..
        }) = &self.result
        {
            resources.push(EventResource {
                arn: key.text().into(),
                account_id: (&key.home.account).into(),
            });
        }
        for access in &*accesses {
            if let Some(arn) = access.resource.arn()
                && !resources.iter().any(|resource| resource.arn == arn)
            {
                resources.push(EventResource {
                    arn: arn.into(),
                    account_id: access.resource.account().into(),
                });
            }
        }
        Event {
            event_id: event_id.into(),
            event_time: view.now,
            event_source: match O::SERVICE {
                "kms" => "kms.amazonaws.com".into(),
                service => format!("{service}.amazonaws.com").into(),
            },
            event_name: O::NAME.into(),
            aws_region: (&view.home().region).into(),
            account_id: (&view.home().account).into(),
            user_identity: caller.identity(),
            source_ip_address: caller.source_ip_address().into(),
            user_agent: caller.user_agent().into(),
            request_id: request_id.as_str().into(),
            request_parameters: Some(parameters),
            response_elements,
            additional,
            resources,
            read_only: !O::MUTATES,
            error,
        }
    }

    /// Says that the record is durable. Called by the engine once it is.
    pub(crate) fn recorded(self) -> Recorded<O> {
        Recorded {
            result: self.result,
        }
    }
}

/// An outcome whose record is durable: the only thing that can be answered.
pub(crate) struct Recorded<O: Perform> {
    result: Result<Done<O::Output>, KmsError>,
}

impl<O: Perform> Recorded<O> {
    /// The answer.
    pub(crate) fn answer(self) -> Result<O::Output, KmsError> {
        self.result.map(|done| done.output)
    }
}
