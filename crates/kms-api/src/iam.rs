//! Principals: users and roles, as the command line manages them. The names are those of IAM where
//! it has the operation; none of them is answered over the network.

use crate::model::{Rule, Shape, patterns, shapes};
use crate::op::{Empty, Operation};
use crate::shape::{SecretBlob, Timestamp};

shapes! {
    /// Makes a user with an access key.
    CreateUserRequest {
        /// 1 to 64 characters.
        user_name: String => "UserName", Rule::text(1, 64).matching(&patterns::PRINCIPAL_NAME).required();
    }

    /// Gives a user another access key.
    CreateAccessKeyRequest {
        /// Whose.
        user_name: String => "UserName", Rule::text(1, 64).matching(&patterns::PRINCIPAL_NAME).required();
        /// Whether the keys there are stay.
        keep_others: bool => "KeepOthers", Rule::flag();
    }

    /// Answer of CreateUser and CreateAccessKey.
    AccessKey {
        /// The user.
        arn: String => "Arn", Rule::text(20, 2048);
        /// `AKIA…`
        access_key_id: String => "AccessKeyId", Rule::text(16, 128);
        /// Secret; said this once.
        secret_access_key: SecretBlob => "SecretAccessKey", Rule::blob(1, 128);
    }

    /// Lets a user in again.
    EnableUserRequest {
        /// Whom.
        user_name: String => "UserName", Rule::text(1, 64).matching(&patterns::PRINCIPAL_NAME).required();
    }

    /// Lets a user in no more.
    DisableUserRequest {
        /// Whom.
        user_name: String => "UserName", Rule::text(1, 64).matching(&patterns::PRINCIPAL_NAME).required();
    }

    /// Removes a user, with access keys and policies.
    DeleteUserRequest {
        /// Whom.
        user_name: String => "UserName", Rule::text(1, 64).matching(&patterns::PRINCIPAL_NAME).required();
    }

    /// Gives a user an identity policy, in the place of the one of that name.
    PutUserPolicyRequest {
        /// Whom.
        user_name: String => "UserName", Rule::text(1, 64).matching(&patterns::PRINCIPAL_NAME).required();
        /// Which of the user's policies.
        policy_name: String => "PolicyName", Rule::text(1, 128).matching(&patterns::PRINCIPAL_NAME).required();
        /// JSON text; none removes it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        policy_document: Option<String> => "PolicyDocument", Rule::text(1, 131072).matching(&patterns::POLICY);
    }

    /// Lists users.
    ListUsersRequest {}

    /// Answer of ListUsers.
    ListUsersResponse {
        /// In the order of their names.
        users: Vec<PrincipalEntry> => "Users", Rule::list_of(<PrincipalEntry as Shape>::MEMBERS);
    }

    /// Makes a role, or changes the one of that name.
    CreateRoleRequest {
        /// 1 to 64 characters.
        role_name: String => "RoleName", Rule::text(1, 64).matching(&patterns::PRINCIPAL_NAME).required();
        /// The trust policy: who may be it. JSON text.
        assume_role_policy_document: String => "AssumeRolePolicyDocument", Rule::text(1, 131072).matching(&patterns::POLICY).required();
        /// The longest session, in seconds; 3,600 when not given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_session_duration: Option<i64> => "MaxSessionDuration", Rule::number(3600, 43200);
    }

    /// Answer of CreateRole.
    CreateRoleResponse {
        /// The role.
        arn: String => "Arn", Rule::text(20, 2048);
    }

    /// Gives a role an identity policy, in the place of the one of that name.
    PutRolePolicyRequest {
        /// Which role.
        role_name: String => "RoleName", Rule::text(1, 64).matching(&patterns::PRINCIPAL_NAME).required();
        /// Which of the role's policies.
        policy_name: String => "PolicyName", Rule::text(1, 128).matching(&patterns::PRINCIPAL_NAME).required();
        /// JSON text; none removes it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        policy_document: Option<String> => "PolicyDocument", Rule::text(1, 131072).matching(&patterns::POLICY);
    }

    /// Removes a role. Its sessions end.
    DeleteRoleRequest {
        /// Which role.
        role_name: String => "RoleName", Rule::text(1, 64).matching(&patterns::PRINCIPAL_NAME).required();
    }

    /// Lists roles.
    ListRolesRequest {}

    /// Answer of ListRoles.
    ListRolesResponse {
        /// In the order of their names.
        roles: Vec<PrincipalEntry> => "Roles", Rule::list_of(<PrincipalEntry as Shape>::MEMBERS);
    }

    /// Lets the tokens of an issuer stand for whom they name, or gives one that is known other keys.
    CreateOpenIDConnectProviderRequest {
        /// The issuer, as `iss` of its tokens has it: `https://HOST`, with a path or without.
        url: String => "Url", Rule::text(9, 255).matching(&patterns::ISSUER).required();
        /// Whom its tokens must be for: one of these in `aud`.
        client_ids: Vec<String> => "ClientIDList", Rule::list(&CLIENT_ID).sized(1, 100).required();
        /// Its public keys: a JWK Set (RFC 7517).
        keys: String => "Keys", Rule::text(1, 65536).required();
    }

    /// Answer of CreateOpenIDConnectProvider.
    CreateOpenIDConnectProviderResponse {
        /// `arn:aws:iam::ACCOUNT:oidc-provider/HOST/PATH`
        arn: String => "OpenIDConnectProviderArn", Rule::text(20, 2048);
    }

    /// Lets the tokens of an issuer stand for nobody. The sessions there are go on.
    DeleteOpenIDConnectProviderRequest {
        /// The issuer.
        url: String => "Url", Rule::text(9, 255).matching(&patterns::ISSUER).required();
    }

    /// Lists issuers.
    ListOpenIDConnectProvidersRequest {}

    /// Answer of ListOpenIDConnectProviders.
    ListOpenIDConnectProvidersResponse {
        /// In the order of their hosts.
        providers: Vec<ProviderEntry> => "OpenIDConnectProviderList", Rule::list_of(<ProviderEntry as Shape>::MEMBERS);
    }

    /// An issuer in a list.
    ProviderEntry {
        /// The issuer.
        url: String => "Url", Rule::text(9, 255);
        /// Its ARN.
        arn: String => "Arn", Rule::text(20, 2048);
        /// When it was made known.
        create_date: Timestamp => "CreateDate", Rule::time();
        /// Whom its tokens must be for.
        client_ids: Vec<String> => "ClientIDList", Rule::list(&ANY_TEXT);
    }

    /// A user or role in a list.
    PrincipalEntry {
        /// Its name.
        name: String => "Name", Rule::text(1, 64);
        /// Its ARN.
        arn: String => "Arn", Rule::text(20, 2048);
        /// When it was made.
        create_date: Timestamp => "CreateDate", Rule::time();
        /// Whether it is let in.
        enabled: bool => "Enabled", Rule::flag();
        /// The ids of a user's access keys.
        access_key_ids: Vec<String> => "AccessKeyIds", Rule::list(&ANY_TEXT);
        /// The names of its policies.
        policy_names: Vec<String> => "PolicyNames", Rule::list(&ANY_TEXT);
    }
}

