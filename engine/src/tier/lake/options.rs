//! Where a lake is, and how to get in.

use std::collections::HashMap;
use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use url::Url;

use super::layout::Layout;
use super::secrets::{FROM_ENVIRONMENT, shown};
use crate::{Error, Result};

/// How long requests to an object store are retried, in seconds, unless the options say otherwise:
/// tiering has a backoff of its own, and an error that comes late is an error that nobody sees.
const RETRY_SECONDS: &str = "20";

/// Which dataset to use: any URI that Lance takes, and the options of its object store.
#[derive(Clone, Default)]
pub(crate) struct LakeOptions {
    /// A path, or `file://`, `s3://`, `az://`, `gs://`, `memory://`.
    pub(crate) uri: String,
    /// Credentials, endpoint and the like; a value `env:NAME` is read from the environment at open.
    pub(crate) storage_options: HashMap<String, String>,
    /// Who is asked for more of them whenever the lake is opened.
    pub(crate) provider: Option<CredentialProvider>,
    /// What a new dataset is like.
    pub(crate) layout: Layout,
}

/// Gives storage options for a lake's URI; see [`StoreOptions::credentials`](crate::StoreOptions::credentials).
#[derive(Clone)]
pub(crate) struct CredentialProvider(pub(crate) Arc<dyn Fn(&str) -> Provided + Send + Sync>);
type Provided =
    std::result::Result<HashMap<String, String>, Box<dyn std::error::Error + Send + Sync>>;

impl fmt::Debug for CredentialProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CredentialProvider")
    }
}

impl fmt::Debug for LakeOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LakeOptions")
            .field("uri", &shown(&self.uri))
            .field("storage_options", &self.storage_options.keys())
            .finish()
    }
}

impl LakeOptions {
    /// Whether the lake is on an object store.
    pub(crate) fn is_remote(&self) -> bool {
        Place::new(&self.uri).is_ok_and(|place| place.root.is_none())
    }

    /// Where the lake is, as people may see it: without credentials.
    pub(crate) fn shown_uri(&self) -> String {
        shown(&self.uri)
    }

    /// The storage options as the object store takes them: secrets fetched from the environment.
    pub(super) fn resolve(&self) -> Result<HashMap<String, String>> {
        let mut options = HashMap::with_capacity(self.storage_options.len() + 1);
        for (name, value) in &self.storage_options {
            options.insert(name.clone(), from_environment(name, value)?);
        }
        if let Some(provider) = &self.provider {
            let provided = (provider.0)(&self.uri).map_err(|error| {
                let what = format!("the credentials of {}", self.shown_uri());
                Error::invalid(what, format!("could not be provided: {error}"))
            })?;
            options.extend(provided);
        }
        for name in ["s3_express", "aws_s3_express"] {
            if has(&options, name) {
                return Err(Error::invalid(
                    format!("storage option {name:?}"),
                    NO_EXPRESS,
                ));
            }
        }
        if !has(&options, "client_retry_timeout") {
            options.insert("client_retry_timeout".into(), RETRY_SECONDS.into());
        }
        Ok(options)
    }
}

fn has(options: &HashMap<String, String>, name: &str) -> bool {
    options.keys().any(|key| key.eq_ignore_ascii_case(name))
}

fn from_environment(name: &str, value: &str) -> Result<String> {
    let Some(variable) = value.strip_prefix(FROM_ENVIRONMENT) else {
        return Ok(value.to_owned());
    };
    std::env::var(variable).map_err(|_| {
        Error::invalid(
            format!("storage option {name:?}"),
            format!("the environment variable {variable} is not set, or is not text; set it before the lake is opened"),
        )
    })
}

const NO_EXPRESS: &str =
    "an S3 Express bucket does not list versions in their order; use a general purpose bucket";

/// A lake's place, in the three forms in which it is needed.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// As Lance takes it: an absolute path or a URI, without a slash at the end.
    pub(super) address: String,
    /// As people may see it: without credentials.
    pub(super) shown: String,
    /// The dataset's directory, when it is on a local file system.
    pub(super) root: Option<PathBuf>,
}

impl Place {
    pub(super) fn new(uri: &str) -> Result<Self> {
        if !uri.contains("://") {
            return Self::local(Path::new(uri));
        }
        let url = Url::parse(uri).map_err(|e| bad(uri, &e.to_string()))?;
        match url.scheme() {
            "file" => {
                let path = url.to_file_path();
                Self::local(&path.map_err(|()| bad(uri, "a file:// URI is file:///absolute/path"))?)
            }
            // Lance's own other ways to local files, which would escape the fsyncs.
            "file-object-store" | "file+uring" => Err(bad(uri, "use file:// or a path")),
            // Lance finds the newest version there by a hint that may be older than versions that were removed.
            "s3" if url
                .host_str()
                .is_some_and(|bucket| bucket.ends_with("--x-s3")) =>
            {
                Err(bad(
                    uri,
                    "an S3 Express bucket does not list versions in their order; use a general purpose bucket",
                ))
            }
            _ => Ok(Self {
                address: uri.trim_end_matches('/').to_owned(),
                shown: shown(uri),
                root: None,
            }),
        }
    }

