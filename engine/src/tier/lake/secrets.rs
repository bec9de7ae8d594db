//! What of a lake's URI and storage options is a secret: it is not printed, and not written down unless the user says so.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use url::Url;

use crate::{Error, Result};

/// A storage option whose value starts so names an environment variable that holds the secret.
pub(super) const FROM_ENVIRONMENT: &str = "env:";

/// What a storage option's name has if it holds a secret, among the names of AWS, Azure, Google and OpenDAL. Wide on purpose:
/// a secret that is not known for one is written down, anything else only has to be allowed.
const SECRET_PARTS: [&str; 7] = [
    "secret",
    "pass",
    "token",
    "key",
    "credential",
    "authorization",
    "cookie",
];

/// How a name ends that has such a part and yet holds no secret: it tells which one is meant, or where it is.
const PUBLIC_ENDINGS: [&str; 8] = [
    "_id",
    "_enabled",
    "_file",
    "_path",
    "_type",
    "_uri",
    "_url",
    "application_credentials",
];

/// Whether an option holds a secret itself, rather than the name of an environment variable that does.
pub(crate) fn is_secret_in_clear(name: &str, value: &str) -> bool {
    !value.starts_with(FROM_ENVIRONMENT) && (is_secret_name(name) || is_secret_value(value))
}

fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_PARTS.iter().any(|part| name.contains(part))
        && !PUBLIC_ENDINGS.iter().any(|ending| name.ends_with(ending))
}

/// Whether a value is a secret under any name: a service account's JSON document, an address with a password or a signature.
fn is_secret_value(value: &str) -> bool {
    let is_document = value.trim_start().starts_with('{');
    is_document
        || Url::parse(value).is_ok_and(|url| {
            let mut query = url.query_pairs();
            url.password().is_some()
                || (url.has_authority() && !url.username().is_empty())
                || query.any(|(name, _)| name.eq_ignore_ascii_case("sig") || is_secret_name(&name))
        })
}

/// Refuses a lake's URI with credentials: no object store reads them there, and they would be written into the table's file.
pub(crate) fn check_uri(uri: &str) -> Result<()> {
    let Some(url) = parsed(uri) else {
        return Ok(());
    };
    let is_plain = url.password().is_none()
        && (url.username().is_empty() || names_a_container(&url))
        && url.query().is_none()
        && url.fragment().is_none();
    match is_plain {
        true => Ok(()),
        false => Err(Error::invalid(
            format!("lake URI {:?}", shown(uri)),
            "has a user, a password, a query (?) or a fragment (#), which no object store takes from it; give credentials as storage options, by env:NAME or by a provider",
        )),
    }
}

/// A URI without user, password, query and fragment: what may stand in an error or a log.
pub(super) fn shown(uri: &str) -> String {
    if !uri.contains("://") {
        return uri.to_owned();
    }
    let Some(mut url) = parsed(uri) else {
        return "(an unreadable URI)".to_owned();
    };
    // Both fail only for URIs that cannot have credentials.
    if !names_a_container(&url) {
        let _ = url.set_username("");
    }
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    url.as_str().trim_end_matches('/').to_owned()
}

fn parsed(uri: &str) -> Option<Url> {
    uri.contains("://").then(|| Url::parse(uri).ok()).flatten()
}

/// Whether what stands for a user is a container: `az://container@account.blob.core.windows.net/path`.
fn names_a_container(url: &Url) -> bool {
    matches!(url.scheme(), "az" | "abfss")
}

/// A table's lake, as it was given. Credentials in it are not printed.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct LakeUri(pub(crate) String);

impl fmt::Debug for LakeUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        shown(&self.0).fmt(f)
    }
}

/// A table's storage options, as they were given. Secrets among them are not printed.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct StorageOptions(pub(crate) BTreeMap<String, String>);

