//! What a reader of a chapter must know beside its figures: what steps say of themselves, what
//! windows began with, and which steps there are no results of.

use std::collections::BTreeSet;

use crate::catalog::{Experiment, Scale};
use crate::step::{StepRecord, WindowRecord};

/// A chapter's remarks, one a line.
pub fn of(experiment: &Experiment, records: &[StepRecord]) -> Vec<String> {
    let mut remarks: Vec<String> = missing(experiment, records).into_iter().collect();
    let mut said: Vec<(String, Vec<&str>)> = Vec::new();
    for record in records {
        let name = record.step.name.as_str();
        for remark in of_step(record) {
            match said.iter_mut().find(|(other, _)| *other == remark) {
                Some((_, steps)) => steps.push(name),
                None => said.push((remark, vec![name])),
            }
        }
    }
    for (remark, steps) in said {
        let steps = match steps.len() {
            all if all == records.len() && all > 1 => "all steps".to_owned(),
            _ => steps.join(", "),
        };
        remarks.push(format!("{steps}: {remark}"));
    }
    remarks
}

fn of_step(record: &StepRecord) -> Vec<String> {
    let mut remarks = record.notes.clone();
    let unsettled = record.windows.iter();
    let unsettled = unsettled.filter(|window| window.settled == Some(false));
    let unsettled: Vec<String> = unsettled.map(|window| window.window.words()).collect();
    if !unsettled.is_empty() {
        remarks.push(format!(
            "earlier values had not reached all their replicas when these windows began: {}",
            unsettled.join("; ")
        ));
    }
    let failed = |window: &&WindowRecord| window.warm_up.failed > 0;
    remarks.extend(record.windows.iter().filter(failed).map(|window| {
        let warm_up = &window.warm_up;
        format!(
            "{} of {} operations failed that warmed up for {}",
            warm_up.failed,
            warm_up.n,
            window.window.words()
        )
    }));
    remarks
}

/// Which steps have no results. Where all that do are steps of `--quick`, that is what was asked
/// for as far as one can tell.
fn missing(experiment: &Experiment, records: &[StepRecord]) -> Option<String> {
    let planned = |quick| -> Vec<String> {
        let scale = Scale {
            quick,
            seconds: None,
            seed: 1,
        };
        let steps = experiment.steps.map_or(Vec::new(), |steps| steps(&scale));
        steps.into_iter().map(|step| step.name).collect()
    };
    let (quick, full) = (planned(true), planned(false));
    let is_there: BTreeSet<&str> = records.iter().map(|r| r.step.name.as_str()).collect();
    let is_quick =
        quick.len() < full.len() && is_there.iter().all(|is| quick.iter().any(|of| of == is));
    let (plan, what) = match is_quick {
        true => (
            &quick,
            format!(" of --quick (without it there are {})", full.len()),
        ),
        false => (&full, String::new()),
    };
    let missing = plan.iter().map(String::as_str);
    let missing: Vec<&str> = missing.filter(|name| !is_there.contains(name)).collect();
    match (missing.len(), is_quick) {
        (0, false) => None,
        (0, true) => Some(format!("These are the {} steps{what}.", plan.len())),
        (count, _) => Some(format!(
            "Without results: {count} of the {} steps{what}: {}",
            plan.len(),
            missing.join(", ")
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::runnable;
    use crate::figures::made_up::{percentiles, reads, record};
    use crate::step::Traffic;

    fn experiment(name: &str) -> &'static Experiment {
        runnable().find(|e| e.name == name).expect("there is one")
    }

    #[test]
    fn what_steps_say_of_themselves_and_of_their_windows_is_told() {
        let mut window = reads(Traffic::Idle, percentiles(10, 1.0, 1.0));
        window.settled = Some(false);
        window.warm_up.n = 3;
        window.warm_up.failed = 2;
        let mut records = ["prior", "new"].map(|name| {
            let mut record = record("fig-8", name, Vec::new());
            record.notes.push("no real-time scheduling here".to_owned());
            record
        });
        assert_eq!(
            of(experiment("fig-8"), &records),
            ["all steps: no real-time scheduling here"]
        );
        records[0].windows.push(window);
        records[0].notes.clear();
        assert_eq!(
            of(experiment("fig-8"), &records),
            [
                "prior: earlier values had not reached all their replicas when these windows \
                 began: rw read, 1 at once, idle",
                "prior: 2 of 3 operations failed that warmed up for rw read, 1 at once, idle",
                "new: no real-time scheduling here",
            ]
        );
    }

    #[test]
    fn steps_without_results_are_named() {
        let of_steps = |names: &[&str]| {
            let records: Vec<StepRecord> = names
                .iter()
                .map(|name| record("etcd", name, Vec::new()))
                .collect();
            missing(experiment("etcd"), &records)
        };
        let quick = [
            "etcd-two-20-256",
            "etcd-two-20-5000",
            "vivace-two-20-256",
            "vivace-two-20-5000",
        ];
        assert_eq!(
            of_steps(&quick[2..]).expect("etcd's are missing"),
            "Without results: 2 of the 4 steps of --quick (without it there are 12): \
             etcd-two-20-256, etcd-two-20-5000"
        );
        assert_eq!(
            of_steps(&quick).expect("it was quick"),
            "These are the 4 steps of --quick (without it there are 12)."
        );
        let full = of_steps(&["vivace-three-20-256"]).expect("most are missing");
        assert!(full.starts_with("Without results: 11 of the 12 steps: etcd-two-20-256, vivace"));
        let both = ["prior", "new"].map(|name| record("fig-8", name, Vec::new()));
        assert_eq!(missing(experiment("fig-8"), &both), None);
    }
}
