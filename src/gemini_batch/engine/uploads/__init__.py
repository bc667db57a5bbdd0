"""What is uploaded before a job is created: its input file, and the attachments of its requests."""
