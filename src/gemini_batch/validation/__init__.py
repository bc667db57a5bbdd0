"""From the user's file to requests that can be sent: what a line may hold, and what is wrong with it."""
