//! Opening a case of a manifest through the library and through the command.

use crate::manifest::{Branch, Case, Ecdh, Key};
use crate::program::Ran;
use crate::world::World;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use waxseal::message::{CommitmentPolicy, Incoming, Limits, OpenError, OpenOptions, Release};
use waxseal::{
    DataKey, EncryptedDataKey, EncryptionContext, Keyring, KeyringError, MultiKeyring,
    RawAesKeyring, SecretBytes, SystemEntropy,
};
use waxseal_core::crypto::ecdh::{EcdhPrivateKey, EcdhPublicKey};
use waxseal_core::crypto::rsa::{RsaKeys, RsaPadding};
use waxseal_core::keyring::branch_key::{BranchKey, StaticBranchKeys, WrappedBranchKey};
use waxseal_core::keyring::{
    BoxFuture, BranchKeyOf, Generated, HierarchicalKeyring, RawEcdhKeyring, RawRsaKeyring,
    Unwrapped,
};

/// How [`through_library`] and [`through_command`] open.
#[derive(Debug, Clone, Copy, Default)]
pub struct How {
    /// Messages of .NET 4.0.0 are read, too.
    pub net_4_0_0: bool,
}

/// Opens a message from memory through the library. A signed message is released at its end,
/// unless the case wants frames before that.
///
/// # Errors
/// What the library says.
pub fn through_library(case: &Case, how: How) -> Result<Vec<u8>, OpenError> {
    let sealed = fs::read(&case.sealed).expect("a message");
    let options = OpenOptions {
        required_context: context(&case.context),
        commitment: CommitmentPolicy::RequireEncryptAllowDecrypt,
        net_4_0_0: how.net_4_0_0,
    };
    let release = match case.unsigned_stream_only {
        true => Release::Verified,
        false => Release::Unverified,
    };
    open(&*keyring(&case.keys), &sealed, &options, release)
}

/// Opens any message; what was released before an error is forgotten.
///
/// # Errors
/// What the library says.
pub fn open(
    keyring: &dyn Keyring,
    sealed: &[u8],
    options: &OpenOptions,
    release: Release,
) -> Result<Vec<u8>, OpenError> {
    let incoming = Incoming::read(sealed, &Limits::default())?;
    let opener = pollster::block_on(incoming.open(keyring, options))?;
    let mut plaintext = Vec::new();
    opener.open_stream(&mut plaintext, release)?;
    Ok(plaintext)
}

/// Opens a message through the command: key files are written into `world`.
pub fn through_command(world: &World, case: &Case, how: How) -> Ran {
    let mut args = vec!["decrypt".to_owned(), "--quiet".to_owned()];
    for (number, key) in case.keys.iter().enumerate() {
        let file = format!("{}.{number}", case.name);
        args.extend(["-k".to_owned(), spelled(world, &file, key)]);
    }
    for (name, value) in &case.context {
        args.extend(["-c".to_owned(), format!("{name}={value}")]);
    }
    args.extend(["--commitment-policy", "require-encrypt-allow-decrypt"].map(str::to_owned));
    if how.net_4_0_0 {
        args.extend(["--compat", "net-4.0.0"].map(str::to_owned));
    }
    args.push(case.sealed.to_str().expect("text").to_owned());
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    world.run(&args, b"")
}

/// An encryption context of these pairs.
pub fn context(pairs: &[(String, String)]) -> EncryptionContext {
    let mut context = EncryptionContext::new();
    for (name, value) in pairs {
        context.insert(name, value).expect("a pair");
    }
    context
}

/// The first of the keys that opens.
pub fn keyring(keys: &[Key]) -> Arc<dyn Keyring> {
    let mut all = keys.iter().map(one);
    let first = all.next().expect("a key");
    Arc::new(MultiKeyring::new(first, all.collect()))
}

fn one(key: &Key) -> Arc<dyn Keyring> {
    match key {
        Key::Aes {
            namespace,
            name,
            key,
        } => {
            let key = SecretBytes::copy_of(key);
            let entropy = Arc::new(SystemEntropy);
            Arc::new(RawAesKeyring::new(namespace, name, &key, entropy).expect("an AES key"))
        }
        Key::Rsa {
            namespace,
            name,
            pem,
            padding,
        } => {
            let padding = padding.parse::<RsaPadding>().expect("a padding");
            let keys = RsaKeys::from_pem(pem.as_bytes()).expect("an RSA key");
            let keyring =
                RawRsaKeyring::new(namespace, name, padding, keys, Arc::new(SystemEntropy));
            Arc::new(keyring.expect("an RSA keyring"))
        }
        Key::Ecdh(ecdh) => Arc::new(agreed(ecdh)),
        Key::Branch(branch) => Arc::new(hierarchical(branch)),
    }
}

fn agreed(ecdh: &Ecdh) -> RawEcdhKeyring {
    let own = EcdhPrivateKey::from_pem(ecdh.private.as_bytes()).expect("an EC key");
    let entropy = Arc::new(SystemEntropy);
    if ecdh.schema != "static" {
        return RawEcdhKeyring::discovery(own, entropy);
    }
    let peer = EcdhPublicKey::from_spki(&ecdh.recipient).expect("a public key");
    RawEcdhKeyring::with_peer(own, peer, entropy).expect("one curve")
}

