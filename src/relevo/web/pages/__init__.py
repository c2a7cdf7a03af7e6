"""HTML pages: the model page, forms, thumbnails, error pages, static files."""
