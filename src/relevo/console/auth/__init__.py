"""Login to the console, and its sessions."""
