"""The API over HTTP: routes, the server, faults on the wire, the emulator's own routes."""
