//! Ranges of latency, one row each: from the median to the 99th percentile and on to
//! the longest, on a logarithmic axis.

use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::log_axis;

/// Pixels.
const WIDTH: u32 = 1100;
const ROW_HEIGHT: i32 = 22;
const HEADING_HEIGHT: i32 = 92;
const AXIS_HEIGHT: i32 = 46;
const NAMES_WIDTH: i32 = 460;
const MARGIN: i32 = 24;

const FONT: &str = "Helvetica, Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif";
const INK: RGBColor = RGBColor(34, 34, 34);
const GREY: RGBColor = RGBColor(95, 95, 95);
const GRID: RGBColor = RGBColor(225, 225, 225);

/// A chart of ranges.
#[derive(Clone, Debug)]
pub struct RangeFigure {
    /// Above everything.
    pub title: String,
    /// Under the title.
    pub caption: String,
    /// Top to bottom.
    pub rows: Vec<Range>,
}

/// One row.
#[derive(Clone, Debug)]
pub struct Range {
    /// At its left.
    pub name: String,
    /// Its colour.
    pub color: RGBColor,
    /// Its idle median in ms, as a tick to compare with.
    pub idle_ms: Option<f64>,
    /// Median, 99th percentile, longest, in ms; none where nothing was measured.
    pub ms: Option<[f64; 3]>,
    /// At its right: what failed.
    pub note: String,
}

/// Draws the chart into an SVG file.
///
/// # Errors
/// There is nothing to draw, or the file can't be written.
pub fn draw(path: &Path, figure: &RangeFigure) -> anyhow::Result<()> {
    let of_row = |row: &Range| row.ms.into_iter().flatten().chain(row.idle_ms);
    let axis = log_axis::range(figure.rows.iter().flat_map(of_row));
    let axis = axis.ok_or_else(|| anyhow::anyhow!("{}: there are no latencies", path.display()))?;
    let height = HEADING_HEIGHT + AXIS_HEIGHT + ROW_HEIGHT * figure.rows.len() as i32;
    let root = SVGBackend::new(path, (WIDTH, height as u32)).into_drawing_area();
    // Backends' errors borrow from the drawing; only their words outlive it.
    let drawn = Drawing {
        area: &root,
        axis: &axis,
        bottom: height - AXIS_HEIGHT,
    };
    let drawn = drawn.all(figure).and_then(|()| root.present());
    drawn.map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn<'a> = Result<(), DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>>;

struct Drawing<'a, 'b> {
    area: &'b Area<'a>,
    axis: &'b std::ops::Range<f64>,
    bottom: i32,
}

impl<'a> Drawing<'a, '_> {
    /// Where a latency is.
    fn x(&self, ms: f64) -> i32 {
        let width = f64::from(WIDTH as i32 - NAMES_WIDTH - 2 * MARGIN);
        let whole = (self.axis.end / self.axis.start).ln();
        NAMES_WIDTH + (width * (ms / self.axis.start).ln() / whole).round() as i32
    }

    fn all(&self, figure: &RangeFigure) -> Drawn<'a> {
        self.area.fill(&WHITE)?;
        let title = (FONT, 20).into_font().style(FontStyle::Bold).color(&INK);
        let at = |top| (MARGIN, top);
        self.area
            .draw(&Text::new(figure.title.clone(), at(12), title))?;
        let small = (FONT, 14).into_font().color(&GREY);
        self.area
            .draw(&Text::new(figure.caption.clone(), at(42), small.clone()))?;
        let legend =
            "thick: median to 99th percentile; thin: to the longest; black tick: the idle median";
        self.area
            .draw(&Text::new(legend.to_owned(), at(64), small))?;
        self.ticks()?;
        for (number, row) in (0..).zip(&figure.rows) {
            self.row(row, HEADING_HEIGHT + ROW_HEIGHT * number + ROW_HEIGHT / 2)?;
        }
        Ok(())
    }

    fn ticks(&self) -> Drawn<'a> {
        let centered = Pos::new(HPos::Center, VPos::Top);
        let style = (FONT, 14).into_font().color(&INK).pos(centered);
        for tick in log_axis::ticks(self.axis) {
            let x = self.x(tick);
            let line = vec![(x, HEADING_HEIGHT), (x, self.bottom)];
            self.area.draw(&PathElement::new(line, GRID))?;
            let at = (x, self.bottom + 6);
            self.area
                .draw(&Text::new(format!("{tick}"), at, style.clone()))?;
        }
        let at = ((NAMES_WIDTH + WIDTH as i32) / 2, self.bottom + 24);
        let words = "latency in ms (log scale)".to_owned();
        self.area.draw(&Text::new(words, at, style))
    }

    fn row(&self, row: &Range, y: i32) -> Drawn<'a> {
        let right = Pos::new(HPos::Right, VPos::Center);
        let name = (FONT, 13).into_font().color(&INK).pos(right);
        let at = (NAMES_WIDTH - 12, y);
        self.area.draw(&Text::new(row.name.clone(), at, name))?;
        let mut note_at = NAMES_WIDTH + 8;
        if let Some(ms) = row.ms {
            let [p50, p99, max] = ms.map(|ms| self.x(ms));
            let thin = row.color.stroke_width(2);
            self.area
                .draw(&PathElement::new(vec![(p50, y), (max, y)], thin))?;
            let corners = [(p50, y - 5), (p99.max(p50 + 3), y + 5)];
            self.area
                .draw(&Rectangle::new(corners, row.color.filled()))?;
            note_at = max + 8;
        }
        if let Some(idle) = row.idle_ms {
            let x = self.x(idle);
            let tick = vec![(x, y - 9), (x, y + 9)];
            self.area
                .draw(&PathElement::new(tick, INK.stroke_width(2)))?;
        }
        // A long row's note would leave the picture: it ends at its edge then.
        let (hpos, x) = match note_at + 200 > WIDTH as i32 {
            true => (HPos::Right, WIDTH as i32 - 4),
            false => (HPos::Left, note_at),
        };
        let note = (FONT, 12).into_font().color(&GREY);
        let note = note.pos(Pos::new(hpos, VPos::Center));
        self.area.draw(&Text::new(row.note.clone(), (x, y), note))
    }
}
