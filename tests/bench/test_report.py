"""What the bench shows is what it found."""

from .report import BEGIN, END, PLOT, README, RESULTS


def test_the_readme_has_the_summary_of_the_results() -> None:
    """The table in the README is the one of the last full run, word by word."""
    _, _, rest = README.read_text(encoding="utf-8").partition(BEGIN)
    shown, _, _ = rest.partition(END)

    assert shown.strip()
    assert shown.strip() in RESULTS.read_text(encoding="utf-8")
    assert PLOT.exists()
