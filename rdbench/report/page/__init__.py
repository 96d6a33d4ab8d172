"""One HTML file for a folder of records: no server, no network, and nothing to install.

The plots are SVG made by a little plain JavaScript of our own (`assets/*.js`, 75 kB), not by a library that embeds
(bokeh 1.3 MB, altair with vl-convert 0.9 MB, plotly 4.8 MB). A page of this kind needs five kinds of plot, one
selection that changes all of them, points that the keyboard reaches, labels at the ends of curves, and print; a library
draws the plots, but the rest would be written around it, in its own event model, and its size would be most of the
file. Own code also permits a strict content security policy: the page may run the scripts it was written with, by their
hash, and load nothing from anywhere, so "no network" is enforced by the browser.

`build` makes the data, `document` the file. All text of records reaches the page as JSON and is shown with
`textContent`, so a name that looks like markup is shown as it is. BD-rates, intervals, interpolation and the sentences
are computed here, with the functions of `rdbench bdrate`; the scripts choose, average and draw. A section that shows
something else is one more key of the data, one more script in `document.SCRIPTS` and one more `<section>` of
`page.html`.
"""

from .build import ReportOptions, report_data
from .document import MOST_BYTES, render, write

__all__ = ["MOST_BYTES", "ReportOptions", "render", "report_data", "write"]