const ANY_TEXT: Rule = Rule::any_text();
const CLIENT_ID: Rule = Rule::text(1, 255);

macro_rules! operations {
    ($( $input:ident -> $output:ident: $name:literal; )*) => {$(
        impl Operation for $input {
            const NAME: &'static str = $name;
            const SERVICE: &'static str = "iam";
            type Output = $output;
        }
    )*};
}

operations! {
    CreateAccessKeyRequest -> AccessKey: "CreateAccessKey";
    CreateOpenIDConnectProviderRequest -> CreateOpenIDConnectProviderResponse: "CreateOpenIDConnectProvider";
    CreateRoleRequest -> CreateRoleResponse: "CreateRole";
    CreateUserRequest -> AccessKey: "CreateUser";
    DeleteOpenIDConnectProviderRequest -> Empty: "DeleteOpenIDConnectProvider";
    DeleteRoleRequest -> Empty: "DeleteRole";
    DeleteUserRequest -> Empty: "DeleteUser";
    DisableUserRequest -> Empty: "DisableUser";
    EnableUserRequest -> Empty: "EnableUser";
    ListOpenIDConnectProvidersRequest -> ListOpenIDConnectProvidersResponse: "ListOpenIDConnectProviders";
    ListRolesRequest -> ListRolesResponse: "ListRoles";
    ListUsersRequest -> ListUsersResponse: "ListUsers";
    PutRolePolicyRequest -> Empty: "PutRolePolicy";
    PutUserPolicyRequest -> Empty: "PutUserPolicy";
}
