//! What a connection string means as a whole: precedence, defaults, passwords, tools.

use super::*;
use crate::error::Kind;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

/// A password with everything that needs an escape somewhere.
const HARD: &str = "é%@:/ 'x\\";

/// An environment of pairs; the home directory does not exist, so that no file of the user counts.
fn env_of(pairs: &[(&str, &str)]) -> impl Fn(&str) -> Option<String> + use<> {
    let pairs: BTreeMap<String, String> = pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    move |name| match (pairs.get(name), name) {
        (Some(value), _) => Some(value.clone()),
        (None, "HOME" | "PGSYSCONFDIR") => Some("/nosuch/directory".to_owned()),
        (None, _) => None,
    }
}

fn parse(text: &str) -> Result<ConnInfo> {
    ConnInfo::parse(text, &env_of(&[("PGUSER", "me")]))
}

fn parsed(text: &str) -> ConnInfo {
    parse(text).expect(text)
}

fn passfile(content: &str) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join(".pgpass");
    std::fs::write(&path, content).expect("file");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).expect("mode");
    (directory, path)
}

#[test]
fn an_empty_string_means_environment_and_defaults() {
    let conninfo = parsed(" ");
    assert_eq!(conninfo.user(), "me");
    assert_eq!(conninfo.dbname(), "me");
    let name = Some(env::socket_directory().to_owned());
    assert_eq!(
        conninfo.hosts(),
        [Host {
            name,
            addr: None,
            port: 5432
        }]
    );
    assert!(conninfo.hosts()[0].is_socket());
    assert_eq!(conninfo.sslmode(), SslMode::Prefer);
    assert_eq!(conninfo.connect_timeout(), Some(Duration::from_secs(10)));
    assert_eq!(conninfo.get("keepalives_count"), Some("60"));
    assert_eq!(conninfo.password_for(0), None);

    let nobody = ConnInfo::parse("", &env_of(&[])).expect("parses");
    assert!(!nobody.user().is_empty(), "the name of the system's user");
    assert_eq!(nobody.dbname(), nobody.user());
}

#[test]
fn the_string_comes_before_the_service_before_the_environment() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("services");
    std::fs::write(
        &path,
        "[s]\nhost=service\nport=2\nuser=service\nsslmode=require\n",
    )
    .expect("file");
    let path = path.display().to_string();
    let env = env_of(&[
        ("PGSERVICEFILE", path.as_str()),
        ("PGHOST", "env"),
        ("PGPORT", "3"),
        ("PGUSER", "env"),
        ("PGDATABASE", "env"),
        ("PGAPPNAME", "env"),
        ("PGOPTIONS", ""),
    ]);
    let conninfo = ConnInfo::parse("postgres://string/?service=s", &env).expect("parses");
    assert_eq!(
        conninfo.safe_uri(),
        "postgres://service@string:2/env?sslmode=require"
    );
    let error = ConnInfo::parse("service=t", &env).expect_err("no such service");
    assert!(
        error.message().contains("service it names is not defined"),
        "{error}"
    );
}

#[test]
fn an_empty_value_keeps_the_environment_out() {
    let env = env_of(&[
        ("PGUSER", "u"),
        ("PGDATABASE", "d"),
        ("PGPASSWORD", "p"),
        ("PGPORT", "1"),
    ]);
    let conninfo = ConnInfo::parse("dbname='' password='' port='' host=h", &env).expect("parses");
    assert_eq!(conninfo.safe_uri(), "postgres://u@h:5432/u");
    assert_eq!(conninfo.password_for(0), None);
}

