//! Small plots of the last ten minutes, as inline SVG: a line over a soft area, with what the top of
//! it stands for and how far back it goes. The words for whoever does not see it are its label.

use std::time::{Duration, SystemTime};

use maud::{Markup, html};

use super::history::{SPAN, Sample};
use super::words::duration;

/// What the whole width is at least.
const SHORTEST: Duration = Duration::from_secs(60);
const WIDTH: f64 = 300.0;
const HEIGHT: f64 = 56.0;

/// A plot of one number of each sample; `most` is the top of the scale, where it has one, `named`
/// writes a number of it, and `summary` says in words what is seen.
pub(super) fn plot(
    samples: &[Sample],
    value: impl Fn(&Sample) -> Option<f64>,
    most: Option<f64>,
    named: impl Fn(f64) -> String,
    summary: &str,
) -> Markup {
    let newest = samples
        .last()
        .map_or(SystemTime::UNIX_EPOCH, |sample| sample.at);
    // Young plots fill the width too.
    let oldest = samples.first().map_or(newest, |sample| sample.at);
    let span = newest.duration_since(oldest).unwrap_or_default();
    let span = span.clamp(SHORTEST, SPAN).as_secs_f64();
    let points: Vec<Option<(f64, f64)>> = samples
        .iter()
        .map(|sample| {
            let age = newest.duration_since(sample.at).unwrap_or_default();
            let x = WIDTH * (1.0 - age.as_secs_f64() / span);
            Some((x.max(0.0), value(sample)?))
        })
        .collect();
    let highest = points
        .iter()
        .flatten()
        .map(|point| point.1)
        .fold(0.0, f64::max);
    let top = most
        .unwrap_or_else(|| round_up(highest))
        .max(f64::MIN_POSITIVE);
    let y = |value: f64| HEIGHT - 2.0 - (HEIGHT - 4.0) * (value / top).clamp(0.0, 1.0);
    let is_empty = points.iter().all(Option::is_none);
    html! {
        div.plot {
            svg role="img" aria-label=(summary) viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) preserveAspectRatio="none" {
                // The top, the middle and the bottom of the scale.
                @for at in [1.0, HEIGHT / 2.0, HEIGHT - 1.0] {
                    path.rule d=(format!("M0 {at}H{WIDTH}")) {}
                }
                // Where nothing was measured there is a gap, not a line through it.
                @for run in points.split(Option::is_none).filter(|run| !run.is_empty()) {
                    @let run: Vec<(f64, f64)> = run.iter().flatten().map(|(x, value)| (*x, y(*value))).collect();
                    path.area d=(area(&run)) {}
                    path.line d=(line(&run)) {}
                }
            }
            div.scale aria-hidden="true" {
                span { @if !is_empty { (named(top)) } }
                span { "0" }
            }
            div.times aria-hidden="true" {
                span { (duration(Duration::from_secs_f64(span.round()))) " ago" }
                span { "now" }
            }
        }
    }
}

/// The next number with one digit that counts, so that the scale does not tremble: 1, 2, 5, 10, ..
fn round_up(most: f64) -> f64 {
    if most <= 0.0 || !most.is_finite() {
        return 1.0;
    }
    let power = 10_f64.powf(most.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|digit| digit * power)
        .find(|round| *round >= most * 0.999_999)
        .unwrap_or(most)
}

fn line(run: &[(f64, f64)]) -> String {
    let mut path = String::new();
    for (at, (x, y)) in run.iter().enumerate() {
        path.push_str(&format!("{}{x:.1} {y:.1}", if at == 0 { "M" } else { "L" }));
    }
    if run.len() == 1 {
        // A single point is seen as a dot, by the line's round cap.
        path.push_str("h0.1");
    }
    path
}

fn area(run: &[(f64, f64)]) -> String {
    let (Some(first), Some(last)) = (run.first(), run.last()) else {
        return String::new();
    };
    format!(
        "{}L{:.1} {HEIGHT}L{:.1} {HEIGHT}Z",
        line(run),
        last.0,
        first.0
    )
}

#[cfg(test)]
mod tests {
    use super::round_up;

    #[test]
    fn the_top_of_a_scale_is_a_round_number() {
        for (most, top) in [
            (0.0, 1.0),
            (0.3, 0.5),
            (1.0, 1.0),
            (1.1, 2.0),
            (3.0, 5.0),
            (7.0, 10.0),
            (120.0, 200.0),
            (5_001.0, 10_000.0),
        ] {
            assert_eq!(round_up(most), top, "{most}");
        }
    }
}
