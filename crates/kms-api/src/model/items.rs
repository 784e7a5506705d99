//! What the items of lists must satisfy.

use super::{Rule, patterns, values};

pub(crate) const DRYRUN_MODIFIER_TYPE: Rule = Rule::one_of(values::DRYRUN_MODIFIER_TYPE);
pub(crate) const ENCAPSULATION_ALGORITHM_SPEC: Rule =
    Rule::one_of(values::ENCAPSULATION_ALGORITHM_SPEC);
pub(crate) const ENCRYPTION_ALGORITHM_SPEC: Rule = Rule::one_of(values::ENCRYPTION_ALGORITHM_SPEC);
pub(crate) const GRANT_OPERATION: Rule = Rule::one_of(values::GRANT_OPERATION);
pub(crate) const GRANT_TOKEN_TYPE: Rule = Rule::text(1, 8192).secret();
pub(crate) const KEY_AGREEMENT_ALGORITHM_SPEC: Rule =
    Rule::one_of(values::KEY_AGREEMENT_ALGORITHM_SPEC);
pub(crate) const MAC_ALGORITHM_SPEC: Rule = Rule::one_of(values::MAC_ALGORITHM_SPEC);
pub(crate) const POLICY_NAME_TYPE: Rule = Rule::text(1, 128).matching(&patterns::WORD);
pub(crate) const RESOURCE_OWNER_TYPE: Rule = Rule::one_of(values::RESOURCE_OWNER_TYPE);
pub(crate) const SIGNING_ALGORITHM_SPEC: Rule = Rule::one_of(values::SIGNING_ALGORITHM_SPEC);
pub(crate) const TAG_KEY_TYPE: Rule = Rule::text(1, 128);