#[test]
fn environment_variables_are_checked_and_named_in_errors() {
    let error = ConnInfo::parse("host=h", &env_of(&[("PGSSLMODE", "often")])).expect_err("refused");
    assert_eq!(
        error.message(),
        "invalid connection string: invalid sslmode value: \"often\""
    );
    assert_eq!(
        error.detail_text(),
        Some("The value comes from the environment variable PGSSLMODE.")
    );
    let env = env_of(&[
        ("PGUSER", "me"),
        ("PGREQUIRESSL", "1"),
        ("PGCHANNELBINDING", "require"),
    ]);
    let conninfo = ConnInfo::parse("host=h", &env).expect("parses");
    assert_eq!(conninfo.sslmode(), SslMode::Require);
    assert_eq!(conninfo.get("channel_binding"), Some("require"));
    assert!(ConnInfo::parse("", &env_of(&[("PGSSLCOMPRESSION", "1")])).is_err());
}

#[test]
fn the_system_certificates_ask_for_full_verification() {
    assert_eq!(parsed("sslrootcert=system").sslmode(), SslMode::VerifyFull);
    assert_eq!(
        parsed("sslrootcert=system sslmode=verify-full").sslmode(),
        SslMode::VerifyFull
    );
    assert!(parse("sslrootcert=system sslmode=prefer").is_err());
}

#[test]
fn timeouts_are_counted_as_libpq_counts_them() {
    for (text, seconds) in [
        ("0", None),
        ("-1", None),
        ("1", Some(2)),
        ("2", Some(2)),
        ("7", Some(7)),
    ] {
        let conninfo = parsed(&format!("connect_timeout={text}"));
        assert_eq!(
            conninfo.connect_timeout(),
            seconds.map(Duration::from_secs),
            "{text}"
        );
    }
}

#[test]
fn a_bare_database_name_is_refused_with_what_is_expected() {
    let error = parse("s3cret").expect_err("refused");
    assert_eq!(error.kind(), Kind::BadArgs);
    assert!(
        error
            .hint_text()
            .expect("hint")
            .contains("postgres://user@host/dbname")
    );
    assert!(!error.to_string().contains("s3cret"));
}

#[test]
fn a_hard_password_survives_every_form() {
    let quoted = HARD.replace('\\', "\\\\").replace('\'', "\\'");
    let encoded = uri::encode(HARD);
    for text in [
        format!("postgres://u:{encoded}@h/d"),
        format!("postgres://u@h/d?password={encoded}"),
        format!("host=h user=u dbname=d password='{quoted}'"),
    ] {
        let conninfo = parsed(&text);
        assert_eq!(conninfo.password_for(0), Some(HARD), "{text}");
        assert_eq!(conninfo.safe_uri(), "postgres://u@h:5432/d");
        assert_eq!(format!("{conninfo:?}"), "ConnInfo(postgres://u@h:5432/d)");
        let tool = conninfo.tool_settings().expect("settings");
        assert!(
            tool.env
                .contains(&("PGPASSWORD".to_owned(), HARD.to_owned()))
        );
        let secrets = conninfo.secrets();
        for secret in [HARD, quoted.as_str(), encoded.as_str()] {
            assert!(secrets.iter().any(|known| known == secret), "{secret}");
        }
    }
}

#[test]
fn a_secret_is_also_known_as_it_was_written() {
    let secrets = parsed("postgres://u:p%41ss%2dword!@h/d").secrets();
    assert!(secrets.contains(&"p%41ss%2dword!".to_owned()));
    assert!(secrets.contains(&"pAss-word!".to_owned()));
    assert_eq!(parsed("sslpassword=abc host=h").secrets(), ["abc"]);
}

