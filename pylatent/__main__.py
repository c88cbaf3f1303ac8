"""What the command `pylatent` and `python -m pylatent` run. Signals come first: importing the rest takes a while."""

from pylatent import _interrupt


def main() -> None:
    """The command line; exits with 0, 1 (failed), 2 (wrong usage), 130 (interrupted) or 143 (terminated)."""
    _interrupt.install()
    from pylatent.cli import main as run

    try:
        run()
    finally:
        _interrupt.ignore()


if __name__ == "__main__":
    main()
