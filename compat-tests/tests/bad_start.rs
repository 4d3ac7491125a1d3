//! Starts that cannot succeed end with one clear line, an exit code that is not 0, and nothing damaged.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use compat_tests::batch::Batch;
use compat_tests::broker::{Broker, QUICK, binary, command, external_address, free_port, wait_for_exit};
use compat_tests::requests::{create_topic, fetch, produce, produce_values, values};

/// How long a start that cannot succeed may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// The user and group that own nothing, on every Linux.
const NOBODY: u32 = 65_534;

/// Runs the binary until it ends by itself, and asserts that it did not want to.
fn refused(mut command: Command) -> String {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    if wait_for_exit(&mut child, PATIENCE).is_none() {
        child.kill().expect("a process of ours");
        panic!("it started, or hangs: {:?}", child.wait_with_output());
    }
    let output: Output = child.wait_with_output().expect("it has ended");
    assert!(
        output.status.code().is_some_and(|code| code != 0),
        "{:?}: {output:?}",
        output.status
    );
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!text.contains("panicked"), "{text}");
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    assert_eq!(lines.len(), 1, "one clear line is due:\n{text}");
    lines[0].to_owned()
}

fn settings(port: u16, dir: &Path) -> [String; 2] {
    [
        format!("listeners=PLAINTEXT://127.0.0.1:{port}"),
        format!("log.dirs={}", dir.display()),
    ]
}

fn refused_with(port: u16, dir: &Path, further: &[&str]) -> String {
    let mut all = settings(port, dir).to_vec();
    all.extend(further.iter().map(|&setting| setting.to_owned()));
    refused(command(&all))
}

fn says(line: &str, words: &[&str]) {
    for word in words {
        assert!(line.contains(word), "{word:?} is missing in: {line}");
    }
}

/// Skips where the broker under test is not started here.
fn own_broker() -> Option<Broker> {
    external_address().is_none().then(Broker::quick)
}

/// A topic with a record, and the proof that it is there after whatever was tried.
fn with_a_record(broker: &Broker) -> impl Fn(&Broker) + use<> {
    create_topic(&mut broker.connect(), "kept", 1, &[]);
    produce_values(&mut broker.connect(), "kept", &["record"]);
    |broker| assert_eq!(values(&fetch(&mut broker.connect(), "kept", 0, 0)), ["record"])
}

#[test]
fn a_second_process_on_the_same_directory() {
    let Some(mut broker) = own_broker() else { return };
    let check = with_a_record(&broker);
    let line = refused_with(free_port(), &broker.data_dir(), &[]);
    says(&line, &[&broker.data_dir().display().to_string()]);
    check(&broker);
    assert!(broker.stop().success());
    broker.restart();
    check(&broker);
}

#[test]
fn a_port_in_use() {
    let Some(broker) = own_broker() else { return };
    let check = with_a_record(&broker);
    let directory = tempfile::tempdir().expect("a directory");
    let port = broker.address().port();
    says(
        &refused_with(port, &directory.path().join("data"), &[]),
        &[&port.to_string()],
    );
    check(&broker);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    says(
        &refused_with(port, &directory.path().join("other"), &[]),
        &[&port.to_string()],
    );
}

