"""Guards taken out one at a time: whatever protects a user must be missed by a test when it is gone."""
