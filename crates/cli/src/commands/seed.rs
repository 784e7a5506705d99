//! `serve --dev --seed FILE`: keys and principals with chosen ids, material and secrets.
//!
//! ```yaml
//! keys:                        # each with region and account, if they are not the server's own
//!   - id: bc436485-5092-42b8-92a3-0aa8b93536dc
//!     aliases: [alias/testing]
//!     material: [5cdaead27fe7da2de47945d73cd6d79e36494e73802f3cd3869f1d2cb0b5d7a9]
//! users:                       # each with account
//!   - name: ann
//!     access-key-id: AKIAANNANNANNANNANNA
//!     secret-access-key: ann's secret
//!     policies: {decrypt: {Version: "2012-10-17", Statement: …}}
//! roles:                       # each with account
//!   - name: deploy
//!     trust: {Version: "2012-10-17", Statement: …}
//!     policies: {…}
//! ```

use crate::embedded;
use crate::failure::Failure;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use waxseal_core::arn::is_account;
use waxseal_kms::Engine;
use waxseal_kms::op::Perform;
use waxseal_kms::seed::{SeedKey, SeedUser, policy_text};
use waxseal_kms_api::iam::{CreateRoleRequest, PutRolePolicyRequest};
use waxseal_server::front::is_region;

/// The most bytes of a seed file.
const SEED_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// What a seed file holds.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Seeds {
    #[serde(default)]
    keys: Vec<SeedKey>,
    #[serde(default)]
    users: Vec<SeedUser>,
    #[serde(default)]
    roles: Vec<SeedRole>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct SeedRole {
    name: String,
    account: Option<String>,
    trust: Value,
    #[serde(default)]
    policies: BTreeMap<String, Value>,
}

impl Seeds {
    /// Reads a seed file.
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        let name = path.display().to_string();
        let failed = |error: std::io::Error| Failure::io("read", &name, &error);
        if std::fs::metadata(path).map_err(failed)?.len() > SEED_BYTES_MAX {
            return Err(malformed(&name, &"it is longer than 16 MiB"));
        }
        let text = std::fs::read_to_string(path).map_err(failed)?;
        let seeds: Self =
            serde_saphyr::from_str(&text).map_err(|error| malformed(&name, &first_line(&error)))?;
        Ok(seeds)
    }

    /// Plants what is not there yet.
    pub(super) fn plant(&self, engine: &Engine) -> Result<(), Failure> {
        for key in self.keys.iter().cloned() {
            let (region, account) = (key.region.clone(), key.account.clone());
            let at = format!("key {}", key.id);
            call(engine, &at, region.as_deref(), account.as_deref(), key)?;
        }
        for user in self.users.iter().cloned() {
            let account = user.account.clone();
            let at = format!("user {}", user.name);
            call(engine, &at, None, account.as_deref(), user)?;
        }
        for role in self.roles.iter().cloned() {
            let at = format!("role {}", role.name);
            let create = CreateRoleRequest {
                role_name: role.name.clone(),
                assume_role_policy_document: policy_text(role.trust),
                max_session_duration: None,
            };
            call(engine, &at, None, role.account.as_deref(), create)?;
            for (name, policy) in role.policies {
                let put = PutRolePolicyRequest {
                    role_name: role.name.clone(),
                    policy_name: name,
                    policy_document: Some(policy_text(policy)),
                };
                call(engine, &at, None, role.account.as_deref(), put)?;
            }
        }
        Ok(())
    }
}

/// One request by the owner of `account`, in `region`.
fn call<O: Perform>(
    engine: &Engine,
    at: &str,
    region: Option<&str>,
    account: Option<&str>,
    input: O,
) -> Result<(), Failure> {
    let wrong = |what: &str| malformed(&format!("the seed file, {at}"), &what);
    let home = engine.home();
    let account = account.unwrap_or(&home.account);
    if !is_account(account) {
        return Err(wrong("its account is 12 digits"));
    }
    let region = region.unwrap_or(&home.region);
    if !is_region(region) {
        return Err(wrong("its region is no Region"));
    }
    let caller = engine.owner_of(account, &embedded::user_agent());
    let done = engine
        .by_caller(caller, region, input)
        .and_then(|request| engine.call(request));
    done.map(drop)
        .map_err(|error| wrong(&error.message.unwrap_or_default()))
}

/// The first line only: later ones may quote the file, which holds secrets.
fn first_line(error: &serde_saphyr::Error) -> String {
    let text = error.to_string();
    text.lines().next().unwrap_or_default().to_owned()
}

fn malformed(name: &str, what: &dyn std::fmt::Display) -> Failure {
    Failure::configuration(format!("{name}: {what}"), "docs/server.md has an example")
}
