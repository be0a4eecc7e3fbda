//! What goes to the database together with a change in memory.

use super::{database, rows};
use crate::params::settings;
use presence_core::config::SubsMode;
use presence_core::dialog::DialogId;
use presence_core::refusal::{Fault, Refusal};
use presence_core::store::{Journal, RESERVE};
use presence_core::subscription::Subscription;

/// Writes at once with write-through; with write-back a flush does it; in memory nobody does.
#[derive(Debug)]
pub struct Written;

fn at_once() -> bool {
    settings().core.subs == SubsMode::WriteThrough
}

impl Journal for Written {
    fn entered(&mut self, subscription: &Subscription) -> Result<(), Refusal> {
        if at_once() {
            database::write_all(|db| rows::insert(db, subscription, RESERVE))?;
        }
        Ok(())
    }

    fn renewed(&mut self, subscription: &Subscription) -> Result<(), Refusal> {
        if at_once() {
            database::write(|db| rows::write(db, subscription, RESERVE))?;
        }
        Ok(())
    }

    fn ended(&mut self, dialog: DialogId<'_>) -> Result<(), Refusal> {
        if at_once() {
            database::write(|db| rows::delete(db, dialog))?;
        }
        Ok(())
    }

    fn went_on(&mut self, subscription: &Subscription) -> Result<(), Fault> {
        if at_once() {
            let of = rows::identity(subscription.texts.dialog());
            database::write(|db| rows::update(db, subscription, RESERVE, &of))?;
        }
        Ok(())
    }
}