    fn local(path: &Path) -> Result<Self> {
        let shown = path.display().to_string();
        if path.as_os_str().is_empty() {
            return Err(bad(&shown, "it is empty; give a path or a URI"));
        }
        let absolute = std::path::absolute(path).map_err(Error::io("resolve", path))?;
        let root = normal(&absolute);
        let uri = root
            .to_str()
            .ok_or_else(|| bad(&shown, "the path is not UTF-8"))?;
        Ok(Self {
            address: uri.to_owned(),
            shown: uri.to_owned(),
            root: Some(root),
        })
    }
}

fn bad(uri: &str, reason: &str) -> Error {
    Error::invalid(format!("lake URI {:?}", shown(uri)), reason)
}

/// The path without `.`, `..` and a slash at the end, so that Lance and the fsyncs mean one directory.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => drop(normal.pop()),
            Component::CurDir => {}
            other => normal.push(other),
        }
    }
    normal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_file_uris_with_or_without_a_slash_are_one_place() {
        let here = std::env::current_dir().unwrap();
        for uri in [
            "/a/b c/x.lance",
            "/a/b c/x.lance/",
            "file:///a/b%20c/x.lance",
            "/a/./q/../b c/x.lance//",
        ] {
            let place = Place::new(uri).unwrap();
            assert_eq!(place.address, "/a/b c/x.lance", "{uri}");
            assert_eq!(place.root.unwrap(), Path::new("/a/b c/x.lance"));
        }
        assert_eq!(
            Place::new("lake/x").unwrap().root.unwrap(),
            here.join("lake/x")
        );
        assert_eq!(
            Place::new("s3://b/x.lance//").unwrap().address,
            "s3://b/x.lance"
        );
        assert!(Place::new("").is_err());
        assert!(Place::new("file://host.example/x").is_err());
    }

    #[test]
    fn a_bucket_that_does_not_list_versions_in_their_order_is_refused() {
        let express = Place::new("s3://lake--use1-az4--x-s3/x.lance");
        let error = express.unwrap_err().to_string();
        assert!(error.contains("general purpose bucket"), "{error}");
        assert!(Place::new("s3://lake-x-s3/x--x-s3.lance").is_ok());
        let options = LakeOptions {
            storage_options: [("S3_Express".into(), "true".into())].into(),
            ..LakeOptions::default()
        };
        let error = options.resolve().unwrap_err().to_string();
        assert!(error.contains("general purpose bucket"), "{error}");
    }

    #[test]
    fn a_shown_uri_has_no_credentials() {
        let options = LakeOptions {
            uri: "s3://me:hunter2@bucket/x/?sig=hunter2#hunter2".into(),
            storage_options: [("secret_access_key".into(), "hunter2".into())].into(),
            ..LakeOptions::default()
        };
        assert_eq!(Place::new(&options.uri).unwrap().shown, "s3://bucket/x");
        assert!(!format!("{options:?}").contains("hunter2"));
    }

    #[test]
    fn an_option_is_read_from_the_environment_or_says_what_is_missing() {
        let with = |value: &str| LakeOptions {
            uri: "s3://b/x".into(),
            storage_options: [("secret_access_key".into(), value.into())].into(),
            ..LakeOptions::default()
        };
        // PATH is there in every test run.
        let found = with("env:PATH").resolve().unwrap();
        assert_eq!(found["secret_access_key"], std::env::var("PATH").unwrap());
        assert_eq!(
            with("plain").resolve().unwrap()["secret_access_key"],
            "plain"
        );
        let error = with("env:ALLUVIUM_NO_SUCH_VARIABLE").resolve().unwrap_err();
        assert!(matches!(error, Error::Invalid { .. }));
        let text = error.to_string();
        assert!(
            text.contains("ALLUVIUM_NO_SUCH_VARIABLE") && text.contains("secret_access_key"),
            "{text}"
        );
    }

    #[test]
    fn credentials_are_asked_for_at_each_opening_and_what_went_wrong_is_told() {
        let asked = Arc::new(std::sync::atomic::AtomicU32::new(0));
        let times = Arc::clone(&asked);
        let provider = CredentialProvider(Arc::new(move |uri| {
            assert_eq!(uri, "s3://b/x");
            match times.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
                0 => Ok([("session_token".to_owned(), "fresh".to_owned())].into()),
                _ => Err("the vault is closed".into()),
            }
        }));
        let options = LakeOptions {
            uri: "s3://b/x".into(),
            storage_options: [("session_token".into(), "old".into())].into(),
            provider: Some(provider),
            ..LakeOptions::default()
        };
        assert_eq!(options.resolve().unwrap()["session_token"], "fresh");
        let told = options.resolve().unwrap_err().to_string();
        assert!(
            told.contains("vault is closed") && told.contains("s3://b/x"),
            "{told}"
        );
    }
}
