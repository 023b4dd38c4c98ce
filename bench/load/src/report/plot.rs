//! Line plots as SVG: axes, lines, a legend, nothing from outside.

use std::fmt::Write as _;

use super::scale::Scale;

/// One line.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Series {
    name: String,
    points: Vec<(f64, f64)>,
}

impl Series {
    pub(crate) fn new(name: &str, points: Vec<(f64, f64)>) -> Self {
        Self { name: name.to_owned(), points }
    }

    pub(crate) fn xs(series: &[Self]) -> Vec<f64> {
        series.iter().flat_map(|line| line.points.iter().map(|point| point.0)).collect()
    }

    pub(crate) fn ys(series: &[Self]) -> Vec<f64> {
        series.iter().flat_map(|line| line.points.iter().map(|point| point.1)).collect()
    }
}

pub(crate) struct Plot {
    pub(crate) title: String,
    pub(crate) x_title: String,
    pub(crate) y_title: String,
    pub(crate) x: Scale,
    pub(crate) y: Scale,
    pub(crate) series: Vec<Series>,
}

/// Told apart by eyes that don't see all colours too (Okabe and Ito), and by their dashes.
const COLOURS: [&str; 8] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#8a6d00"];
const DASHES: [&str; 4] = ["", "8 3", "2 3", "10 3 2 3"];

const WIDTH: f64 = 860.0;
const LEFT: f64 = 76.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 44.0;
const HEIGHT: f64 = 320.0;
/// Below the plot: marks, title of the axis.
const FOOT: f64 = 56.0;
const LEGEND_LINE: f64 = 20.0;

impl Plot {
    /// The whole drawing.
    pub(crate) fn svg(&self) -> String {
        let legend = LEGEND_LINE * self.series.len() as f64;
        let height = TOP + HEIGHT + FOOT + legend;
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
             height=\"{height}\" font-family=\"system-ui, 'DejaVu Sans', sans-serif\" font-size=\"12\" role=\"img\">\n\
             <title>{title}</title>\n<rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n\
             <text x=\"{LEFT}\" y=\"24\" font-size=\"16\" font-weight=\"600\" fill=\"#222222\">{title}</text>\n",
            title = escape(&self.title)
        );
        self.axes(&mut out);
        for (number, line) in self.series.iter().enumerate() {
            self.line(&mut out, number, line);
        }
        out.push_str("</svg>\n");
        out
    }

    fn x_at(&self, value: f64) -> f64 {
        LEFT + self.x.place(value) * (WIDTH - LEFT - RIGHT)
    }

    fn y_at(&self, value: f64) -> f64 {
        TOP + (1.0 - self.y.place(value)) * HEIGHT
    }

    // Writing to a string does not fail, here and below.
    fn axes(&self, out: &mut String) {
        let (right, bottom) = (WIDTH - RIGHT, TOP + HEIGHT);
        for (value, name) in &self.y.marks {
            let y = self.y_at(*value);
            let _infallible = write!(
                out,
                "<line x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{right}\" y2=\"{y:.1}\" stroke=\"#e2e2e2\"/>\n\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#444444\">{name}</text>\n",
                LEFT - 8.0,
                y + 4.0
            );
        }
        for (value, name) in &self.x.marks {
            let x = self.x_at(*value);
            let _infallible = write!(
                out,
                "<line x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{bottom}\" stroke=\"#eeeeee\"/>\n\
                 <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#444444\">{name}</text>\n",
                bottom + 18.0
            );
        }
        let middle = f64::midpoint(LEFT, right);
        let centre = f64::midpoint(TOP, bottom);
        let _infallible = write!(
            out,
            "<path d=\"M{LEFT} {TOP}V{bottom}H{right}\" fill=\"none\" stroke=\"#666666\"/>\n\
             <text x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#222222\">{}</text>\n\
             <text transform=\"translate(16 {centre:.1}) rotate(-90)\" text-anchor=\"middle\" fill=\"#222222\">{}</text>\n",
            bottom + 38.0,
            escape(&self.x_title),
            escape(&self.y_title)
        );
    }

    fn line(&self, out: &mut String, number: usize, line: &Series) {
        let colour = COLOURS[number % COLOURS.len()];
        let dash = DASHES[number / COLOURS.len() % DASHES.len()];
        let dash = if dash.is_empty() { String::new() } else { format!(" stroke-dasharray=\"{dash}\"") };
        let mut path = String::new();
        for (place, (x, y)) in line.points.iter().enumerate() {
            let step = if place == 0 { 'M' } else { 'L' };
            let _infallible = write!(path, "{step}{:.1} {:.1}", self.x_at(*x), self.y_at(*y));
        }
        if let [(x, y)] = line.points[..] {
            let (x, y) = (self.x_at(x), self.y_at(y));
            let _infallible = writeln!(out, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>");
        } else if !path.is_empty() {
            let _infallible = writeln!(
                out,
                "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" stroke-linejoin=\"round\"{dash}/>"
            );
        }
        let y = TOP + HEIGHT + FOOT + LEGEND_LINE * number as f64;
        let _infallible = write!(
            out,
            "<path d=\"M{LEFT} {:.1}h28\" stroke=\"{colour}\" stroke-width=\"3\"{dash}/>\n\
             <text x=\"{:.1}\" y=\"{:.1}\" fill=\"#222222\">{}</text>\n",
            y - 4.0,
            LEFT + 36.0,
            y,
            escape(&line.name)
        );
    }
}

/// Text as XML and HTML have it; control characters have no place there.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            letter if letter.is_control() => out.push(' '),
            letter => out.push(letter),
        }
    }
    out
}
