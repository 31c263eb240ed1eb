"""Questions to the user."""

from __future__ import annotations

from getpass import getpass

from polyarch.cli.frame.command import Context

__all__ = ["ask", "ask_secret", "confirm"]


def confirm(warning: str, context: Context) -> bool:
    """Ask whether to go on; anything but y or yes, and the end of input, is no."""
    context.stdout.write(f"{warning} Are you sure you want to continue? [y/N] ")
    context.stdout.flush()
    return context.stdin.readline().strip().lower() in {"y", "yes"}


def ask(question: str, context: Context) -> str:
    """Ask for a line."""
    context.stdout.write(question)
    context.stdout.flush()
    return context.stdin.readline().rstrip("\r\n")


def ask_secret(question: str, context: Context) -> str:
    """Ask for a line that the terminal doesn't show."""
    return getpass(question, context.stderr)
