//! `serve`: what it prints is all that a client needs; the client here is `waxseal` itself. Other
//! people's clients are in `conformance/interop/kms-server.sh`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]

mod support;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Stdio};
use support::{Place, outcome};

struct Server {
    child: Child,
    told: Vec<(String, String)>,
}

impl Server {
    /// Starts `waxseal serve` on a free port, and reads what it prints.
    fn start(place: &Place, more: &[&str]) -> Self {
        let mut child = place
            .waxseal()
            .args(["serve", "--listen", "127.0.0.1:0"])
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let dev = more.contains(&"--dev");
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let told = lines
            .take(if dev { 5 } else { 6 })
            .map(|line| {
                let line = line.unwrap();
                let (name, value) = line.split_once('=').unwrap();
                (name.to_owned(), value.to_owned())
            })
            .collect();
        Self { child, told }
    }

    fn value(&self, name: &str) -> &str {
        let found = self.told.iter().find(|(other, _)| other == name);
        &found
            .unwrap_or_else(|| panic!("{name} is not in {:?}", self.told))
            .1
    }

    /// `waxseal` as a client that knows what was printed.
    fn client(&self, place: &Place, arguments: &[&str], stdin: &[u8]) -> support::Outcome {
        let mut command = place.waxseal();
        command.envs(self.told.iter().cloned());
        outcome(command.args(arguments), stdin)
    }

