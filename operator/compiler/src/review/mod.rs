//! What is likely not meant: policies as they stand, looked at together with each other and with the pods there are.
//!
//! Intake tells what is wrong with an object by itself; this tells what only shows beside others: rules that never decide
//! anything, selectors that match nothing, pods without DNS, policies that disagree. Nothing here changes what is enforced,
//! and what intake has told is not told again. A remark that is wrong does more harm than one that is missing, so what
//! cannot be told for certain is left out.
//!
//! It owns no state and knows no clock: a cluster in, remarks out, the same for equal clusters. `sheet` and `ground` are
//! what is looked at, `shape`, `addresses` and `traffic` the sets that are compared; the rest are the checks.

mod addresses;
mod conflict;
mod dns;
mod ground;
mod idle;
mod meter;
mod remark;
mod selectors;
mod shadow;
mod shape;
mod sheet;
mod survey;
mod traffic;

use std::collections::BTreeSet;

pub use self::meter::Limits;
use self::meter::{Exhausted, Meter};
pub use self::remark::{Basis, Matter, Remark};
use self::survey::Survey;
use crate::model::{Cluster, ObjectRef};

/// What a review comes to.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Review {
    /// What was found, sorted by object, field and wording.
    pub remarks: Vec<Remark>,
    /// Policies that were too much work: of these something may be missing.
    pub unreviewed: BTreeSet<ObjectRef>,
}

/// Reviews every policy of a cluster, within limits. Cheap checks come first, so that of a cluster that is too large at
/// least these are done.
pub fn review(cluster: &Cluster, limits: Limits) -> Review {
    let mut meter = Meter::new(limits);
    let mut survey = Survey::of(cluster);
    let mut review = Review::default();
    let knows_isolated = survey.find_isolated(&mut meter);
    for sheet in &survey.sheets {
        meter.next_policy();
        let looked = selectors::look(&survey, sheet, &mut meter, &mut review.remarks)
            .and_then(|()| idle::look(&survey, sheet, &mut meter, &mut review.remarks));
        if looked == Err(Exhausted) {
            review.unreviewed.insert(sheet.object.clone());
        }
    }
    dns::look(&survey, &mut meter, &mut review.remarks, &mut review.unreviewed);
    if knows_isolated {
        conflict::look(&survey, &mut meter, &mut review.remarks, &mut review.unreviewed);
    } else {
        // Whether the Baseline tier is asked at all cannot be told.
        let wide = survey.sheets.iter().filter(|sheet| sheet.object.namespace.is_none());
        review.unreviewed.extend(wide.map(|sheet| sheet.object.clone()));
    }
    for position in survey.cheapest_first() {
        meter.next_policy();
        let Some(sheet) = survey.sheets.get(position) else { continue };
        if shadow::look(&survey, position, &mut meter, &mut review.remarks) == Err(Exhausted) {
            review.unreviewed.insert(sheet.object.clone());
        }
    }
    review.remarks.sort_by(|one, other| one.order().cmp(&other.order()));
    review
}
