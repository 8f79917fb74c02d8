//! The paper's web application (Vivace §6.4): a Twitter clone. Accounts and tweets are
//! RW objects; lists of followers and friends, and timelines, are RMW objects.
//!
//! ```text
//! post      write the tweet ─▶ read the followers ─▶ push to their timelines, at once
//! timeline  read the timeline ─▶ read its tweets, at once
//! friends   read the friends ─▶ read their timelines, at once ─▶ read the tweets, at once
//! ```

use std::time::Duration;

use anyhow::bail;
use tokio::task::JoinSet;
use vivace_client::machine::builtin::{List, list};
use vivace_client::{Blob, Client, Container, OperationError};

use super::objects::Failure;
use crate::step::Operation;
use crate::workload::cause;

/// Accounts.
const USERS: u64 = 8;

/// Everybody follows the next ones, so many.
const FRIENDS: u64 = 4;

/// Tweets that a timeline keeps.
const TIMELINE_MAX: u32 = 40;

/// Tweets that a page shows.
const SHOWN: usize = 10;

/// Tweets that there are before the first request.
const FIRST_TWEETS: u64 = 2 * USERS;

/// Length of a tweet.
const TWEET_BYTES: usize = 140;

/// Somebody who uses the clone: each request is another user's in turn.
pub struct TwitterUser {
    registers: Container,
    machines: Container,
    /// Tweets posted so far; the last one's number.
    posted: u64,
    turn: u64,
}

impl TwitterUser {
    /// On the prior algorithms (`prior`) or Vivace's (`new`).
    ///
    /// # Errors
    /// There is no such pair.
    pub fn new(client: &Client, system: &str, deadline: Duration) -> anyhow::Result<Self> {
        let (registers, machines) = match system {
            "prior" => ("abd", "lan-rmw"),
            "new" => ("rw", "rmw"),
            other => bail!("the clone runs on `prior` or `new`, not {other}"),
        };
        let container = |name: &str| client.container(name).deadline(deadline);
        Ok(Self {
            registers: container(registers),
            machines: container(machines),
            posted: 0,
            turn: 0,
        })
    }

    /// Makes accounts, who follows whom, and the first tweets.
    pub async fn prepare(&mut self) -> Result<(), Failure> {
        let mut making = JoinSet::new();
        for user in 0..USERS {
            let account = self.registers.rw(format!("account-{user}"));
            making.spawn(async move { account.write(account_text(user)).await.map(drop) });
            for (list, others) in [
                ("followers", followers_of(user)),
                ("friends", friends_of(user)),
            ] {
                let list = self.machines.rmw::<List>(format!("{list}-{user}"));
                making.spawn(async move {
                    for other in others {
                        list.execute(list::Command::Push(number_blob(other)))
                            .await?;
                    }
                    Ok(())
                });
            }
        }
        all(making).await.map_err(failure)?;
        for _ in 0..FIRST_TWEETS {
            self.operate(Operation::Post).await?;
        }
        Ok(())
    }

    /// One request.
    pub async fn operate(&mut self, operation: Operation) -> Result<(), Failure> {
        let user = self.turn % USERS;
        self.turn += 1;
        let done = match operation {
            Operation::Post => self.post(user).await,
            Operation::Timeline => self.timeline(user).await,
            Operation::Friends => self.friends(user).await,
            other => return Err(("invalid".to_owned(), format!("no {} here", other.id()))),
        };
        done.map_err(failure)
    }

    async fn post(&mut self, user: u64) -> Result<(), OperationError> {
        self.posted += 1;
        let tweet = self.posted;
        self.registers
            .rw(format!("tweet-{tweet}"))
            .write(tweet_text(user, tweet))
            .await?;
        let followers = self.numbers("followers", user).await?;
        let mut pushes = JoinSet::new();
        for reader in followers.into_iter().chain([user]) {
            let timeline = self.machines.rmw::<List>(format!("timeline-{reader}"));
            pushes.spawn(async move {
                let push = list::Command::PushTrimmed {
                    item: number_blob(tweet),
                    max: TIMELINE_MAX,
                };
                timeline.execute(push).await.map(drop)
            });
        }
        all(pushes).await
    }

    async fn timeline(&self, user: u64) -> Result<(), OperationError> {
        let tweets = self.numbers("timeline", user).await?;
        self.show(tweets).await
    }

    async fn friends(&self, user: u64) -> Result<(), OperationError> {
        let mut reads = JoinSet::new();
        for friend in self.numbers("friends", user).await? {
            let timeline = self.machines.rmw::<List>(format!("timeline-{friend}"));
            reads.spawn(async move { timeline.read().await });
        }
        let mut tweets = Vec::new();
        for timeline in reads.join_all().await {
            tweets.extend(timeline?.as_ref().map(numbers).unwrap_or_default());
        }
        tweets.sort_unstable();
        tweets.dedup();
        self.show(tweets).await
    }

    /// Reads the newest of `tweets`.
    async fn show(&self, tweets: Vec<u64>) -> Result<(), OperationError> {
        let mut reads = JoinSet::new();
        for tweet in tweets.into_iter().rev().take(SHOWN) {
            let tweet = self.registers.rw(format!("tweet-{tweet}"));
            reads.spawn(async move { tweet.read().await.map(drop) });
        }
        all(reads).await
    }

    async fn numbers(&self, list: &str, user: u64) -> Result<Vec<u64>, OperationError> {
        let list = self.machines.rmw::<List>(format!("{list}-{user}"));
        Ok(list.read().await?.as_ref().map(numbers).unwrap_or_default())
    }
}

async fn all(mut tasks: JoinSet<Result<(), OperationError>>) -> Result<(), OperationError> {
    let mut ended = Ok(());
    // All of them, also after a failure: none goes on into the next request.
    while let Some(done) = tasks.join_next().await {
        ended = ended.and(done.expect("no task panics or is aborted"));
    }
    ended
}

fn failure(error: OperationError) -> Failure {
    (cause(&error).to_owned(), error.to_string())
}

fn followers_of(user: u64) -> Vec<u64> {
    (1..=FRIENDS)
        .map(|step| (user + USERS - step) % USERS)
        .collect()
}

fn friends_of(user: u64) -> Vec<u64> {
    (1..=FRIENDS).map(|step| (user + step) % USERS).collect()
}

fn account_text(user: u64) -> String {
    format!("{{\"name\":\"user-{user}\",\"mail\":\"user-{user}@example.com\"}}")
}

fn tweet_text(user: u64, tweet: u64) -> String {
    format!("{:<TWEET_BYTES$}", format!("user-{user}: tweet {tweet}"))
}

fn number_blob(number: u64) -> Blob {
    number.to_be_bytes().to_vec().into()
}

/// Oldest first.
fn numbers(list: &List) -> Vec<u64> {
    list.items()
        .filter_map(|item| item.0[..].try_into().ok())
        .map(u64::from_be_bytes)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_follows_and_who_is_followed_agree() {
        for user in 0..USERS {
            for friend in friends_of(user) {
                assert!(followers_of(friend).contains(&user), "{user} {friend}");
            }
            assert!(!friends_of(user).contains(&user));
        }
    }
}
