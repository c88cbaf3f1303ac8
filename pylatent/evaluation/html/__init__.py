"""Pages to look at, each one HTML file that holds all it shows and fetches nothing."""

from pylatent.evaluation.html.comparison_page import comparison_page
from pylatent.evaluation.html.report_page import report_page, thumbnail

__all__ = ["comparison_page", "report_page", "thumbnail"]
