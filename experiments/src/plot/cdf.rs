//! Cumulative distributions of latencies, panels side by side on one log axis.

use std::ops::Range;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::line::Line;
use super::log_axis;

/// Pixels.
const PANEL_WIDTH: u32 = 460;
const PANEL_HEIGHT: u32 = 400;
const HEADING_HEIGHT: u32 = 128;
const MARGIN: i32 = 24;
const CAPTION_TOP: i32 = 46;
const CAPTION_STEP: i32 = 20;
const LEGEND_TOP: i32 = 106;
const SAMPLE_WIDTH: i32 = 36;

/// A figure is never narrower, or its captions would not fit.
const WIDTH_MIN: u32 = 1380;

const FONT: &str = "Helvetica, Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif";
const INK: RGBColor = RGBColor(34, 34, 34);
const GREY: RGBColor = RGBColor(95, 95, 95);
const GRID: RGBColor = RGBColor(225, 225, 225);

/// A figure of several panels with the same axes.
#[derive(Clone, Debug)]
pub struct CdfFigure {
    /// Above everything.
    pub title: String,
    /// Lines under the title: which link, which objects. At most two.
    pub captions: Vec<String>,
    /// What the lines mean, in all panels.
    pub legend: Vec<(String, Line)>,
    /// Left to right; at least one.
    pub panels: Vec<Panel>,
}

/// One panel.
#[derive(Clone, Debug)]
pub struct Panel {
    /// Above it.
    pub title: String,
    /// Under its title; may be empty.
    pub note: String,
    /// Its lines; later ones lie on top.
    pub series: Vec<Series>,
}

/// One distribution.
#[derive(Clone, Debug)]
pub struct Series {
    /// Its look.
    pub line: Line,
    /// (latency in ms, fraction that doesn't exceed it), ascending.
    pub steps: Vec<(f64, f64)>,
}

/// Draws the figure into an SVG file.
///
/// # Errors
/// There is nothing to draw, or the file can't be written.
pub fn draw(path: &Path, figure: &CdfFigure) -> anyhow::Result<()> {
    let all = figure
        .panels
        .iter()
        .flat_map(|panel| &panel.series)
        .flat_map(|s| &s.steps);
    let axis = log_axis::range(all.map(|step| step.0));
    let axis = axis.ok_or_else(|| anyhow::anyhow!("there are no latencies to draw"))?;
    let width = (PANEL_WIDTH * figure.panels.len() as u32).max(WIDTH_MIN);
    let root = SVGBackend::new(path, (width, HEADING_HEIGHT + PANEL_HEIGHT)).into_drawing_area();
    // Backends' errors borrow from the drawing; only their words outlive it.
    let drawn = draw_into(&root, figure, &axis).and_then(|()| root.present());
    drawn.map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn<'a> = Result<(), DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>>;

fn draw_into<'a>(root: &Area<'a>, figure: &CdfFigure, axis: &Range<f64>) -> Drawn<'a> {
    root.fill(&WHITE)?;
    let (heading, below) = root.split_vertically(HEADING_HEIGHT);
    draw_heading(&heading, figure)?;
    let areas = below.split_evenly((1, figure.panels.len()));
    for (number, (area, panel)) in areas.iter().zip(&figure.panels).enumerate() {
        draw_panel(area, panel, axis, number == 0)?;
    }
    Ok(())
}

fn draw_heading<'a>(area: &Area<'a>, figure: &CdfFigure) -> Drawn<'a> {
    let title = (FONT, 22).into_font().style(FontStyle::Bold).color(&INK);
    area.draw(&Text::new(figure.title.clone(), (MARGIN, 14), title))?;
    let small = (FONT, 14).into_font().color(&GREY);
    for (line, caption) in (0..).zip(&figure.captions) {
        let at = (MARGIN, CAPTION_TOP + line * CAPTION_STEP);
        area.draw(&Text::new(caption.clone(), at, small.clone()))?;
    }
    let middle = (FONT, 15)
        .into_font()
        .color(&INK)
        .pos(Pos::new(HPos::Left, VPos::Center));
    let (width, _) = area.dim_in_pixel();
    let count = figure.legend.len().max(1) as i32;
    // A wide figure need not stretch its legend.
    let step = ((width as i32 - 2 * MARGIN) / count).min(260);
    for (number, (words, line)) in (0..).zip(&figure.legend) {
        let left = MARGIN + number * step;
        line.draw_sample(area, (left, LEGEND_TOP), (left + SAMPLE_WIDTH, LEGEND_TOP))?;
        let at = (left + SAMPLE_WIDTH + 8, LEGEND_TOP);
        area.draw(&Text::new(words.clone(), at, middle.clone()))?;
    }
    Ok(())
}

fn draw_panel<'a>(area: &Area<'a>, panel: &Panel, axis: &Range<f64>, is_first: bool) -> Drawn<'a> {
    let (heading, chart) = area.split_vertically(52);
    let bold = (FONT, 17).into_font().style(FontStyle::Bold).color(&INK);
    heading.draw(&Text::new(panel.title.clone(), (82, 8), bold))?;
    let small = (FONT, 14).into_font().color(&GREY);
    heading.draw(&Text::new(panel.note.clone(), (82, 31), small))?;

    let x = axis
        .clone()
        .log_scale()
        .with_key_points(log_axis::ticks(axis));
    let mut chart = ChartBuilder::on(&chart)
        .margin_left(14)
        .margin_right(16)
        .margin_bottom(10)
        .x_label_area_size(46)
        .y_label_area_size(68)
        .build_cartesian_2d(x, 0.0..1.0_f64)?;
    let labels = (FONT, 14).into_font().color(&INK);
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .bold_line_style(GRID)
        .axis_style(GREY)
        .label_style(labels.clone())
        .axis_desc_style(labels)
        .x_desc("latency in ms (log scale)")
        .y_desc(if is_first {
            "operations that took no longer"
        } else {
            ""
        })
        .y_labels(6)
        .x_label_formatter(&|ms| format!("{ms}"))
        .y_label_formatter(&|fraction| format!("{:.0} %", fraction * 100.0))
        .draw()?;
    for series in &panel.series {
        series.line.draw_in(&mut chart, staircase(&series.steps))?;
    }
    Ok(())
}

/// The corners of a distribution's line: up at each latency, level between them.
fn staircase(steps: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut height = 0.0;
    let mut corners = Vec::with_capacity(2 * steps.len());
    for &(latency, fraction) in steps {
        corners.push((latency, height));
        corners.push((latency, fraction));
        height = fraction;
    }
    corners
}
