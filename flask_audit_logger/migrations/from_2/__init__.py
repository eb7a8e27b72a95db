"""Coming from flask-audit-logger 2.0 or postgresql-audit 0.18: their migrations, their log, the way over and back."""
