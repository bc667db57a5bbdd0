"""How many tokens a prompt has, without asking the service: an estimate with a band, and what it cannot know."""
