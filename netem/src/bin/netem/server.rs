//! The router's side of the control socket.

use std::collections::BTreeMap;
use std::os::unix::net::{UnixListener, UnixStream};

use anyhow::{Context, Result, bail, ensure};
use netem::topology_file::Plan;

use crate::control::{Answer, PATIENCE, Request, read_line, write_line};
use crate::host::Overruns;
use crate::router::Asker;
use crate::state::{Host, State};
use crate::tcp_flows::{FLOWS_MAX, TcpFlows};

/// Answers commands, one after another, and owns the TCP flows.
pub struct Server {
    asker: Asker,
    plan: Plan,
    hosts: Vec<Host>,
    overruns: Overruns,
    tcp_flows: BTreeMap<usize, TcpFlows>,
}

impl Server {
    /// Starts to listen; ends with the process.
    pub fn start(asker: Asker, plan: Plan, state: &State) -> Result<()> {
        let path = state.control_socket()?;
        let listener = UnixListener::bind(&path)
            .with_context(|| format!("can't listen at {}", path.display()))?;
        let mut server = Self {
            asker,
            plan,
            hosts: state.hosts.clone(),
            overruns: Overruns::of(&state.hosts)?,
            tcp_flows: BTreeMap::new(),
        };
        std::thread::Builder::new()
            .name("netem-control".to_owned())
            .spawn(move || {
                for stream in listener.incoming().flatten() {
                    if let Err(error) = server.serve(&stream) {
                        eprintln!("netem: a command was not answered: {error:#}");
                    }
                }
            })?;
        Ok(())
    }

    fn serve(&mut self, stream: &UnixStream) -> Result<()> {
        // Whoever connects and says nothing must not keep others waiting for ever.
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let request: Request = read_line(stream)?;
        let answer = match request {
            Request::TcpFlows { link, flows } => self.set_tcp_flows(link, flows),
            other => self.asker.ask(other),
        };
        let mut answer = answer.unwrap_or_else(|error| Answer::Refused(format!("{error:#}")));
        if let Answer::Status(status) = &mut answer {
            status.router.overrun_packets = self.overruns.count()?;
            for (&link, flows) in &self.tcp_flows {
                status.links[link].tcp_flows = flows.flows();
            }
        }
        write_line(stream, &answer)
    }

    fn set_tcp_flows(&mut self, link: usize, flows: usize) -> Result<Answer> {
        ensure!(
            flows <= FLOWS_MAX,
            "--tcp must be 0 to {FLOWS_MAX}, not {flows}"
        );
        ensure!(
            link < self.plan.links.len(),
            "there is no link number {link}"
        );
        if flows == 0 {
            self.tcp_flows.remove(&link);
            return Ok(Answer::Done);
        }
        let (from, to) = self.ends_of(link)?;
        let started = TcpFlows::start(from.namespace.clone(), &to.namespace, to.ipv4, flows)?;
        self.tcp_flows.insert(link, started);
        Ok(Answer::Done)
    }

    /// The first hosts of the first pair of sites whose path takes the link; inside a
    /// site, its first two.
    fn ends_of(&self, link: usize) -> Result<(&Host, &Host)> {
        let sites = self.plan.sites.len();
        let takes = |path: &Vec<usize>| path.contains(&link);
        let Some(pair) = self.plan.paths.iter().position(takes) else {
            bail!("no path takes the link {}", self.plan.links[link].name);
        };
        let hosts = |site: usize| {
            let name = &self.plan.sites[site].name;
            self.hosts.iter().filter(move |host| &host.site == name)
        };
        let (from, to) = (pair / sites, pair % sites);
        let second = usize::from(from == to);
        let ends = hosts(from).next().zip(hosts(to).nth(second));
        ends.context("TCP flows inside a site need two hosts there")
    }
}
