"""The REST client for batch prediction of Vertex AI, and for the Cloud Storage that it reads and writes.

Sources: cloud.google.com, *Batch inference* and *projects.locations.batchPredictionJobs* (v1); *Cloud Storage JSON
API*; what google-genai 3.4 and google-cloud-storage send.
"""
