//! Requests that are unsigned or wrongly signed.

use crate::support::{Attack, assert_no_panic, told};
use waxseal_conformance::{Dice, Served, World, tier};

/// A server that knows who calls, and people whom it does not know: what they send to be let in is as
/// hostile. Each is refused, and recorded or counted; the owner is let in all the same.
pub(crate) fn strangers(dice: &mut Dice) -> String {
    let world = World::new();
    world.ok(&["encrypt"], b"makes the key");
    let mut server = Served::start(&world, &[]);
    let mut attack = Attack::new(&server);
    let file = String::from_utf8(world.read("home/access-key")).unwrap();
    let id = file
        .lines()
        .find_map(|line| line.strip_prefix("aws_access_key_id = "));
    let now = time::OffsetDateTime::now_utc();
    let day = format!("{}{:02}{:02}", now.year(), u8::from(now.month()), now.day());
    let date = format!(
        "{day}T{:02}{:02}{:02}Z",
        now.hour(),
        now.minute(),
        now.second()
    );
    let signed = format!(
        "Authorization: AWS4-HMAC-SHA256 Credential={}/{day}/local/kms/aws4_request, \
         SignedHeaders=host;x-amz-date;x-amz-target, Signature={}\r\nX-Amz-Date: {date}\r\n",
        id.unwrap(),
        "0123456789abcdef".repeat(4)
    );
    for _ in 0..tier(1_500, 100_000) {
        let mut headers = signed.clone();
        for _ in 0..dice.below(3) {
            // Where a letter begins.
            let whole = |at: usize| (0..=at).rfind(|at| headers.is_char_boundary(*at)).unwrap();
            let begin = dice.below(headers.len() as u64 - 2) as usize;
            let end = (begin + dice.below(12) as usize).min(headers.len() - 2);
            let (begin, end) = (whole(begin), whole(end));
            let other = *dice.pick(&[
                "",
                "/",
                ",",
                ";",
                "=",
                " ",
                "x",
                "\u{e9}",
                "AKIA",
                "a;b;a",
                "99991231",
                "aws4_request",
                "Signature=",
                "Credential=",
                "SignedHeaders=",
                "host;host",
                "UNSIGNED-PAYLOAD",
                "%00",
            ]);
            headers.replace_range(begin..end, &other.repeat(1 + dice.below(3) as usize));
        }
        let answer = server.send("ListKeys", b"{}", &headers);
        let id = answer.header("x-amzn-requestid").map(str::to_owned);
        let answer = attack.bytes("strangers", answer, || told("", headers.as_bytes()));
        assert_ne!(answer.status(), 200, "{headers} was let in");
        attack.ids.extend(id.map(|id| (id, String::new())));
    }
    let (count, seen, faults) = (attack.count(), attack.ids.len(), attack.faults);
    assert!(faults.is_empty(), "{faults:?}");
    let metrics = String::from_utf8(server.get("/metrics").body).unwrap();
    let unrecorded = metrics
        .lines()
        .find_map(|line| line.strip_prefix("waxseal_unrecorded_refusals_total "));
    let unrecorded: usize = unrecorded.unwrap().parse().unwrap();
    let url = format!("http://{}", server.address);
    let mut owner = world.command(&["encrypt", "-k", "alias/default", "--kms", "aws"]);
    owner
        .env("AWS_ENDPOINT_URL_KMS", &url)
        .env("AWS_REGION", "local")
        .env("AWS_SHARED_CREDENTIALS_FILE", world.path("home/access-key"));
    waxseal_conformance::Ran::of(owner, b"text").exits(0);
    assert_eq!(server.end_by("TERM").code(), Some(0));
    assert_no_panic(&world);
    let events = world.events();
    let recorded = events.iter().filter(|event| event.starts_with("ListKeys:"));
    let recorded = recorded.count();
    assert_eq!(recorded + unrecorded, seen, "{recorded} and {unrecorded}");
    format!(
        "{count} unsigned or wrongly signed requests, all refused, {recorded} recorded and {unrecorded} counted"
    )
}
