//! A request as a name and bytes: what a server has.

use crate::audit::Ticket;
use crate::caller::Caller;
use crate::chosen::chooses;
use crate::engine::{Engine, internal};
use crate::op::Perform;
use waxseal_core::SecretBytes;
use waxseal_kms_api::op::*;
use waxseal_kms_api::{KmsError, each_operation, wire};

/// What a request came to.
#[derive(Debug)]
pub struct Answered {
    /// As in the audit log.
    pub request_id: String,
    /// The body of the answer, or the error.
    pub result: Result<SecretBytes, KmsError>,
}

/// A request that is done, and whose record is not durable yet.
#[derive(Debug)]
pub struct Waiting {
    ticket: Ticket,
    answered: Answered,
}

impl Waiting {
    /// The answer, once its record is durable.
    ///
    /// # Errors
    /// `KMSInternalException` when it cannot be recorded.
    pub async fn recorded(self) -> Result<Answered, KmsError> {
        self.ticket.await.map_err(internal)?;
        Ok(self.answered)
    }
}

macro_rules! dispatch {
    ($( $input:ident -> $output:ident: $name:literal; )*) => {
        impl Engine {
            /// Does the operation of this name in `region`, with the input in `body` (AWS JSON
            /// 1.1).
            ///
            /// Like [`Engine::call`], it answers only what is recorded: a body that is no input, and a
            /// name that no operation has, as well.
            ///
            /// # Errors
            /// `KMSInternalException` when there is no randomness for a request id; every other
            /// error is in [`Answered::result`].
            pub fn answer(
                &self,
                caller: Caller,
                region: &str,
                operation: &str,
                body: &[u8],
            ) -> Result<Answered, KmsError> {
                if operation == "CreateKey" && self.lets_tags_choose() && chooses(body) {
                    return self.answer_chosen(caller, region, body);
                }
                match operation {
                    $( $name => self.answer_input::<$input>(caller, region, body), )*
                    name => {
                        self.refuse(&caller, ("kms", region), name, wire::unknown_operation())
                    }
                }
            }

            /// As [`Engine::answer`], without waiting for the record, and for operations that
            /// [`quick`] knows.
            ///
            /// # Errors
            /// As the answer's; also for operations that are not quick, and for keys in devices.
            /// Nothing is recorded then.
            pub fn begin_answer(
                &self,
                caller: Caller,
                region: &str,
                operation: &str,
                body: &[u8],
            ) -> Result<Waiting, KmsError> {
                match operation {
                    $( $name if <$input as Perform>::IS_QUICK => {
                        self.begin_one::<$input>(caller, region, body)
                    } )*
                    _ => Err(wire::unknown_operation()),
                }
            }
        }
    };
}

each_operation!(dispatch);

macro_rules! find_quick {
    ($( $input:ident -> $output:ident: $name:literal; )*) => {
        /// The operation of this name, if it takes microseconds and changes nothing: a server does
        /// it without a thread of its own.
        pub fn quick(operation: &str) -> Option<&'static str> {
            match operation {
                $( $name if <$input as Perform>::IS_QUICK => Some($name), )*
                _ => None,
            }
        }
    };
}

each_operation!(find_quick);

impl Engine {
    /// Does the operation whose input is `O`, as [`Engine::answer`] does one by its name.
    ///
    /// # Errors
    /// As [`Engine::answer`].
    pub fn answer_input<O: Perform>(
        &self,
        caller: Caller,
        region: &str,
        body: &[u8],
    ) -> Result<Answered, KmsError> {
        let input = match wire::input::<O>(body) {
            Ok(input) => input,
            Err(error) => return self.refuse(&caller, (O::SERVICE, region), O::NAME, error),
        };
        let request = self.by_caller(caller, region, input)?;
        let request_id = request.request_id().to_owned();
        let result = self.call(request).and_then(|output| wire::output(&output));
        Ok(Answered { request_id, result })
    }

    fn begin_one<O: Perform>(
        &self,
        caller: Caller,
        region: &str,
        body: &[u8],
    ) -> Result<Waiting, KmsError> {
        let request = self.by_caller(caller, region, wire::input::<O>(body)?)?;
        if request.waits(self) {
            return Err(internal("the request needs a thread of its own"));
        }
        let (mut outcome, ticket) = self.begin(request)?;
        let request_id = outcome.take_request_id();
        // It goes nowhere before the ticket is honoured.
        let result = outcome.recorded().answer();
        let result = result.and_then(|output| wire::output(&output));
        let answered = Answered { request_id, result };
        Ok(Waiting { ticket, answered })
    }

    /// Refuses what never became a request, and records it. `service` and `region` are what it was
    /// for, `operation` is what was asked for, as somebody wrote it.
    ///
    /// # Errors
    /// `KMSInternalException` when it cannot be recorded.
    pub fn refuse(
        &self,
        caller: &Caller,
        (service, region): (&str, &str),
        operation: &str,
        error: KmsError,
    ) -> Result<Answered, KmsError> {
        let request_id = self.request_id()?;
        self.record_refusal(caller, (service, region), operation, &request_id, &error)?;
        Ok(Answered {
            request_id,
            result: Err(error),
        })
    }
}