fn hierarchical(branch: &Branch) -> HierarchicalKeyring {
    let mut keys = StaticBranchKeys::new();
    let version = branch.version.parse().expect("a version");
    let key = SecretBytes::copy_of(&branch.key);
    keys.insert(&branch.id, BranchKey { version, key });
    let start = Instant::now();
    HierarchicalKeyring::new(
        BranchKeyOf::Id(branch.id.clone()),
        Arc::new(keys),
        Duration::from_secs(60),
        Arc::new(move || start.elapsed()),
        Arc::new(SystemEntropy),
    )
    .expect("a branch")
}

/// The key as `-k` takes it, with its material in a file of `world`.
fn spelled(world: &World, file: &str, key: &Key) -> String {
    let written = |bytes: &[u8]| display(&world.write(file, bytes));
    match key {
        Key::Aes {
            namespace,
            name,
            key,
        } => {
            format!("raw-aes:{}?namespace={namespace}&name={name}", written(key))
        }
        Key::Rsa {
            namespace,
            name,
            pem,
            padding,
        } => {
            let file = written(pem.as_bytes());
            format!("raw-rsa:{file}?namespace={namespace}&name={name}&padding={padding}")
        }
        Key::Ecdh(ecdh) => {
            let private = written(ecdh.private.as_bytes());
            if ecdh.schema != "static" {
                return format!("raw-ecdh:{private}");
            }
            let public = format!(
                "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
                STANDARD.encode(&ecdh.recipient)
            );
            let peer = world.write(&format!("{file}.peer"), public);
            format!("raw-ecdh:{private}?peer={}", display(&peer))
        }
        Key::Branch(branch) => {
            let directory = world.path(&format!("{file}.branches"));
            let name = format!("{file}.wrapping");
            let wrapping = world.write(&name, WRAPPING_KEY);
            write_branch(&directory, &name, branch);
            format!(
                "hierarchy:{}?branch={}&wrap=raw-aes:{}",
                display(&directory),
                branch.id,
                display(&wrapping)
            )
        }
    }
}

const WRAPPING_KEY: [u8; 32] = [7; 32];

/// A folder with one version of a branch key, under a raw AES key of that name, as
/// `-k hierarchy:` reads it.
fn write_branch(directory: &Path, wrapping: &str, branch: &Branch) {
    let mut row = WrappedBranchKey {
        id: branch.id.clone(),
        version: branch.version.parse().expect("a version"),
        active: false,
        created: "2025-01-01T00:00:00.000000Z".to_owned(),
        encrypted: Vec::new(),
    };
    let entropy = Arc::new(SystemEntropy);
    let key = SecretBytes::copy_of(&WRAPPING_KEY);
    let keyring = RawAesKeyring::new("waxseal", wrapping, &key, entropy).expect("an AES key");
    let key = DataKey::new(SecretBytes::copy_of(&branch.key));
    let context = row.context().expect("a context");
    row.encrypted = pollster::block_on(keyring.wrap(&key, &context)).expect("a wrapped key");
    let enc = |key: &EncryptedDataKey| {
        json!({
            "provider-id": key.provider_id,
            "provider-info": STANDARD.encode(&key.provider_info),
            "ciphertext": STANDARD.encode(&key.ciphertext),
        })
    };
    let file = json!({
        "branch-key-id": row.id,
        "type": format!("branch:version:{}", branch.version),
        "create-time": row.created,
        "hierarchy-version": "1",
        "enc": row.encrypted.iter().map(enc).collect::<Vec<_>>(),
    });
    let directory = directory.join(&branch.id);
    fs::create_dir_all(&directory).expect("a directory");
    let path = directory.join(format!("{}.json", branch.version));
    fs::write(path, file.to_string()).expect("a file");
}

fn display(path: &Path) -> String {
    path.to_str().expect("text").to_owned()
}

/// Hands out the data key that a vector gives, whatever the header lists.
#[derive(Debug)]
pub struct GivenKey(pub Vec<u8>);

impl GivenKey {
    fn read_only() -> KeyringError {
        KeyringError::Unsupported {
            key: "a given data key".to_owned(),
            reason: "vectors are read only".to_owned(),
        }
    }
}

impl Keyring for GivenKey {
    fn generate<'a>(
        &'a self,
        _: usize,
        _: &'a EncryptionContext,
    ) -> BoxFuture<'a, Result<Generated, KeyringError>> {
        Box::pin(async { Err(Self::read_only()) })
    }

    fn wrap<'a>(
        &'a self,
        _: &'a DataKey,
        _: &'a EncryptionContext,
    ) -> BoxFuture<'a, Result<Vec<EncryptedDataKey>, KeyringError>> {
        Box::pin(async { Err(Self::read_only()) })
    }

    fn unwrap<'a>(
        &'a self,
        _: &'a EncryptedDataKey,
        _: &'a EncryptionContext,
    ) -> BoxFuture<'a, Result<Unwrapped, KeyringError>> {
        Box::pin(async { Ok(Unwrapped::Key(DataKey::new(SecretBytes::copy_of(&self.0)))) })
    }
}