#[test]
fn the_safe_uri_means_the_same_connection() {
    for (text, expected) in [
        ("postgres://u:p@h", "postgres://u@h:5432/u"),
        (
            "postgres://h1:1,[::1]:2,h3/d",
            "postgres://me@h1:1,[::1]:2,h3:5432/d",
        ),
        (
            "host=/var/run/x port=7",
            "postgres://me@%2Fvar%2Frun%2Fx:7/me",
        ),
        ("host=@abs", "postgres://me@%40abs:5432/me"),
        (
            "host=a,b hostaddr=1.1.1.1,",
            "postgres://me@a:5432,b:5432/me?hostaddr=1.1.1.1%2C",
        ),
        (
            "hostaddr=1.1.1.1",
            "postgres://me@:5432/me?hostaddr=1.1.1.1",
        ),
        (
            "hostaddr=::1,::2",
            "postgres://me@:5432,:5432/me?hostaddr=%3A%3A1%2C%3A%3A2",
        ),
        (
            "host=fe80::1%eth0",
            "postgres://me@[fe80::1%25eth0]:5432/me",
        ),
        (
            "host=h user='ü x' dbname='a/b?c' options='-c search_path=\"x\"' connect_timeout=3 sslpassword=p",
            "postgres://%C3%BC%20x@h:5432/a%2Fb%3Fc?connect_timeout=3&options=-c%20search_path%3D%22x%22",
        ),
        (
            "host=h sslmode=prefer keepalives=0",
            "postgres://me@h:5432/me?keepalives=0&sslmode=prefer",
        ),
    ] {
        let conninfo = parsed(text);
        assert_eq!(conninfo.safe_uri(), expected, "{text}");
        let again = parsed(expected);
        assert_eq!(again.safe_uri(), expected);
        assert_eq!(again.hosts(), conninfo.hosts());
        assert_eq!(again.get("options"), conninfo.get("options"));
    }
}

#[test]
fn the_password_file_answers_for_each_host() {
    let (_directory, path) = passfile(
        "a:5432:d:u:for-a\nlocalhost:*:*:u:for-local\n10.0.0.1:*:*:u:for-addr\n*:*:other:u:for-other\n",
    );
    let passfile = path.display();
    let socket = env::socket_directory();
    let conninfo = parsed(&format!(
        "user=u dbname=d host=a,b,,{socket} passfile={passfile}"
    ));
    let passwords: Vec<Option<&str>> = (0..5).map(|at| conninfo.password_for(at)).collect();
    assert_eq!(
        passwords,
        [
            Some("for-a"),
            None,
            Some("for-local"),
            Some("for-local"),
            None
        ]
    );
    assert!(conninfo.secrets().contains(&"for-local".to_owned()));

    let by_addr = parsed(&format!(
        "user=u dbname=d hostaddr=10.0.0.1 passfile={passfile}"
    ));
    assert_eq!(by_addr.password_for(0), Some("for-addr"));
    let by_name = parsed(&format!(
        "user=u dbname=d host=b hostaddr=10.0.0.1 passfile={passfile}"
    ));
    assert_eq!(by_name.password_for(0), None);
    let explicit = parsed(&format!(
        "user=u dbname=d host=a password=p passfile={passfile}"
    ));
    assert_eq!(explicit.password_for(0), Some("p"));

    let other = conninfo.with_dbname("other");
    assert_eq!(other.dbname(), "other");
    assert_eq!(other.password_for(1), Some("for-other"));
    assert_eq!(conninfo.with_dbname("third").password_for(0), Some("for-a"));
}

#[test]
fn the_password_file_is_found_by_variable_and_by_home() {
    let (directory, path) = passfile("*:*:*:*:word\n");
    let path = path.display().to_string();
    let home = directory.path().display().to_string();
    for variable in [("PGPASSFILE", path.as_str()), ("HOME", home.as_str())] {
        let conninfo =
            ConnInfo::parse("host=h", &env_of(&[("PGUSER", "me"), variable])).expect("parses");
        assert_eq!(conninfo.password_for(0), Some("word"), "{variable:?}");
    }
}

