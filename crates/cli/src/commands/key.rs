//! `waxseal key`: the keys of the embedded KMS.

use super::Session;
use crate::args::{Key, KmsChoice};
use crate::embedded::{self, call};
use crate::failure::Failure;
use crate::terminal::plain;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead as _, Write as _};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use waxseal_core::{AliasName, KeyRef};
use waxseal_kms::Engine;
use waxseal_kms::audit::records_after;
use waxseal_kms::home::EmbeddedHome;
use waxseal_kms_api::op::*;
use waxseal_kms_api::shape::Timestamp;

/// Runs one of the commands.
pub(super) fn run(command: Key, session: &Session) -> Result<(), Failure> {
    if session.kms == Some(KmsChoice::Aws) {
        return Err(Failure::usage(
            "waxseal key manages the keys of the embedded KMS",
            "manage Amazon's keys with aws kms",
        ));
    }
    let home = embedded::open(&session.world)?;
    let keys = Keys {
        engine: home.engine(),
        session,
    };
    match command {
        Key::Create {
            aliases,
            description,
            tags,
        } => keys.create(&aliases, description, tags),
        Key::List => keys.list(),
        Key::Show { key } => keys.show(&key),
        Key::Alias {
            name,
            key: Some(key),
            ..
        } => keys.alias(&name, &key),
        Key::Alias {
            name, key: None, ..
        } => keys.delete_alias(&name),
        Key::Rotate { key } => keys.rotate(&key),
        Key::Rotations { key } => keys.rotations(&key),
        Key::Enable { key } => keys.enable(&key),
        Key::Disable { key } => keys.disable(&key),
        Key::Delete { key, days, yes } => keys.delete(&key, days, yes),
        Key::CancelDeletion { key } => keys.cancel_deletion(&key),
    }
}

/// The last use of a key.
struct Use {
    operation: String,
    when: Option<String>,
    by: Option<String>,
    request_id: Option<String>,
}

impl std::fmt::Display for Use {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(when) = &self.when {
            write!(f, "on {when} ")?;
        }
        let by = self
            .by
            .as_deref()
            .unwrap_or("somebody whom the log does not name");
        write!(f, "by {by} ({})", self.operation)
    }
}

impl Use {
    fn json(&self) -> Value {
        json!({ "operation": self.operation, "time": self.when, "by": self.by,
                "requestId": self.request_id })
    }
}

struct Keys<'s> {
    engine: &'s Engine,
    session: &'s Session,
}

