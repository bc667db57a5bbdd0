"""What everything stands on: lines, errors, settings, the service's objects."""
