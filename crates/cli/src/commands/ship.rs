//! `waxseal audit ship`: the trail, copied into an S3 bucket.

use super::Session;
use crate::embedded;
use crate::failure::{Exit, Failure};
use serde_json::json;
use waxseal_aws::{AwsOptions, Bucket, BucketError};
use waxseal_core::bucket::{BucketName, BucketNameError};
use waxseal_kms::Engine;
use waxseal_kms_api::{ErrorCode, KmsError};
use waxseal_server::front::Errand;

/// What was copied.
#[derive(Debug, Default)]
pub(super) struct Told {
    digests: u64,
    files: u64,
}

/// Where to: a bucket, and what its keys begin with.
#[derive(Debug, Clone)]
pub(super) struct Destination {
    url: String,
    bucket: BucketName,
    prefix: String,
}

impl Destination {
    pub(super) fn parse(url: &str) -> Result<Self, Failure> {
        let rest = url.strip_prefix("s3://").filter(|rest| !rest.is_empty());
        let advice = "write s3://BUCKET or s3://BUCKET/PREFIX";
        let wrong = || Failure::usage(format!("'{url}' is no bucket"), advice);
        let (bucket, prefix) = match rest.ok_or_else(wrong)?.split_once('/') {
            Some((bucket, prefix)) => (bucket, prefix.trim_end_matches('/')),
            None => (rest.unwrap_or_default(), ""),
        };
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
        if !prefix.bytes().all(is_plain) {
            return Err(wrong());
        }
        let bucket: BucketName = bucket
            .parse()
            .map_err(|error: BucketNameError| Failure::usage(error.to_string(), advice))?;
        let prefix = match prefix {
            "" => String::new(),
            prefix => format!("{prefix}/"),
        };
        Ok(Self {
            url: format!("s3://{bucket}/{prefix}"),
            bucket,
            prefix,
        })
    }

    pub(super) fn open(&self) -> Result<Bucket, BucketError> {
        pollster::block_on(Bucket::open(&self.bucket, AwsOptions::default()))
    }

    /// Why CloudTrail's verifier does not find digests there, where it does not.
    pub(super) fn remark(&self, engine: &Engine) -> Result<Option<String>, Failure> {
        let named = engine.trail_bucket()?;
        if self.bucket.as_str() == named && self.prefix.is_empty() {
            return Ok(None);
        }
        Ok(Some(format!(
            "digests name the bucket {named}: aws cloudtrail validate-logs finds them only in one of that \
             name, without a prefix (serve --trail-bucket); waxseal audit verify --trail verifies any copy"
        )))
    }

    /// Copies what is not there yet: files, then the digest that speaks of them, each read back. What
    /// was begun and not noted is copied again.
    pub(super) fn ship(&self, engine: &Engine, bucket: &Bucket) -> Result<Told, Failure> {
        let mut told = Told::default();
        while let Some(shipment) = engine.next_shipment(&self.url)? {
            for key in shipment
                .files
                .iter()
                .chain([&shipment.signature, &shipment.digest])
            {
                let parcel = engine.parcel(key)?;
                let place = format!("{}{key}", self.prefix);
                let put = bucket.put(&place, parcel.content, parcel.metadata);
                pollster::block_on(put).map_err(|error| failure(&error))?;
            }
            engine.note_shipped(&self.url, &shipment)?;
            told.files += shipment.files.len() as u64;
            told.digests += 1;
        }
        Ok(told)
    }
}

/// What a server does besides, now and then: ships the trail, and removes what is old of the log.
pub(super) fn errand(
    to: &str,
    days: Option<u32>,
    engine: &Engine,
    session: &Session,
) -> Result<Errand, Failure> {
    let to = Destination::parse(to)?;
    if let Some(remark) = to.remark(engine)? {
        session.report.note(&remark);
    }
    let bucket = to.open().map_err(|error| failure(&error))?;
    Ok(Errand(Box::new(move |engine| {
        let shipped = to.ship(engine, &bucket);
        shipped.map_err(|failure| KmsError::new(ErrorCode::Internal, failure.what))?;
        days.map_or(Ok(0), |days| engine.retain_log(days)).map(drop)
    })))
}

/// Runs `audit ship`.
pub(super) fn run(to: &str, days: Option<u32>, session: &Session) -> Result<(), Failure> {
    let to = Destination::parse(to)?;
    let home = embedded::open(&session.world)?;
    let engine = home.engine();
    if let Some(remark) = to.remark(engine)? {
        session.report.note(&remark);
    }
    let bucket = to.open().map_err(|error| failure(&error))?;
    let Told { digests, files } = to.ship(engine, &bucket)?;
    let removed = days.map_or(Ok(0), |days| engine.retain_log(days))?;
    session.tell(
        &format!(
            "{digests} digests and {files} files were copied to {}; {removed} segments of the log removed",
            to.url
        ),
        || json!({ "digests": digests, "files": files, "to": to.url, "removed": removed }),
    )
}

fn failure(error: &BucketError) -> Failure {
    let what = error.to_string();
    match error {
        BucketError::Configuration(_) => Failure::configuration(
            what,
            "set AWS_ENDPOINT_URL_S3, AWS_REGION and credentials, or a profile, as for the aws command",
        ),
        BucketError::Refused { status: 403, .. } => Failure::new(
            Exit::AccessDenied,
            what,
            "the credentials need s3:PutObject and s3:GetObject on the bucket",
        ),
        BucketError::Different { .. } => Failure::new(
            Exit::Unauthentic,
            what,
            "something between here and there alters what is sent; it is sent again the next time",
        ),
        _ => Failure::new(
            Exit::Unreachable,
            what,
            "what was not copied is copied the next time",
        ),
    }
}
