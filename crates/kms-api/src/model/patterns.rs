//! The patterns of members.

use super::Pattern;

pub(crate) static ACCOUNT: Pattern = Pattern::new(r"[0-9]{12}");
pub(crate) static CLUSTER_ID: Pattern = Pattern::new(r"cluster-[2-7a-zA-Z]{11,16}");
pub(crate) static DESCRIPTION: Pattern = Pattern::new(r"^[a-zA-Z0-9:/_\s.-]+$");
pub(crate) static ENDPOINT_SERVICE: Pattern =
    Pattern::new(r"^(com|eu)\.amazonaws\.vpce\.([a-z]+-){2,3}\d+\.vpce-svc-[0-9a-z]+$");
pub(crate) static HTTPS_ENDPOINT: Pattern = Pattern::new(r"^https://[a-zA-Z0-9.-]+$");
pub(crate) static ISSUER: Pattern =
    Pattern::new(r"^https://[a-z0-9.-]+(:[0-9]+)?(/[A-Za-z0-9._~-]+)*$");
pub(crate) static LOWER_HEX: Pattern = Pattern::new(r"^[a-f0-9]+$");
pub(crate) static MARKER: Pattern = Pattern::new(r"[\u0020-\u00FF]*");
pub(crate) static NAME: Pattern = Pattern::new(r"^[a-zA-Z0-9:/_-]+$");
pub(crate) static POLICY: Pattern = Pattern::new(r"[\u0009\u000A\u000D\u0020-\u00FF]+");
pub(crate) static ANY_ARN: Pattern =
    Pattern::new(r"[\u0009\u000A\u000D\u0020-\u007E\u0085\u00A0-\u{D7FF}]+");
pub(crate) static EXTERNAL_ID: Pattern = Pattern::new(r"[\w+=,.@:/-]*");
pub(crate) static PRINCIPAL_NAME: Pattern = Pattern::new(r"[\w+=,.@-]*");
pub(crate) static OBJECT_KEY: Pattern = Pattern::new(r"[A-Za-z0-9/_.-]+");
pub(crate) static PRINCIPAL: Pattern = Pattern::new(r"^[\w+=,.@:/-]+$");
pub(crate) static REGION: Pattern = Pattern::new(r"^([a-z]+-){2,3}\d+$");
pub(crate) static SERVICE_PRINCIPAL: Pattern =
    Pattern::new(r"^([A-Za-z0-9\-]+)\.([A-Za-z0-9\-]+)(\.[A-Za-z0-9\-]+)+$");
pub(crate) static SOURCE_ARN: Pattern =
    Pattern::new(r"^arn:aws[a-z0-9-]*:[a-z0-9-]+:[a-z0-9-]*:[0-9]{12}:.+$");
pub(crate) static WORD: Pattern = Pattern::new(r"[\w]+");
pub(crate) static XKS_ACCESS_KEY: Pattern = Pattern::new(r"^[A-Z2-7]+$");
pub(crate) static XKS_KEY_ID: Pattern = Pattern::new(r"^[a-zA-Z0-9-_.]+$");
pub(crate) static XKS_PATH: Pattern =
    Pattern::new(r"^(/[a-zA-Z0-9\/_-]+/kms/xks/v\d{1,2})$|^(/kms/xks/v\d{1,2})$");
pub(crate) static XKS_SECRET: Pattern = Pattern::new(r"^[a-zA-Z0-9\/+=]+$");

#[cfg(test)]
pub(crate) static ALL: &[&Pattern] = &[
    &ACCOUNT,
    &ANY_ARN,
    &CLUSTER_ID,
    &DESCRIPTION,
    &ENDPOINT_SERVICE,
    &EXTERNAL_ID,
    &HTTPS_ENDPOINT,
    &ISSUER,
    &LOWER_HEX,
    &MARKER,
    &NAME,
    &POLICY,
    &OBJECT_KEY,
    &PRINCIPAL,
    &PRINCIPAL_NAME,
    &REGION,
    &SERVICE_PRINCIPAL,
    &SOURCE_ARN,
    &WORD,
    &XKS_ACCESS_KEY,
    &XKS_KEY_ID,
    &XKS_PATH,
    &XKS_SECRET,
];
