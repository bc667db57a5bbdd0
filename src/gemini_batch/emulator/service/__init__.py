"""The API's operations: uploads, batches, inference."""
