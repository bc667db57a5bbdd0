"""The service's messages and errors: field tables, proto JSON, one call and its reply."""
