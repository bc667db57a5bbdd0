"""Tables of BigQuery in the place of local files: read as Parquet, and written by load jobs."""
