"""The help of a small program over the official SDK."""

import argparse

from google import genai  # noqa: TID253 - what importing it costs is the question

parser = argparse.ArgumentParser(description=f"Large numbers of requests, by google-genai {genai.__version__}.")
parser.add_argument("command", choices=["create", "status", "results"])
parser.parse_args()
