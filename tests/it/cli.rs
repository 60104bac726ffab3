//! The command line of the built program: its flags, messages and exit codes.

use std::collections::BTreeSet;
use std::process::{Command, Output};

use ifmatch::cli;

use crate::support::client::{Client, request};
use crate::support::directory::Directory;
use crate::support::serving::{Program, Serving};

pub fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ifmatch"))
        .args(arguments)
        .output()
        .unwrap()
}

#[track_caller]
pub fn fails(arguments: &[&str], code: i32, sentence: &str) {
    let output = run(arguments);
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        format!("ifmatch: {sentence}\n")
    );
    assert_eq!((output.status.code(), output.stdout), (Some(code), vec![]));
}

#[test]
fn help_and_version() {
    for (flag, text) in [
        ("--help", cli::help()),
        ("-h", cli::help()),
        ("--man", cli::man()),
    ] {
        let output = run(&[flag]);
        assert!(
            output.status.success() && output.stderr.is_empty(),
            "{flag}"
        );
        assert_eq!(String::from_utf8(output.stdout).unwrap(), text, "{flag}");
    }
    let (help, man) = (cli::help(), cli::man());
    for flag in cli::FLAGS {
        assert!(help.contains(&format!("\n  {}", flag.usage())), "{flag:?}");
        let name = flag.name.replace('-', "\\-");
        assert!(man.contains(&format!("\n.TP\n.B {name} ")), "{flag:?}");
    }
    let longest = help.lines().map(str::len).max();
    assert!(longest <= Some(80), "{longest:?}");
    let version = run(&["--strict", "--version"]);
    assert_eq!(
        String::from_utf8(version.stdout).unwrap(),
        concat!("ifmatch ", env!("CARGO_PKG_VERSION"), "\n")
    );
}

