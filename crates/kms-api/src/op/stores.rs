//! Operations on custom key stores.

use crate::model::{Rule, patterns, shapes, values};
use crate::shape::Timestamp;

shapes! {
    /// Makes a custom key store.
    #[derive(Clone, PartialEq)]
    CreateCustomKeyStoreRequest {
        /// Its name.
        custom_key_store_name: String => "CustomKeyStoreName", Rule::text(1, 256).required();
        /// The cluster of a custom key store.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cloud_hsm_cluster_id: Option<String> => "CloudHsmClusterId", Rule::text(19, 24).matching(&patterns::CLUSTER_ID);
        /// What the cluster's certificate is checked with.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        trust_anchor_certificate: Option<String> => "TrustAnchorCertificate", Rule::text(1, 5000);
        /// The password of the user `kmsuser`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key_store_password: Option<String> => "KeyStorePassword", Rule::text(7, 32).secret();
        /// `AWS_CLOUDHSM` or `EXTERNAL_KEY_STORE`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        custom_key_store_type: Option<String> => "CustomKeyStoreType", Rule::one_of(values::CUSTOM_KEY_STORE_TYPE);
        /// Where the proxy is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        xks_proxy_uri_endpoint: Option<String> => "XksProxyUriEndpoint", Rule::text(10, 128).matching(&patterns::HTTPS_ENDPOINT);
        /// The path at the proxy.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        xks_proxy_uri_path: Option<String> => "XksProxyUriPath", Rule::text(10, 128).matching(&patterns::XKS_PATH);
        /// The endpoint service of the proxy.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        xks_proxy_vpc_endpoint_service_name: Option<String> => "XksProxyVpcEndpointServiceName", Rule::text(20, 64).matching(&patterns::ENDPOINT_SERVICE);
        /// The account of the endpoint service.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        xks_proxy_vpc_endpoint_service_owner: Option<String> => "XksProxyVpcEndpointServiceOwner", Rule::text(12, 12).matching(&patterns::ACCOUNT);
        /// What signs requests to the proxy.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        xks_proxy_authentication_credential: Option<XksProxyAuthenticationCredentialType> => "XksProxyAuthenticationCredential", Rule::structure(XksProxyAuthenticationCredentialType::MEMBERS);
        /// How the proxy is reached.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        xks_proxy_connectivity: Option<String> => "XksProxyConnectivity", Rule::one_of(values::XKS_PROXY_CONNECTIVITY_TYPE);
    }

    /// Answer of CreateCustomKeyStore.
    #[derive(Clone, PartialEq)]
    CreateCustomKeyStoreResponse {
        /// A custom key store.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        custom_key_store_id: Option<String> => "CustomKeyStoreId", Rule::text(1, 64);
    }

    /// Describes custom key stores.
    #[derive(Clone, PartialEq)]
    DescribeCustomKeyStoresRequest {
        /// A custom key store.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        custom_key_store_id: Option<String> => "CustomKeyStoreId", Rule::text(1, 64);
        /// Its name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        custom_key_store_name: Option<String> => "CustomKeyStoreName", Rule::text(1, 256);
        /// The most entries of a page, 1 to 1,000.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<i64> => "Limit", Rule::number(1, 1000);
        /// `NextMarker` of the page before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        marker: Option<String> => "Marker", Rule::text(1, 1024).matching(&patterns::MARKER);
    }

    /// Answer of DescribeCustomKeyStores.
    #[derive(Clone, PartialEq)]
    DescribeCustomKeyStoresResponse {
        /// The stores.
        #[serde(default)]
        custom_key_stores: Vec<CustomKeyStoresListEntry> => "CustomKeyStores", Rule::list_of(CustomKeyStoresListEntry::MEMBERS);
        /// Where the next page starts.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next_marker: Option<String> => "NextMarker", Rule::text(1, 1024).matching(&patterns::MARKER);
        /// Whether there is a next page.
        truncated: bool => "Truncated", Rule::flag();
    }

    /// Changes a custom key store.
    #[derive(Clone, PartialEq)]
    UpdateCustomKeyStoreRequest {
        /// A custom key store.
        custom_key_store_id: String => "CustomKeyStoreId", Rule::text(1, 64).required();
        /// Its new name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        new_custom_key_store_name: Option<String> => "NewCustomKeyStoreName", Rule::text(1, 256);
        /// The password of the user `kmsuser`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key_store_password: Option<String> => "KeyStorePassword", Rule::text(7, 32).secret();
        /// The cluster of a custom key store.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cloud_hsm_cluster_id: Option<String> => "CloudHsmClusterId", Rule::text(19, 24).matching(&patterns::CLUSTER_ID);
        /// Where the proxy is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        xks_proxy_uri_endpoint: Option<String> => "XksProxyUriEndpoint", Rule::text(10, 128).matching(&patterns::HTTPS_ENDPOINT);
        /// The path at the proxy.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        xks_proxy_uri_path: Option<String> => "XksProxyUriPath", Rule::text(10, 128).matching(&patterns::XKS_PATH);
        /// The endpoint service of the proxy.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        xks_proxy_vpc_endpoint_service_name: Option<String> => "XksProxyVpcEndpointServiceName", Rule::text(20, 64).matching(&patterns::ENDPOINT_SERVICE);
        /// The account of the endpoint service.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        xks_proxy_vpc_endpoint_service_owner: Option<String> => "XksProxyVpcEndpointServiceOwner", Rule::text(12, 12).matching(&patterns::ACCOUNT);
        /// What signs requests to the proxy.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        xks_proxy_authentication_credential: Option<XksProxyAuthenticationCredentialType> => "XksProxyAuthenticationCredential", Rule::structure(XksProxyAuthenticationCredentialType::MEMBERS);
        /// How the proxy is reached.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        xks_proxy_connectivity: Option<String> => "XksProxyConnectivity", Rule::one_of(values::XKS_PROXY_CONNECTIVITY_TYPE);
    }

    /// Removes a custom key store.
    #[derive(Clone, PartialEq)]
    DeleteCustomKeyStoreRequest {
        /// A custom key store.
        custom_key_store_id: String => "CustomKeyStoreId", Rule::text(1, 64).required();
    }

    /// Connects a custom key store.
    #[derive(Clone, PartialEq)]
    ConnectCustomKeyStoreRequest {
        /// A custom key store.
        custom_key_store_id: String => "CustomKeyStoreId", Rule::text(1, 64).required();
    }

    /// Disconnects a custom key store.
    #[derive(Clone, PartialEq)]
    DisconnectCustomKeyStoreRequest {
        /// A custom key store.
        custom_key_store_id: String => "CustomKeyStoreId", Rule::text(1, 64).required();
    }

    /// A custom key store in a list.
    #[derive(Clone, PartialEq)]
    CustomKeyStoresListEntry {
        /// A custom key store.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        custom_key_store_id: Option<String> => "CustomKeyStoreId", Rule::text(1, 64);
        /// Its name.
        custom_key_store_name: String => "CustomKeyStoreName", Rule::text(1, 256);
        /// The cluster of a custom key store.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cloud_hsm_cluster_id: Option<String> => "CloudHsmClusterId", Rule::text(19, 24).matching(&patterns::CLUSTER_ID);
        /// What the cluster's certificate is checked with.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        trust_anchor_certificate: Option<String> => "TrustAnchorCertificate", Rule::text(1, 5000);
        /// Whether it is connected.
        connection_state: String => "ConnectionState", Rule::one_of(values::CONNECTION_STATE_TYPE);
        /// Why it is not.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        connection_error_code: Option<String> => "ConnectionErrorCode", Rule::one_of(values::CONNECTION_ERROR_CODE_TYPE);
        /// When it was made.
        creation_date: Timestamp => "CreationDate", Rule::time();
        /// `AWS_CLOUDHSM` or `EXTERNAL_KEY_STORE`.
        custom_key_store_type: String => "CustomKeyStoreType", Rule::one_of(values::CUSTOM_KEY_STORE_TYPE);
        /// Where the external key store is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        xks_proxy_configuration: Option<XksProxyConfigurationType> => "XksProxyConfiguration", Rule::structure(XksProxyConfigurationType::MEMBERS);
    }

    /// What signs requests to an external key store.
    #[derive(Clone, PartialEq)]
    XksProxyAuthenticationCredentialType {
        /// The id of the credential.
        access_key_id: String => "AccessKeyId", Rule::text(20, 30).matching(&patterns::XKS_ACCESS_KEY).secret().required();
        /// Secret.
        raw_secret_access_key: String => "RawSecretAccessKey", Rule::text(43, 64).matching(&patterns::XKS_SECRET).secret().required();
    }

    /// Where an external key store is.
    #[derive(Clone, PartialEq)]
    XksProxyConfigurationType {
        /// How it is reached.
        connectivity: String => "Connectivity", Rule::one_of(values::XKS_PROXY_CONNECTIVITY_TYPE);
        /// The id of the credential.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        access_key_id: Option<String> => "AccessKeyId", Rule::text(20, 30).matching(&patterns::XKS_ACCESS_KEY).secret();
        /// Where it is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        uri_endpoint: Option<String> => "UriEndpoint", Rule::text(10, 128).matching(&patterns::HTTPS_ENDPOINT);
        /// The path there.
        uri_path: String => "UriPath", Rule::text(10, 128).matching(&patterns::XKS_PATH);
        /// Its endpoint service.
        vpc_endpoint_service_name: String => "VpcEndpointServiceName", Rule::text(20, 64).matching(&patterns::ENDPOINT_SERVICE);
        /// The account of its endpoint service.
        vpc_endpoint_service_owner: String => "VpcEndpointServiceOwner", Rule::text(12, 12).matching(&patterns::ACCOUNT);
    }
}
