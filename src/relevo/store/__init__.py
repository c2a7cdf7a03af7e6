"""What is remembered for good: models, versions, who moved which alias, predictions and their truth, people, every change.

    connect(url) ─► Engine ─┬► Registry        which version answers                   SQLite, or PostgreSQL by URL
                            ├► History         predictions, shipped by the loop        small inputs inline, large ones in Blobs
                            ├► Traffic         how many of them in each minute and hour
                            ├► Labels, Asking  the truth, append-only, and whom to ask for it
                            ├► People          users, sessions, keys
                            ├► Audit, Trail    every change as a link of a chain: written, read
                            └► Sealing, Erasing, Retention    what is encrypted, what is removed for good
    Blobs, Shelf ─► files named by their content, beside the database

Every failure of the database surfaces as DatabaseUnavailableError. Nobody above this room sees SQLAlchemy.
"""
