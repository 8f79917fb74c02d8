//! How lines look, the same in every chart.

use plotters::chart::ChartContext;
use plotters::coord::Shift;
use plotters::coord::cartesian::Cartesian2d;
use plotters::coord::ranged1d::Ranged;
use plotters::drawing::DrawingAreaErrorKind;
use plotters::prelude::{Color, DrawingArea, DrawingBackend, PathElement, RGBColor, ShapeStyle};

/// Vivace's algorithms (blue; both colours are told apart by colour-blind eyes).
pub const VIVACE: RGBColor = RGBColor(0, 114, 178);

/// The algorithms they are compared with (vermilion).
pub const PRIOR: RGBColor = RGBColor(213, 94, 0);

/// Pixels.
const SHARP_WIDTH: u32 = 3;
const PALE_WIDTH: u32 = 9;

/// Of a pale line, so that one on another is seen.
const PALE_OPACITY: f64 = 0.35;

/// A line's look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its colour.
    pub color: RGBColor,
    /// Pale and broad, so that a sharp line on top of it leaves both to be seen.
    pub is_pale: bool,
}

type DrawResult<DB> = Result<(), DrawingAreaErrorKind<<DB as DrawingBackend>::ErrorType>>;

impl Line {
    fn style(self) -> ShapeStyle {
        let (opacity, stroke_width) = if self.is_pale {
            (PALE_OPACITY, PALE_WIDTH)
        } else {
            (1.0, SHARP_WIDTH)
        };
        ShapeStyle {
            color: self.color.mix(opacity),
            filled: false,
            stroke_width,
        }
    }

    /// Draws the line through `points` of a chart.
    pub(super) fn draw_in<DB: DrawingBackend, X, Y>(
        self,
        chart: &mut ChartContext<'_, DB, Cartesian2d<X, Y>>,
        points: Vec<(f64, f64)>,
    ) -> DrawResult<DB>
    where
        X: Ranged<ValueType = f64>,
        Y: Ranged<ValueType = f64>,
    {
        chart.draw_series([PathElement::new(points, self.style())])?;
        Ok(())
    }

    /// Draws a sample of the line for a legend.
    pub(super) fn draw_sample<DB: DrawingBackend>(
        self,
        area: &DrawingArea<DB, Shift>,
        from: (i32, i32),
        to: (i32, i32),
    ) -> DrawResult<DB> {
        area.draw(&PathElement::new(vec![from, to], self.style()))
    }
}
