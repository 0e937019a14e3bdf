"""Pictures: functions of data that return a matplotlib figure; `save` writes it. Needs the extra `plot`."""

from rheobase.plots.audits import audit
from rheobase.plots.comparisons import comparison
from rheobase.plots.confusion import confusion, confusion_counts
from rheobase.plots.costs import Cost, benchmark_costs, cost_against_steps
from rheobase.plots.curves import learning_curves
from rheobase.plots.events import event_cloud, event_frames
from rheobase.plots.filters import filters
from rheobase.plots.potentials import potentials
from rheobase.plots.raster import raster
from rheobase.plots.rates import firing_rates
from rheobase.plots.style import figure, save

__all__ = [
    "Cost",
    "audit",
    "benchmark_costs",
    "comparison",
    "confusion",
    "confusion_counts",
    "cost_against_steps",
    "event_cloud",
    "event_frames",
    "figure",
    "filters",
    "firing_rates",
    "learning_curves",
    "potentials",
    "raster",
    "save",
]
