"""The service: HTTP, job engine, worker, command line and client."""
