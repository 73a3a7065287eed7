use std::path::Path;
use std::process::Command;

use xtask::folder;
use xtask::postgres::{Cluster, Options};
use xtask::processes;
use xtask::tools::Tools;

fn sql(cluster: &Cluster, bin: &Path, statement: &str) -> String {
    let mut psql = Command::new(bin.join("psql"));
    psql.args(["--no-psqlrc", "-qAt", "-v", "ON_ERROR_STOP=1", "-c", statement]).arg(cluster.url("postgres"));
    let output = psql.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn data_survives_a_kill_and_a_stop() {
    let bin = Tools::from_env().unwrap().postgres_bin;
    let mut cluster = Cluster::start(&bin, Options::default()).unwrap();
    let url = cluster.url("postgres");
    sql(&cluster, &bin, "create table kept (n int); insert into kept values (1)");

    cluster.kill().unwrap();
    assert_eq!(cluster.pid(), None);
    cluster.start_again().unwrap();
    sql(&cluster, &bin, "insert into kept values (2)");

    cluster.stop().unwrap();
    cluster.start_again().unwrap();
    assert_eq!(sql(&cluster, &bin, "select sum(n) from kept"), "3");
    assert_eq!(cluster.url("postgres"), url, "same port, same password");
}

#[test]
fn a_paused_cluster_goes_on() {
    let bin = Tools::from_env().unwrap().postgres_bin;
    let mut cluster = Cluster::start(&bin, Options::default()).unwrap();
    cluster.pause().unwrap();
    cluster.resume().unwrap();
    assert_eq!(sql(&cluster, &bin, "select 1"), "1");
    // It also ends when frozen.
    cluster.pause().unwrap();
    cluster.stop().unwrap();
}

#[test]
fn nothing_is_left_of_a_dropped_cluster() {
    let bin = Tools::from_env().unwrap().postgres_bin;
    let cluster = Cluster::start(&bin, Options::default()).unwrap();
    let folder = cluster.log().parent().unwrap().to_path_buf();
    assert!(!processes::belonging_to(&folder).is_empty());
    drop(cluster);
    assert_eq!(processes::belonging_to(&folder), []);
    assert!(!folder.exists());
}

#[test]
fn a_lasting_cluster_is_opened_again_or_made_anew() {
    let bin = Tools::from_env().unwrap().postgres_bin;
    let folder = folder::lasting(&format!("test-{}", std::process::id()));
    let open = || Cluster::open_or_create(&bin, &folder, Options { durable: true, ..Options::default() }).unwrap();

    let cluster = open();
    sql(&cluster, &bin, "create table kept (n int); insert into kept values (1)");
    drop(cluster);
    let cluster = open();
    assert_eq!(sql(&cluster, &bin, "select n from kept"), "1");
    drop(cluster);

    std::fs::remove_file(folder.join("data/PG_VERSION")).unwrap();
    let cluster = open();
    assert_eq!(sql(&cluster, &bin, "select to_regclass('kept') is null"), "t");
    drop(cluster);
    std::fs::remove_dir_all(folder).unwrap();
}