    fn request(&self, text: &str) -> String {
        let address = self.value("AWS_ENDPOINT_URL_KMS");
        let mut stream = TcpStream::connect(address.strip_prefix("http://").unwrap()).unwrap();
        stream.write_all(text.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Ends it as a service manager does; what it said on stderr.
    fn end(mut self) -> String {
        let id = self.child.id().to_string();
        let killed = Command::new("kill").args(["-TERM", &id]).status().unwrap();
        assert!(killed.success());
        let mut said = String::new();
        let mut stderr = self.child.stderr.take().unwrap();
        stderr.read_to_string(&mut said).unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(0), "{said}");
        said
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Ended already, where the test came to its end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn unsigned(operation: &str, body: &str) -> String {
    format!(
        "POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Content-Type: application/x-amz-json-1.1\r\nX-Amz-Target: TrentService.{operation}\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[test]
fn what_is_printed_is_all_that_a_client_needs() {
    let place = Place::new();
    // The alias is made by the embedded KMS: both are one.
    let made = place.run(&["encrypt"], b"first").ok();
    let server = Server::start(&place, &[]);
    let key = ["-k", "alias/default", "--kms", "aws"];
    let sealed = server
        .client(&place, &[&["encrypt"], &key[..]].concat(), b"secret")
        .ok();
    let opened = server
        .client(&place, &[&["decrypt"], &key[..]].concat(), sealed.stdout())
        .ok();
    assert_eq!(opened.stdout(), b"secret");
    assert_eq!(
        place.run(&["decrypt"], made.stdout()).ok().stdout(),
        b"first"
    );
    assert_eq!(
        place.run(&["decrypt"], sealed.stdout()).ok().stdout(),
        b"secret"
    );
    let said = server.end();
    assert!(said.contains("listening on http://127.0.0.1:"), "{said}");

    let log = place.run(&["audit", "list", "--json"], b"").ok();
    let log = String::from_utf8(log.stdout().to_vec()).unwrap();
    assert!(log.contains("\"GenerateDataKey\""), "{log}");
    place.run(&["audit", "verify"], b"").ok();
}

#[test]
fn nobody_but_the_owner_is_let_in() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let answer = server.request(&unsigned("ListKeys", "{}"));
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(
        answer.contains("MissingAuthenticationTokenException"),
        "{answer}"
    );
    assert!(answer.contains("x-amzn-requestid: "), "{answer}");
    assert!(!answer.contains("x-waxseal-insecure"), "{answer}");

    // The right name with a wrong secret; then another name.
    let key = std::fs::read_to_string(server.value("AWS_SHARED_CREDENTIALS_FILE")).unwrap();
    let (before, secret) = key.rsplit_once(" = ").unwrap();
    let mut secret: Vec<u8> = secret.trim().bytes().collect();
    secret[0] = if secret[0] == b'A' { b'B' } else { b'A' };
    let wrong = format!("{before} = {}\n", String::from_utf8(secret).unwrap());
    for text in [wrong, key.replace("AKIA", "AKIB")] {
        let file = place.write("wrong", text);
        let mut command = place.waxseal();
        command.envs(server.told.iter().cloned());
        command.env("AWS_SHARED_CREDENTIALS_FILE", file);
        command.args(["encrypt", "-k", "alias/default", "--kms", "aws"]);
        outcome(&mut command, b"secret").refused(4, "");
    }
    server.end();
    // A second start finds the same access key.
    let again = Server::start(&place, &[]);
    let path = again.value("AWS_SHARED_CREDENTIALS_FILE");
    assert_eq!(std::fs::read_to_string(path).unwrap(), key);
    again.end();
}

#[test]
fn for_development_everyone_is_the_owner_and_nothing_stays() {
    let place = Place::new();
    let server = Server::start(&place, &["--dev", "--region", "eu-west-1"]);
    let answer = server.request(&unsigned("CreateKey", "{}"));
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.contains("arn:aws:kms:eu-west-1:"), "{answer}");
    assert!(answer.contains("x-waxseal-insecure: true"), "{answer}");
    let id = "2ed07a36-4e58-4b10-b6d9-98d76f35a02d";
    let chosen = format!(r#"{{"Tags":[{{"TagKey":"_custom_id_","TagValue":"{id}"}}]}}"#);
    let answer = server.request(&unsigned("CreateKey", &chosen));
    assert!(answer.contains(&format!("\"KeyId\":\"{id}\"")), "{answer}");
    let answer = server.request(&unsigned("Nonsense", "{}"));
    assert!(answer.contains("UnknownOperationException"), "{answer}");
    let said = server.end();
    assert!(said.contains("INSECURE"), "{said}");
    assert!(!place.path("home").exists());
}

#[test]
fn a_server_for_development_can_be_emptied() {
    let place = Place::new();
    let data = place.path("dev");
    let dev = ["--dev", "--data", data.to_str().unwrap()];
    let server = Server::start(&place, &dev);
    let reset = "POST /reset HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let listed = |server: &Server| server.request(&unsigned("ListKeys", "{}"));
    server.request(&unsigned("CreateKey", "{}"));
    assert!(listed(&server).contains("KeyArn"));
    let from_a_page = reset.replace("Host:", "Origin: http://example.com\r\nHost:");
    let answer = server.request(&from_a_page);
    assert!(answer.contains("UnknownOperationException"), "{answer}");
    assert!(listed(&server).contains("KeyArn"));
    let answer = server.request(reset);
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(!listed(&server).contains("KeyArn"));
    server.request(&unsigned("CreateKey", "{}"));
    server.end();
    let server = Server::start(&place, &dev);
    assert!(listed(&server).contains("KeyArn"));
    server.end();

    // A home that was made without --dev is not opened to everyone.
    place.run(&["key", "create"], b"").ok();
    place
        .run(&["serve", "--dev", "--data", "home"], b"")
        .refused(2, "--dev");
    let server = Server::start(&place, &[]);
    let answer = server.request(reset);
    assert!(answer.contains("UnknownOperationException"), "{answer}");
    server.end();
}

#[test]
fn its_health_and_its_counters_can_be_looked_at() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let get = |path: &str| {
        server.request(&format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        ))
    };
    let answer = get("/healthz");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.ends_with("{\"status\":\"ok\"}"), "{answer}");
    server.request(&unsigned("ListKeys", "{}"));
    let answer = get("/metrics");
    assert!(
        answer.contains("waxseal_requests_total{operation=\"ListKeys\"} 1"),
        "{answer}"
    );
    assert!(answer.contains("error=\"MissingAuthenticationTokenException\""));
    // A store that cannot be read is no healthy one.
    std::fs::remove_dir_all(place.path("home/audit")).unwrap();
    std::fs::write(place.path("home/audit"), b"").unwrap();
    let answer = get("/healthz");
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    server.end();
}

/// A certificate for this address, as `openssl` makes them, that signs for itself.
fn certificate(place: &Place, name: &str) {
    let config = place.write(
        "tls.conf",
        "[req]\ndistinguished_name=dn\nx509_extensions=v3\n[dn]\n\
         [v3]\nbasicConstraints=CA:FALSE\nsubjectAltName=IP:127.0.0.1\n",
    );
    let status = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
        ])
        .args([
            "-nodes",
            "-days",
            "2",
            "-subj",
            &format!("/CN={name}"),
            "-config",
        ])
        .args([
            config,
            "-keyout".into(),
            place.path("tls.key"),
            "-out".into(),
        ])
        .arg(place.path("tls.pem"))
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
}

