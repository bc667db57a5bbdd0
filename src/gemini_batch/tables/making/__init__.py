"""From a row to its request: templates, settings, keys, attachments."""
