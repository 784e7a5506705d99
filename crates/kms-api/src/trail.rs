//! The trail, read as AWS tools read one: of CloudTrail (API version 2013-11-01, JSON 1.1) and of
//! Amazon S3 (API version 2006-03-01, XML) what `aws cloudtrail validate-logs` and `lookup-events`
//! need. Nothing can be written.

use crate::error::{ErrorCode, KmsError};
use crate::model::{Rule, Shape, patterns, shapes};
use crate::op::Operation;
use crate::shape::{Blob, Timestamp};
use std::fmt::Write as _;

/// What requests to CloudTrail are signed for.
pub const CLOUDTRAIL: &str = "cloudtrail";
/// What requests to S3 are signed for.
pub const S3: &str = "s3";
/// What `X-Amz-Target` of requests to CloudTrail begins with.
pub const TARGET_PREFIX: &str = "com.amazonaws.cloudtrail.v20131101.CloudTrail_20131101.";
/// The media type of answers of S3.
pub const XML: &str = "application/xml";

shapes! {
    /// Tells where the trail is.
    DescribeTrailsRequest {}

    /// Answer of DescribeTrails.
    DescribeTrailsResponse {
        /// There is one.
        trails: Vec<Trail> => "trailList", Rule::list_of(<Trail as Shape>::MEMBERS);
    }

    /// A trail.
    #[derive(Clone, PartialEq)]
    Trail {
        /// Its name.
        name: String => "Name", Rule::any_text();
        /// Where its files are.
        bucket: String => "S3BucketName", Rule::any_text();
        /// Its ARN.
        arn: String => "TrailARN", Rule::any_text();
        /// Where it is.
        home_region: String => "HomeRegion", Rule::any_text();
        /// It has the events of all Regions.
        is_multi_region: bool => "IsMultiRegionTrail", Rule::flag();
        /// Its files are digested.
        validates: bool => "LogFileValidationEnabled", Rule::flag();
        /// It has STS's events as well.
        includes_global: bool => "IncludeGlobalServiceEvents", Rule::flag();
        /// It is of one account.
        is_organization: bool => "IsOrganizationTrail", Rule::flag();
    }

    /// Tells the public keys that digests are verified with.
    ListPublicKeysRequest {
        /// Keys that signed at this time or later; now when not given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        start_time: Option<Timestamp> => "StartTime", Rule::time();
        /// Keys that signed at this time or before; now when not given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        end_time: Option<Timestamp> => "EndTime", Rule::time();
    }

    /// Answer of ListPublicKeys.
    ListPublicKeysResponse {
        /// The keys.
        keys: Vec<PublicKey> => "PublicKeyList", Rule::list_of(<PublicKey as Shape>::MEMBERS);
    }

    /// A public key.
    PublicKey {
        /// PKCS #1, in DER.
        value: Blob => "Value", Rule::blob(1, 8192);
        /// Since when it signs.
        start: Timestamp => "ValidityStartTime", Rule::time();
        /// Until when.
        end: Timestamp => "ValidityEndTime", Rule::time();
        /// What digests call it.
        fingerprint: String => "Fingerprint", Rule::any_text();
    }

    /// Looks for events, the newest first.
    LookupEventsRequest {
        /// What they must be like; all of them.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        attributes: Vec<LookupAttribute> => "LookupAttributes", Rule::list_of(<LookupAttribute as Shape>::MEMBERS).sized(0, 1);
        /// Events from this time on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        start_time: Option<Timestamp> => "StartTime", Rule::time();
        /// Events until this time.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        end_time: Option<Timestamp> => "EndTime", Rule::time();
        /// 50 when not given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_results: Option<i64> => "MaxResults", Rule::number(1, 50);
        /// Where the last page ended.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next_token: Option<String> => "NextToken", Rule::any_text();
    }

    /// What events must be like.
    #[derive(Clone, PartialEq)]
    LookupAttribute {
        /// Which attribute.
        name: String => "AttributeKey", Rule::one_of(ATTRIBUTES).required();
        /// Its value.
        value: String => "AttributeValue", Rule::text(1, 2000).required();
    }

    /// Answer of LookupEvents.
    LookupEventsResponse {
        /// A page of them.
        events: Vec<FoundEvent> => "Events", Rule::list_of(<FoundEvent as Shape>::MEMBERS);
        /// Asks for the next page.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next_token: Option<String> => "NextToken", Rule::any_text();
    }

    /// An event.
    FoundEvent {
        /// A UUID.
        id: String => "EventId", Rule::any_text();
        /// The operation.
        name: String => "EventName", Rule::any_text();
        /// `true` or `false`.
        read_only: String => "ReadOnly", Rule::any_text();
        /// Who signed, where somebody did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        access_key_id: Option<String> => "AccessKeyId", Rule::any_text();
        /// When.
        time: Timestamp => "EventTime", Rule::time();
        /// The service.
        source: String => "EventSource", Rule::any_text();
        /// A user, or a session.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        username: Option<String> => "Username", Rule::any_text();
        /// Keys and roles.
        resources: Vec<FoundResource> => "Resources", Rule::list_of(<FoundResource as Shape>::MEMBERS);
        /// All of it: JSON text.
        event: String => "CloudTrailEvent", Rule::any_text();
    }

    /// What an event was on.
    FoundResource {
        /// `AWS::KMS::Key`
        kind: String => "ResourceType", Rule::any_text();
        /// Its ARN.
        name: String => "ResourceName", Rule::any_text();
    }

    /// Tells where a bucket is.
    GetBucketLocationRequest {
        /// Its name.
        bucket: String => "bucketName", Rule::text(1, 255).required();
    }

    /// Answer of GetBucketLocation.
    GetBucketLocationResponse {
        /// A Region.
        location: String => "LocationConstraint", Rule::any_text();
    }

    /// Lists a bucket.
    ListObjectsRequest {
        /// Its name.
        bucket: String => "bucketName", Rule::text(1, 255).required();
        /// What keys begin with.
        prefix: String => "prefix", Rule::text(0, 1024);
        /// The key that the last page ended with.
        marker: String => "marker", Rule::text(0, 1024);
        /// 1,000 when not given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_keys: Option<i64> => "maxKeys", Rule::number(0, 1_000_000);
    }

    /// Answer of ListObjects.
    ListObjectsResponse {
        /// Keys and lengths in bytes, in the order of the keys.
        objects: Vec<ObjectEntry> => "Contents", Rule::list_of(<ObjectEntry as Shape>::MEMBERS);
        /// Whether there are more.
        is_truncated: bool => "IsTruncated", Rule::flag();
        /// As asked for.
        bucket: String => "Name", Rule::any_text();
        /// As asked for.
        prefix: String => "Prefix", Rule::any_text();
        /// As asked for.
        marker: String => "Marker", Rule::any_text();
    }

    /// An object in a list.
    ObjectEntry {
        /// Its key.
        key: String => "Key", Rule::any_text();
        /// Its length in bytes.
        bytes: i64 => "Size", Rule::number(0, i64::MAX);
    }

    /// Reads an object.
    GetObjectRequest {
        /// The bucket's name.
        bucket: String => "bucketName", Rule::text(1, 255).required();
        /// The object's key.
        key: String => "key", Rule::text(1, 1024).matching(&patterns::OBJECT_KEY).required();
    }

    /// Answer of GetObject.
    GetObjectResponse {
        /// The object.
        body: Blob => "Body", Rule::blob(0, i64::MAX);
        /// Of digests: hexadecimal digits, in the object's metadata.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signature: Option<String> => "signature", Rule::any_text();
    }
}