/// The systemd unit and the Dockerfile start the program with flags.
#[test]
#[cfg(all(feature = "hyper", feature = "sqlite"))]
fn the_systemd_unit_and_the_image_use_known_flags() {
    let unit = include_str!("../../contrib/ifmatch.service").lines();
    let mut unit = unit.filter_map(|line| line.strip_prefix("ExecStart=/usr/local/bin/ifmatch "));
    let unit: Vec<_> = unit.next().unwrap().split(' ').map(Into::into).collect();
    let words = |instruction: &str| -> Vec<String> {
        let mut lines = include_str!("../../Dockerfile").lines();
        let list = lines.find_map(|line| line.strip_prefix(instruction));
        serde_json::from_str(list.unwrap()).unwrap()
    };
    let [entry, command] = ["ENTRYPOINT ", "CMD "].map(words);
    assert_eq!(entry[0], "ifmatch");
    let image = entry[1..].iter().chain(&command).map(Into::into).collect();
    for (arguments, address) in [(unit, "127.0.0.1:5000"), (image, "0.0.0.0:5000")] {
        match cli::Command::from_arguments(arguments) {
            Ok(cli::Command::Serve(config)) => {
                assert_eq!(config.address, address.parse().unwrap());
                assert_ne!(config.options.door, ifmatch::Door::TinyHttp);
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Every flag of the table is parsed, and no other.
#[test]
fn every_flag_is_parsed() {
    let values = [
        ("--collection", "notes"),
        ("--load", "file"),
        ("--listen", "[::1]:0"),
        ("--store", "memory"),
        ("--max-content", "1"),
        ("--allow-origin", "*"),
        ("--allow-host", "example.com"),
        ("--token-file", "file"),
        ("--door", "tiny_http"),
        ("--max-connections", "1"),
        ("--timeout", "1"),
        ("--max-waiting", "0"),
        ("--threads", "1"),
    ];
    let with_value = cli::FLAGS.iter().filter(|flag| flag.value.is_some());
    let known: BTreeSet<_> = with_value.map(|flag| flag.name).collect();
    assert_eq!(known, values.map(|(name, _)| name).into());
    for (name, value) in values {
        let of_hyper = ["--max-connections", "--max-waiting", "--threads"];
        let read = cli::Command::from_arguments([format!("{name}={value}").into()]);
        match read {
            Ok(_) => {}
            Err(cli::UsageError::Needs(flag, _)) => assert!(of_hyper.contains(&flag)),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn usage_errors_are_one_sentence_and_exit_2() {
    let address = "--listen needs an address and a port such as 127.0.0.1:5000";
    let bytes = "--max-content needs a number of bytes from 1 on, such as 65536";
    let unknown = |argument: &str| {
        format!("unknown argument `{argument}`; `ifmatch --help` lists what there is")
    };
    fails(&["--foo"], 2, &unknown("--foo"));
    fails(&["5000"], 2, &unknown("5000"));
    fails(&[""], 2, &unknown(""));
    fails(&["--strict=yes"], 2, "--strict takes no value");
    fails(&["--help=yes"], 2, "--help takes no value");
    fails(&["--strict", "--no"], 2, &unknown("--no"));
    for (argument, flag) in [
        ("--stric", "--strict"),
        ("-strict", "--strict"),
        ("--maxcontent=7", "--max-content"),
        ("--colection", "--collection"),
        ("--helo", "--help"),
    ] {
        let near = format!("unknown argument `{argument}`; did you mean `{flag}`?");
        fails(&[argument], 2, &near);
    }
    let twice = "--listen may come once, and comes twice";
    fails(
        &["--listen=127.0.0.1:0", "--listen", "127.0.0.1:1"],
        2,
        twice,
    );
    fails(
        &["--strict", "--strict"],
        2,
        "--strict may come once, and comes twice",
    );
    fails(&["--listen"], 2, address);
    fails(&["--listen", "5000"], 2, &format!("{address}, not `5000`"));
    fails(
        &["--listen=127.0.0.1"],
        2,
        &format!("{address}, not `127.0.0.1`"),
    );
    fails(
        &["--listen", "127.0.0.1:99999"],
        2,
        &format!("{address}, not `127.0.0.1:99999`"),
    );
    fails(&["--max-content"], 2, bytes);
    fails(&["--max-content", "-1"], 2, &format!("{bytes}, not `-1`"));
    fails(&["--max-content=64K"], 2, &format!("{bytes}, not `64K`"));
    fails(&["--max-content=0"], 2, &format!("{bytes}, not `0`"));
    let origin = "--allow-origin: an origin is `*` or such as https://example.com";
    for (value, hint) in [
        ("example.com", ""),
        (
            "https://app.example/",
            "; it ends with the host or the port, without a path or a `/`",
        ),
    ] {
        let message = format!("{origin}, not `{value}`{hint}");
        fails(&["--allow-origin", value], 2, &message);
    }
    fails(
        &["--allow-origin"],
        2,
        "--allow-origin needs an origin such as https://example.com, or `*`",
    );
    fails(
        &["--allow-host=http://x"],
        2,
        "--allow-host: a host is such as example.com or example.com:8080, not `http://x`",
    );
    let door = "--door needs `tiny_http` or `hyper`";
    fails(&["--door"], 2, door);
    fails(&["--door", "nginx"], 2, &format!("{door}, not `nginx`"));
    let connections = "--max-connections needs a number of connections such as 256";
    let timeout = "--timeout needs a number of seconds such as 10";
    for value in ["0", "-1", "many", "1000001", ""] {
        let flag = format!("--max-connections={value}");
        fails(&[&flag], 2, &format!("{connections}, not `{value}`"));
        let flag = format!("--timeout={value}");
        fails(&[&flag], 2, &format!("{timeout}, not `{value}`"));
    }
    for flag in ["--max-connections", "--max-waiting", "--threads"] {
        let needs = format!("{flag} is for `--door hyper` alone");
        fails(&[flag, "7"], 2, &needs);
        fails(&["--door", "tiny_http", flag, "7"], 2, &needs);
    }
    let needs = "--no-collection-tag is for `--store postgres://...` alone";
    fails(&["--no-collection-tag"], 2, needs);
    fails(&["--store=memory", "--no-collection-tag"], 2, needs);
    let store = "--store needs `memory`, `sqlite:PATH`, `sqlite:PATH?synchronous=normal` or \
                 `postgres://USER@HOST/DATABASE`";
    fails(&["--store"], 2, store);
    for value in ["", "disk", "memory:", "sqlite", "postgres:x"] {
        let flag = format!("--store={value}");
        fails(&[&flag], 2, &format!("{store}, not `{value}`"));
    }
    // A URL may hold a password.
    let url = "mysql://ann:secret@x/y";
    fails(&["--store", url], 2, &format!("{store}, not `mysql://...`"));
    fails(&[url], 2, &unknown("mysql://..."));
    let mistyped = format!("--stoer={url}");
    let near = "unknown argument `--stoer=mysql://...`; did you mean `--store`?";
    fails(&[&mistyped], 2, near);
    fails(&["--token-file"], 2, "--token-file needs a file name");
    fails(
        &["--token-file="],
        2,
        "--token-file needs a file name, not ``",
    );
}

#[cfg(not(feature = "hyper"))]
#[test]
fn a_door_that_is_not_built_in() {
    let sentence = "this program was built without `hyper`; \
                    `cargo build --release --features hyper` builds one with it";
    fails(&["--door", "hyper"], 2, sentence);
    fails(&["--door=hyper", "--timeout=3"], 2, sentence);
}

#[cfg(not(feature = "sqlite"))]
#[test]
fn a_store_that_is_not_built_in() {
    let sentence = "this program was built without `sqlite`; \
                    `cargo build --release --features sqlite` builds one with it";
    fails(&["--store", "sqlite:persons.db"], 2, sentence);
    fails(&["--store=sqlite:"], 2, sentence);
}

#[cfg(not(feature = "postgres"))]
#[test]
fn a_store_for_several_servers_that_is_not_built_in() {
    let sentence = "this program was built without `postgres`; \
                    `cargo build --release --features postgres` builds one with it";
    for scheme in ["postgres", "postgresql"] {
        let url = format!("{scheme}://ann:secret@localhost/persons");
        fails(&["--store", &url], 2, sentence);
    }
}

#[cfg(feature = "postgres")]
#[test]
fn a_password_is_never_printed() {
    use ifmatch::ParsePostgresUrlError;
    let store = "--store needs `memory`, `sqlite:PATH`, `sqlite:PATH?synchronous=normal` or \
                 `postgres://USER@HOST/DATABASE`";
    for url in [
        "postgres://ann:se@cret@localhost/persons",
        "postgres://ann:secret@localhost:secret/persons",
        "postgres:///persons?password=secret",
    ] {
        fails(
            &["--store", url],
            2,
            &format!("{store}, not `postgres://...`"),
        );
    }
    for (parameter, reason) in [
        (
            "sslmode=requirepassword=secret",
            ParsePostgresUrlError::SslMode,
        ),
        ("sslmode=verify-ca", ParsePostgresUrlError::SslRootCert),
    ] {
        let url = format!("postgres://ann:secret@localhost/persons?{parameter}");
        fails(&["--store", &url], 2, &format!("--store: {reason}"));
    }
    let sentence = "warning: the password in --store can be read by every user of this machine, \
                    in the list of processes; put it into the environment variable PGPASSWORD\n\
                    ifmatch: cannot use the store postgres://ann@127.0.0.1:1/persons: \
                    error connecting to server: Connection refused (os error 111)";
    fails(
        &["--store", "postgres://ann:secret@127.0.0.1:1/persons"],
        1,
        sentence,
    );
    let Some(cluster) = crate::support::cluster::Cluster::shared() else {
        return;
    };
    crate::support::cluster::Schema::on(cluster)
        .sql("CREATE ROLE cli LOGIN PASSWORD 'secret'; CREATE SCHEMA cli AUTHORIZATION cli");
    let url = format!("postgres://cli@{}/postgres", cluster.host());
    let start = |url: &str| {
        let mut command = crate::support::serving::program();
        command.args(["--listen", "127.0.0.1:0", "--store", url]);
        command.env("PGPASSWORD", "secret");
        command
    };
    Program::spawn(&mut start(&url));
    let wrong = url.replace("cli@", "cli:wrong@");
    let output = start(&wrong).output().unwrap();
    let place = cluster.socket_directory();
    let stderr = String::from_utf8(output.stderr).unwrap();
    let sentence = format!(
        "\nifmatch: cannot use the store postgres://cli@{place}:5432/postgres: \
         password authentication failed for user \"cli\"\n"
    );
    assert!(stderr.ends_with(&sentence), "{stderr}");
    assert!(!stderr.contains("wrong"), "{stderr}");
    assert_eq!(output.status.code(), Some(1));
}

#[cfg(feature = "sqlite")]
#[test]
fn a_store_that_cannot_be_opened() {
    use crate::conformance::Place;
    let store = "--store needs `memory`, `sqlite:PATH`, `sqlite:PATH?synchronous=normal` or \
                 `postgres://USER@HOST/DATABASE`";
    for value in [
        "sqlite:",
        "sqlite:?synchronous=full",
        "sqlite:x?",
        "sqlite:x?synchronous=off",
        "sqlite:x?synchronous=normal&synchronous=full",
        "sqlite:x?mode=ro",
    ] {
        fails(&["--store", value], 2, &format!("{store}, not `{value}`"));
    }
    let file = crate::sqlite::File::default();
    drop(file.open());
    for parameters in ["", "?synchronous=full", "?synchronous=normal"] {
        Program::start(&["--store", &format!("{}{parameters}", file.argument())]);
    }
    std::fs::write(file.path(), "a letter").unwrap();
    let path = file.path();
    let path = path.display();
    let sentence = format!("cannot use the store {path}: file is not a database");
    fails(&["--store", &file.argument()], 1, &sentence);
}

#[cfg(unix)]
#[test]
fn an_argument_that_is_not_utf8() {
    use std::os::unix::ffi::OsStrExt;
    let argument = std::ffi::OsStr::from_bytes(b"--\xff");
    let output = Command::new(env!("CARGO_BIN_EXE_ifmatch"))
        .arg(argument)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(stderr, "ifmatch: the argument `--\u{fffd}` is not UTF-8\n");
}

#[test]
fn an_address_that_cannot_be_bound_is_one_sentence_and_exit_1() {
    let serving = Serving::start();
    let address = serving.address.to_string();
    let sentence = format!(
        "another program is already listening on {address}; stop it, or use another address"
    );
    fails(&["--listen", &address], 1, &sentence);
    let output = run(&["--listen", "192.0.2.1:5000"]);
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stderr.starts_with("ifmatch: cannot serve on 192.0.2.1:5000: "),
        "{stderr}"
    );
}

/// The text that the program prints on stderr until it serves, and its port.
fn stderr_at_the_start(arguments: &[&str]) -> (String, u16) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ifmatch"));
    command.args(arguments).stderr(std::process::Stdio::piped());
    let mut program = Program::spawn(&mut command);
    program.child.kill().unwrap();
    let mut stderr = String::new();
    std::io::Read::read_to_string(&mut program.child.stderr.take().unwrap(), &mut stderr).unwrap();
    (stderr, program.address.port())
}

/// Listens on every interface for a moment.
#[cfg(unix)]
#[test]
fn listening_beyond_loopback_prints_warnings() {
    use std::os::unix::fs::PermissionsExt;
    let directory = Directory::new("exposed");
    let token = directory.0.join("token");
    std::fs::write(&token, "secret").unwrap();
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o600)).unwrap();
    let token: &[&str] = &["--token-file", token.to_str().unwrap()];
    let open = "can be reached from other machines, and every client may read and write; \
                ask for a token with --token-file, or listen on loopback behind a reverse proxy \
                that knows its users";
    let hostile = "can be reached from other machines, and a hostile client can stop this server; \
                   use `--door hyper`, or listen on loopback behind a reverse proxy";
    let everywhere: &[&str] = &["--listen", "0.0.0.0:0"];
    for (door, listen, token, warnings) in [
        ("tiny_http", everywhere, &[][..], &[hostile, open][..]),
        ("tiny_http", everywhere, token, &[hostile]),
        ("tiny_http", &["--listen", "127.0.0.1:0"], &[], &[]),
        #[cfg(feature = "hyper")]
        ("hyper", everywhere, &[], &[open]),
        #[cfg(feature = "hyper")]
        ("hyper", everywhere, token, &[]),
        #[cfg(feature = "hyper")]
        ("hyper", &["--listen", "127.0.0.1:0"], &[], &[]),
    ] {
        let (stderr, port) = stderr_at_the_start(&[&["--door", door], listen, token].concat());
        let warning = |it: &&str| format!("ifmatch: warning: 0.0.0.0:{port} {it}\n");
        let expected: String = warnings.iter().map(warning).collect();
        assert_eq!(stderr, expected, "{door} {listen:?} {token:?}");
    }
}

/// Every user of the machine can read the arguments. No database listens there.
#[cfg(feature = "postgres")]
#[test]
fn a_password_in_the_command_line_prints_a_warning() {
    let warning = "ifmatch: warning: the password in --store can be read by every user of this \
                   machine, in the list of processes; put it into the environment variable PGPASSWORD\n";
    for command in [&["--listen", "127.0.0.1:0"][..], &["dump"]] {
        for (url, warned) in [
            ("postgres://ann:s3cret@127.0.0.1:1/x", true),
            ("postgresql://ann@127.0.0.1:1/x?password=s3cret", true),
            ("postgres://ann@127.0.0.1:1/x", false),
        ] {
            let arguments = [command, &["--store", url]].concat();
            let output = run(&arguments);
            let stderr = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(1), "{stderr}");
            assert_eq!(stderr.starts_with(warning), warned, "{stderr}");
            assert!(!stderr.contains("s3cret"), "{stderr}");
        }
    }
}

#[cfg(all(feature = "hyper", unix))]
#[test]
fn the_hyper_door_ends_at_a_signal() {
    for signal in ["TERM", "INT"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ifmatch"));
        command
            .args(["--door", "hyper", "--listen", "127.0.0.1:0"])
            .stderr(std::process::Stdio::piped());
        let mut program = Program::spawn(&mut command);
        let id = program.child.id().to_string();
        let kill = Command::new("kill").args(["-s", signal, &id]).status();
        assert!(kill.unwrap().success());
        let mut text = String::new();
        let stderr = program.child.stderr.as_mut().unwrap();
        std::io::Read::read_to_string(stderr, &mut text).unwrap();
        assert_eq!(text, "");
        assert_eq!(program.child.wait().unwrap().code(), Some(0), "{signal}");
    }
}

#[cfg(unix)]
#[test]
fn a_token_file_must_be_private_to_its_owner() {
    use std::os::unix::fs::PermissionsExt;
    let file = std::env::temp_dir().join(format!("ifmatch-token-{}", std::process::id()));
    let path = file.to_str().unwrap();
    let write = |text: &str, mode| {
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let refused = |reason: &str| {
        let sentence = format!("cannot use the token file {path}: {reason}");
        fails(
            &["--listen", "127.0.0.1:0", "--token-file", path],
            1,
            &sentence,
        );
    };
    let others = "others than its owner can read it; chmod 600 mends that";
    for mode in [0o644, 0o640, 0o604] {
        write("secret", mode);
        refused(others);
    }
    write(" \n", 0o600);
    refused("the token is empty");
    write("two words\n", 0o600);
    refused("a token has letters, digits and -._~+/ only, and = at its end");
    write("secret\n", 0o600);
    let program = Program::start(&["--token-file", path]);
    std::fs::remove_file(&file).unwrap();
    let mut client = Client::connect(program.address);
    assert_eq!(client.ask(request("GET /persons", "", "")).status, 401);
    let fields = "Authorization: Bearer secret\r\n";
    assert_eq!(client.ask(request("GET /persons", fields, "")).status, 200);
    refused("No such file or directory (os error 2)");
}

#[test]
fn flags_change_the_status() {
    let content = r#"{"person_id": "1", "person_name": "Wim"}"#;
    for (arguments, put, again) in [
        (&[][..], 412, 400),
        (&["--strict"], 428, 409),
        (&["--unconditional-writes"], 200, 400),
        (&["--strict", "--unconditional-writes"], 200, 409),
        (&["--max-content=10"], 413, 413),
    ] {
        let program = Program::start(arguments);
        let mut client = Client::connect(program.address);
        client.ask(request("POST /persons", "", content));
        assert_eq!(
            client.ask(request("PUT /persons/1", "", content)).status,
            put
        );
        assert_eq!(
            client.ask(request("POST /persons", "", content)).status,
            again
        );
    }
}
