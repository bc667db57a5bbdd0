"""The API over HTTP: routes, the server, wire faults, the emulator's own routes."""