const ATTRIBUTES: &[&str] = &[
    "EventId",
    "EventName",
    "ReadOnly",
    "Username",
    "ResourceType",
    "ResourceName",
    "EventSource",
    "AccessKeyId",
];

macro_rules! operations {
    ($( $input:ident -> $output:ident: $service:ident, $name:literal; )*) => {$(
        impl Operation for $input {
            const NAME: &'static str = $name;
            const SERVICE: &'static str = $service;
            type Output = $output;
        }
    )*};
}

operations! {
    DescribeTrailsRequest -> DescribeTrailsResponse: CLOUDTRAIL, "DescribeTrails";
    ListPublicKeysRequest -> ListPublicKeysResponse: CLOUDTRAIL, "ListPublicKeys";
    LookupEventsRequest -> LookupEventsResponse: CLOUDTRAIL, "LookupEvents";
    GetBucketLocationRequest -> GetBucketLocationResponse: S3, "GetBucketLocation";
    ListObjectsRequest -> ListObjectsResponse: S3, "ListObjects";
    GetObjectRequest -> GetObjectResponse: S3, "GetObject";
}

/// A request to S3.
#[derive(Debug)]
pub enum S3Call {
    /// GetBucketLocation
    GetBucketLocation(GetBucketLocationRequest),
    /// ListObjects
    ListObjects(ListObjectsRequest),
    /// GetObject
    GetObject(GetObjectRequest),
}

