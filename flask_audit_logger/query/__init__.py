"""Reading the log: criteria, pages of activities, record histories, transactions, actors and field diffs.

Every read goes through :class:`~flask_audit_logger.query.reader.AuditReader`; nothing here knows Flask.
"""
