//! What is sent to the other services: forms, the trail, objects.

use crate::json::wrong_values;
use crate::support::{Attack, full_of, told};

/// STS, CloudTrail and S3, which are served as well.
pub(crate) fn other_services(attack: &mut Attack<'_>) {
    let names: String = (0..13_000).map(|n| format!("{n:x}&")).collect();
    let forms = [
        String::new(),
        "&&&&".to_owned(),
        "=".to_owned(),
        "Action".to_owned(),
        "Action=%".to_owned(),
        "Action=%4".to_owned(),
        "Action=%zz".to_owned(),
        "Action=%ff%fe".to_owned(),
        "Action=GetCallerIdentity&Action=AssumeRole".to_owned(),
        "Action=AssumeRole".to_owned(),
        "Action=AssumeRole&RoleArn=x&RoleSessionName=%00&DurationSeconds=1e9".to_owned(),
        "Action=AssumeRole&RoleArn=x&RoleSessionName=x&DurationSeconds=99999999999999999999"
            .to_owned(),
        format!(
            "Action=AssumeRole&RoleArn=x&RoleSessionName=x&Policy={}",
            full_of("%7B")
        ),
        format!(
            "Action=AssumeRoleWithWebIdentity&RoleArn=x&RoleSessionName=x&WebIdentityToken={}",
            full_of("a.")
        ),
        "Action=AssumeRoleWithWebIdentity&RoleArn=x&RoleSessionName=x&WebIdentityToken=e30.e30."
            .to_owned(),
        names,
        full_of("a=b&"),
        full_of("%00"),
    ];
    for form in &forms {
        let answer = attack.server.form(form);
        attack.request("forms", answer, || told("STS", form.as_bytes()));
    }
    let values = wrong_values();
    for name in [
        "DescribeTrails",
        "ListPublicKeys",
        "LookupEvents",
        "",
        "\u{e9}",
    ] {
        for value in &values {
            for member in ["StartTime", "LookupAttributes", "trailNameList"] {
                let body = format!("{{\"{member}\":{value}}}");
                let head = format!(
                    "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\
                     X-Amz-Target: com.amazonaws.cloudtrail.v20131101.CloudTrail_20131101.{name}\r\n\r\n",
                    body.len()
                );
                let answer = attack.server.raw(head.as_bytes(), body.as_bytes());
                attack.request("trail", answer, || told(name, body.as_bytes()));
            }
        }
    }
    for path in [
        "/",
        "//",
        "/%",
        "/%zz",
        "/%ff",
        "/..",
        "/x/../..",
        "/x/%2e%2e/%2e%2e/etc/passwd",
        "/waxseal/%00",
        "/waxseal?prefix=%00&max-keys=-1",
        "/waxseal?max-keys=99999999999999999999",
        "/waxseal?location&location",
        "/waxseal?acl",
        "/waxseal?marker=%zz",
    ] {
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Amz-Date: 20260101T000000Z\r\n\
             Authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260101/us-east-1/s3/aws4_request, \
             SignedHeaders=host;x-amz-date, Signature={}\r\n\r\n",
            "0".repeat(64)
        );
        let answer = attack.server.raw(head.as_bytes(), b"");
        attack.request("objects", answer, || told(path, b""));
    }
}
