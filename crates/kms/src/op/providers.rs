//! OpenID Connect providers: whose tokens begin sessions of roles.

use super::{Perform, invalid, put};
use crate::engine::View;
use crate::federation::{ProviderRecord, arn, name_of, prefix};
use crate::request::{Change, Done};
use crate::store::Expect;
use waxseal_core::crypto::token::TokenKeys;
use waxseal_kms_api::iam::{
    CreateOpenIDConnectProviderRequest, CreateOpenIDConnectProviderResponse,
    DeleteOpenIDConnectProviderRequest, ListOpenIDConnectProvidersRequest,
    ListOpenIDConnectProvidersResponse, ProviderEntry,
};
use waxseal_kms_api::op::Empty;
use waxseal_kms_api::shape::Timestamp;
use waxseal_kms_api::{ErrorCode, KmsError};

impl Perform for CreateOpenIDConnectProviderRequest {
    super::of_account!(true);

    fn run(
        self,
        (): (),
        view: &View<'_>,
    ) -> Result<Done<CreateOpenIDConnectProviderResponse>, KmsError> {
        TokenKeys::parse(&self.keys).map_err(|error| invalid(error.to_string()))?;
        let known = view.provider(&self.url)?;
        let home = view.home();
        let name = name_of(&self.url);
        let record = ProviderRecord {
            created: known
                .as_ref()
                .map_or_else(|| view.seconds(), |known| known.record.created),
            client_ids: self.client_ids,
            keys: self.keys,
        };
        let expect = known.map_or(Expect::Absent, |known| Expect::Revision(known.revision));
        let mut done = Done::read(CreateOpenIDConnectProviderResponse {
            arn: arn(&home.partition, &home.account, name),
        });
        done.changes = vec![put(
            format!("{}{name}", prefix(&home.account)),
            expect,
            &record,
        )?];
        Ok(done)
    }
}

impl Perform for DeleteOpenIDConnectProviderRequest {
    super::of_account!(true);

    fn run(self, (): (), view: &View<'_>) -> Result<Done<Empty>, KmsError> {
        let provider = view.provider(&self.url)?.ok_or_else(|| {
            let url = &self.url;
            KmsError::new(
                ErrorCode::NotFound,
                format!("The provider {url} cannot be found."),
            )
        })?;
        let mut done = Done::read(Empty {});
        done.changes = vec![Change {
            key: format!("{}{}", prefix(&view.home().account), provider.name),
            expect: Expect::Revision(provider.revision),
            body: None,
        }];
        Ok(done)
    }
}

impl Perform for ListOpenIDConnectProvidersRequest {
    super::of_account!(false);

    fn run(
        self,
        (): (),
        view: &View<'_>,
    ) -> Result<Done<ListOpenIDConnectProvidersResponse>, KmsError> {
        let all = view.providers()?.into_iter();
        let providers = all.map(|provider| ProviderEntry {
            url: provider.url(),
            arn: provider.arn.clone(),
            create_date: Timestamp(provider.record.created),
            client_ids: provider.record.client_ids.clone(),
        });
        Ok(Done::read(ListOpenIDConnectProvidersResponse {
            providers: providers.collect(),
        }))
    }
}
