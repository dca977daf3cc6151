"""Pictures of figures: geometry is computed here, markup is written by the templates, which escape it.

A chart is three SVG parts in a grid (value axis, plot, time axis), so that the plot stretches with the page while
letters keep their size. Nothing carries a style of its own; colours come from classes.
"""

from .graph import graph_picture
from .histogram import histogram
from .lineage import Picture, lineage_picture
from .pareto import Pareto, Setting, pareto
from .reliability import Reliability, ReliabilityPoint, reliability
from .timeline import Axis, Chart, Series, bars, lines, sparkline
from .waterfall import Waterfall, waterfall

__all__ = [
    "Axis",
    "Chart",
    "Pareto",
    "Picture",
    "Reliability",
    "ReliabilityPoint",
    "Series",
    "Setting",
    "Waterfall",
    "bars",
    "graph_picture",
    "histogram",
    "lineage_picture",
    "lines",
    "pareto",
    "reliability",
    "sparkline",
    "waterfall",
]
