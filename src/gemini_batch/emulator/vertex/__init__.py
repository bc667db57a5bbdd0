"""Vertex AI batch prediction: jobs, the buckets of Cloud Storage that they read and write, and a stand-in for BigQuery.

Jobs are worked on by the engine that serves all batches; this package makes rows of what they name, and objects or
table rows of what was answered.
"""