#[test]
fn a_file_in_place_of_the_directory() {
    if external_address().is_some() {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("file");
    fs::write(&file, "mine").expect("a file");
    for path in [file.clone(), file.join("below")] {
        says(&refused_with(free_port(), &path, &[]), &[&path.display().to_string()]);
    }
    assert_eq!(fs::read_to_string(&file).expect("it is still there"), "mine");
}

#[test]
fn a_directory_that_is_something_else() {
    if external_address().is_some() {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    fs::create_dir(directory.path().join("photos")).expect("a directory");
    fs::write(directory.path().join("photos/cat.jpg"), "meow").expect("a file");
    fs::write(directory.path().join("letter.txt"), "dear").expect("a file");
    says(
        &refused_with(free_port(), directory.path(), &[]),
        &[&directory.path().display().to_string()],
    );
    let mut left: Vec<_> = fs::read_dir(directory.path())
        .expect("it is still there")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"))
        .collect();
    left.sort();
    assert_eq!(left, ["letter.txt", "photos"], "nothing was added");
}

#[test]
fn a_directory_without_permission() {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;
    if external_address().is_some() {
        return;
    }
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("our own");
    let directory = tempfile::tempdir().expect("a directory");
    let closed = directory.path().join("closed");
    fs::create_dir(&closed).expect("a directory");
    mode(&closed, 0o500);
    let path = closed.join("data");
    let line = if fs::write(closed.join("probe"), "").is_ok() {
        // root may write everywhere, so somebody else has to try
        let theirs = directory.path().join("monedula");
        fs::copy(binary(), &theirs).expect("a copy of the binary");
        mode(&theirs, 0o755);
        mode(directory.path(), 0o755);
        mode(&closed, 0o555);
        let mut command = Command::new(theirs);
        for setting in settings(free_port(), &path) {
            command.arg("--override").arg(setting);
        }
        command.uid(NOBODY).gid(NOBODY);
        refused(command)
    } else {
        refused_with(free_port(), &path, &[])
    };
    says(&line, &[&path.display().to_string()]);
}

#[test]
fn values_and_options_that_make_no_sense() {
    if external_address().is_some() {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let data = directory.path().join("data");
    let cases = [
        ("num.partitions=many", vec!["num.partitions", "many"]),
        ("num.partitions=0", vec!["num.partitions", "0"]),
        ("log.cleanup.policy=burn", vec!["log.cleanup.policy", "burn"]),
        ("listeners=PLAINTEXT//nowhere", vec!["listeners", "PLAINTEXT//nowhere"]),
        ("listeners=PLAINTEXT://127.0.0.1:99999", vec!["listeners", "99999"]),
    ];
    for (setting, words) in cases {
        says(&refused_with(free_port(), &data, &[setting]), &words);
    }
    let mut unknown_option = Command::new(binary());
    unknown_option.arg("--no-such-option");
    says(&refused(unknown_option), &["--no-such-option"]);
    let mut no_file = Command::new(binary());
    no_file.arg(directory.path().join("absent.properties"));
    says(&refused(no_file), &["absent.properties"]);
    assert!(!data.exists(), "nothing was made before the settings were understood");
}

/// A directory from another time: files that are damaged beyond what a crash can do are named, not overwritten.
#[test]
fn damaged_meta_properties() {
    let Some(mut broker) = own_broker() else { return };
    broker.stop();
    let path = broker.data_dir().join("meta.properties");
    let sound = fs::read(&path).expect("every directory has it");
    for damage in [
        &b""[..],
        b"version=99\nnode.id=1\ncluster.id=x\n",
        b"\xff\xfe\x00garbage",
    ] {
        fs::write(&path, damage).expect("our own file");
        let line = refused_with(broker.address().port(), &broker.data_dir(), &[]);
        says(&line, &["meta.properties"]);
        assert_eq!(
            fs::read(&path).expect("it is still there"),
            damage,
            "it was overwritten"
        );
    }
    fs::write(&path, sound).expect("our own file");
    broker.restart();
}

/// What a first start leaves that is killed right after it has formatted the directory: there is nothing to lose yet.
#[test]
fn a_first_start_that_was_killed() {
    let Some(mut broker) = own_broker() else { return };
    for with_metadata_dir in [false, true] {
        assert!(broker.stop().success());
        let data = broker.data_dir();
        let meta = fs::read(data.join("meta.properties")).expect("every directory has it");
        fs::remove_dir_all(&data).expect("our own directory");
        fs::create_dir_all(&data).expect("a directory");
        fs::write(data.join("meta.properties"), &meta).expect("our own file");
        if with_metadata_dir {
            fs::create_dir(data.join("__cluster_metadata-0")).expect("a directory");
        }
        broker.restart();
        with_a_record(&broker)(&broker);
        assert_eq!(
            fs::read(data.join("meta.properties")).expect("it is still there"),
            meta,
            "the identity stays"
        );
    }
}

/// Without it nobody knows what the partitions are: a new cluster would set all of them aside.
#[test]
fn partitions_without_the_metadata_log() {
    let Some(mut broker) = own_broker() else { return };
    let check = with_a_record(&broker);
    assert!(broker.stop().success());
    let path = broker.data_dir().join("__cluster_metadata-0/raft.log");
    let aside = broker.data_dir().join("../raft.log");
    fs::rename(&path, &aside).expect("our own file");
    let before = names_below(&broker.data_dir());
    for _ in 0..2 {
        let line = refused_with(broker.address().port(), &broker.data_dir(), &[]);
        says(&line, &[&path.display().to_string()]);
    }
    let after = names_below(&broker.data_dir());
    let lost: Vec<_> = before
        .iter()
        .filter(|name| !after.contains(name) && !name.starts_with('.'))
        .collect();
    assert!(lost.is_empty(), "{lost:?}");
    assert!(!path.exists(), "no new one was made");
    fs::rename(&aside, &path).expect("our own file");
    broker.restart();
    check(&broker);
}

fn names_below(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).expect("a directory");
    let mut names: Vec<_> = entries
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"))
        .collect();
    names.sort();
    names
}

const SPREAD: i32 = 8;

/// Partitions in two directories, with a record each.
fn spread(broker: &Broker) {
    let mut connection = broker.connect();
    create_topic(&mut connection, "spread", SPREAD, &[]);
    for partition in 0..SPREAD {
        let bytes = Batch::of(&[partition.to_string()]).encode();
        assert_eq!(produce(&mut connection, "spread", partition, bytes).error_code, 0);
    }
}

fn spread_is_there(broker: &Broker) {
    for partition in 0..SPREAD {
        let data = fetch(&mut broker.connect(), "spread", partition, 0);
        assert_eq!((data.error_code, values(&data)), (0, vec![partition.to_string()]));
    }
}

/// A disk that is not mounted, or came back empty: what lay on it must not begin anew.
#[test]
fn one_of_two_directories_is_gone() {
    if external_address().is_some() {
        return;
    }
    let home = tempfile::tempdir().expect("a directory");
    let [a, b, aside] = ["a", "b", "aside"].map(|name| home.path().join(name));
    let (both, reversed) = (
        format!("log.dirs={},{}", a.display(), b.display()),
        format!("log.dirs={},{}", b.display(), a.display()),
    );
    let settings = [QUICK, &[&both]].concat();
    let mut broker = Broker::start(&settings);
    spread(&broker);
    for dir in [&a, &b] {
        let holds = names_below(dir).iter().any(|name| name.starts_with("spread-"));
        assert!(holds, "{} holds no partition", dir.display());
    }
    assert!(broker.stop().success());
    let port = broker.address().port();
    let start_without = |gone: &Path, kept: &Path, emptied: bool| {
        fs::rename(gone, &aside).expect("our own directory");
        if emptied {
            fs::create_dir(gone).expect("a directory");
        }
        let before = names_below(kept);
        // A second attempt must not take what the first one made for the directory that is missed.
        let mut lines: Vec<String> = (0..2).map(|_| refused_with(port, kept, &[&both])).collect();
        lines.push(refused_with(port, kept, &[&reversed]));
        let after = names_below(kept);
        let partitions = |names: &[String]| names.iter().filter(|name| name.starts_with("spread-")).count();
        assert_eq!(partitions(&before), partitions(&after), "{after:?}");
        assert!(
            !after
                .iter()
                .any(|name| name.contains("stray") || name.contains("delete")),
            "{after:?}"
        );
        drop(fs::remove_dir_all(gone));
        fs::rename(&aside, gone).expect("our own directory");
        lines
    };
    for emptied in [true, false] {
        for (gone, kept) in [(&b, &a), (&a, &b)] {
            for line in start_without(gone, kept, emptied) {
                assert!(
                    [&a, &b].iter().any(|dir| line.contains(&dir.display().to_string())),
                    "{line}"
                );
            }
            broker.restart();
            spread_is_there(&broker);
            assert!(broker.stop().success());
        }
    }
    let line = refused_with(port, &a, &[]);
    says(&line, &["log.dirs", &a.display().to_string()]);
    broker.restart();
    spread_is_there(&broker);
}

/// A file system of two megabytes, where this process may make one.
#[test]
fn a_full_disk() {
    if external_address().is_some() {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let [listener, dir] = settings(free_port(), &directory.path().join("data"));
    let script = format!(
        "mount -t tmpfs -o size=64k none '{0}' || exit 77; dd if=/dev/zero of='{0}/ballast' bs=1k count=60 2>/dev/null; \
         exec '{1}' --override '{listener}' --override '{dir}'",
        directory.path().display(),
        binary().display(),
    );
    let unshare = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script]);
        command
    };
    let probe = format!("mount -t tmpfs -o size=64k none '{}'", directory.path().display());
    let possible = unshare(&probe).stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !possible.is_ok_and(|status| status.success()) {
        // this process may not mount anything, not even in a name space of its own
        let in_ci = std::env::var_os("CI").is_some();
        assert!(!in_ci, "in CI nothing is skipped: unshare --user --mount must work");
        eprintln!("skipped: a_full_disk needs unshare --user --mount");
        return;
    }
    let line = refused(unshare(&script));
    says(&line, &[&directory.path().display().to_string()]);
}