#[test]
fn a_pinned_connection_has_one_host_and_its_password() {
    let (_directory, path) = passfile("a:*:*:*:for-a\nb:*:*:*:for-b\n");
    let conninfo = parsed(&format!(
        "host=a,b,/s port=1,2,3 target_session_attrs=read-write load_balance_hosts=random passfile={}",
        path.display()
    ));
    let pin = |position, name: &str, addr: Option<&str>, tls| Pin {
        position,
        name: Some(name.to_owned()),
        addr: addr.map(str::to_owned),
        port: 2,
        tls,
    };
    let pinned = conninfo.pinned(&pin(1, "b", Some("10.0.0.2"), true));
    let expected = Host {
        name: Some("b".to_owned()),
        addr: Some("10.0.0.2".to_owned()),
        port: 2,
    };
    assert_eq!(pinned.hosts(), [expected]);
    assert_eq!(pinned.password_for(0), Some("for-b"));
    assert_eq!(pinned.get("target_session_attrs"), None);
    assert_eq!(pinned.get("load_balance_hosts"), None);
    assert_eq!(pinned.sslmode(), SslMode::Require);
    let socket = conninfo.pinned(&pin(2, "/s", None, false));
    assert!(socket.hosts()[0].is_socket());
    assert_eq!(socket.sslmode(), SslMode::Disable);
    let verified = parsed("host=a sslmode=verify-ca").pinned(&pin(0, "a", None, true));
    assert_eq!(verified.sslmode(), SslMode::VerifyCa);
}

#[test]
fn a_tool_gets_the_same_connection_without_secrets_in_its_arguments() {
    let env = env_of(&[
        ("PGUSER", "me"),
        ("PGOPTIONS", "-c work_mem=1MB"),
        ("PGPASSWORD", "s3cret"),
    ]);
    let text =
        "postgres://h/d?sslrootcert=/r%20c&sslmode=verify-ca&connect_timeout=5&application_name=x";
    let conninfo = ConnInfo::parse(text, &env).expect("parses");
    let pin = Pin {
        position: 0,
        name: Some("h".into()),
        addr: Some("::1".into()),
        port: 5432,
        tls: true,
    };
    let tool = conninfo.pinned(&pin).tool_settings().expect("settings");
    assert_eq!(
        tool.uri,
        "postgres://me@h:5432/d?hostaddr=%3A%3A1&keepalives=1&keepalives_count=60&keepalives_idle=10\
         &keepalives_interval=10&sslmode=verify-ca&sslrootcert=%2Fr%20c\
         &options=-c%20work_mem%3D1MB%20-c%20default_transaction_read_only%3Doff%20-c%20statement_timeout%3D0"
    );
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(
        tool.env,
        [
            pair("PGGSSENCMODE", "disable"),
            pair("PGCONNECT_TIMEOUT", "5"),
            pair("PGPASSWORD", "s3cret")
        ]
    );
    for name in [
        "PGHOST",
        "PGSERVICE",
        "PGPASSFILE",
        "PGOPTIONS",
        "PGSSLMODE",
        "PGTZ",
        "PGUSER",
    ] {
        assert!(
            tool.env_remove.iter().any(|removed| removed == name),
            "{name}"
        );
    }
    assert!(
        !tool
            .env_remove
            .iter()
            .any(|removed| removed == "PGPASSWORD")
    );
    assert!(!format!("{tool:?}").contains("s3cret"));
    assert!(ConnInfo::parse(&tool.uri, &env_of(&[])).is_ok());
}

#[test]
fn a_tool_without_password_gets_none_from_the_environment() {
    let tool = parsed("host=h").tool_settings().expect("settings");
    assert!(tool.env_remove.contains(&"PGPASSWORD".to_owned()));
    assert!(
        tool.env
            .iter()
            .any(|(name, value)| name == "PGPASSFILE" && value.ends_with(".pgpass"))
    );
}

#[test]
fn a_tool_is_refused_what_only_a_uri_could_carry() {
    for name in ["sslpassword", "scram_client_key", "scram_server_key"] {
        let error = parsed(&format!("host=h {name}=s3cret"))
            .tool_settings()
            .expect_err(name);
        assert!(
            error.message().contains(name) && !error.to_string().contains("s3cret"),
            "{error}"
        );
    }
    let (_directory, path) = passfile("a:*:*:*:for-a\n");
    let error = parsed(&format!("host=a,b passfile={}", path.display())).tool_settings();
    assert_eq!(error.expect_err("two passwords").kind(), Kind::Internal);
}

#[test]
fn a_connection_survives_the_way_to_another_process() {
    let conninfo = parsed("postgres://u:p%40@a,b/d?sslmode=require");
    let text = serde_json::to_string(&conninfo).expect("writes");
    assert!(serde_json::from_str::<ConnInfo>(&text).expect("reads") == conninfo);
}

