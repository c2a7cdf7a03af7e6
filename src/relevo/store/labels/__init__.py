"""Labels, the label that counts, and the queue of what to label next."""
