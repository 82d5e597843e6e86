"""What people look at in a browser: templates, charts, and the door in front of them."""
