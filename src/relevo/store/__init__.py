"""The permanent store: models, versions, alias moves, predictions, labels, users and the audit log, in SQLite or PostgreSQL.

    connect(url) ─► Engine ─┬► Registry                 models, versions and aliases          SQLite, or PostgreSQL by URL
                            ├► PredictionStore          the prediction log, filled from the journals; large inputs in Blobs
                            ├► Traffic                  request counts by minute and hour
                            ├► Labels, LabelQueue       labels (append-only), and which predictions to label next
                            ├► Users                    users, sessions, API keys
                            ├► AuditLog, AuditReader    writes and reads the hash-chained audit log
                            └► InputEncryption, Erasure, Retention    encryption at rest and deletion
    Blobs, PackageStore ─► content-addressed files next to the database

Every database failure is raised as DatabaseUnavailableError. No module outside this package uses SQLAlchemy.
"""
