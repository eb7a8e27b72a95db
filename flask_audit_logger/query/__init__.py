"""Read the log: filters, pages of activities, histories of records, transactions, actors, and putting back.

Every read goes through :class:`~flask_audit_logger.query.reader.AuditReader`; nothing here knows Flask.
"""