/// Everything that takes a parsed connection, for inputs that nobody thought of.
fn use_all(text: &str) {
    redact(text);
    let Ok(conninfo) = parse(text) else { return };
    assert!(!conninfo.hosts().is_empty());
    assert!(!conninfo.safe_uri().is_empty());
    conninfo.secrets();
    assert!(
        conninfo
            .connect_timeout()
            .is_none_or(|wait| wait.as_secs() >= 2)
    );
    let _settings_or_error = conninfo.tool_settings();
}

const SAMPLES: [&str; 5] = [
    "postgres://u:p%C3%A9@h1:1,[::1]:2,%2Ftmp/d%20b?sslmode=require&options=-c%20a%3Db&password=x",
    "postgresql:///d?host=/tmp,b&port=1,2&hostaddr=,1.1.1.1&ssl=true",
    r"host='a,b' port=1,2 password='é\'\\ x' user=\é dbname = d connect_timeout=1",
    "require_auth=!gss,!md5 sslrootcert=system ssl_min_protocol_version=TLSv1.2 requiressl=1",
    "--source postgres://u:p@h/d --target 'host=h password=''x'' user=u'",
];

#[test]
fn no_truncation_of_a_connection_string_makes_it_panic() {
    for sample in SAMPLES {
        for end in 0..=sample.len() {
            let bytes = &sample.as_bytes()[..end];
            use_all(&String::from_utf8_lossy(bytes));
        }
        for start in 0..=sample.len() {
            use_all(&String::from_utf8_lossy(&sample.as_bytes()[start..]));
        }
    }
}

#[test]
fn no_damaged_connection_string_makes_it_panic() {
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut random = move |limit: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % limit as u64).expect("fits")
    };
    let alphabet = b"postgres://u:p@[]%2F,?&='\\ \"#\0\xc3\xa9password=hostport";
    for round in 0..5_000 {
        let mut bytes = SAMPLES[round % SAMPLES.len()].as_bytes().to_vec();
        for _ in 0..=random(4) {
            let at = random(bytes.len());
            bytes[at] = alphabet[random(alphabet.len())];
        }
        use_all(&String::from_utf8_lossy(&bytes));
        let noise: Vec<u8> = (0..random(40))
            .map(|_| alphabet[random(alphabet.len())])
            .collect();
        use_all(&format!("postgres://{}", String::from_utf8_lossy(&noise)));
    }
}

#[test]
fn a_command_line_shows_no_password_of_a_valid_connection() {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let letters: Vec<char> = "abé%@:/ '\"\\?&=#-".chars().collect();
    for _ in 0..2_000 {
        let mut password = String::from("s3cret");
        for _ in 0..6 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let at = usize::try_from(state % letters.len() as u64).expect("fits");
            password.push(letters[at]);
        }
        password.push_str("s3cret");
        let quoted = password.replace('\\', "\\\\").replace('\'', "\\'");
        let bare = quoted.replace(' ', "\\ ");
        let encoded = uri::encode(&password);
        for text in [
            format!("postgres://u:{encoded}@h/d?sslmode=require"),
            format!("postgres://h/d?password={encoded}&sslmode=require"),
            format!("host=h password='{quoted}' dbname=d"),
            format!("password = {bare} host=h"),
        ] {
            assert_eq!(
                parsed(&text).password_for(0),
                Some(password.as_str()),
                "{text}"
            );
            let line = redact(&format!("pgcopydb clone --source {text} --dir /d"));
            assert!(!line.contains("s3cret"), "{line}");
            assert!(line.ends_with(" --dir /d"), "{line}");
        }
        for text in [
            format!("postgres://u:{password}@h/d"),
            format!("postgres://h/d?password={password}"),
            format!("password={password}"),
        ] {
            if let Err(error) = parse(&text) {
                assert!(!error.to_string().contains("s3cret"), "{text}: {error}");
            }
        }
    }
}
