//! On a database server each statement fails once, in one way or another; in all ways with `make soak`.

use crate::MODES;
use crate::each::{Kind, at_each_step};
use testkit::Database;

crate::on_each_database! {
    ;
    write_through_survives_each_statement_that_fails,
    write_back_survives_each_statement_that_fails,
    the_database_alone_survives_each_statement_that_fails,
}

fn write_through_survives_each_statement_that_fails(db: &Database) {
    at_each_step(db, MODES[0], &Kind::OF_SERVERS);
}

fn write_back_survives_each_statement_that_fails(db: &Database) {
    at_each_step(db, MODES[1], &Kind::OF_SERVERS);
}

fn the_database_alone_survives_each_statement_that_fails(db: &Database) {
    at_each_step(db, MODES[2], &Kind::OF_SERVERS);
}

fn in_each_way(db: &Database) {
    for modes in MODES {
        Kind::OF_SERVERS.iter().for_each(|kind| at_each_step(db, modes, &[*kind]));
    }
}

#[test]
#[ignore = "takes minutes: make soak"]
fn every_mode_survives_each_statement_that_fails_in_each_way_in_postgres() {
    in_each_way(&Database::Postgres);
}

#[test]
#[ignore = "takes minutes: make soak"]
fn every_mode_survives_each_statement_that_fails_in_each_way_in_mariadb() {
    in_each_way(&Database::MariaDb);
}
