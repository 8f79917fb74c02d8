//! Points and lines over time or another quantity.

use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::log_axis;

/// Pixels.
const SIZE: (u32, u32) = (1000, 480);
const HEADING_HEIGHT: u32 = 104;
const LEGEND_TOP: i32 = 84;
const MARGIN: i32 = 24;

const FONT: &str = "Helvetica, Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif";
const INK: RGBColor = RGBColor(34, 34, 34);
const GREY: RGBColor = RGBColor(95, 95, 95);
const GRID: RGBColor = RGBColor(225, 225, 225);

/// A chart with a logarithmic upward axis.
#[derive(Clone, Debug)]
pub struct XyFigure {
    /// Above everything.
    pub title: String,
    /// Under the title.
    pub caption: String,
    /// What runs to the right.
    pub x: String,
    /// What runs up.
    pub y: String,
    /// What is drawn; later ones lie on top.
    pub series: Vec<XySeries>,
}

/// One series.
#[derive(Clone, Debug)]
pub struct XySeries {
    /// In the legend.
    pub name: String,
    /// Its colour.
    pub color: RGBColor,
    /// Whether points are joined.
    pub joined: bool,
    /// Its points; none may be zero or less upwards.
    pub points: Vec<(f64, f64)>,
}

/// Draws the chart into an SVG file.
///
/// # Errors
/// There is nothing to draw, or the file can't be written.
pub fn draw(path: &Path, figure: &XyFigure) -> anyhow::Result<()> {
    let points = || figure.series.iter().flat_map(|series| &series.points);
    let y = log_axis::range(points().map(|point| point.1));
    let y = y.ok_or_else(|| anyhow::anyhow!("{}: there are no points", path.display()))?;
    let most = points().map(|point| point.0).fold(0.0, f64::max);
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    // Backends' errors borrow from the drawing; only their words outlive it.
    let drawn = draw_into(&root, figure, most, &y).and_then(|()| root.present());
    drawn.map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn<'a> = Result<(), DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>>;

fn draw_into<'a>(
    root: &Area<'a>,
    figure: &XyFigure,
    most: f64,
    y: &std::ops::Range<f64>,
) -> Drawn<'a> {
    root.fill(&WHITE)?;
    let (heading, below) = root.split_vertically(HEADING_HEIGHT);
    draw_heading(&heading, figure)?;
    let y = y.clone().log_scale().with_key_points(log_axis::ticks(y));
    let mut chart = ChartBuilder::on(&below)
        .margin_left(14)
        .margin_right(24)
        .margin_bottom(10)
        .x_label_area_size(46)
        .y_label_area_size(76)
        .build_cartesian_2d(0.0..most * 1.02, y)?;
    let labels = (FONT, 14).into_font().color(&INK);
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .bold_line_style(GRID)
        .axis_style(GREY)
        .label_style(labels.clone())
        .axis_desc_style(labels)
        .x_desc(figure.x.as_str())
        .y_desc(figure.y.as_str())
        .y_label_formatter(&|y| format!("{y}"))
        .draw()?;
    for series in &figure.series {
        let style = series.color.mix(0.85);
        if series.joined {
            let style = style.stroke_width(3);
            chart.draw_series([PathElement::new(series.points.clone(), style)])?;
        }
        let radius = if series.joined { 4 } else { 2 };
        let dots = series.points.iter();
        chart.draw_series(dots.map(|&at| Circle::new(at, radius, style.filled())))?;
    }
    Ok(())
}

fn draw_heading<'a>(area: &Area<'a>, figure: &XyFigure) -> Drawn<'a> {
    let title = (FONT, 20).into_font().style(FontStyle::Bold).color(&INK);
    area.draw(&Text::new(figure.title.clone(), (MARGIN, 12), title))?;
    let small = (FONT, 14).into_font().color(&GREY);
    area.draw(&Text::new(figure.caption.clone(), (MARGIN, 42), small))?;
    let middle = (FONT, 15)
        .into_font()
        .color(&INK)
        .pos(Pos::new(HPos::Left, VPos::Center));
    for (number, series) in (0..).zip(&figure.series) {
        let left = MARGIN + number * 230;
        let dot = Circle::new((left + 6, LEGEND_TOP), 5, series.color.filled());
        area.draw(&dot)?;
        let at = (left + 18, LEGEND_TOP);
        area.draw(&Text::new(series.name.clone(), at, middle.clone()))?;
    }
    Ok(())
}
