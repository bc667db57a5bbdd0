"""Sends the requests of a job as calls of their own, with the service tier *flex*, and keeps count of them."""
