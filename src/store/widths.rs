//! What fits into the columns of the tables as they are: PostgreSQL and MySQL refuse a longer text, or cut it.
//!
//! A request with such a text could never be written, however often it is sent again; so it is refused as a bad one.
//! Read from the database when the server starts, because operators widen columns.

use super::database;
use super::engine::Engine;
use super::schema as col;
use crate::params::settings;
use kamailio::db::{Column, Connection, Failed};
use kamailio::log;
use presence_core::config::{PublMode, SubsMode};
use presence_core::publish::Publish;
use presence_core::refusal::Refusal;
use presence_core::subscribe::Subscribe;
use presence_core::subscription::event_id;
use std::borrow::Cow;
use std::sync::OnceLock;

/// Bytes of a statement beside the texts of a publication.
const STATEMENT: usize = 1024;

type Widths = Vec<(Vec<u8>, usize)>;

/// Of `active_watchers` and of `presentity`.
static WIDTHS: OnceLock<[Widths; 2]> = OnceLock::new();

/// Reads the widths; in the first process, before the others are forked.
pub fn read() {
    let of = |table: &[u8]| database::read(|db| widths_of(db, table)).unwrap_or_default();
    let _ = WIDTHS.set([of(settings().active_watchers_table), of(settings().presentity_table)]);
}

fn widths_of(db: &mut Connection, table: &[u8]) -> Result<Widths, Failed> {
    // The name was checked: letters, digits and a few signs.
    let table = kamailio::str::show(table).into_owned();
    let statement = match database::engine() {
        Engine::Postgres => format!(
            "SELECT CAST(column_name AS varchar(64)), CAST(character_maximum_length AS integer) \
             FROM information_schema.columns WHERE table_schema = current_schema() AND table_name = lower('{table}')"
        ),
        Engine::MySql => format!(
            "SELECT column_name, character_maximum_length FROM information_schema.columns \
             WHERE table_schema = DATABASE() AND table_name = '{table}'"
        ),
        Engine::Sqlite | Engine::Other => return Ok(Vec::new()),
    };
    let rows = db.command(&statement)?;
    let widths = rows.iter().map(|row| (row.text(0).to_vec(), usize::try_from(row.int(1)).unwrap_or(0)));
    Ok(widths.filter(|(_, width)| *width > 0).collect())
}

/// Whether columns have widths that matter.
fn are_bounded() -> bool {
    !matches!(database::engine(), Engine::Sqlite | Engine::Other)
}

/// The width of a column; none if it has none.
fn width_of(table: usize, column: Column) -> Option<usize> {
    WIDTHS.get()?[table].iter().find(|(name, _)| name == column.as_bytes()).map(|(_, width)| *width)
}

/// Whether a text, and so many more bytes, can be in a column.
fn is_in(table: usize, column: Column, more: usize, text: &[u8]) -> bool {
    // PostgreSQL refuses what is not UTF-8 in a text column.
    let is_text = database::engine() != Engine::Postgres || core::str::from_utf8(text).is_ok();
    is_text && width_of(table, column).is_none_or(|width| text.len() + more <= width)
}

/// Whether texts can be in their columns.
fn fit(table: usize, texts: &[(Column, usize, &[u8])]) -> Result<(), Refusal> {
    for (column, more, text) in texts {
        if !is_in(table, column, *more, text) {
            log!(Warning, "a request is refused: it has {} bytes for column {column}, or no UTF-8", text.len() + more);
            return Err(Refusal::BadRequest);
        }
    }
    Ok(())
}

/// Refuses a SUBSCRIBE that cannot be a row.
pub fn check_subscribe(request: &Subscribe<'_>) -> Result<(), Refusal> {
    if settings().core.subs == SubsMode::Memory || !are_bounded() {
        return Ok(());
    }
    let asked = request.request_uri.unwrap_or(request.to);
    fit(
        0,
        &[
            (col::PRESENTITY_URI, "sip:@".len() + asked.host.len(), asked.user),
            (col::TO_USER, 0, request.to.user),
            (col::TO_DOMAIN, 0, request.to.host),
            (col::FROM_USER, 0, request.from.user),
            (col::FROM_DOMAIN, 0, request.from.host),
            (col::WATCHER_USERNAME, 0, request.watcher.user),
            (col::WATCHER_DOMAIN, 0, request.watcher.host),
            (col::EVENT_ID, 0, event_id(request.event.unwrap_or_default())),
            (col::FROM_TAG, 0, request.dialog.from_tag),
            (col::CALLID, 0, request.dialog.call_id),
            (col::CONTACT, 0, request.contact),
            (col::RECORD_ROUTE, 0, request.record_route),
            (col::LOCAL_CONTACT, 0, request.local_contact),
            (col::SOCKET_INFO, 0, request.socket),
        ],
    )
}

/// A User-Agent as its column takes it: for people to read, and not worth a refusal.
pub fn user_agent(text: &[u8]) -> Cow<'_, [u8]> {
    match database::engine() {
        Engine::Postgres if core::str::from_utf8(text).is_err() => Cow::Borrowed(b""),
        // Kamailio's own scripts make tables in Latin-1, which MySQL does not put other letters into.
        Engine::MySql if !text.is_ascii() => {
            let latin = String::from_utf8_lossy(text).replace(|c| c > '\u{ff}', "?");
            Cow::Owned(latin.into_bytes())
        }
        _ => Cow::Borrowed(text),
    }
}

/// The parameters of Event as `event_id` takes them: all of them, or the value of `id`, which alone tells two
/// subscriptions apart.
pub fn event_params(all: Vec<u8>, id: &[u8]) -> Vec<u8> {
    if is_in(0, col::EVENT_ID, 0, &all) { all } else { id.to_vec() }
}

/// Refuses a PUBLISH that cannot be a row.
pub fn check_publish(request: &Publish<'_>) -> Result<(), Refusal> {
    if settings().core.publ == PublMode::Memory || !are_bounded() {
        return Ok(());
    }
    let uri = request.request_uri.unwrap_or_default();
    let texts = [
        (col::USERNAME, 0, uri.user),
        (col::DOMAIN, 0, uri.host),
        (col::SENDER, 0, request.sender.unwrap_or_default()),
    ];
    fit(1, &texts)?;
    // Drivers want room for twice the length of whatever they put into a statement.
    let statement = STATEMENT + 2 * (request.body.len() + texts.iter().map(|(_, _, text)| text.len()).sum::<usize>());
    let column = width_of(1, col::BODY);
    if statement > kamailio::db::longest_statement() || column.is_some_and(|width| request.body.len() > width) {
        log!(
            Warning,
            "a publication of {} bytes is refused: Kamailio's sql_buffer_size allows statements of {} bytes",
            request.body.len(),
            kamailio::db::longest_statement()
        );
        return Err(Refusal::TooLarge);
    }
    Ok(())
}
