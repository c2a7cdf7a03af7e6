"""What is remembered for good: models, versions, who moved which alias, predictions and their truth.

    connect(url) ─► Engine ─► Registry   which version answers              SQLite, or PostgreSQL by URL
                          ├─► History    predictions, shipped by the loop   small inputs inline, large ones in Blobs
                          └─► Labels     the truth, append-only
    Blobs, Shelf          ─► files named by their content, beside the database

Every failure of the database surfaces as StoreUnavailable. Nobody above this room sees SQLAlchemy.
"""
