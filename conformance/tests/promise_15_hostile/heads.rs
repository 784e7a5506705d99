//! Heads, lengths and frames.

use crate::support::{Attack, BOUND, PATIENCE, told};

/// Heads that are no HTTP, or should not be.
pub(crate) fn heads(attack: &mut Attack<'_>) {
    let x = |bytes| "x".repeat(bytes);
    let lines: Vec<String> = [
        "POST / HTTP/1.1",
        "post / HTTP/1.1",
        "POST  /  HTTP/1.1",
        "POST / HTTP/1.0",
        "POST / HTTP/0.9",
        "POST / HTTP/9.9",
        "POST / HTTP/1.1 x",
        "POST / FTP/1.1",
        "POST /",
        "POST",
        "",
        " ",
        "\0",
        "GET / HTTP/1.1",
        "PUT / HTTP/1.1",
        "DELETE / HTTP/1.1",
        "OPTIONS * HTTP/1.1",
        "TRACE / HTTP/1.1",
        "CONNECT x:443 HTTP/1.1",
        "PATCH / HTTP/1.1",
        "PROPFIND / HTTP/1.1",
        "POST /x HTTP/1.1",
        "POST // HTTP/1.1",
        "POST /.. HTTP/1.1",
        "POST /%00 HTTP/1.1",
        "POST /%zz HTTP/1.1",
        "POST /?Action=x&%zz HTTP/1.1",
        "POST /# HTTP/1.1",
        "POST * HTTP/1.1",
        "POST x HTTP/1.1",
        "POST http://x/ HTTP/1.1",
        "POST http://[::1 HTTP/1.1",
        "POST http://user:password@x:99999999/ HTTP/1.1",
        "POST /\u{e9} HTTP/1.1",
        "GET /healthz/.. HTTP/1.1",
        "GET /metrics?x HTTP/1.1",
        "GET /reset HTTP/1.1",
        "PRI * HTTP/2.0",
    ]
    .map(str::to_owned)
    .into_iter()
    .chain([
        format!("POST /{} HTTP/1.1", x(70_000)),
        format!("{} / HTTP/1.1", x(40_000)),
    ])
    .collect();
    let target = "X-Amz-Target: TrentService.ListKeys";
    let headers = [
        "",
        target,
        "X-Amz-Target: TrentService.",
        "X-Amz-Target: TrentService.Dance",
        "X-Amz-Target: TrentService.ListKeys\r\nX-Amz-Target: TrentService.Encrypt",
        "X-Amz-Target: \u{0}",
        "X-Amz-Target: \u{e9}",
        &format!("X-Amz-Target: TrentService.{}", x(20_000)),
        &format!("{target}\r\nX-Long: {}", x(40_000)),
        &format!("{target}\r\n{}", "X-Many: x\r\n".repeat(2_000)),
        &format!("{target}\r\n{}: x", x(20_000)),
        &format!("{target}\r\n folded: x"),
        &format!("{target}\r\nno colon"),
        &format!("{target}\r\n: no name"),
        &format!("{target}\r\nbad name: x"),
        &format!("{target}\r\nContent-Type: application/x-www-form-urlencoded"),
        &format!("{target}\r\nContent-Type: {}", x(10_000)),
        &format!("{target}\r\nContent-Encoding: gzip"),
        &format!("{target}\r\nExpect: the-worst"),
        &format!("{target}\r\nUpgrade: websocket\r\nConnection: Upgrade"),
        &format!("{target}\r\nUser-Agent: \u{1b}[2J{}", x(9_000)),
        &format!("{target}\r\nAuthorization: Basic eDp4"),
        &format!("{target}\r\nX-Forwarded-For: 127.0.0.1\r\nX-Amz-Date: x\r\nDate: x"),
    ]
    .map(str::to_owned);
    let lengths = [
        "Content-Length: 2",
        "Content-Length: 1",
        "Content-Length: 200",
        "Content-Length: -2",
        "Content-Length: 0x2",
        "Content-Length: 2, 2",
        "Content-Length: 2\r\nContent-Length: 3",
        "Content-Length: 99999999999999999999",
        "Transfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 2",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: chunked, chunked",
    ];
    let bodies = [
        "{}",
        "2\r\n{}\r\n0\r\n\r\n",
        "ffffffffffffffff\r\n{}",
        "2;x=y\r\n{}\r\n0\r\nX: y\r\n\r\n",
        "-2\r\n{}",
    ];
    let mut all: Vec<String> = Vec::new();
    let plain = (&lines[0], target, lengths[0], bodies[0]);
    let mut add = |(line, header, length, body): (&String, &str, &str, &str)| {
        all.push(format!(
            "{line}\r\nHost: x\r\nConnection: close\r\n{header}\r\n{length}\r\n\r\n{body}"
        ));
    };
    for line in &lines {
        add((line, plain.1, plain.2, plain.3));
    }
    for header in &headers {
        add((plain.0, header, plain.2, plain.3));
    }
    for length in lengths {
        for body in bodies {
            add((plain.0, plain.1, length, body));
        }
    }
    let whole = all[0].clone();
    all.extend([
        whole.replace("Host: x\r\n", ""),
        whole.replace("Host: x\r\n", "Host: x\r\nHost: y\r\n"),
        whole.replace("Host: x", "Host: \u{e9}"),
        whole.replace("\r\n", "\n"),
        whole.replace("\r\n", "\r"),
        whole.replace(": ", " : "),
        whole.replace('x', "\u{1}"),
        format!("\r\n\r\n{whole}"),
        format!("{whole}{whole}"),
    ]);
    // And what is meant for another door: TLS, HTTP/2 with frames that are none.
    let mut bytes: Vec<Vec<u8>> = all.into_iter().map(String::into_bytes).collect();
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    bytes.extend([
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        vec![0; 5_000],
        vec![0xff; 50_000],
        b"\n".repeat(50_000),
    ]);
    for frames in [
        &b""[..],
        &[0; 900],
        &[0xff; 900],
        b"GET / HTTP/1.1\r\n\r\n",
        &[0, 0, 0, 4, 0, 0, 0, 0, 0],
    ] {
        let cut = attack
            .server
            .exchange(&[&preface[..], frames].concat(), Some(PATIENCE));
        assert!(cut.took < BOUND, "{frames:?}");
        *attack.kinds.entry("frames").or_default() += 1;
    }
    // Every beginning of a request.
    bytes.extend(
        (0..whole.len())
            .step_by(9)
            .map(|length| whole.as_bytes()[..length].to_vec()),
    );
    for bytes in &bytes {
        let answer = attack.server.exchange(bytes, Some(PATIENCE));
        attack.bytes("heads", answer, || told("", bytes));
    }
}
