//! What is right with a key in Amazon KMS, and what is not: asked of the service, with nothing used.

use crate::connection::AwsKms;
use aws_sdk_kms::Client;
use aws_sdk_kms::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_kms::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_kms::error::{BoxError, ProvideErrorMetadata};
use aws_sdk_kms::types::{DataKeySpec, DryRunModifierType};
use std::sync::{Arc, Mutex, PoisonError};
use waxseal_core::{KeyRef, KeyringError};

/// What a dry run answers to those who may.
const DRY_RUN: &str = "DryRunOperationException";

/// What was found out about a key and the way to it.
#[derive(Debug)]
pub struct Examination {
    /// The time that the service's first answer says it is (`Date`, RFC 9110): an answer of whatever
    /// kind means that the endpoint was reached.
    pub date: Option<String>,
    /// ARN, state and usage of the key, in words.
    pub key: Result<String, KeyringError>,
    /// Whether a data key would be made.
    pub generate: Result<(), KeyringError>,
    /// Whether a data key would be opened.
    pub decrypt: Result<(), KeyringError>,
}

/// Notes the date of an answer.
#[derive(Debug, Default)]
struct Dates(Arc<Mutex<Option<String>>>);

impl Intercept for Dates {
    fn name(&self) -> &'static str {
        "Dates"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let date = context.response().headers().get("date");
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *kept = date.map(str::to_owned);
        Ok(())
    }
}

impl AwsKms {
    /// Looks at a key: DescribeKey, and dry runs of GenerateDataKey and Decrypt.
    pub async fn examine(self: &Arc<Self>, key: &KeyRef) -> Examination {
        let label = key.to_string();
        let region = key.home().map(|home| home.region.as_str());
        let dates = Dates::default();
        let noted = dates.0.clone();
        let id = label.clone();
        let describe = move |client: Client| async move {
            let request = client.describe_key().key_id(id).customize();
            request.interceptor(dates).send().await
        };
        let described = self.send(region, &label, describe).await;
        let described = described.map(|answer| {
            let known = answer.key_metadata;
            let text = known.as_ref().map(|known| {
                let state = known.key_state().map_or("", |state| state.as_str());
                let usage = known.key_usage().map_or("", |usage| usage.as_str());
                format!("{} is {state}, for {usage}", known.arn().unwrap_or(&label))
            });
            text.unwrap_or_default()
        });
        let id = label.clone();
        let generate = move |client: Client| async move {
            let request = client.generate_data_key().key_id(id);
            let request = request.key_spec(DataKeySpec::Aes256).dry_run(true);
            match request.send().await {
                Err(error) if is_yes(&error) => Ok(()),
                other => other.map(drop),
            }
        };
        let generate = self.send(region, &label, generate).await;
        let id = label.clone();
        let decrypt = move |client: Client| async move {
            let request = client.decrypt().key_id(id).dry_run(true);
            let request = request.dry_run_modifiers(DryRunModifierType::IgnoreCiphertext);
            match request.send().await {
                Err(error) if is_yes(&error) => Ok(()),
                other => other.map(drop),
            }
        };
        let decrypt = self.send(region, &label, decrypt).await;
        let date = noted.lock().unwrap_or_else(PoisonError::into_inner).take();
        Examination {
            date,
            key: described.map_err(Into::into),
            generate: generate.map_err(Into::into),
            decrypt: decrypt.map_err(Into::into),
        }
    }
}

/// Whether an error is the one that means yes.
fn is_yes(error: &impl ProvideErrorMetadata) -> bool {
    error.code() == Some(DRY_RUN)
}
