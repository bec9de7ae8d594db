//! What the end-to-end tests share: the command, Python with pylance, a real S3 server.
//!
//! `make test` builds the command and the plugins and installs the Python packages before it runs these.

mod place;

use std::ffi::OsStr;
use std::fs;
use std::io::{BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rand::Rng;
use serde_json::Value;
use tempfile::TempDir;

pub use place::Place;

/// The root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the tests lie in the repository")
        .to_path_buf()
}

/// The width, height and RGB pixels of one of the demo's photographs that are PNGs.
pub fn photo(name: &str) -> (i32, i32, Vec<u8>) {
    let file = fs::File::open(root().join("demo/photos").join(name)).expect("a photograph");
    let mut reader = png::Decoder::new(BufReader::new(file))
        .read_info()
        .expect("a PNG");
    let size = reader.output_buffer_size().expect("a picture that fits");
    let mut pixels = vec![0; size];
    let frame = reader.next_frame(&mut pixels).expect("pixels");
    assert_eq!(frame.color_type, png::ColorType::Rgb);
    let length = |length| i32::try_from(length).expect("a length");
    (length(frame.width), length(frame.height), pixels)
}

/// The command that `cargo build` made beside this test.
pub fn command() -> PathBuf {
    let exe = std::env::current_exe().expect("a test knows its file");
    let command = exe
        .ancestors()
        .nth(2)
        .expect("target/<profile>/deps/<test>")
        .join("alluvium");
    assert!(
        command.exists(),
        "{} is missing: run `make test`",
        command.display()
    );
    command
}

/// Where `make` keeps what it installs.
pub fn cache() -> PathBuf {
    match std::env::var_os("ALLUVIUM_CACHE_DIR") {
        Some(directory) => directory.into(),
        None => Path::new(&std::env::var_os("HOME").expect("HOME")).join(".cache/alluvium"),
    }
}

/// A store in a directory of its own, driven by the command.
pub struct Store {
    pub directory: TempDir,
    environment: Vec<(String, String)>,
}

impl Default for Store {
    fn default() -> Self {
        Self::new()
    }
}

impl Store {
    pub fn new() -> Self {
        Self {
            directory: TempDir::new().expect("a temporary directory"),
            environment: Vec::new(),
        }
    }

    /// Sets an environment variable for every run.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The store's path.
    pub fn path(&self) -> PathBuf {
        self.directory.path().join("store")
    }

    /// The command with a subcommand (of two words, some) and the store, ready for more arguments.
    pub fn command(&self, subcommand: &str) -> Command {
        let mut run = Command::new(command());
        run.envs(self.environment.iter().map(|(n, v)| (n, v)));
        run.args(subcommand.split(' ')).arg(self.path());
        run
    }

    /// Runs a subcommand on the store and expects it to succeed.
    pub fn run<A: AsRef<OsStr>>(
        &self,
        subcommand: &str,
        arguments: impl IntoIterator<Item = A>,
    ) -> String {
        let output = self.try_run(subcommand, arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "alluvium {subcommand}: {} {error}",
            output.status
        );
        String::from_utf8(output.stdout).expect("UTF-8 on standard output")
    }

    /// Runs a subcommand on the store, whatever comes of it.
    pub fn try_run<A: AsRef<OsStr>>(
        &self,
        subcommand: &str,
        arguments: impl IntoIterator<Item = A>,
    ) -> Output {
        self.command(subcommand)
            .args(arguments)
            .output()
            .expect("the command runs")
    }

    /// The status of a table.
    pub fn status(&self, table: &str) -> Value {
        let status: Value =
            serde_json::from_str(&self.run("status", [table, "--json"])).expect("JSON");
        match status {
            Value::Array(mut tables) => tables.remove(0),
            one => one,
        }
    }

    /// The one number that an SQL query gives.
    pub fn number(&self, sql: &str) -> i64 {
        let output = self.run("query", [sql, "--json"]);
        let row: Value =
            serde_json::from_str(output.lines().next().unwrap_or("null")).expect("JSON");
        let row = row
            .as_array()
            .and_then(|rows| rows.first().cloned())
            .unwrap_or(row);
        let value = row.as_object().and_then(|row| row.values().next().cloned());
        value
            .as_ref()
            .and_then(Value::as_i64)
            .unwrap_or_else(|| panic!("{sql}: {output}"))
    }

    /// Writes a file beside the store and gives its path.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.directory.path().join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(&path, content).expect("a file");
        path
    }
}

/// Runs a script of `tests/python` and gives what it printed; fails with what it complained about.
pub fn python(script: &str, arguments: &[&str]) -> String {
    let interpreter = cache().join("venv/bin/python");
    assert!(
        interpreter.exists(),
        "{} is missing: run `make test`",
        interpreter.display()
    );
    let output = Command::new(interpreter)
        .arg(root().join("tests/python").join(script))
        .args(arguments)
        .output()
        .expect("Python runs");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}: {error}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// What pylance reads of a lake: each row's offset and its value of a column, in the order of the offsets.
pub fn rows(lake: impl AsRef<Path>, column: &str, options: &[String]) -> Vec<(u64, Value)> {
    let lake = lake.as_ref().display().to_string();
    let options = options.iter().map(String::as_str);
    let arguments: Vec<_> = [&lake, column].into_iter().chain(options).collect();
    serde_json::from_str(&python("offsets.py", &arguments)).expect("JSON")
}

