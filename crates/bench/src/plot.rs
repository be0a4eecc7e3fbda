//! Costs against the size of a crowd, as SVG.

use crate::row::{Row, Side, Step};
use crate::table::Table;
use plotters::prelude::*;
use std::error::Error;

const SIZE: (u32, u32) = (800, 480);

/// A plot.
pub struct Plot {
    /// Part of its file's name.
    pub name: &'static str,
    pub title: &'static str,
    across: &'static str,
    lines: Vec<Line>,
}

/// A side with an allocator.
#[derive(PartialEq, Debug)]
struct Line {
    side: Side,
    allocator: &'static str,
    /// Sizes of the crowd, and microseconds of CPU.
    points: Vec<(u32, f64)>,
}

impl Plot {
    /// Those for which there are lines with more than one point.
    pub fn all(tables: &[Table]) -> Vec<Self> {
        let notify: fn(Row) -> bool = |row| matches!(row, Row::Fanout(_));
        let refresh: fn(Row) -> bool = |row| matches!(row, Row::Joining(Step::Second, _));
        let plots = [
            ("notify", "Cost of a NOTIFY against the number of watchers", "W: watchers of the presentity", notify),
            (
                "subscribe",
                "Cost of a SUBSCRIBE that refreshes, and its NOTIFY",
                "k: watchers of the presentity",
                refresh,
            ),
        ];
        let plots = plots.map(|(name, title, across, is_on)| Self { name, title, across, lines: lines(tables, is_on) });
        plots.into_iter().filter(|plot| !plot.lines.is_empty()).collect()
    }
}

/// What is void is not on a line.
fn lines(tables: &[Table], is_on: fn(Row) -> bool) -> Vec<Line> {
    let crowds = tables.iter().filter(|table| table.setup.has_a_crowd());
    let of_each = crowds.flat_map(|table| [Side::Ours, Side::Stock].map(|side| (table, side)));
    let line = |(table, side): (&Table, Side)| {
        let rows = table.rows().filter(|row| is_on(*row));
        let points = rows.filter_map(|row| Some((row.crowd(), table.cost(row, side)?))).collect();
        Line { side, allocator: table.setup.allocator, points }
    };
    of_each.map(line).filter(|line| line.points.len() > 1).collect()
}

/// As SVG, with both axes logarithmic. The fonts are those of whoever looks at it.
pub fn draw(plot: &Plot) -> Result<String, Box<dyn Error + Send + Sync>> {
    let points = || plot.lines.iter().flat_map(|line| &line.points);
    let (last, dearest) =
        points().fold((1, 1.0), |(last, dearest): (u32, f64), (size, cost)| (last.max(*size), dearest.max(*cost)));
    let (first, cheapest) =
        points().fold((last, dearest), |(first, cheapest), (size, cost)| (first.min(*size), cheapest.min(*cost)));
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        let across = (f64::from(first) / 1.3..f64::from(last) * 1.3).log_scale();
        let up = (cheapest / 2.0..dearest * 2.0).log_scale();
        let mut chart = ChartBuilder::on(&area)
            .caption(plot.title, ("sans-serif", 20))
            .margin(12)
            .x_label_area_size(44)
            .y_label_area_size(64)
            .build_cartesian_2d(across, up)?;
        chart
            .configure_mesh()
            .x_desc(plot.across)
            .y_desc("CPU of all processes, µs")
            .x_label_formatter(&|size| label(*size))
            .y_label_formatter(&|cost| label(*cost))
            .bold_line_style(RGBColor(220, 220, 220))
            .max_light_lines(0)
            .draw()?;
        for line in &plot.lines {
            let colour = colour(line);
            let points = || line.points.iter().map(|(size, cost)| (f64::from(*size), *cost));
            let drawn = chart.draw_series(LineSeries::new(points(), colour.stroke_width(2)))?;
            let ends_early = line.points.iter().all(|(size, _)| *size < last);
            let end = if ends_early { " (not asked beyond)" } else { "" };
            drawn
                .label(format!("{}, {}{end}", line.side, line.allocator))
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], colour.stroke_width(3)));
            chart.draw_series(points().map(|point| Circle::new(point, 4, colour.filled())))?;
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK.mix(0.3))
            .draw()?;
        area.present()?;
    }
    Ok(svg)
}

