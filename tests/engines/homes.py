"""Environments with this package and an engine; the benchmarks use one of them, too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from docs.pages import ROOT
from interop.homes import interpreter

if TYPE_CHECKING:
    from pathlib import Path


def daft_python() -> Path:
    """Python with this package, Daft, Ray and Ray Data."""
    others = ("daft==0.7.26", "ray[data]==2.60.0", "pandas==3.1.1", "polars==2.1.0")
    return interpreter("daft", "--editable", f"{ROOT}[daft]", *others)


def spark_python() -> Path:
    """Python with this package and Spark."""
    return interpreter("spark", "--editable", f"{ROOT}[tables]", "pyspark==4.3.0", "pandas==3.1.1", "pyarrow==25.0.1")
