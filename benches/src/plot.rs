//! Plots, as SVG.

use core::{error::Error, ops::Range};
use std::path::Path;

use plotters::prelude::*;

use crate::series::Series;

const SIZE: (u32, u32) = (880, 480);

/// The texts of a plot.
pub(crate) struct Axes {
    pub(crate) title: &'static str,
    pub(crate) x: &'static str,
    pub(crate) y: &'static str,
}

/// Draws lines over two logarithmic axes.
pub(crate) fn lines(path: &Path, axes: &Axes, series: &[Series]) -> Result<(), Box<dyn Error>> {
    let points = || series.iter().flat_map(|line| &line.points);
    let (x, y) = (range(points().map(|point| point.0)), range(points().map(|point| point.1)));
    // Room for the names of the lines, below all of them.
    let below = if series.len() > 1 { 12.0 } else { 2.0 };
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption(axes.title, ("sans-serif", 20))
        .margin(14)
        .x_label_area_size(44)
        .y_label_area_size(70)
        .build_cartesian_2d(
            (x.start / 1.5..x.end * 1.5).log_scale(),
            (y.start / below..y.end * 2.0).log_scale(),
        )?;
    chart
        .configure_mesh()
        .x_desc(axes.x)
        .y_desc(axes.y)
        .x_label_formatter(&short)
        .y_label_formatter(&short)
        .draw()?;
    for (number, line) in series.iter().enumerate() {
        let style = Palette99::pick(number).to_rgba().stroke_width(2);
        chart
            .draw_series(LineSeries::new(line.points.iter().copied(), style).point_size(3))?
            .label(line.name.as_str())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], style));
    }
    if series.len() > 1 {
        let mut names = chart.configure_series_labels();
        names
            .position(SeriesLabelPosition::LowerMiddle)
            .background_style(WHITE)
            .border_style(BLACK.mix(0.3))
            .draw()?;
    }
    root.present()?;
    Ok(())
}

/// A bar of a bar chart.
pub(crate) struct Bar {
    pub(crate) name: String,
    pub(crate) length: f64,
    /// Whether the bar is highlighted.
    pub(crate) is_ours: bool,
}

/// Draws bars from the top down, over a logarithmic axis.
pub(crate) fn bars(path: &Path, axes: &Axes, bars: &[Bar]) -> Result<(), Box<dyn Error>> {
    const HEIGHT: u32 = 24;
    let rows = u32::try_from(bars.len())?;
    let Range { start, end } = range(bars.iter().map(|bar| bar.length));
    let from = start / 2.0;
    let root = SVGBackend::new(path, (SIZE.0, rows * HEIGHT + 100)).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption(axes.title, ("sans-serif", 20))
        .margin(14)
        .x_label_area_size(44)
        .y_label_area_size(230)
        .build_cartesian_2d((from..end * 3.0).log_scale(), 0..rows)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .x_desc(axes.x)
        .x_label_formatter(&short)
        .draw()?;
    let font = ("sans-serif", 13).into_font();
    for (row, Bar { name, length, is_ours }) in (1..=rows).rev().zip(bars) {
        let color = if *is_ours { RGBColor(20, 110, 180) } else { RGBColor(170, 170, 170) };
        let mut bar = Rectangle::new([(from, row), (*length, row - 1)], color.filled());
        bar.set_margin(3, 3, 0, 0);
        chart.draw_series([bar])?;
        let at = chart.backend_coord(&(*length, row));
        let text = |text: String, x| Text::new(text, (x, at.1 + 6), font.clone());
        root.draw(&text(format!("{length:.1}"), at.0 + 5))?;
        root.draw(&text(name.clone(), 14))?;
    }
    root.present()?;
    Ok(())
}

fn range(values: impl Iterator<Item = f64> + Clone) -> Range<f64> {
    values.clone().fold(f64::INFINITY, f64::min)..values.fold(f64::MIN_POSITIVE, f64::max)
}

/// Formats a number with as few characters as possible, to three digits: 2.5M.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature that plotters requires")]
fn short(value: &f64) -> String {
    let (scaled, unit) = match *value {
        value if value >= 1e6 => (value / 1e6, "M"),
        value if value >= 1e3 => (value / 1e3, "k"),
        value => (value, ""),
    };
    // Three digits, then without trailing zeros.
    let digits = if scaled >= 100.0 {
        0
    } else if scaled >= 10.0 {
        1
    } else {
        2
    };
    let text = format!("{scaled:.digits$}");
    let text =
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_formatted_with_few_characters() {
        let texts = [0.5, 19.0, 100.0, 1_000.0, 2_500.0, 1e8].map(|value| short(&value));
        assert_eq!(texts, ["0.5", "19", "100", "1k", "2.5k", "100M"]);
    }
}
