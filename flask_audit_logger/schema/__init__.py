"""What the log consists of in the database: objects, what should exist, what does exist."""
