"""Reports: one HTML page of a run, a comparison, an audit or a benchmark, which opens without a network."""

from rheobase.report.write import report, write_report

__all__ = ["report", "write_report"]
