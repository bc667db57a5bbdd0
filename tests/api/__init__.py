"""The API room against a service that answers from a script."""