/// What a TLS client is shown: its subject, and the protocol.
fn shown(server: &Server, version: &str) -> String {
    let address = server.value("AWS_ENDPOINT_URL_KMS");
    let output = Command::new("openssl")
        .args(["s_client", version, "-connect"])
        .arg(address.strip_prefix("https://").unwrap())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn with_a_certificate_it_speaks_tls_and_takes_a_new_one_while_it_runs() {
    let place = Place::new();
    certificate(&place, "first");
    let tls = ["--tls-cert", "tls.pem", "--tls-key", "tls.key"];
    let server = Server::start(&place, &tls);
    assert!(shown(&server, "-tls1_3").contains("CN = first"));
    assert!(shown(&server, "-tls1_2").contains("CN = first"));
    assert!(!shown(&server, "-tls1_1").contains("CN = first"));
    let key = ["-k", "alias/default", "--kms", "aws"];
    place.run(&["encrypt"], b"makes the key").ok();
    let mut command = place.waxseal();
    command.envs(server.told.iter().cloned());
    command.env("AWS_CA_BUNDLE", place.path("tls.pem"));
    outcome(command.arg("encrypt").args(key), b"secret").ok();

    certificate(&place, "second");
    let id = server.child.id().to_string();
    Command::new("kill").args(["-HUP", &id]).status().unwrap();
    let mut seen = String::new();
    for _ in 0..100 {
        seen = shown(&server, "-tls1_3");
        if seen.contains("CN = second") {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert!(seen.contains("CN = second"), "{seen}");
    // A key that others may have read is not taken, nor what is no certificate.
    certificate(&place, "third");
    let open = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(place.path("tls.key"), open).unwrap();
    Command::new("kill").args(["-HUP", &id]).status().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(shown(&server, "-tls1_3").contains("CN = second"));
    let kept = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(place.path("tls.key"), kept).unwrap();
    place.write("tls.pem", b"nonsense");
    Command::new("kill").args(["-HUP", &id]).status().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(shown(&server, "-tls1_3").contains("CN = second"));
    let said = server.end();
    assert!(said.contains("others can read"), "{said}");
    assert!(said.contains("no certificate in PEM"), "{said}");

    place.run(&[&["serve"], &tls[..]].concat(), b"").exits(78);
    place.run(&["serve", "--tls-cert", "tls.pem"], b"").exits(2);
}

#[test]
fn many_idle_connections_from_one_address_leave_room_for_another() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let place = Place::new();
    let server = Server::start(&place, &[]);
    // Both ends need more files than a process usually has; the server sees to its own.
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit
        .maximum
        .map_or(limit.current, |most| Some(most.min(4_096)));
    setrlimit(Resource::Nofile, limit).unwrap();
    let address = server.value("AWS_ENDPOINT_URL_KMS");
    let address = address.strip_prefix("http://").unwrap();
    let mut idle = Vec::new();
    for _ in 0..1_500 {
        idle.push(TcpStream::connect(address).unwrap());
    }
    // From 127.0.0.2, which is this machine too.
    let answer = Command::new("curl")
        .args(["-sS", "--max-time", "10", "--interface", "127.0.0.2"])
        .arg(format!("http://{address}/healthz"))
        .env_remove("http_proxy")
        .output()
        .unwrap();
    assert_eq!(answer.stdout, b"{\"status\":\"ok\"}");
    drop(idle);
    server.end();
}

const SEED: &str = r#"
keys:
  - id: bc436485-5092-42b8-92a3-0aa8b93536dc
    description: chosen
    aliases: [alias/testing]
    material:
      - 5cdaead27fe7da2de47945d73cd6d79e36494e73802f3cd3869f1d2cb0b5d7a9
      - 0101010101010101010101010101010101010101010101010101010101010101
    tags: {team: blue}
  - id: 11111111-2222-4333-8444-555555555555
    region: us-west-2
    account: "111122223333"
    spec: HMAC_256
    material: [MATERIAL]
    aliases: [alias/mac]
  - id: mrk-0123456789abcdef0123456789abcdef
    spec: ECC_NIST_P256
    usage: SIGN_VERIFY
    private-key: |
PEM
  - id: 99999999-2222-4333-8444-555555555555
    enabled: false
users:
  - name: ann
    access-key-id: AKIAANNANNANNANNANNA
    secret-access-key: the secret of ann
    policies:
      encrypt: {Version: "2012-10-17", Statement: {Effect: Allow, Action: "kms:Encrypt", Resource: "*"}}
roles:
  - name: deploy
    trust: {Version: "2012-10-17", Statement: {Effect: Allow, Action: "sts:AssumeRole", Principal: {AWS: "*"}}}
    policies: {all: '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"kms:*","Resource":"*"}]}'}
"#;

#[test]
fn seeds_are_planted_and_after_a_reset_again() {
    let place = Place::new();
    let made = Command::new("openssl")
        .args(["ecparam", "-name", "prime256v1", "-genkey"])
        .output()
        .unwrap();
    // Parameters and the key, in SEC 1.
    let pem = String::from_utf8(made.stdout).unwrap();
    let pem: Vec<String> = pem.lines().map(|line| format!("      {line}")).collect();
    let seed = SEED.replace("MATERIAL", &"03".repeat(32));
    let seed = seed.replace("PEM", &pem.join("\n"));
    place.write("seed.yaml", seed.as_bytes());
    let server = Server::start(&place, &["--dev", "--seed", "seed.yaml"]);
    let check = |server: &Server| {
        let answer = server.request(&unsigned("DescribeKey", r#"{"KeyId":"alias/testing"}"#));
        assert!(
            answer.contains("bc436485-5092-42b8-92a3-0aa8b93536dc"),
            "{answer}"
        );
        let body = r#"{"KeyId":"mrk-0123456789abcdef0123456789abcdef"}"#;
        let answer = server.request(&unsigned("GetPublicKey", body));
        assert!(answer.contains("ECDSA_SHA_256"), "{answer}");
        let body = r#"{"KeyId":"99999999-2222-4333-8444-555555555555","Plaintext":"YQ=="}"#;
        let answer = server.request(&unsigned("Encrypt", body));
        assert!(answer.contains("DisabledException"), "{answer}");
    };
    check(&server);
    // Another Region and account, by an access key id that names the account.
    let body = r#"{"KeyId":"alias/mac","Message":"bWVzc2FnZQ==","MacAlgorithm":"HMAC_SHA_256"}"#;
    let signed = unsigned("GenerateMac", body).replace(
        "Host:",
        "Authorization: AWS4-HMAC-SHA256 Credential=111122223333/20260101/us-west-2/kms/aws4_request, \
         SignedHeaders=host;x-amz-date;x-amz-target, Signature=00\r\nX-Amz-Date: 20260101T000000Z\r\nHost:",
    );
    let answer = server.request(&signed);
    assert!(
        answer.contains("JxG2UedNZI3079udJFYoP7fnvkn5IqHKJHVGMr/fTBw="),
        "{answer}"
    );

    let reset = "POST /reset HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert!(server.request(reset).starts_with("HTTP/1.1 200 "));
    check(&server);

    // Those who are known are who they are, and nothing more.
    let client = |secret: &str, arguments: &[&str], stdin: &[u8]| {
        let mut command = place.waxseal();
        command.envs(server.told.iter().cloned());
        command.env("AWS_ACCESS_KEY_ID", "AKIAANNANNANNANNANNA");
        command.env("AWS_SECRET_ACCESS_KEY", secret);
        command.args(arguments);
        let key = ["-k", "alias/testing", "--kms", "aws", "-f", "direct"];
        outcome(command.args(key), stdin)
    };
    let sealed = client("the secret of ann", &["encrypt"], b"secret").ok();
    let mut command = place.waxseal();
    command.envs(server.told.iter().cloned());
    command.env("AWS_ACCESS_KEY_ID", "AKIAANNANNANNANNANNA");
    command.env("AWS_SECRET_ACCESS_KEY", "the secret of ann");
    outcome(command.args(["decrypt", "--kms", "aws"]), sealed.stdout()).exits(4);
    client("another", &["encrypt"], b"secret").exits(4);
    server.end();
}

#[test]
fn seeds_that_are_none_are_refused_by_name() {
    let place = Place::new();
    for (seed, word) in [
        ("keys: [{id: x, colour: red}]", "colour"),
        ("keys: [{id: x}]", "UUID"),
        ("tents: []", "tents"),
        ("keys: [", "seed.yaml"),
        (
            "keys: [{id: bc436485-5092-42b8-92a3-0aa8b93536dc, material: [00]}]",
            "spec",
        ),
        (
            "keys: [{id: bc436485-5092-42b8-92a3-0aa8b93536dc, spec: SM3}]",
            "SM3",
        ),
        (
            "keys: [{id: bc436485-5092-42b8-92a3-0aa8b93536dc, account: 12}]",
            "account",
        ),
        (
            "keys: [{id: bc436485-5092-42b8-92a3-0aa8b93536dc, usage: SIGN_VERIFY}]",
            "SIGN_VERIFY",
        ),
        (
            "users: [{name: a, access-key-id: k, secret-access-key: s}]",
            "access key id",
        ),
        ("roles: [{name: a, trust: {}}]", "Statement"),
    ] {
        place.write("seed.yaml", seed.as_bytes());
        place
            .run(
                &[
                    "serve",
                    "--dev",
                    "--seed",
                    "seed.yaml",
                    "--listen",
                    "127.0.0.1:0",
                ],
                b"",
            )
            .refused(78, word);
    }
    place.run(&["serve", "--seed", "seed.yaml"], b"").exits(2);
}

#[test]
fn roots_of_enclaves_are_certificates() {
    let place = Place::new();
    place.write(
        "root.pem",
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    );
    for (path, code) in [("root.pem", 78), ("missing.pem", 74)] {
        let run = [
            "serve",
            "--dev",
            "--attestation-root",
            path,
            "--listen",
            "127.0.0.1:0",
        ];
        place.run(&run, b"").refused(code, path);
    }
}

#[test]
fn a_configuration_file_says_what_flags_do_not() {
    let place = Place::new();
    place.write(
        "server.toml",
        "# a server\nlisten = \"127.0.0.1:0\"\ndev = true\nregion = \"eu-west-1\"\n",
    );
    let shown = place.run(
        &[
            "config",
            "show",
            "--config",
            "server.toml",
            "--account",
            "111122223333",
        ],
        b"",
    );
    let shown = String::from_utf8(shown.ok().stdout().to_vec()).unwrap();
    assert_eq!(
        shown,
        "listen = \"127.0.0.1:0\"  # file\n# data is not set\n# tls-cert is not set\n# tls-key is not \
         set\n# attestation-root is not set\n# root-lease is not set\n# hsm-cluster is not set\n\
         # hsm-trust-anchor is not set\n# checkpoint-file is not set\nallow-swap = false  # default\n\
         # trail-bucket is not set\n# ship-to is not set\n# retain is not set\ndev = true  # file\n# seed is not set\n\
         region = \"eu-west-1\"  # file\naccount = \
         \"111122223333\"  # flag\n"
    );
    // What is shown is a file itself.
    place.write("shown.toml", &shown);
    let again = place.run(&["config", "show", "--config", "shown.toml"], b"");
    let again = String::from_utf8(again.ok().stdout().to_vec()).unwrap();
    let said = |text: &str| -> Vec<String> {
        let values = text.lines().map(|line| line.split("  # ").next());
        values
            .map(|value| value.unwrap_or_default().to_owned())
            .collect()
    };
    assert_eq!(said(&again), said(&shown));
    let server = Server::start(&place, &["--config", "server.toml", "--dev"]);
    let answer = server.request(&unsigned("CreateKey", "{}"));
    assert!(answer.contains("arn:aws:kms:eu-west-1:"), "{answer}");
    server.end();
    for (file, word) in [
        (
            "listen = \"127.0.0.1:0\"\ncolour = \"red\"\n",
            "line 2: unknown field `colour`",
        ),
        ("listen = 5\n", "server.toml"),
        ("listen = \n", "line 1"),
        ("dev = \"yes\"\n", "boolean"),
        (
            "dev = true\ntrail-bucket = \"Trail\"\n",
            "line 2: 'Trail' is no name of a bucket",
        ),
    ] {
        place.write("server.toml", file);
        for command in [&["serve"][..], &["config", "show"]] {
            let arguments = [command, &["--config", "server.toml"]].concat();
            place.run(&arguments, b"").refused(78, word);
        }
    }
    place.write("server.toml", "region = \"eu-west-1\"\n");
    place
        .run(&["serve", "--config", "server.toml"], b"")
        .refused(78, "server.toml: --region without --dev");
    place
        .run(&["serve", "--config", "absent.toml"], b"")
        .refused(74, "absent.toml");
    place
        .run(&["serve", "--tls-cert", "a.pem"], b"")
        .refused(2, "certificate");
    let told = place.run(&["serve", "--trail-bucket", "192.168.5.4"], b"");
    assert!(told.exits(2).stderr().contains("no name of a bucket"));
    place
        .run(&["serve", "--dev", "--ship-to", "s3://Trail"], b"")
        .refused(2, "no name of a bucket");
}

#[test]
fn what_never_became_a_request_is_recorded() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    for _ in 0..30 {
        let answer = server.request(&unsigned("Encrypt", "{}"));
        assert!(
            answer.contains("MissingAuthenticationTokenException"),
            "{answer}"
        );
    }
    let form = "POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: \
                application/x-www-form-urlencoded\r\nContent-Length: 24\r\n\r\nAction=GetCallerIdentity";
    let answer = server.request(form);
    assert!(
        answer.contains("<Code>MissingAuthenticationToken</Code>"),
        "{answer}"
    );
    let metrics = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let metrics = server.request(metrics);
    server.end();
    let log = place.run(&["audit", "list", "--json"], b"").ok();
    let log = String::from_utf8(log.stdout().to_vec()).unwrap();
    let of = |code: &str| log.lines().filter(|line| line.contains(code)).count();
    let recorded = of("MissingAuthenticationTokenException");
    // Two seconds at most, and what follows them.
    assert!((10..=30).contains(&recorded), "{recorded}");
    let left = metrics
        .lines()
        .find_map(|line| line.strip_prefix("waxseal_unrecorded_refusals_total "));
    assert_eq!(left.unwrap().parse::<usize>().unwrap() + recorded, 31);
    place.run(&["audit", "verify"], b"").ok();

    let server = Server::start(&place, &["--dev"]);
    let answer = server.request(&unsigned("Dance", "{}"));
    assert!(answer.contains("UnknownOperationException"), "{answer}");
    let answer = server.request(&unsigned("Encrypt", "{"));
    assert!(answer.contains("SerializationException"), "{answer}");
    server.end();
}

#[test]
fn what_decides_is_explained() {
    let place = Place::new();
    place.run(&["encrypt"], b"makes the key").ok();
    let policy =
        |statement: &str| format!(r#"{{"Version":"2012-10-17","Statement":[{statement}]}}"#);
    let allow = r#"{"Sid":"Blue","Effect":"Allow","Action":"kms:Decrypt","Resource":"*",
        "Condition":{"StringEquals":{"kms:EncryptionContext:team":"blue"}}}"#;
    place.write("allow.json", policy(allow));
    place
        .run(&["user", "create", "ann", "--policy", "allow.json"], b"")
        .ok();
    let ann = "arn:aws:iam::000000000000:user/ann";
    let explain = |principal: &str, more: &[&str]| {
        let question = [
            "explain",
            "--principal",
            principal,
            "--key",
            "alias/default",
        ];
        let said = place.run(&[&question[..], more].concat(), b"").ok();
        String::from_utf8(said.stdout().to_vec()).unwrap()
    };
    let said = explain(ann, &["--action", "kms:Decrypt", "-c", "team=blue"]);
    // Who may is the account's to say, by the default policy; and ann's own policy says it.
    assert!(said.starts_with("allowed: "), "{said}");
    assert!(
        said.contains(
            "of the default key policy leaves it to the account, and statement 1 (\"Blue\") of policy '"
        ),
        "{said}"
    );
    let said = explain(ann, &["--action", "kms:Decrypt", "-c", "team=red"]);
    assert!(
        said.starts_with("denied: ") && said.contains("no identity policy"),
        "{said}"
    );
    let deny = r#"{"Effect":"Deny","Action":"kms:*","Resource":"*"}"#;
    place.write("deny.json", policy(deny));
    place
        .run(
            &[
                "user",
                "policy",
                "ann",
                "deny.json",
                "--policy-name",
                "never",
            ],
            b"",
        )
        .ok();
    let said = explain(ann, &["--action", "Decrypt", "-c", "team=blue"]);
    assert!(
        said.contains("statement 1 of policy 'never' of user ann denies it"),
        "{said}"
    );
    let root = "arn:aws:iam::000000000000:root";
    assert!(explain(root, &["--action", "kms:Encrypt"]).starts_with("allowed: "));

    let log = place.run(&["audit", "list", "--json"], b"").ok();
    let log = String::from_utf8(log.stdout().to_vec()).unwrap();
    let of = log
        .lines()
        .find(|line| line.contains("GenerateDataKey"))
        .unwrap();
    let id = of
        .split("\"requestID\":\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    let said = place.run(&["explain", id], b"").ok();
    let said = String::from_utf8(said.stdout().to_vec()).unwrap();
    assert_eq!(said.lines().count(), 2, "{said}");
    assert!(
        said.contains("GenerateDataKey by arn:aws:iam::000000000000:root: done"),
        "{said}"
    );

    place
        .run(&["explain", "no-such-request"], b"")
        .refused(2, "no-such-request");
    place.run(&["explain"], b"").refused(2, "question");
    for (principal, action, key) in [
        ("ann", "Decrypt", "alias/default"),
        (
            "arn:aws:iam::000000000000:user/zoe",
            "Decrypt",
            "alias/default",
        ),
        (ann, "Dance", "alias/default"),
        (ann, "Decrypt", "alias/none"),
    ] {
        let question = [
            "explain",
            "--principal",
            principal,
            "--action",
            action,
            "--key",
            key,
        ];
        assert_ne!(place.run(&question, b"").0.status.code(), Some(0));
    }
}

#[test]
fn what_would_cross_a_network_in_the_clear_is_refused() {
    let place = Place::new();
    for address in ["0.0.0.0:0", "192.0.2.1:8470", "[::]:0"] {
        place
            .run(&["serve", "--listen", address], b"")
            .refused(2, "loopback");
    }
    place
        .run(&["serve", "--dev", "--region", "Nowhere!"], b"")
        .refused(2, "Region");
    place
        .run(&["serve", "--dev", "--account", "12"], b"")
        .refused(2, "account");
    place
        .run(&["serve", "--account", "111122223333"], b"")
        .exits(2);
    place.write("home/access-key", b"[default]\n");
    place.run(&["serve"], b"").exits(78);
}

#[test]
fn a_key_waits_for_its_deletion_and_can_be_kept() {
    let place = Place::new();
    let sealed = place.run(&["encrypt"], b"secret").ok();
    let told = place.run(&["key", "delete", "alias/default", "--days", "7"], b"");
    let told = String::from_utf8(told.ok().stdout().to_vec()).unwrap();
    assert!(told.contains("will be deleted on 20"), "{told}");
    place
        .run(&["decrypt"], sealed.stdout())
        .refused(5, "pending deletion");
    place
        .run(&["key", "delete", "alias/default", "--days", "6"], b"")
        .refused(2, "7 and 30");
    place
        .run(&["key", "cancel-deletion", "alias/default"], b"")
        .ok();
    place
        .run(&["decrypt"], sealed.stdout())
        .refused(5, "disabled");
    place.run(&["key", "enable", "alias/default"], b"").ok();
    assert_eq!(
        place.run(&["decrypt"], sealed.stdout()).ok().stdout(),
        b"secret"
    );
}

#[test]
fn doctor_looks_and_makes_nothing() {
    let place = Place::new();
    let well = place.run(&["doctor"], b"").ok();
    assert!(String::from_utf8_lossy(well.stdout()).contains("not there yet"));
    let missing = place.run(&["doctor", "-k", "alias/backup"], b"").exits(5);
    assert!(String::from_utf8_lossy(missing.stdout()).contains("FAIL  key: alias/backup"));
    place.run(&["key", "create", "--alias", "backup"], b"").ok();
    let well = place.run(&["doctor", "-k", "alias/backup"], b"").ok();
    assert_eq!(
        String::from_utf8_lossy(well.stdout())
            .matches("ok    ")
            .count(),
        5
    );
    place.run(&["key", "disable", "alias/backup"], b"").ok();
    let disabled = place.run(&["doctor", "-k", "alias/backup", "--json"], b"");
    let lines = String::from_utf8(disabled.exits(5).stdout().to_vec()).unwrap();
    let failed = lines.lines().filter(|line| line.contains("\"ok\":false"));
    assert_eq!(failed.count(), 2, "{lines}");
}