impl Keys<'_> {
    fn create(
        &self,
        aliases: &[String],
        description: Option<String>,
        tags: Vec<(String, String)>,
    ) -> Result<(), Failure> {
        // Wrong or taken names are refused before a key exists that nobody asked for.
        let aliases: Vec<AliasName> = aliases
            .iter()
            .map(|name| alias_name(name))
            .collect::<Result<_, _>>()?;
        let taken = self.aliases()?;
        for alias in &aliases {
            if taken.values().flatten().any(|name| name == alias.as_str()) {
                return Err(Failure::usage(
                    format!("{alias} names a key already"),
                    "choose another name, or move it with waxseal key alias",
                ));
            }
        }
        let tags = tags
            .into_iter()
            .map(|(tag_key, tag_value)| Tag { tag_key, tag_value });
        let request = CreateKeyRequest {
            description,
            tags: tags.collect(),
            ..CreateKeyRequest::default()
        };
        let key = call(self.engine, request)?.key_metadata;
        for alias in &aliases {
            let (alias_name, target_key_id) = (alias.to_string(), key.key_id.clone());
            call(
                self.engine,
                CreateAliasRequest {
                    alias_name,
                    target_key_id,
                },
            )?;
        }
        let names: Vec<String> = aliases.iter().map(ToString::to_string).collect();
        self.session.tell(&key.key_id, || summary(&key, &names))
    }

    fn list(&self) -> Result<(), Failure> {
        let aliases = self.aliases()?;
        let mut marker = None;
        loop {
            let page = call(
                self.engine,
                ListKeysRequest {
                    limit: Some(1000),
                    marker,
                    ..ListKeysRequest::default()
                },
            )?;
            for entry in page.keys {
                let key = self.describe(&entry.key_id)?;
                let names = aliases.get(&key.key_id).cloned().unwrap_or_default();
                let line = format!(
                    "{}  {:<8}  {}  {}{}",
                    key.key_id,
                    key.key_state,
                    date(key.creation_date),
                    names.join(" "),
                    spaced(&key.description),
                );
                self.session
                    .tell(line.trim_end(), || summary(&key, &names))?;
            }
            marker = page.next_marker;
            if marker.is_none() {
                return Ok(());
            }
        }
    }

    fn show(&self, name: &str) -> Result<(), Failure> {
        let key = self.describe(name)?;
        let aliases = self.aliases()?.remove(&key.key_id).unwrap_or_default();
        let key_id = key.key_id.clone();
        let request = ListResourceTagsRequest {
            key_id,
            limit: None,
            marker: None,
        };
        let tags = call(self.engine, request)?.tags;
        let rotations = self.materials(&key.key_id)?.len() - 1;
        if self.session.report.json {
            let tags = tags
                .iter()
                .map(|tag| (tag.tag_key.clone(), json!(tag.tag_value)));
            let mut value = summary(&key, &aliases);
            value["tags"] = Value::Object(tags.collect());
            value["rotations"] = json!(rotations);
            return self.session.tell("", || value);
        }
        let tags: Vec<_> = tags
            .iter()
            .map(|tag| format!("{}={}", tag.tag_key, tag.tag_value))
            .collect();
        for (name, value) in [
            ("id", key.key_id),
            ("arn", key.arn),
            ("state", key.key_state),
            ("aliases", aliases.join(" ")),
            ("description", key.description),
            ("tags", tags.join(" ")),
            ("created", date(key.creation_date)),
            ("spec", format!("{} {}", key.key_spec, key.key_usage)),
            ("origin", key.origin),
            ("rotations", rotations.to_string()),
            ("material", key.current_key_material_id.unwrap_or_default()),
        ] {
            self.session
                .tell(format!("{name:<12} {value}").trim_end(), || Value::Null)?;
        }
        Ok(())
    }

    fn alias(&self, name: &str, key: &str) -> Result<(), Failure> {
        let name = alias_name(name)?;
        let target_key_id = self.describe(key)?.key_id;
        let told = json!({ "alias": name.as_str(), "keyId": target_key_id });
        let known = self
            .aliases()?
            .values()
            .flatten()
            .any(|known| known == name.as_str());
        let alias_name = name.to_string();
        if known {
            call(
                self.engine,
                UpdateAliasRequest {
                    alias_name,
                    target_key_id,
                },
            )?;
        } else {
            call(
                self.engine,
                CreateAliasRequest {
                    alias_name,
                    target_key_id,
                },
            )?;
        }
        self.done(told)
    }

    fn delete_alias(&self, name: &str) -> Result<(), Failure> {
        let name = alias_name(name)?;
        call(
            self.engine,
            DeleteAliasRequest {
                alias_name: name.to_string(),
            },
        )?;
        self.done(json!({ "alias": name.as_str(), "deleted": true }))
    }

    fn rotate(&self, name: &str) -> Result<(), Failure> {
        let key_id = self.describe(name)?.key_id;
        call(
            self.engine,
            RotateKeyOnDemandRequest {
                key_id: key_id.clone(),
            },
        )?;
        let material = self.describe(&key_id)?.current_key_material_id;
        self.session.tell(
            material.as_deref().unwrap_or_default(),
            || json!({ "keyId": key_id, "material": material }),
        )
    }

    fn rotations(&self, name: &str) -> Result<(), Failure> {
        let key_id = self.describe(name)?.key_id;
        for entry in self.materials(&key_id)? {
            let when = entry
                .rotation_date
                .map_or_else(|| "at creation".to_owned(), date);
            let kind = entry
                .rotation_type
                .clone()
                .unwrap_or_else(|| "CREATED".to_owned());
            let line = format!(
                "{}  {:<20}  {:<9}  {}",
                entry.key_material_id, when, kind, entry.key_material_state
            );
            self.session.tell(&line, || {
                json!({
                    "keyId": key_id,
                    "material": entry.key_material_id,
                    "state": entry.key_material_state,
                    "since": entry.rotation_date.map(date),
                    "kind": kind,
                })
            })?;
        }
        Ok(())
    }

    fn enable(&self, name: &str) -> Result<(), Failure> {
        let key_id = self.describe(name)?.key_id;
        call(
            self.engine,
            EnableKeyRequest {
                key_id: key_id.clone(),
            },
        )?;
        self.done(json!({ "keyId": key_id, "state": "Enabled" }))
    }

    fn disable(&self, name: &str) -> Result<(), Failure> {
        let key_id = self.key_id(name)?;
        call(
            self.engine,
            DisableKeyRequest {
                key_id: key_id.clone(),
            },
        )?;
        self.done(json!({ "keyId": key_id, "state": "Disabled" }))
    }

    fn delete(&self, name: &str, days: i64, yes: bool) -> Result<(), Failure> {
        // Before anything is told or asked.
        if !(7..=30).contains(&days) {
            return Err(Failure::usage(
                format!("a waiting period has between 7 and 30 days, not {days}"),
                "give another --days",
            ));
        }
        let key_id = self.key_id(name)?;
        let used = self.last_use(&key_id)?;
        let told = match &used {
            Some(used) => format!("{key_id} was used last {used}"),
            None => format!("{key_id} was never used, as far as the audit log goes back"),
        };
        self.session.report.note(&plain(&told));
        if !yes && !self.session.report.json {
            self.ask(days)?;
        }
        let request = ScheduleKeyDeletionRequest {
            key_id: key_id.clone(),
            pending_window_in_days: Some(days),
        };
        let answer = call(self.engine, request)?;
        let due = answer.deletion_date.map(date);
        let when = match &due {
            Some(due) => format!("on {due}"),
            None => format!("{days} days after its last replica"),
        };
        self.session.tell(
            &format!("{key_id} will be deleted {when}; waxseal key cancel-deletion keeps it"),
            || {
                json!({ "keyId": key_id, "state": answer.key_state, "deletion": due,
                        "lastUse": used.as_ref().map(Use::json) })
            },
        )
    }

    /// Who used a key last, and when; in the audit log is who.
    fn last_use(&self, key_id: &str) -> Result<Option<Use>, Failure> {
        let request = GetKeyLastUsageRequest {
            key_id: key_id.to_owned(),
        };
        let used = call(self.engine, request)?.key_last_usage;
        let (Some(operation), Some(event)) = (used.operation, used.cloud_trail_event_id) else {
            return Ok(None);
        };
        let log = EmbeddedHome::audit_directory(embedded::directory(&self.session.world)?);
        let mut records = records_after(&log, 0).containing(&event);
        let by = records.find_map(|record| {
            let told = record.ok()?.event().ok()?;
            let is_it = told["eventID"].as_str() == Some(event.as_str());
            is_it.then(|| told["userIdentity"]["arn"].as_str().map(str::to_owned))?
        });
        Ok(Some(Use {
            operation,
            when: used.timestamp.map(date),
            by,
            request_id: used.kms_request_id,
        }))
    }

    /// Asks somebody who sits before a terminal.
    fn ask(&self, days: i64) -> Result<(), Failure> {
        let world = &self.session.world;
        if !world.stdin_is_terminal || !world.stderr_is_terminal {
            return Ok(());
        }
        let mut stderr = std::io::stderr().lock();
        let asked = write!(
            stderr,
            "Delete it in {days} days? What it encrypted is lost then. [y/N] "
        );
        let io = |error| Failure::io("ask on", "the terminal", &error);
        asked.and_then(|()| stderr.flush()).map_err(io)?;
        let mut answer = String::new();
        std::io::stdin().lock().read_line(&mut answer).map_err(io)?;
        match answer.trim() {
            "y" | "Y" | "yes" => Ok(()),
            _ => Err(Failure::usage(
                "the key stays as it is",
                "answer y, or give --yes, to have it deleted",
            )),
        }
    }

    fn cancel_deletion(&self, name: &str) -> Result<(), Failure> {
        let key_id = self.describe(name)?.key_id;
        let request = CancelKeyDeletionRequest {
            key_id: key_id.clone(),
        };
        call(self.engine, request)?;
        self.done(json!({ "keyId": key_id, "state": "Disabled" }))
    }

    /// Management operations take no aliases; people do.
    /// The id that a name means. An id means itself, and nothing is asked: what takes a right away has
    /// to go through where nothing else does.
    fn key_id(&self, name: &str) -> Result<String, Failure> {
        match name.parse::<KeyRef>() {
            Ok(KeyRef::Id(id)) => Ok(id.to_string()),
            _ => Ok(self.describe(name)?.key_id),
        }
    }

    fn describe(&self, name: &str) -> Result<KeyMetadata, Failure> {
        name.parse::<KeyRef>()
            .map_err(|error| Failure::usage(error.to_string(), "see waxseal key list"))?;
        Ok(call(
            self.engine,
            DescribeKeyRequest {
                key_id: name.to_owned(),
                ..DescribeKeyRequest::default()
            },
        )?
        .key_metadata)
    }

    fn materials(&self, key_id: &str) -> Result<Vec<RotationsListEntry>, Failure> {
        let request = ListKeyRotationsRequest {
            key_id: key_id.to_owned(),
            include_key_material: Some("ALL_KEY_MATERIAL".to_owned()),
            limit: Some(1000),
            marker: None,
        };
        Ok(call(self.engine, request)?.rotations)
    }

    /// The aliases of each key.
    fn aliases(&self) -> Result<BTreeMap<String, Vec<String>>, Failure> {
        let mut aliases: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut marker = None;
        loop {
            let request = ListAliasesRequest {
                key_id: None,
                limit: Some(1000),
                marker,
            };
            let page = call(self.engine, request)?;
            for alias in page.aliases {
                aliases
                    .entry(alias.target_key_id)
                    .or_default()
                    .push(alias.alias_name);
            }
            marker = page.next_marker;
            if marker.is_none() {
                return Ok(aliases);
            }
        }
    }

    /// Nothing in words: it is done.
    fn done(&self, value: Value) -> Result<(), Failure> {
        match self.session.report.json {
            true => self.session.tell("", || value),
            false => Ok(()),
        }
    }
}