/// The same of a column of counts.
pub fn counts(lake: impl AsRef<Path>, column: &str, options: &[String]) -> Vec<(u64, u64)> {
    let rows = rows(lake, column, options).into_iter();
    rows.map(|(offset, value)| (offset, value.as_u64().expect("a count")))
        .collect()
}

/// A real S3 server (SeaweedFS) on loopback with an empty bucket, stopped when dropped.
pub struct S3Server {
    process: Child,
    /// The first of its four ports.
    base: u16,
    endpoint: String,
    data: TempDir,
}

/// The one bucket of an [`S3Server`].
pub const BUCKET: &str = "lake";
const ACCESS_KEY: &str = "testkey";
const SECRET_KEY: &str = "testsecret1234";
const SECRET_VARIABLE: &str = "ALLUVIUM_TEST_SECRET";

impl S3Server {
    pub fn start() -> Self {
        let data = TempDir::new().expect("a temporary directory");
        let config = data.path().join("s3.json");
        let identity = serde_json::json!({"identities": [{
            "name": "test",
            "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }]});
        fs::write(&config, identity.to_string()).expect("a file");
        fs::create_dir(data.path().join("data")).expect("a directory");
        let base = free_ports();
        let server = Self {
            process: serve(data.path(), base),
            base,
            endpoint: format!("http://127.0.0.1:{}", base + 3),
            data,
        };
        python(
            "make_bucket.py",
            &[&server.endpoint, ACCESS_KEY, SECRET_KEY, BUCKET],
        );
        server
    }

    /// Kills the server; what it has stays.
    pub fn stop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Starts the server again where it was.
    pub fn start_again(&mut self) {
        self.process = serve(self.data.path(), self.base);
    }

    /// Keeps the server from answering until [`S3Server::resume`]: it takes connections and says nothing.
    pub fn pause(&self) {
        self.signal("-STOP");
    }

    /// Lets a paused server go on.
    pub fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let process = self.process.id().to_string();
        let sent = Command::new("kill").args([signal, &process]).status();
        assert!(sent.expect("kill").success(), "kill {signal} {process}");
    }

    /// The server's address.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The options of `create` for a lake on this server; the secret is in the environment, see [`Store::env`].
    pub fn create_options(&self) -> Vec<String> {
        let options = self.options().into_iter().map(|(name, value)| match name {
            "secret_access_key" => format!("{name}=env:{SECRET_VARIABLE}"),
            _ => format!("{name}={value}"),
        });
        options
            .flat_map(|option| ["--storage-option".to_owned(), option])
            .collect()
    }

    /// A store whose command finds the secret.
    pub fn store(&self) -> Store {
        Store::new().env(SECRET_VARIABLE, SECRET_KEY)
    }

    /// The options of [`rows`] and of the scripts for a lake on this server.
    pub fn reader_options(&self) -> Vec<String> {
        let options = self.options().into_iter();
        options
            .map(|(name, value)| format!("{name}={value}"))
            .collect()
    }

    /// What gets one in.
    pub fn options(&self) -> Vec<(&'static str, String)> {
        vec![
            ("access_key_id", ACCESS_KEY.to_owned()),
            ("secret_access_key", SECRET_KEY.to_owned()),
            ("endpoint", self.endpoint.clone()),
            ("allow_http", "true".to_owned()),
            ("region", "us-east-1".to_owned()),
        ]
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Starts the server on a directory's files and waits until it answers.
fn serve(directory: &Path, base: u16) -> Child {
    let flag = |name: &str, value: String| format!("-{name}={value}");
    let path = |name: &str| directory.join(name).display().to_string();
    let process = Command::new(cache().join("venv/bin/weed"))
        .arg(flag("logdir", path("")))
        .arg("server")
        .args([
            flag("dir", path("data")),
            flag("s3.config", path("s3.json")),
        ])
        .args([
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            "-master.telemetry=false",
        ])
        .args([
            "-master.volumeSizeLimitMB=512",
            "-volume.max=0",
            "-volume.preStopSeconds=1",
        ])
        .args([
            flag("master.port", base.to_string()),
            flag("volume.port", (base + 1).to_string()),
        ])
        .args([
            "-filer".to_owned(),
            flag("filer.port", (base + 2).to_string()),
        ])
        .args(["-s3".to_owned(), flag("s3.port", (base + 3).to_string())])
        .args(["-s3.port.iceberg=0", "-s3.port.lance=0"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("weed runs: run `make test`");
    wait_for_port(base + 3);
    process
}

/// Four ports in a row that nobody listens on, nor on the ones 10000 above, which SeaweedFS takes too.
fn free_ports() -> u16 {
    let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    loop {
        let base = rand::rng().random_range(20_000..40_000);
        if (base..base + 4).all(|port| is_free(port) && is_free(port + 10_000)) {
            return base;
        }
    }
}

fn wait_for_port(port: u16) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while Instant::now() < deadline {
        if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) {
            let _ = stream.write_all(b"GET /healthz HTTP/1.0\r\n\r\n");
            let mut answer = String::new();
            if std::io::Read::read_to_string(&mut stream, &mut answer).is_ok()
                && answer.contains("200")
            {
                return;
            }
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    panic!("the S3 server did not come up on port {port}");
}
