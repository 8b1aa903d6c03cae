"""The console: pages for people, rendered on the server, live by server-sent events."""