impl fmt::Debug for StorageOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.0.iter().map(|(name, value)| {
            let is_secret = is_secret_in_clear(name, value);
            (name, if is_secret { "(hidden)" } else { value })
        });
        f.debug_map().entries(shown).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every name under which the object stores of AWS, Azure and Google, and OpenDAL's, take a secret.
    const SECRETS: [&str; 39] = [
        "aws_secret_access_key",
        "secret_access_key",
        "aws_session_token",
        "aws_token",
        "session_token",
        "token",
        "aws_sse_customer_key_base64",
        "sse_customer_key_base64",
        "server_side_encryption_customer_key",
        "azure_storage_account_key",
        "azure_storage_access_key",
        "azure_storage_master_key",
        "master_key",
        "account_key",
        "access_key",
        "azure_storage_client_secret",
        "azure_client_secret",
        "client_secret",
        "azure_storage_sas_key",
        "azure_storage_sas_token",
        "sas_key",
        "sas_token",
        "azure_storage_token",
        "bearer_token",
        "azure_fabric_session_token",
        "fabric_session_token",
        "azure_storage_encryption_key",
        "encryption_key",
        "google_service_account_key",
        "service_account_key",
        "google_bearer_token",
        "google_storage_token",
        "credential",
        "password",
        "headers.authorization",
        "headers.proxy-authorization",
        "headers.x-api-key",
        "headers.x-amz-security-token",
        "headers.cookie",
    ];

    /// What they take besides.
    const OTHERS: [&str; 34] = [
        "aws_access_key_id",
        "access_key_id",
        "aws_region",
        "aws_endpoint_url_s3",
        "aws_endpoint_url_sts",
        "aws_bucket_name",
        "aws_container_credentials_relative_uri",
        "container_credentials_full_uri",
        "aws_container_authorization_token_file",
        "aws_web_identity_token_file",
        "aws_role_arn",
        "aws_skip_signature",
        "aws_unsigned_payload",
        "aws_server_side_encryption",
        "aws_sse_kms_key_id",
        "sse_bucket_key_enabled",
        "azure_storage_account_name",
        "azure_client_id",
        "azure_tenant_id",
        "azure_federated_token_file",
        "azure_msi_endpoint",
        "azure_credential_type",
        "fabric_token_service_url",
        "azure_use_azure_cli",
        "google_service_account",
        "service_account_path",
        "google_application_credentials",
        "google_bucket",
        "allow_http",
        "http2_keep_alive_interval",
        "proxy_url",
        "proxy_ca_certificate",
        "client_retry_timeout",
        "timeout",
    ];

    #[test]
    fn a_secret_is_known_by_each_name_that_an_object_store_has_for_one() {
        for name in SECRETS {
            for name in [name.to_owned(), name.to_uppercase()] {
                assert!(is_secret_in_clear(&name, "x"), "{name}");
                assert!(!is_secret_in_clear(&name, "env:X"), "{name}");
            }
        }
    }

    #[test]
    fn what_is_no_secret_need_not_be_allowed() {
        for name in OTHERS {
            for name in [name.to_owned(), name.to_uppercase()] {
                assert!(!is_secret_in_clear(&name, "x"), "{name}");
            }
        }
        for value in ["http://proxy:3128", "http://127.0.0.1:9000/?api=2", "/a/b"] {
            assert!(!is_secret_in_clear("endpoint", value), "{value}");
        }
    }

    #[test]
    fn a_secret_is_known_by_its_form_under_any_name() {
        for value in [
            "http://me:hunter2@proxy:3128",
            "http://me@proxy:3128",
            "https://a.blob.core.windows.net/?sv=1&sig=hunter2",
            "https://b.example/?X-Amz-Security-Token=hunter2",
            "{\"type\": \"service_account\"}",
        ] {
            assert!(is_secret_in_clear("endpoint", value), "{value}");
        }
    }

    #[test]
    fn printed_options_and_uris_have_no_secrets() {
        let options = [
            ("access_key", "hunter2"),
            ("token", "env:TOKEN"),
            ("region", "x"),
        ];
        let options = options.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let uri = LakeUri("s3://me:hunter2@bucket/x/?sig=hunter2#hunter2".to_owned());
        assert_eq!(
            format!("{uri:?} {:?}", StorageOptions(options.into())),
            r#""s3://bucket/x" {"access_key": "(hidden)", "region": "x", "token": "env:TOKEN"}"#
        );
    }

    #[test]
    fn a_container_in_a_uri_of_azure_is_shown_and_a_password_is_not() {
        for (uri, expected) in [
            (
                "abfss://files@acc.dfs.core.windows.net/x/",
                "abfss://files@acc.dfs.core.windows.net/x",
            ),
            ("az://files:hunter2@acc/x?sig=1", "az://files@acc/x"),
            ("gs://me@bucket/x", "gs://bucket/x"),
        ] {
            assert_eq!(shown(uri), expected);
        }
    }

    #[test]
    fn a_uri_with_credentials_is_refused_without_showing_them() {
        for uri in [
            "s3://me:hunter2@bucket/x",
            "s3://hunter2@bucket/x",
            "az://files:hunter2@acc/x",
            "az://files/x?sv=1&sig=hunter2",
            "gs://bucket/x#hunter2",
        ] {
            let told = check_uri(uri).unwrap_err().to_string();
            assert!(
                told.contains("storage options") && !told.contains("hunter2"),
                "{told}"
            );
        }
    }

    #[test]
    fn a_uri_without_credentials_and_a_path_are_taken() {
        for uri in [
            "s3://bucket/x.lance",
            "abfss://files@acc.dfs.core.windows.net/x.lance",
            "az://files/x.lance",
            "gs://bucket/x.lance/",
            "file:///a/b",
            "/a/what?#1",
        ] {
            check_uri(uri).unwrap();
        }
    }
}
