"""HTML pages: the model page, forms, thumbnails, static files."""
