"""What a process tells of itself at `/metrics`: what there is to tell, and the values."""
