//! The page: a table of the runs, the plots, and how each run was made. Well-formed XML as well.

use std::fmt::Write as _;

use crate::result::{Limit, RunResult};
use crate::units;

use super::plot::escape;
use super::{plots, rate};

const STYLE: &str = "body{font:15px/1.5 system-ui,'DejaVu Sans',sans-serif;color:#222;background:#fff;max-width:900px;\
margin:2rem auto;padding:0 1rem}h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}\
.wide{overflow-x:auto}table{border-collapse:collapse;font-size:13px;white-space:nowrap}\
th,td{padding:.3rem .6rem;text-align:right;border-bottom:1px solid #e2e2e2}\
th:first-child,td:first-child{text-align:left}th{font-weight:600;border-bottom-color:#999}\
.warn{color:#a33a00;font-weight:600}code{font-size:12px;word-break:break-all}svg{max-width:100%;height:auto}\
dt{font-weight:600;margin-top:.6rem}dd{margin:0 0 0 1rem}";

/// One page that compares these runs.
pub(crate) fn page(title: &str, results: &[RunResult]) -> String {
    let title = escape(title);
    let mut out = format!(
        "<!DOCTYPE html>\n<html xmlns=\"http://www.w3.org/1999/xhtml\" lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n<title>{title}</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
    );
    table(&mut out, results);
    for (_, svg) in plots(results) {
        out.push_str("<p>\n");
        out.push_str(&svg);
        out.push_str("</p>\n");
    }
    runs(&mut out, results);
    out.push_str("</body>\n</html>\n");
    out
}

// Writing to a string does not fail, here and below.
fn table(out: &mut String, results: &[RunResult]) {
    out.push_str("<div class=\"wide\"><table>\n<tr>");
    let names = ["run", "asked/s", "answered/s", "p50", "p90", "p99", "p99.9", "p99.99", "max", "errors"];
    for name in names.into_iter().chain(["server µs/request", "limit"]) {
        let _infallible = write!(out, "<th>{name}</th>");
    }
    out.push_str("</tr>\n");
    for result in results {
        let latency = &result.latency;
        let counts = &result.counts;
        let _infallible = write!(out, "<tr><td>{}</td>", escape(&result.label));
        let asked = result.settings.rate.map_or_else(|| "closed".to_owned(), rate);
        let mut cells = vec![asked, rate(result.requests_per_second)];
        let values = [latency.p50, latency.p90, latency.p99, latency.p99_9, latency.p99_99, latency.max];
        cells.extend(values.map(units::time));
        cells.push((counts.errors + counts.lost + counts.unanswered + counts.unsent).to_string());
        cells.push(
            result.server.as_ref().map_or_else(|| "–".to_owned(), |server| format!("{:.2}", server.cpu_us_per_request)),
        );
        for cell in cells {
            let _infallible = write!(out, "<td>{cell}</td>");
        }
        let limit = match result.client.limit {
            Limit::Rate => "<td>rate</td>",
            Limit::Server => "<td>server</td>",
            Limit::Client => "<td class=\"warn\">client</td>",
        };
        let _infallible = writeln!(out, "{limit}</tr>");
    }
    out.push_str(
        "</table></div>\n<p>Latency of a fixed rate counts from when a request was due. In a closed loop it counts from \
         its sending, and stalls are hidden: compare throughput there. Where the limit is the client, a row says what \
         the client could do, not the server; processor time per request is comparable still.</p>\n",
    );
}

fn runs(out: &mut String, results: &[RunResult]) {
    out.push_str("<h2>The runs</h2>\n<dl>\n");
    for result in results {
        let settings = &result.settings;
        let batched = if settings.batched { " in batches" } else { "" };
        let _infallible = write!(
            out,
            "<dt>{}</dt>\n<dd>{}; {} keys {}, values {}; {} connections on {} threads, pipeline {}{batched}, {} node(s); \
             {:.1} s</dd>\n<dd>{}</dd>\n",
            escape(&result.label),
            escape(&settings.mix),
            settings.keys,
            escape(&settings.distribution),
            escape(&settings.values),
            settings.connections,
            settings.threads,
            settings.pipeline,
            settings.nodes,
            result.seconds,
            escape(&result.client.reason)
        );
        verified(out, result);
        for (text, count) in &result.errors {
            let _infallible = writeln!(out, "<dd class=\"warn\">{count} times: {}</dd>", escape(text));
        }
        let _infallible = writeln!(out, "<dd><code>{}</code></dd>", escape(&result.command.join(" ")));
    }
    out.push_str("</dl>\n");
}

fn verified(out: &mut String, result: &RunResult) {
    let Some(findings) = &result.verify else { return };
    let _infallible = if findings.faults.is_empty() {
        writeln!(out, "<dd>{} reads were checked, every one as it should be.</dd>", findings.checked)
    } else {
        writeln!(out, "<dd class=\"warn\">{} of {} reads were wrong.</dd>", result.faults(), findings.checked)
    };
}
