//! What was asked for: which experiments, and which of their steps.

use super::arguments::{RunArguments, SINGLE};
use crate::catalog::{self, Experiment, Scale};
use crate::step::Step;

/// A request that makes no sense; nothing was done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// No experiment has this name.
    #[error("there is no experiment {name:?}; give all, or some of {known}")]
    Unknown {
        /// The name.
        name: String,
        /// Those there are.
        known: String,
    },
    /// It is no part of `run`.
    #[error("{0} is a command of its own: experiments {0}")]
    OwnCommand(String),
    /// No step's name contains what was asked for.
    #[error("--only {0}: no step's name contains it")]
    NoStep(String),
    /// A program that was named is not there.
    #[error("--{flag} {path}: is no file; name the program, or leave --{flag} out")]
    NoProgram {
        /// The flag that named it.
        flag: &'static str,
        /// What it named.
        path: String,
    },
}

/// The experiments of these names, in the catalogue's order.
///
/// # Errors
/// [`RequestError`] for the first name that none has.
pub fn named(names: &[String]) -> Result<Vec<&'static Experiment>, RequestError> {
    for name in names {
        if SINGLE.contains(&name.as_str()) {
            return Err(RequestError::OwnCommand(name.clone()));
        }
        let is_known = name == "all" || catalog::runnable().any(|e| e.name == name);
        if !is_known {
            let known: Vec<&str> = catalog::runnable().map(|e| e.name).collect();
            return Err(RequestError::Unknown {
                name: name.clone(),
                known: known.join(", "),
            });
        }
    }
    let wanted = |experiment: &&Experiment| {
        let is_it = |name: &String| name == "all" || name == experiment.name;
        names.iter().any(is_it)
    };
    Ok(catalog::runnable().filter(wanted).collect())
}

/// The steps that were asked for.
///
/// # Errors
/// [`RequestError`].
pub fn steps(arguments: &RunArguments) -> Result<Vec<Step>, RequestError> {
    let scale = Scale {
        quick: arguments.quick,
        seconds: arguments.seconds,
        seed: arguments.seed,
    };
    let experiments = named(&arguments.names)?;
    let only = &arguments.only;
    let is_wanted =
        |step: &Step| only.is_empty() || only.iter().any(|text| step.name.contains(text.as_str()));
    let steps: Vec<Step> = experiments
        .iter()
        .filter_map(|experiment| experiment.steps)
        .flat_map(|steps| steps(&scale))
        .filter(is_wanted)
        .collect();
    if steps.is_empty() {
        return Err(RequestError::NoStep(only.join(", ")));
    }
    let named = [("netem", &arguments.netem), ("node", &arguments.node)];
    let missing = named
        .into_iter()
        .filter_map(|(flag, path)| Some((flag, path.as_ref()?)))
        .find(|(_, path)| !path.is_file());
    match missing {
        None => Ok(steps),
        Some((flag, path)) => Err(RequestError::NoProgram {
            flag,
            path: path.display().to_string(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(words: &[&str]) -> Vec<String> {
        words.iter().map(|&word| word.to_owned()).collect()
    }

    #[test]
    fn names_are_found_once_and_in_order_and_wrong_ones_are_refused() {
        let found = named(&names(&["fig-7", "fig-6", "fig-7"])).expect("both are there");
        let found: Vec<&str> = found.iter().map(|e| e.name).collect();
        assert_eq!(found, ["fig-6", "fig-7"]);
        let all = named(&names(&["all", "fig-6"])).expect("all are there");
        assert_eq!(all.len(), catalog::runnable().count());
        assert_eq!(
            named(&names(&["demo"])).err(),
            Some(RequestError::OwnCommand("demo".to_owned()))
        );
        let wrong = named(&names(&["fig-6", "fig-9"]))
            .err()
            .expect("it is not there");
        assert!(
            wrong
                .to_string()
                .contains("\"fig-9\"; give all, or some of fig-1, fig-2-3")
        );
    }
}
