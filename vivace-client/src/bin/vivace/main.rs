//! `vivace`: objects of a Vivace cluster from the command line.

mod admin;
mod arguments;
mod backup;
mod bench;
mod deadline;
mod exec;
mod exit;
mod objects;
mod output;
mod status;
mod status_table;
mod words;

use std::process::ExitCode;

use clap::Parser;
use vivace_client::{Client, ClientConfig};

use crate::arguments::{Action, AdminAction, Arguments};
use crate::exit::{Exit, Fault};

// A bench makes and drops some twenty pieces of memory per operation.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let json = arguments.json;
    let ended = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Fault::local(format!("can't start: {error}")))
        .and_then(|runtime| runtime.block_on(run(arguments)));
    match ended {
        Ok(exit) => exit.into(),
        Err(fault) => fault.report(json).into(),
    }
}

async fn run(arguments: Arguments) -> Result<Exit, Fault> {
    let json = arguments.json;
    // What can be refused without a connection is refused before it.
    if let Action::Bench(bench) = &arguments.action {
        bench.check()?;
    }
    if let Action::Admin(AdminAction::Verify(verify)) = &arguments.action {
        return backup::verify(verify, json);
    }
    let whole = match &arguments.action {
        Action::Admin(AdminAction::Restore(restore)) => {
            Some(backup::be_sure_it_is_whole(&restore.directory)?)
        }
        _ => None,
    };
    let value = match &arguments.action {
        Action::Put(put) => Some(put.value()?),
        _ => None,
    };
    let mut config = ClientConfig::from_file(&arguments.config)?;
    if let Some(deadline) = arguments.deadline {
        config.timeout = deadline;
    }
    let patience = config.timeout;
    let client = Client::connect(config).await?;
    let ended = match arguments.action {
        Action::Get(get) => objects::get(&client, &get.object, json).await,
        Action::Put(put) => {
            let value = value.unwrap_or_default();
            objects::put(&client, &put.object, value, put.durability.level, json).await
        }
        Action::Delete(delete) => {
            objects::delete(&client, &delete.object, delete.durability.level, json).await
        }
        Action::Exec(exec) => exec::exec(&client, &exec, json).await,
        Action::Status(status) => status::status(&client, status.watch, json).await,
        Action::Admin(AdminAction::Lost(asked)) => admin::lost(&client, &asked, json).await,
        Action::Admin(AdminAction::AcceptLoss(asked)) => {
            admin::accept_loss(&client, &asked, json).await
        }
        Action::Admin(AdminAction::Backup(asked)) => backup::take(&client, &asked, json).await,
        Action::Admin(AdminAction::Verify(asked)) => backup::verify(&asked, json),
        Action::Admin(AdminAction::Restore(asked)) => {
            let whole = whole.expect("what is to be restored was read above");
            backup::restore(&client, &whole, &asked, json).await
        }
        Action::Bench(bench) => bench::bench(&client, &bench, patience, json).await,
    };
    client.close().await;
    ended
}
