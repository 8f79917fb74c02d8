//! The page.

use super::remarks;
use super::section::{Section, Table};
use crate::catalog::Experiment;
use crate::step::StepRecord;
use crate::step::record::Setup;

const STYLE: &str = "\
body{font:16px/1.5 Helvetica,Arial,sans-serif;color:#222;max-width:1100px;margin:2rem auto;padding:0 1rem}\
h1,h2{line-height:1.2}h2{margin-top:3rem;border-top:1px solid #ddd;padding-top:1.5rem}\
svg{max-width:100%;height:auto;display:block;margin:1rem 0}\
.wide{overflow-x:auto}table{border-collapse:collapse;font-size:14px;margin:1rem 0}\
caption{text-align:left;color:#555;padding:.3rem 0}\
th,td{border-bottom:1px solid #ddd;padding:.25rem .6rem;text-align:right;white-space:nowrap}\
th:first-child,td:first-child{text-align:left}\
.about,.notes{color:#555;font-size:14px}";

/// Everything in one file: no script, no style, no picture from elsewhere.
pub fn page(chapters: &[(&Experiment, Section, Vec<StepRecord>)], notes: &[String]) -> String {
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\">\
         <title>Vivace: experiments</title><style>{STYLE}</style></head><body>\n\
         <h1>Vivace: experiments</h1>\n\
         <p>Latencies hold for the link that was emulated, which each table names; compare shapes \
         and ratios. Operations of up to a second during which this machine delayed the \
         emulated WAN are set aside (every one of them is in the samples on disk, with that mark); \
         tables count them, and verdicts are given with and without them.</p>\n<ul>"
    );
    for (experiment, ..) in chapters {
        let name = escape(experiment.name);
        page += &format!(
            "<li><a href=\"#{name}\">{name}</a>: {}</li>",
            escape(experiment.about)
        );
    }
    page += "</ul>\n";
    for note in notes {
        page += &format!("<p class=\"notes\">{}</p>\n", escape(note));
    }
    for (experiment, section, records) in chapters {
        page += &chapter(experiment, section, records);
    }
    page += "</body></html>\n";
    page
}

fn chapter(experiment: &Experiment, section: &Section, records: &[StepRecord]) -> String {
    let mut text = format!(
        "<h2 id=\"{0}\">{0}: {1}</h2>\n<p class=\"about\">{2}</p>\n",
        escape(experiment.name),
        escape(experiment.about),
        escape(experiment.source)
    );
    for paragraph in &section.paragraphs {
        text += &format!("<p>{}</p>\n", escape(paragraph));
    }
    let remarks = remarks::of(experiment, records);
    if !remarks.is_empty() {
        text += "<ul class=\"notes\">";
        for remark in &remarks {
            text += &format!("<li>{}</li>\n", escape(remark));
        }
        text += "</ul>\n";
    }
    for chart in &section.charts {
        text += chart;
        text.push('\n');
    }
    for table in &section.tables {
        text += &of_table(table);
    }
    text += "<p class=\"notes\">";
    text += &escape(&provenance(records));
    text + "</p>\n"
}

fn of_table(table: &Table) -> String {
    let mut text = format!(
        "<div class=\"wide\"><table><caption>{}</caption><tr>",
        escape(&table.caption)
    );
    for name in &table.header {
        text += &format!("<th>{}</th>", escape(name));
    }
    text += "</tr>\n";
    for row in &table.rows {
        text += "<tr>";
        for cell in row {
            text += &format!("<td>{}</td>", escape(cell));
        }
        text += "</tr>\n";
    }
    text += "</table></div>\n";
    if !table.below.is_empty() {
        text += &format!("<p class=\"notes\">{}</p>\n", escape(&table.below));
    }
    text
}

/// Where and from what the figures are.
fn provenance(records: &[StepRecord]) -> String {
    let distinct = |of: &dyn Fn(&StepRecord) -> String| {
        let mut all: Vec<String> = records.iter().map(of).collect();
        all.sort();
        all.dedup();
        all.join(", ")
    };
    let revision = |record: &StepRecord| record.revision.clone().unwrap_or("unknown".to_owned());
    let machine = |record: &StepRecord| {
        let machine = &record.machine;
        format!(
            "{} cores, {} {}, {} build",
            machine.cores, machine.os, machine.architecture, machine.build
        )
    };
    let setup = |record: &StepRecord| {
        let Setup { node, data, etcd } = &record.setup;
        let node = node.as_deref().unwrap_or("of this program");
        let data = data.as_deref().unwrap_or("--out");
        let etcd = etcd.iter().map(|version| format!(", {version}"));
        format!("nodes {node}, data in {data}{}", etcd.collect::<String>())
    };
    let spoilt: u64 = records
        .iter()
        .flat_map(|record| &record.windows)
        .map(|window| window.all.n.saturating_sub(window.kept.n))
        .sum();
    let all: u64 = records
        .iter()
        .flat_map(|record| &record.windows)
        .map(|window| window.all.n)
        .sum();
    let mut text = format!(
        "{} steps; {}; revision {}; seed {}; {}; measured {}.",
        records.len(),
        distinct(&setup),
        distinct(&revision),
        distinct(&|record| record.step.seed.to_string()),
        distinct(&machine),
        distinct(&|record| record.started.chars().take(10).collect()),
    );
    if all > 0 {
        text += &format!(" {spoilt} of {all} operations set aside.");
    }
    text
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::made_up::record;

    #[test]
    fn a_chapter_names_what_its_steps_were_measured_on() {
        let of_this = record("fig-6", "abd", Vec::new());
        let mut of_another = record("fig-6", "rw", Vec::new());
        of_another.setup = Setup {
            node: Some("/opt/vivace-node, of 2026".to_owned()),
            data: Some("/dev/shm".to_owned()),
            etcd: Some("etcd Version: 3.4.23".to_owned()),
        };
        let said = provenance(&[of_this, of_another]);
        for part in [
            "nodes of this program, data in --out",
            "nodes /opt/vivace-node, of 2026, data in /dev/shm, etcd Version: 3.4.23",
        ] {
            assert!(said.contains(part), "{said}");
        }
    }

    #[test]
    fn what_results_say_is_text_and_never_markup() {
        let mut table = Table::new("a < b", &["x"]).below("c > d");
        table.row(["<script>".to_owned()]);
        let text = of_table(&table);
        assert!(text.contains("a &lt; b") && text.contains("&lt;script&gt;"));
        assert!(text.contains("c &gt; d"));
        assert!(!text.contains("<script>"));
    }
}
