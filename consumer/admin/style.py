"""The looks of the status page: one sheet, light and dark, with nothing that is loaded from anywhere."""

from __future__ import annotations

import base64
import hashlib


__all__ = ["STYLE", "STYLE_SOURCE"]


STYLE = """
:root {
  color-scheme: light dark;
  --page: #f4f5f7; --card: #fff; --line: #dfe1e6; --text: #172b4d; --soft: #5e6c84;
  --good: #00693e; --good-back: #e3fcef; --bad: #b3200b; --bad-back: #ffebe6; --warn: #7a4b00; --warn-back: #fff5d6;
  --bar: #0052cc;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #101214; --card: #1d2125; --line: #38414a; --text: #dee4ea; --soft: #9fadbc;
    --good: #7ee2b8; --good-back: #12372a; --bad: #ff9c8f; --bad-back: #42221f; --warn: #f5cd47; --warn-back: #3a2c00;
    --bar: #579dff;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text);
  font: 14px/1.45 system-ui, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif; }
main { max-width: 1240px; margin: 0 auto; padding: 20px 20px 48px; }
header { display: flex; flex-wrap: wrap; align-items: center; gap: 6px 14px; margin-bottom: 16px; }
h1 { font-size: 20px; margin: 0; }
h2 { font-size: 15px; margin: 0 0 10px; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 6px; padding: 14px 16px;
  margin: 0 0 14px; overflow-x: auto; }
.soft { color: var(--soft); }
.tag { display: inline-block; padding: 1px 9px; border-radius: 10px; font-weight: 600; white-space: nowrap; }
.good { color: var(--good); background: var(--good-back); }
.bad { color: var(--bad); background: var(--bad-back); }
.warn { color: var(--warn); background: var(--warn-back); }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(125px, 1fr)); gap: 14px; margin: 0; }
.facts dt { color: var(--soft); font-size: 12px; }
.facts dd { margin: 0; font-size: 20px; font-variant-numeric: tabular-nums; }
table { border-collapse: collapse; width: 100%; }
table + table { margin-top: 16px; }
th { text-align: left; color: var(--soft); font-weight: 600; font-size: 12px; padding: 0 14px 5px 0;
  white-space: nowrap; }
td { padding: 5px 14px 5px 0; border-top: 1px solid var(--line); vertical-align: top; overflow-wrap: anywhere; }
th.n, td.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td.k, .code { font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: 12.5px; }
td.w { white-space: nowrap; overflow-wrap: normal; }
meter { width: 130px; height: 12px; vertical-align: -1px; }
details > summary { cursor: pointer; font-weight: 600; font-size: 15px; }
details[open] > summary { margin-bottom: 10px; }
tr.set td { font-weight: 600; }
.why { margin: 4px 0 0; }
.why + .why { margin-top: 10px; }
"""

STYLE_SOURCE = f"'sha256-{base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()}'"
"""What a content security policy calls this sheet."""
