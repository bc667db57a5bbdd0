#!/usr/bin/env python3
"""A data frame in, a data frame out: python polars_frame.py. Needs polars and gemini-batch[tables]."""

import polars as pl

import gemini_batch

products = pl.DataFrame({"sku": ["a1", "b2", "c3"], "name": ["trail lamp", "desk lamp", ""], "lumens": [400, 250, 90]})
found = gemini_batch.run(products, prompt="Describe our {{ name }} ({{ lumens }} lumens) in 40 words.", key="sku")
answers = found.to_polars()
print(answers.select("sku", "verdict", "text"))
answers.write_parquet("products.parquet")
