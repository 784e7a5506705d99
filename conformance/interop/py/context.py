"""Encryption context on a command line."""

import argparse


def pair(text):
    """The type of an argument NAME=VALUE."""
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text}: NAME=VALUE wanted")
    return name, value
