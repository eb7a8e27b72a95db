"""What tests share: a PostgreSQL server, an application factory, and models made per call."""