impl S3Call {
    /// Reads path and query of a `GET`: `/BUCKET?location`, `/BUCKET?marker=…&prefix=…`,
    /// `/BUCKET/KEY`.
    ///
    /// # Errors
    /// `UnknownOperationException` for everything else; `ValidationException` for what is not
    /// URL-encoded.
    pub fn parse(path: &str, query: &str) -> Result<Self, KmsError> {
        let path = crate::sts::decoded(path.replace('+', "%2B").as_bytes())?;
        let (bucket, key) = match path.trim_start_matches('/').split_once('/') {
            Some((bucket, key)) => (bucket.to_owned(), key.to_owned()),
            None => (path.trim_start_matches('/').to_owned(), String::new()),
        };
        if !key.is_empty() {
            return Ok(Self::GetObject(GetObjectRequest { bucket, key }));
        }
        let mut parameters = crate::sts::Parameters::parse(query.as_bytes())?;
        if parameters.take("location").is_some() {
            return Ok(Self::GetBucketLocation(GetBucketLocationRequest { bucket }));
        }
        let call = ListObjectsRequest {
            bucket,
            prefix: parameters.take("prefix").unwrap_or_default(),
            marker: parameters.take("marker").unwrap_or_default(),
            max_keys: parameters.number("max-keys")?,
        };
        // Keys have nothing that would need to be encoded.
        parameters.take("encoding-type");
        match parameters.is_empty() {
            true => Ok(Self::ListObjects(call)),
            false => Err(crate::wire::unknown_operation()),
        }
    }

    /// The operation's name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::GetBucketLocation(_) => GetBucketLocationRequest::NAME,
            Self::ListObjects(_) => ListObjectsRequest::NAME,
            Self::GetObject(_) => GetObjectRequest::NAME,
        }
    }
}

const NAMESPACE: &str = "http://s3.amazonaws.com/doc/2006-03-01/";
const HEAD: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";

/// Writing to a text does not fail.
fn element(out: &mut String, name: &str, value: &str) {
    let value = crate::sts::escaped(value);
    let _ = write!(out, "<{name}>{value}</{name}>");
}

impl GetBucketLocationResponse {
    /// The body of the answer.
    pub fn xml(&self) -> String {
        let place = crate::sts::escaped(&self.location);
        format!("{HEAD}<LocationConstraint xmlns=\"{NAMESPACE}\">{place}</LocationConstraint>")
    }
}

impl ListObjectsResponse {
    /// The body of the answer.
    pub fn xml(&self) -> String {
        let mut out = format!("{HEAD}<ListBucketResult xmlns=\"{NAMESPACE}\">");
        element(&mut out, "Name", &self.bucket);
        element(&mut out, "Prefix", &self.prefix);
        element(&mut out, "Marker", &self.marker);
        element(&mut out, "IsTruncated", &self.is_truncated.to_string());
        if let (true, Some(last)) = (self.is_truncated, self.objects.last()) {
            element(&mut out, "NextMarker", &last.key);
        }
        for object in &self.objects {
            out.push_str("<Contents>");
            element(&mut out, "Key", &object.key);
            element(&mut out, "Size", &object.bytes.to_string());
            element(&mut out, "StorageClass", "STANDARD");
            out.push_str("</Contents>");
        }
        out.push_str("</ListBucketResult>");
        out
    }
}

/// Status and body of an error, under S3's own names.
pub fn s3_error(error: &KmsError, request_id: &str) -> (u16, String) {
    let (status, code) = match error.code {
        ErrorCode::NotFound => (404, "NoSuchKey"),
        ErrorCode::NoSuchBucket => (404, "NoSuchBucket"),
        ErrorCode::UnrecognizedClient => (403, "InvalidAccessKeyId"),
        ErrorCode::InvalidSignature => (403, "SignatureDoesNotMatch"),
        ErrorCode::ExpiredToken => (400, "ExpiredToken"),
        ErrorCode::UnknownOperation => (501, "NotImplemented"),
        ErrorCode::Throttling => (503, "SlowDown"),
        ErrorCode::Internal => (500, "InternalError"),
        ErrorCode::Validation => (400, "InvalidArgument"),
        _ => (403, "AccessDenied"),
    };
    let mut out = format!("{HEAD}<Error>");
    element(&mut out, "Code", code);
    element(
        &mut out,
        "Message",
        error.message.as_deref().unwrap_or_default(),
    );
    element(&mut out, "RequestId", request_id);
    out.push_str("</Error>");
    (status, out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_say_what_is_asked_for() {
        let parsed = |path, query| S3Call::parse(path, query);
        assert!(matches!(
            parsed("/b", "location"),
            Ok(S3Call::GetBucketLocation(call)) if call.bucket == "b"
        ));
        assert!(matches!(
            parsed("/b/", "prefix=a%2Fb&marker=m&encoding-type=url"),
            Ok(S3Call::ListObjects(call)) if call.prefix == "a/b" && call.marker == "m"
        ));
        assert!(matches!(
            parsed("/b/a/c%20d", ""),
            Ok(S3Call::GetObject(call)) if call.key == "a/c d"
        ));
        for (path, query) in [("/b", "list-type=2"), ("/b", "acl"), ("/b/%zz", "")] {
            assert!(parsed(path, query).is_err(), "{path} {query}");
        }
    }
}