fn alias_name(name: &str) -> Result<AliasName, Failure> {
    let whole = if name.starts_with("alias/") {
        name.to_owned()
    } else {
        format!("alias/{name}")
    };
    let refused = |what: String| Failure::usage(what, "choose another name");
    let parsed: Result<AliasName, waxseal_core::arn::NameError> = whole.parse();
    let name = parsed.map_err(|error| refused(error.to_string()))?;
    if name.is_reserved() {
        return Err(refused(format!(
            "'{name}': names below alias/aws/ are reserved"
        )));
    }
    Ok(name)
}

fn summary(key: &KeyMetadata, aliases: &[String]) -> Value {
    json!({
        "keyId": key.key_id,
        "arn": key.arn,
        "state": key.key_state,
        "aliases": aliases,
        "description": key.description,
        "created": date(key.creation_date),
        "spec": key.key_spec,
        "usage": key.key_usage,
        "origin": key.origin,
        "material": key.current_key_material_id,
    })
}

fn spaced(text: &str) -> String {
    if text.is_empty() {
        String::new()
    } else {
        format!("  {text}")
    }
}

/// Seconds since the epoch as RFC 3339, to the second.
fn date(time: Timestamp) -> String {
    OffsetDateTime::from_unix_timestamp(time.0 as i64)
        .ok()
        .and_then(|time| time.format(&Rfc3339).ok())
        .unwrap_or_else(|| time.0.to_string())
}