/// Of a place on an axis: only 1, 2 and 5 of each decade, or they stand in each other's way.
fn label(value: f64) -> String {
    let text = format!("{value:.0}");
    if text.starts_with(['1', '2', '5']) && text[1..].bytes().all(|digit| digit == b'0') { text } else { String::new() }
}

/// One for each side and allocator, told apart by those, too, who do not see all colours (Okabe and Ito).
fn colour(line: &Line) -> RGBColor {
    match (line.side, line.allocator) {
        (Side::Ours, "tlsf") => RGBColor(0, 158, 115),
        (Side::Ours, _) => RGBColor(0, 114, 178),
        (_, "tlsf") => RGBColor(230, 159, 0),
        _ => RGBColor(213, 94, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::Sample;
    use crate::setup::Setup;
    use loadgen::Tally;

    fn crowd() -> Table {
        let setup = Setup::all().into_iter().find(|s| s.name() == "crowd-qm-2w").expect("it is one of all");
        let mut table = Table::new(setup);
        let mut add = |row, side, amount, code| {
            // As many operations as a PUBLISH in a fan-out would give.
            let tally = Tally { codes: [(code, 1)].into(), ..Tally::default() };
            table.add(0, row, side, Sample { amount, operations: row.crowd().into(), tally });
        };
        for (watchers, ours, stock) in [(100, 10.0, 20.0), (1000, 10.0, 30.0), (5000, 11.0, 90.0)] {
            add(Row::Fanout(watchers), Side::Ours, ours * f64::from(watchers), 200);
            add(
                Row::Fanout(watchers),
                Side::Stock,
                stock * f64::from(watchers),
                if watchers == 1000 { 500 } else { 200 },
            );
        }
        add(Row::Fanout(50_000), Side::Ours, 600_000.0, 200);
        add(Row::Joining(Step::Second, 1000), Side::Ours, 100.0, 200);
        table
    }

    #[test]
    fn a_line_has_what_was_measured_and_is_not_void() {
        let plots = Plot::all(&[crowd()]);
        assert_eq!(plots.len(), 1, "one point is no line");
        let ours = vec![(100, 10.0), (1000, 10.0), (5000, 11.0), (50_000, 12.0)];
        let stock = vec![(100, 20.0), (5000, 90.0)];
        let expected = [(Side::Ours, ours), (Side::Stock, stock)];
        assert_eq!(plots[0].lines, expected.map(|(side, points)| Line { side, allocator: "qm", points }));
    }

    #[test]
    fn only_some_places_have_a_label() {
        assert_eq!([1.0, 20.0, 5000.0, 3.0, 900.0, 15.0].map(label), ["1", "20", "5000", "", "", ""]);
    }

    #[test]
    fn every_point_is_drawn_within_the_picture() {
        let svg = draw(&Plot::all(&[crowd()])[0]).expect("it can be drawn");
        let number = |text: &str, name: &str| {
            let (_, rest) = text.split_once(&format!(" {name}=\"")).expect("the attribute");
            rest.split('"').next().and_then(|n| n.parse::<u32>().ok()).expect("a number")
        };
        let circles: Vec<(u32, u32)> =
            svg.split("<circle").skip(1).map(|circle| (number(circle, "cx"), number(circle, "cy"))).collect();
        assert_eq!(circles.len(), 6);
        assert!(circles.iter().all(|(x, y)| (60..SIZE.0).contains(x) && (20..SIZE.1 - 40).contains(y)), "{circles:?}");
        let [hundred, thousand, five, fifty, ..] = circles[..] else { panic!("{circles:?}") };
        assert!(hundred.0 < thousand.0 && thousand.0 < five.0 && five.0 < fifty.0);
        assert!(hundred.1 == thousand.1 && thousand.1 > fifty.1, "the dearer, the higher");
        assert!(svg.contains("ours, qm") && svg.contains("stock, qm (not asked beyond)"));
    }
}
